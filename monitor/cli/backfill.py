"""`backfill`: reads a stretch of a log's history, beside a running daemon or without one."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import run
from monitor.errors import SettingsError
from monitor.model.text import number, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.app import App
    from monitor.watch.backfill import Progress
    from monitor.watch.cost import Cost
    from monitor.watch.follow import Follower

_ASK_ABOVE = 10_000
"""Requests above which a backfill is begun only by a person who has seen its cost."""
_LINE_EVERY = 5.0
_GIGABYTE = 1_000_000_000
_INTERRUPTED = 130


@run.command
async def backfill(
    context: typer.Context,
    log: Annotated[str, typer.Option("--log", metavar="ORIGIN", help="The log, as `status` or `logs list` names it.")],
    begin: Annotated[int, typer.Option("--from", metavar="INDEX", help="The first leaf to read.", min=0)] = 0,
    end: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="INDEX",
            help="The leaf to stop before; by default the log's newest checkpoint's end.",
            min=0,
        ),
    ] = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help=f"Begin even though it takes more than {_ASK_ABOVE:,} requests.")
    ] = False,
) -> int:
    """Read a log's history: what of it was not read yet, proven, judged and kept. It can be stopped, and run again.

    What was signed before watching began is told in one message and wakes nobody. A running daemon tells it; else the next `poll`.
    """
    from monitor.store import logs  # noqa: PLC0415 - late, as everything that `--help` can do without
    from monitor.watch import backfill as reading  # noqa: PLC0415
    from monitor.watch import cost  # noqa: PLC0415

    async with run.opened(context) as app:
        follower = await _follower(app, log)
        origin, title = follower.followed.origin, follower.followed.title
        size = await _size(follower)
        begin, end = _range(title, begin, size if end is None else end, size)
        missing = await reading.missing(app.store, origin, begin, end)
        leaves = sum(last - first for first, last in missing)
        _agree(title, cost.of_leaves(follower.followed.protocol, leaves, app.settings.watch), yes=yes)
        with _until_signalled() as stopping, _shown(title) as told:
            progress = await reading.backfill(follower, missing, app.hands, stopping, told)
            stopped = stopping()
        async with app.store.read() as tx:
            holes = [hole for hole in await logs.holes(tx, origin, _ASK_ABOVE) if hole.begin < end and begin < hole.end]
    typer.echo(
        f"{visible(title)}: read {number(progress.leaves, 'leaf', 'leaves')} of [{begin}, {end}), {end - begin - leaves} were read "
        f"before; {number(progress.entries, 'new entry', 'new entries')} of ours, {number(progress.findings, 'new finding')}"
    )
    if holes:
        typer.echo(
            f"    not seen: the log does not give {sum(hole.end - hole.begin for hole in holes)} of them (`coverage show`)"
        )
    if not progress.done:
        why = "stopped" if stopped else "the log does not give them, nor a proof of them"
        left = number(progress.missing - progress.leaves, "leaf", "leaves")
        typer.echo(f"    not read: {left} ({why}); the same command goes on there")
        return _INTERRUPTED if stopped else run.Exit.OPERATIONAL
    return run.Exit.CLEAN


async def _follower(app: App, name: str) -> Follower:
    """The log that `name` means, if it is one only: a server's host will do, and a certificate log's address. SettingsError."""
    await app.refresh_root()
    followers = await app.muster()
    found = [each for each in followers if each.followed.is_called(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(each.followed.origin for each in (found or followers)) or "none"
    what = "names several logs" if found else "is no log that is followed"
    raise SettingsError(f"--log {name!r} {what}", cure=f"give one of: {known}")


async def _size(follower: Follower) -> int:
    """The newest size that is proven consistent, asked for just now."""
    polled = await follower.poll_checkpoint()
    if polled.target is None:
        raise SettingsError(
            f"{follower.followed.origin} has no checkpoint that could be proven against: {polled.error or 'it gave none'}",
            cure="try again when the log answers",
        )
    if polled.error is not None:
        typer.echo(f"the newest checkpoint is not used: {visible(polled.error)}", err=True)
    return polled.target.size


def _range(origin: str, begin: int, end: int, size: int) -> tuple[int, int]:
    if end > size:
        raise SettingsError(
            f"--to {end} is beyond the {size} leaves that {origin} has signed", cure=f"give {size} at most"
        )
    if begin > end:
        raise SettingsError(f"--from {begin} is beyond --to {end}", cure="give a range that begins before it ends")
    return begin, end


def _agree(origin: str, cost: Cost | None, *, yes: bool) -> None:
    """Say what it costs before it begins; above a bound a person must have agreed. SettingsError."""
    if cost is None or not cost.requests:
        return
    said = (
        f"{origin}: about {cost.requests:,} request{'s' if cost.requests > 1 else ''}, {_time(cost.seconds)} at the ceiling of "
        f"{cost.ceiling:g} a second, {_volume(cost.volume)}"
    )
    typer.echo(visible(said), err=True)
    if cost.requests > _ASK_ABOVE and not yes:
        raise SettingsError(f"{said}: more than is begun unasked", cure="add --yes, or give a shorter range")


@contextmanager
def _until_signalled() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C or SIGTERM came. The first ends the reading between strides, the second at once."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)

    def ended() -> None:
        came.set()
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, ended)
    try:
        yield came.is_set
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


@contextmanager
def _shown(origin: str) -> Iterator[Callable[[Progress], None]]:
    """Progress on standard error: a bar for people, a line every few seconds for everybody else."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(origin)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Bar(*columns, TextColumn("{task.fields[said]}", markup=False), console=console) as bar:
        task = bar.add_task(visible(origin), total=None, said="")
        yield lambda progress: bar.update(
            task, total=progress.missing, completed=progress.leaves, said=_pace(progress), refresh=True
        )


class _Lines:
    """The same as lines, not too many."""

    def __init__(self, origin: str) -> None:
        self._origin = visible(origin)
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not progress.missing or (now - self._last < _LINE_EVERY and not progress.done):
            return
        self._last = now
        share = 100 * progress.leaves // progress.missing
        typer.echo(
            f"{self._origin}: {progress.leaves} of {progress.missing} leaves ({share}%){_pace(progress)}", err=True
        )


def _pace(progress: Progress) -> str:
    left = progress.left
    if left is None:
        with_ = f", {progress.workers} processes" if progress.workers else ""
        return f", begun{with_}"
    return f", {progress.rate:.0f} leaves/s" + ("" if progress.done else f", {_time(left)} left")


def _volume(volume: int) -> str:
    return f"{volume / 1e9:.1f} GB" if volume >= _GIGABYTE else f"{volume / 1e6:.1f} MB"


def _time(seconds: float) -> str:
    from datetime import timedelta  # noqa: PLC0415

    from monitor.alerts.parts import duration  # noqa: PLC0415

    return duration(timedelta(seconds=max(1, round(seconds))))
