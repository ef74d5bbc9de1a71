"""`run` and `poll`: watch for good, or for one pass that says by its exit status what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from monitor.cli import logs, run
from monitor.model.filters import IncidentFilter, Page
from monitor.model.finding import Category, Severity
from monitor.model.log import Mode, titled
from monitor.model.text import number, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.app import App
    from monitor.model.incident import Incident
    from monitor.poll import PollReport
    from monitor.store.engine import Store

SETTINGS = "settings:"
"""How what the settings ask of a log is named among the troubles."""
_PAGE = 500
_FINDINGS = frozenset({Category.IDENTITY, Category.DIGEST, Category.RELEASE, Category.INTEGRITY})


@run.command
async def run_(context: typer.Context) -> None:
    """Watch: follow every log, judge, keep and tell, until stopped by SIGTERM or Ctrl-C."""
    async with run.opened(context, lead=True) as app:
        from monitor.alerts.sinks.register import shortcomings  # noqa: PLC0415 - late: `--help` does without it

        for said in shortcomings(app.sinks):
            typer.echo(said, err=True)
        await _tell_costs(app)
        await run.serve(app)


@run.command
async def poll(context: typer.Context) -> int:
    """Read every log once to its newest checkpoint, judge, tell, and end. The exit status speaks of all open incidents.

    4: one of them is about a log's integrity; 3: about an identity, a digest, a release, a certificate that signed nothing public, or
    an entry that cannot be read; 5: something else is open, or this pass could not read or tell everything. Acknowledged and
    resolved incidents do not count.
    """
    async with run.opened(context, lead=True) as app:
        await _tell_costs(app)
        report = await run.poll(app)
        incidents = await _open(app.store)
        async with app.store.read() as tx:
            notes = await logs.unchecked(app.settings, tx)
    _print(report, incidents, notes)
    return status(report, incidents)


async def _tell_costs(app: App) -> None:
    for said in await app.costs():
        typer.echo(f"cost: {visible(said)}", err=True)


def status(report: PollReport, incidents: Sequence[Incident]) -> int:
    """The exit status of a pass: the gravest of what is open and what went wrong."""
    categories = {incident.category for incident in incidents}
    if any(each.category is Category.INTEGRITY and each.severity >= Severity.HIGH for each in incidents):
        return run.Exit.INTEGRITY
    if categories & _FINDINGS:
        return run.Exit.FINDINGS
    unread = report.unreached or not report.logs or any(each.passed.error or each.missing for each in report.logs)
    if categories or report.undelivered or unread:
        return run.Exit.OPERATIONAL
    return run.Exit.CLEAN


async def _open(store: Store) -> list[Incident]:
    from monitor.store import incidents  # noqa: PLC0415

    found: list[Incident] = []
    async with store.read() as tx:
        while more := await incidents.list_incidents(
            tx, IncidentFilter(state="open"), Page(_PAGE, found[-1].id if found else None)
        ):
            found += more
    return found


def _print(report: PollReport, incidents: list[Incident], notes: list[str]) -> None:
    _print_logs(report)
    titles = {each.log.origin: each.log.title for each in report.logs}
    for name, error in report.unreached:
        of_settings = name.removeprefix(SETTINGS)
        trouble = "it could not be read\n    not read" if of_settings == name else "not as the settings ask"
        typer.echo(f"{visible(titled(of_settings, titles))}: {trouble}: {visible(error)}")
    typer.echo(f"{number(report.new_findings, 'new finding')}, {number(len(incidents), 'open incident')}")
    for incident in incidents:
        title = visible(titled(incident.title, titles))
        typer.echo(f"    #{incident.id} {incident.severity} {incident.category}: {title}")
    if report.undelivered:
        waiting = number(report.undelivered, "message is", "messages are")
        typer.echo(f"{waiting} not delivered yet: the next `poll`, or the daemon, tells what is due")
    for note in notes:
        typer.echo(f"not checked: {visible(note)}")


def _print_logs(report: PollReport) -> None:
    for each in report.logs:
        passed = each.passed
        behind = f", {passed.behind} behind" if passed.behind else ""
        if each.log.mode is Mode.COMPLETE:
            read = f"read {passed.leaves} leaves, {passed.entries} ours; proven to {passed.position} of {passed.size}{behind}"
        else:
            read = f"mode {each.log.mode}: not read completely; checkpoint of {passed.size} leaves"
        typer.echo(f"{visible(each.log.title)}: {read}")
        if passed.skipped:
            typer.echo(f"    not read: {passed.skipped} leaves that were passed over for the newest to come first")
        for missing in each.missing:
            typer.echo(f"    not read: {visible(missing)}")
        if passed.error:
            typer.echo(f"    not read: {visible(passed.error)}")
    if any(each.log.mode is not Mode.COMPLETE for each in report.logs):
        found = number(report.searched, "new entry", "new entries")
        typer.echo(f"by certificates and indexes: {found} of ours")
    if not report.logs:
        typer.echo("no log could be followed")
