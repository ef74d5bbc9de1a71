"""One row class a list: their field names, in this order, are what `--format json|jsonl|csv` promises. Only ever add to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.filters import FindingFilter, Page
from monitor.store import findings
from monitor.store.entries import EntryRow

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.finding import Accepted, Category, Severity, StoredFinding
    from monitor.model.incident import Incident, IncidentState
    from monitor.store.engine import Tx

__all__ = ["EntryRow", "FindingRow", "IncidentRow", "finding_row", "findings_of", "incident_row"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding.

    `index` is the leaf's place in its own log, `global_index` and `uuid` are Rekor v1's; `run`, `attempt`, `commit` and
    `workflow` are known of trusted certificates only; `entry` and `incident` are ids of the other lists.
    """

    id: int
    rule: str
    severity: Severity
    category: Category
    log: str | None
    index: int | None
    global_index: int | None
    uuid: str | None
    identity: str | None
    issuer: str | None
    digest: str | None
    accepted: Accepted | None
    summary: str
    artifacts: tuple[str, ...]
    version: str | None
    workflow: str | None
    ref: str | None
    run: str | None
    attempt: int | None
    commit: str | None
    trusted: bool
    event: str | None
    subject: str
    signed_at: datetime | None
    found_at: datetime
    withdrawn_at: datetime | None
    history: bool
    entry: int | None
    incident: int | None


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident; `previous` is the resolved one that it recurs, `findings` how many it holds."""

    id: int
    state: IncidentState
    severity: Severity
    category: Category
    title: str
    findings: int
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    previous: int | None
    history: bool
    key: str
    joined_key: str | None


def finding_row(stored: StoredFinding) -> FindingRow:
    """A stored finding as lists show it."""
    finding = stored.finding
    return FindingRow(
        id=stored.id,
        rule=finding.rule,
        severity=finding.severity,
        category=finding.category,
        log=finding.log,
        index=finding.index,
        global_index=finding.global_index,
        uuid=finding.uuid,
        identity=finding.identity,
        issuer=finding.issuer,
        digest=finding.digest,
        accepted=finding.accepted,
        summary=finding.summary,
        artifacts=finding.artifacts,
        version=finding.version,
        workflow=finding.workflow,
        ref=finding.ref,
        run=finding.run,
        attempt=finding.attempt,
        commit=finding.commit,
        trusted=finding.trusted,
        event=finding.event,
        subject=finding.subject,
        signed_at=finding.signed_at,
        found_at=stored.found_at,
        withdrawn_at=stored.withdrawn_at,
        history=finding.history,
        entry=stored.entry_id,
        incident=stored.incident_id,
    )


def incident_row(incident: Incident) -> IncidentRow:
    """An incident as lists show it."""
    return IncidentRow(
        id=incident.id,
        state=incident.state,
        severity=incident.severity,
        category=incident.category,
        title=incident.title,
        findings=incident.count,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        resolved_at=incident.resolved_at,
        previous=incident.previous_id,
        history=incident.history,
        key=incident.key,
        joined_key=incident.joined_key,
    )


async def findings_of(tx: Tx, entry: EntryRow) -> list[FindingRow]:
    """Every finding about one entry, those taken back too."""
    narrowed = FindingFilter(log=entry.log, digest=entry.digest, withdrawn=True)
    found: list[FindingRow] = []
    after: int | None = None
    while rows := await findings.list_findings(tx, narrowed, Page(_PAGE, after)):
        found += [finding_row(each) for each in rows if each.entry_id == entry.id]
        after = rows[-1].id
    return found
