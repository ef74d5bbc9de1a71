"""From a command to the rooms and back to an exit status: loads the settings, opens what a command needs, says what went wrong.

The one place that imports `app`, `daemon` and `doctor`, inside functions: `--help` must not pay for them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path  # noqa: TC003 - read when a command's own annotations are
from typing import TYPE_CHECKING, Any, ParamSpec

import typer

from monitor.errors import LostRaceError, MonitorError, NoDatabaseError, SettingsError
from monitor.model.text import visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping

    from rich.console import Console

    from monitor.app import App
    from monitor.config import Settings
    from monitor.model.check import Check
    from monitor.poll import PollReport
    from monitor.store.engine import Store

P = ParamSpec("P")

_WIDE = 110
_RACES = 20
_PAUSE = 0.2
"""Seconds at most between two attempts."""


class Exit(IntEnum):
    """What the exit status of a command says. Of several, a pass reports the gravest: integrity, findings, operational."""

    CLEAN = 0
    ERROR = 1
    """Something unexpected, or that the operator can cure: the message says what."""
    SETTINGS = 2
    """Settings, options or a file that the operator wrote are wrong."""
    FINDINGS = 3
    """An open incident about an identity, a digest or a release, a certificate without a signature, or an entry that cannot be read."""
    INTEGRITY = 4
    """An open incident about a log that contradicts itself: of the category integrity, high or critical."""
    OPERATIONAL = 5
    """Something could not be read, checked or told: clean would be too much to say."""


EXIT_CODES = (
    "Exit status: 0 clean, 1 unexpected error, 2 settings or usage, 3 findings (identity, digest, release, certificate, entry), "
    "4 a log's integrity, 5 something could not be read, checked or told."
)


@dataclass(frozen=True, slots=True)
class Globals:
    """The options that stand before every command."""

    config: Path | None = None
    verbose: bool = False


def command(function: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """A command of the line: runs the coroutine, tells our own errors in one line and ends with the status it returned."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = _until_won(lambda: function(*args, **kwargs))
        except MonitorError as error:
            status = tell(error)
        except KeyboardInterrupt:
            status = 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on, as in `… | head`
            status = Exit.CLEAN
        raise typer.Exit(status or Exit.CLEAN)

    return run


def _until_won(begin: Callable[[], Coroutine[Any, Any, int | None]]) -> int | None:
    """A command's status. What lost a race against another program on the same database kept nothing of it, and begins again."""
    for _ in range(_RACES):
        try:
            return asyncio.run(begin())
        except LostRaceError:
            time.sleep(random.uniform(0, _PAUSE))  # noqa: S311 - so that two do not meet again
    return asyncio.run(begin())


def tell(error: MonitorError) -> int:
    """Say on standard error what was tried, what came back and what can be done; return the exit status."""
    cure = f" ({visible(error.cure)})" if error.cure else ""
    lines = "\n".join(visible(line) for line in str(error).split("\n"))
    typer.echo(f"trustacks-monitor: {lines}{cure}", err=True)
    if isinstance(error, NoDatabaseError):
        return Exit.OPERATIONAL
    return Exit.SETTINGS if isinstance(error, SettingsError) else Exit.ERROR


def settings(context: typer.Context) -> Settings:
    """The settings that this call of the program goes by. SettingsError."""
    from monitor import config  # noqa: PLC0415 - late: reading settings costs more than `--help` may

    given = globals_of(context)
    log_to_stderr(verbose=given.verbose)
    return config.load(given.config, os.environ)


def globals_of(context: typer.Context) -> Globals:
    """The options before the command."""
    found = context.find_root().obj
    return found if isinstance(found, Globals) else Globals()


@asynccontextmanager
async def opened(context: typer.Context, *, lead: bool = False) -> AsyncIterator[App]:
    """All rooms, opened by the settings; `lead` claims the database for a daemon."""
    async with opened_by(settings(context), lead=lead) as app:
        yield app


@asynccontextmanager
async def opened_by(given: Settings, *, lead: bool = False, console: Console | None = None) -> AsyncIterator[App]:
    """All rooms, opened by these settings; without Slack, alerts are printed on `console`."""
    from monitor.app import App  # noqa: PLC0415 - late: it imports every room

    async with App(given, lead=lead, console=console or terminal()) as app:
        yield app


@asynccontextmanager
async def reading(context: typer.Context) -> AsyncIterator[Store]:
    """The database alone, to ask it. NoDatabaseError when there is none yet."""
    async with stored(settings(context)) as store:
        yield store


@asynccontextmanager
async def stored(given: Settings) -> AsyncIterator[Store]:
    """The database of these settings; never made by asking it."""
    from monitor.store.engine import Store  # noqa: PLC0415

    async with await Store.open(given.database, create=False) as store:
        yield store


def terminal(*, least: int = 80) -> Console:
    """Standard output for people, at least so many columns wide; wide enough for a digest where nobody's terminal sets a limit."""
    from rich.console import Console  # noqa: PLC0415 - late: `--help` does without it

    console = Console()
    return Console(width=max(console.width, least) if console.is_terminal else _WIDE)


async def poll(app: App) -> PollReport:
    """One pass over everything."""
    from monitor import poll as polling  # noqa: PLC0415 - late, as `app`

    return await polling.poll(app)


async def serve(app: App, stop: asyncio.Event | None = None) -> None:
    """The daemon, until `stop` is set or a signal ends it."""
    from monitor import daemon  # noqa: PLC0415 - late, as `app`

    await daemon.run(app, stop or asyncio.Event())


def examined(given: Settings) -> AsyncIterator[Check]:
    """Everything that the monitor depends on, tried by itself."""
    from monitor import doctor  # noqa: PLC0415 - late, as `app`

    return doctor.examine(given)


def log_to_stderr(*, verbose: bool = False, quiet: bool = False) -> None:
    """Our own log goes to standard error, a line an event, so that standard output holds only what was asked for."""
    import logging  # noqa: PLC0415

    import structlog  # noqa: PLC0415

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
        ),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _shown,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)  # libraries' own


def _shown(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Foreign text in our log cannot move a terminal's cursor (P7); the lines of a traceback stay lines."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = "\n".join(visible(line) for line in value.split("\n"))
    return event
