"""Makes incidents of findings: one act, one incident (DESIGN section 8).

A finding without an incident is the queue; each is placed, with the deliveries that it calls for, in a transaction of its own, so
that a kill loses and repeats nothing (P2). Sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.alerts import tell, wording
from monitor.model.finding import Category, Severity
from monitor.model.incident import IncidentState
from monitor.model.text import rfc3339
from monitor.store import findings, incidents

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.alerts.options import AlertOptions
    from monitor.model.finding import Finding, StoredFinding
    from monitor.model.incident import Incident
    from monitor.store.engine import Store, Tx

US = "monitor"
"""Who acts where no person does."""
STRANGERS = frozenset({"untrusted-certificate", "entry-quarantined"})
"""What anyone can write into a public log."""
RECOVERED = "recovered"
_RUN = "run:"


def key(stored: StoredFinding) -> str:
    """The key of the incident that a finding belongs to: the first that applies, in section 8's order.

    History comes before all: it is one incident. A day is the UTC day on which we found it, which no stranger chooses.
    """
    finding = stored.finding
    if finding.history:
        return wording.BASELINE_KEY
    if finding.rule in STRANGERS and finding.severity < Severity.CRITICAL:
        return f"{wording.DAY_KEY}{rfc3339(stored.found_at)[:10]}"
    if finding.category is Category.RELEASE and finding.version is not None:
        return f"release:{finding.version}"
    if finding.run is not None and (finding.trusted or finding.category is Category.INTEGRITY):
        return f"{_RUN}{finding.run}"
    if finding.category is Category.INTEGRITY and finding.version is not None:
        return f"release:{finding.version}"
    return f"event:{finding.event}" if finding.event is not None else source_key(finding)


def source_key(finding: Finding) -> str:
    """The key of what is about a log or one of our sources; the two are apart, for a server that is down has not lied (P6)."""
    kind, _, rest = finding.subject.partition(":")
    if kind == "source":
        return f"source:{rest.removeprefix(f'{finding.rule}:').rpartition('@')[0] or rest}"
    return f"log:{finding.log}" if finding.log else finding.subject


async def gather(store: Store, options: AlertOptions, now: datetime) -> int:
    """Place findings that have no incident, the worst first, until none is left or the pass is full. Returns how many were placed."""
    placed = 0
    while placed < options.batch:
        async with store.read() as tx:
            waiting = await findings.unassigned(tx, limit=min(100, options.batch - placed))
        before = placed
        for stored in waiting:
            async with store.write() as tx:
                placed += await place(tx, stored.id, options, now)
        if placed == before:
            break
    return placed


async def place(tx: Tx, finding_id: int, options: AlertOptions, now: datetime) -> bool:
    """Give one finding its incident and its deliveries; False when it has them already or was taken back."""
    stored = await findings.get(tx, finding_id)
    if stored is None or stored.incident_id is not None or stored.withdrawn_at is not None:
        return False
    finding = stored.finding
    incident = await _incident_for(tx, key(stored), finding, options, now)
    fresh = finding.event is not None and not await incidents.has_event(tx, incident.id, finding.event)
    await findings.assign(tx, stored.id, incident.id)
    grown = _grow(incident, finding, now, fresh=fresh)
    await incidents.save(tx, incident, grown)
    await _note_changes(tx, incident, grown, finding, now)
    await tell.finding(tx, incident, grown, stored, options, now, fresh=fresh)
    return True


def _grow(incident: Incident, finding: Finding, now: datetime, *, fresh: bool) -> Incident:
    """The incident with one finding more: the worst heads it, and what is new in earnest voids an acknowledgement."""
    quiet = wording.quiet(incident)
    worse = incident.count == 0 or finding.severity > incident.severity
    raised = incident.count > 0 and finding.severity > incident.severity
    voided = incident.state is IncidentState.ACKNOWLEDGED and (raised or (fresh and not quiet))
    count = incident.count + 1
    heading = wording.title(finding) if worse else incident.title
    return replace(
        incident,
        severity=max(incident.severity, finding.severity),
        category=finding.category if worse else incident.category,
        title=wording.quiet_title(incident.key, count) if quiet else heading,
        state=IncidentState.OPEN if voided else incident.state,
        updated_at=now,
        count=count,
    )


async def _incident_for(tx: Tx, wanted: str, finding: Finding, options: AlertOptions, now: datetime) -> Incident:
    """The incident of this key that is not resolved, one that its run joins, or a new one linked to the last."""
    found = await incidents.unresolved(tx, wanted) or await _joined(tx, wanted, finding, options, now)
    if found is not None:
        return found
    previous = await incidents.latest(tx, wanted)
    new = await incidents.create(
        tx,
        key=wanted,
        severity=finding.severity,
        category=finding.category,
        title=wording.title(finding),
        now=now,
        previous_id=previous.id if previous else None,
        history=finding.history,
    )
    again = f", as incident {previous.id} before it" if previous else ""
    await incidents.add_event(tx, new.id, US, "opened", f"{finding.rule}: {finding.summary}{again}", now)
    return new


async def _joined(tx: Tx, wanted: str, finding: Finding, options: AlertOptions, now: datetime) -> Incident | None:
    """The open incident that a run of the second publishing workflow joins: of the other one's first run at the same ref and commit."""
    if not wanted.startswith(_RUN) or not (finding.trusted and finding.ref and finding.commit and finding.workflow):
        return None
    publishing = {name.lower() for name in options.publishing}
    own = finding.workflow.lower()
    if own not in publishing or not publishing - {own}:
        return None
    first = await incidents.first_run(tx, publishing - {own}, finding.ref, finding.commit)
    incident = await incidents.unresolved(tx, f"{_RUN}{first}") if first is not None else None
    if incident is None or incident.joined_key is not None or not incident.key.startswith(_RUN):
        return None
    joined = replace(incident, joined_key=wanted, updated_at=now)
    await incidents.save(tx, incident, joined)
    await incidents.add_event(tx, incident.id, US, "joined", f"by {finding.run}", now)
    return joined


async def _note_changes(tx: Tx, before: Incident, after: Incident, finding: Finding, now: datetime) -> None:
    if before.count and after.severity is not before.severity:
        words = f"from {before.severity.value} to {after.severity.value}: {finding.rule}"
        await incidents.add_event(tx, after.id, US, "raised", words, now)
    if before.state is IncidentState.ACKNOWLEDGED and after.state is IncidentState.OPEN:
        await incidents.add_event(tx, after.id, US, "acknowledgement voided", f"{finding.rule}: {finding.summary}", now)
