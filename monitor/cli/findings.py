"""`findings`: one rule's verdict a row."""

from __future__ import annotations

import typer

from monitor.cli import output, run
from monitor.cli.options import AfterOption, FormatOption, LimitOption, cut, filtered, page
from monitor.cli.output import Format
from monitor.model.filters import FindingFilter

app = typer.Typer(help="What the rules found.", no_args_is_help=True)
_COLUMNS = ("id", "found_at", "severity", "rule", "accepted", "log", "index", "identity", "digest", "incident")


@app.command("list")
@run.command
@filtered(FindingFilter)
async def list_(
    context: typer.Context,
    narrowed: FindingFilter,
    after: AfterOption = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TABLE,
) -> None:
    """List findings in the order in which they were first found."""
    from monitor.history.rows import FindingRow, finding_row  # noqa: PLC0415 - late: `--help` does without the store
    from monitor.store import findings  # noqa: PLC0415

    async with run.reading(context) as store, store.read() as tx:
        rows = [finding_row(each) for each in await findings.list_findings(tx, narrowed, page(after, limit))]
    shown = cut(rows, limit, lambda row: row.id)
    output.write(shown, FindingRow, form, columns=_COLUMNS)
