"""`logs` and `status`: which logs are followed, how far each is proven, and what would not be seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from monitor.cli import output, run
from monitor.cli.options import FormatOption  # noqa: TC001 - typer reads it at run time
from monitor.cli.output import Format
from monitor.model.text import number, rfc3339, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.config import Settings
    from monitor.history.coverage import LogRow, Patience
    from monitor.store.engine import Tx

app = typer.Typer(help="The logs that are followed.", no_args_is_help=True)
_COLUMNS = ("log", "protocol", "mode", "state", "protected", "start", "position", "behind", "asked_at", "url")


@app.command("list")
@run.command
async def list_(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List every log with how far it is proven and what of it would not be seen."""
    from monitor.history import coverage  # noqa: PLC0415 - late: `--help` does without the store

    settings = run.settings(context)
    async with run.stored(settings) as store, store.read() as tx:
        rows = await coverage.statement(tx, _patience(settings), datetime.now(UTC), _ignored(settings))
    output.write(rows, coverage.LogRow, form, columns=_COLUMNS)


@run.command
async def status(context: typer.Context) -> int:
    """Say what is watched and what is not, a line a log. Exit status 0 when all of it is protected, 5 when not.

    A log that the settings leave out (`ignore`) is named, and does not count.
    """
    from monitor.history import coverage, issued  # noqa: PLC0415 - late: `--help` does without the store

    settings = run.settings(context)
    now, patience = datetime.now(UTC), _patience(settings)
    async with run.stored(settings) as store, store.read() as tx:
        rows = await coverage.statement(tx, patience, now, _ignored(settings))
        troubles = await coverage.troubles(tx, patience, now)
        notes = await unchecked(settings, tx)
        certificates = await issued.statement(tx)
    for row in rows:
        typer.echo(_line(row))
        for gap in row.gaps:
            typer.echo(f"    not seen: {visible(gap)}")
        for limit in row.limits:
            typer.echo(f"    limit: {visible(limit)}")
    if not rows:
        typer.echo("no log is followed yet: start the monitor (`run`), or `poll` once")
    if certificates:
        typer.echo(f"certificates: {certificates}")
    for trouble in troubles:
        typer.echo(f"trouble: {visible(trouble)}")
    for note in notes:
        typer.echo(f"not checked: {visible(note)}")
    for said in _costs(settings, rows):
        typer.echo(f"cost: {visible(said)}")
    wanted = [row for row in rows if row.gaps != (coverage.IGNORED,)]
    protected = wanted and not troubles and all(row.protected for row in wanted)
    return run.Exit.CLEAN if protected else run.Exit.OPERATIONAL


def _line(row: LogRow) -> str:
    standing = "protected" if row.protected else "NOT PROTECTED"
    began = " since" if row.protected else ", watched since"
    start = f" (from leaf {row.start})" if row.start is not None else ""
    since = f"{began} {rfc3339(row.since.replace(microsecond=0))}{start}" if row.since else ""
    behind = (
        ""
        if row.behind is None
        else f", {number(row.behind, 'leaf', 'leaves')} behind"
        if row.behind
        else ", up to date"
    )
    proven = "" if row.position is None else f", proven to {row.position}"
    asked = f", last asked {rfc3339(row.asked_at.replace(microsecond=0))}" if row.asked_at else ""
    return f"{visible(row.title)}: {row.mode}, {row.state}: {standing}{since}{proven}{behind}{asked}"


def _ignored(settings: Settings) -> list[str]:
    return [log.origin for log in settings.watch.logs if log.ignore]


def _costs(settings: Settings, rows: Iterable[LogRow]) -> list[str]:
    from monitor.watch import cost  # noqa: PLC0415

    return cost.complete_v1([(row.log, row.protocol, row.mode) for row in rows], settings.watch)


def _patience(settings: Settings) -> Patience:
    from monitor.history.coverage import Patience  # noqa: PLC0415

    return Patience(settings.watch.poll_interval, settings.watch.ended_interval, settings.policy.deadline)


async def unchecked(settings: Settings, tx: Tx) -> list[str]:
    """What these settings, and what is known of releases, leave unchecked, in sentences."""
    from monitor.config.pinned import with_pinned_ids  # noqa: PLC0415
    from monitor.history import coverage  # noqa: PLC0415
    from monitor.store import ids, releases  # noqa: PLC0415

    settings = with_pinned_ids(settings, await ids.pinned(tx))
    known = (await releases.expectations(tx, None)).sources or bool(settings.expected or settings.registry.repositories)
    return list(coverage.unchecked(settings.policy, digests=known, ignored=_ignored(settings)))
