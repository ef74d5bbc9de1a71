"""`coverage`: which leaves of each log are proven, and which are not."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import FormatOption  # noqa: TC001 - typer reads it at run time
from monitor.cli.output import Format

app = typer.Typer(help="What of the logs is proven, and what is not.", no_args_is_help=True)


@app.command("show")
@run.command
async def show(
    context: typer.Context,
    log: Annotated[
        str | None, typer.Option("--log", metavar="ORIGIN", help="Only this log, as `status` or `logs list` names it.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what of each log is proven, under which checkpoint, and what is not: gaps, holes, what is not read yet."""
    from monitor.history import ranges  # noqa: PLC0415 - late: `--help` does without the store

    async with run.reading(context) as store, store.read() as tx:
        rows = await ranges.coverage(tx, log)
    output.write(rows, ranges.RangeRow, form)
