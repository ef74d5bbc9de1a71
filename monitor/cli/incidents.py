"""`incidents`: what one person handles together; list and show them, acknowledge and resolve them with a reason that is kept."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import (
    AfterOption,
    DocumentOption,
    FormatOption,
    LimitOption,
    WhoOption,
    WhyOption,
    cut,
    filtered,
    page,
)
from monitor.cli.output import Document, Format
from monitor.errors import MonitorError, SettingsError
from monitor.model.filters import FindingFilter, IncidentFilter, Page
from monitor.model.text import visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from monitor.model.finding import StoredFinding
    from monitor.model.incident import Incident
    from monitor.store.engine import Store

app = typer.Typer(help="What one person handles together.", no_args_is_help=True)
_COLUMNS = ("id", "state", "severity", "category", "opened_at", "findings", "title")
_FINDINGS = 1000

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The incident's number.")]


@app.command("list")
@run.command
@filtered(IncidentFilter)
async def list_(
    context: typer.Context,
    narrowed: IncidentFilter,
    after: AfterOption = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TABLE,
) -> None:
    """List incidents, the oldest first."""
    from monitor.history.rows import IncidentRow, incident_row  # noqa: PLC0415 - late: `--help` does without the store
    from monitor.store import incidents  # noqa: PLC0415

    async with run.reading(context) as store, store.read() as tx:
        rows = [incident_row(each) for each in await incidents.list_incidents(tx, narrowed, page(after, limit))]
    shown = cut(rows, limit, lambda row: row.id)
    output.write(shown, IncidentRow, form, columns=_COLUMNS)


@app.command("show")
@run.command
async def show(
    context: typer.Context,
    incident_id: IdArgument,
    form: DocumentOption = Document.TABLE,
) -> None:
    """Show one incident: its findings with what was expected beside what was seen, what people did, and what was told."""
    from monitor.history.rows import finding_row, incident_row  # noqa: PLC0415
    from monitor.store import deliveries, findings, incidents, logs  # noqa: PLC0415

    async with run.reading(context) as store, store.read() as tx:
        titles = {log.origin: log.title for log in await logs.every(tx) if log.protocol.certificates}
        incident = await incidents.get(tx, incident_id)
        if incident is None:
            raise MonitorError(f"there is no incident {incident_id}", cure="`incidents list` shows those there are")
        held = await findings.list_findings(tx, FindingFilter(incident=incident_id, withdrawn=True), Page(_FINDINGS))
        events = await incidents.events(tx, incident_id)
        told = await deliveries.of_incident(tx, incident_id)
    row = incident_row(incident)
    if form is not Document.TABLE:
        document = {
            "incident": output.plain(row),
            "findings": [
                {"finding": output.plain(finding_row(each)), "facts": output.plain(each.finding.facts)} for each in held
            ],
            "events": output.plain(events),
            "deliveries": output.plain(told),
        }
        typer.echo(json.dumps(document, indent=2 if form is Document.JSON else None))
        return
    output.record([(name, getattr(row, name)) for name in row.__dataclass_fields__])
    for each in held:
        finding = each.finding
        back = " (taken back)" if each.withdrawn_at else ""
        typer.echo(f"\nfinding {each.id}: {finding.severity} {finding.rule}{back}\n  {visible(finding.summary)}")
        if place := _place(each, titles):
            typer.echo(f"  {visible(place)}")
        for fact in finding.facts:
            expected = f"   expected: {visible(fact.expected)}" if fact.expected else ""
            typer.echo(f"  {visible(fact.name)}: {visible(fact.seen)}{expected}")
    for event in events:
        detail = f": {visible(event.detail)}" if event.detail else ""
        typer.echo(f"\n{output.cell(event.at)} {visible(event.who)} {visible(event.what)}{detail}")
    for delivery in told:
        error = f" ({visible(delivery.error)})" if delivery.error else ""
        typer.echo(f"\n{delivery.kind} to {delivery.sink}: {delivery.state}, {output.cell(delivery.sent_at)}{error}")


def _place(stored: StoredFinding, titles: Mapping[str, str]) -> str:
    """Where it was found, which tells a certificate from what was signed with it; empty for what stands in no log."""
    finding = stored.finding
    if finding.log is None or finding.index is None:
        return ""
    kind = "certificate log" if finding.log in titles else "log"
    entry = f" (entry {stored.entry_id})" if stored.entry_id is not None else ""
    return f"{kind} {titles.get(finding.log, finding.log)}, index {finding.index}{entry}"


@app.command("ack")
@run.command
async def acknowledge(context: typer.Context, incident_id: IdArgument, why: WhyOption, who: WhoOption = None) -> None:
    """Say that you are on it: repeats stop calling, new signatures still do."""
    from monitor.alerts import handling  # noqa: PLC0415

    await _act(context, handling.acknowledge, incident_id, who, why)


@app.command("resolve")
@run.command
async def resolve(context: typer.Context, incident_id: IdArgument, why: WhyOption, who: WhoOption = None) -> None:
    """Close it for good: what recurs becomes a new incident, linked to this one."""
    from monitor.alerts import handling  # noqa: PLC0415

    await _act(context, handling.resolve, incident_id, who, why)


async def _act(
    context: typer.Context,
    act: Callable[[Store, int, str, str, datetime], Awaitable[Incident]],
    incident_id: int,
    who: str | None,
    why: str,
) -> None:
    if not why.strip():
        raise SettingsError("--reason is empty", cure="say in a sentence why: it is what the next reader has")
    async with run.reading(context) as store:
        after = await act(store, incident_id, who or getpass.getuser(), why, datetime.now(UTC))
    typer.echo(f"incident {after.id} is {after.state}; the sinks are told by the running monitor, or the next `poll`")
