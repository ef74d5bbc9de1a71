"""`timeline`: what happened, in order, on one axis."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import TIME, FormatOption, LimitOption, moment
from monitor.cli.output import Format

_COLUMNS = ("datetime", "kind", "message", "ids")


@run.command
async def timeline(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(metavar=TIME, help="At or after this time (2026-01-31T12:00:00Z).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar=TIME, help="Before this time (2026-01-31T12:00:00Z).")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only rows after the row of this key: the next page.")
    ] = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show signatures, findings, incidents, operators' acts, messages and checkpoints in order of time (JSONL suits Timesketch)."""
    from monitor.history import timeline as history  # noqa: PLC0415 - late: `--help` does without the store

    first, last = moment("--since", since), moment("--until", until)
    async with run.reading(context) as store, store.read() as tx:
        rows = await history.events(tx, first, last, after, limit + 1)
    if len(rows) > limit:
        rows = rows[:limit]
        typer.echo(f"more rows follow: add --after {rows[-1].key}", err=True)
    output.write(rows, history.TimelineEvent, form, columns=_COLUMNS)
