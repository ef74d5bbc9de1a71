"""Makes incidents of findings: one act, one incident (DESIGN section 8).

A finding without an incident is the queue; those of one incident are placed, with the deliveries that they call for, in a
transaction of their own, so that a kill loses and repeats nothing (P2). Sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from monitor.alerts import tell, wording
from monitor.model.finding import Category, Severity
from monitor.model.incident import IncidentState
from monitor.model.text import rfc3339
from monitor.store import findings, incidents

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from monitor.alerts.options import AlertOptions
    from monitor.model.finding import Finding, StoredFinding
    from monitor.model.incident import Incident
    from monitor.store.engine import Store, Tx
    from monitor.store.incidents import EventFinding

US = "monitor"
"""Who acts where no person does."""
STRANGERS = frozenset({"untrusted-certificate", "entry-quarantined"})
"""What anyone can write into a public log."""
RECOVERED = "recovered"
_AT_ONCE = 100
"""Findings that are placed in one transaction at most."""
_RUN = "run:"
_EVENT = "event:"


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
    return f"{_EVENT}{finding.event}" if finding.event is not None else source_key(finding)


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
            waiting = await findings.unassigned(tx, limit=min(_AT_ONCE, options.batch - placed))
        before = placed
        together: dict[str, list[int]] = {}
        for stored in waiting:
            together.setdefault(key(stored), []).append(stored.id)
        for ids in together.values():
            async with store.write() as tx:
                placed += await place(tx, ids, options, now)
        if placed == before:
            break
    return placed


async def place(tx: Tx, ids: Sequence[int], options: AlertOptions, now: datetime) -> int:
    """Give findings of one key, in this order, their incident and their deliveries; return how many were placed.

    One that has them already, was taken back, or has another key by now than the first, is left alone.
    """
    waiting = await findings.unplaced(tx, ids)
    waiting = [each for each in waiting if key(each) == key(waiting[0])]
    if not waiting:
        return 0
    found = await _incident_for(tx, key(waiting[0]), waiting[0].finding, options, now)
    held = await _Held.read(tx, found.id, waiting)
    book = tell.Book(tx, found.id)
    incident = found
    for stored in waiting:
        fresh = held.fresh(stored)
        said = stored.finding.severity <= incident.severity and held.said_of_certificate(stored)
        held.add(stored)
        grown = _grow(incident, stored.finding, now, fresh=fresh)
        await _note_changes(tx, incident, grown, stored.finding, now)
        if said:
            await tell.place(book, grown, stored, options, now)
        else:
            await tell.finding(book, incident, grown, stored, options, now, fresh=fresh)
        incident = grown
    await findings.assign(tx, [each.id for each in waiting], incident.id)
    await incidents.save(tx, found, incident)
    await book.close()
    return len(waiting)


class _Held:
    """What an incident holds of the signing events that findings are about, those that come into it one by one included."""

    def __init__(self, known: Iterable[EventFinding], certificates: Collection[int]) -> None:
        self._certificates = certificates
        self._events: set[str] = set()
        self._rules: dict[tuple[str, str], list[bool]] = {}
        for each in known:
            self._events.add(each.event)
            if each.certificate is not None and not each.withdrawn:
                self._rules.setdefault((each.rule, each.event), []).append(each.certificate)

    @classmethod
    async def read(cls, tx: Tx, incident_id: int, waiting: Sequence[StoredFinding]) -> Self:
        events = {each.finding.event for each in waiting if each.finding.event is not None}
        entries = {each.entry_id for each in waiting if each.entry_id is not None}
        return cls(await incidents.of_events(tx, incident_id, events), await incidents.of_certificates(tx, entries))

    def fresh(self, stored: StoredFinding) -> bool:
        """Whether the finding is about an act that the incident knows nothing of yet."""
        finding = stored.finding
        acts = finding.event is not None and finding.category is not Category.INTEGRITY
        return acts and finding.event not in self._events

    def said_of_certificate(self, stored: StoredFinding) -> bool:
        """Whether the same rule was told of the same signing event, and one of the two findings is a certificate log's."""
        if stored.finding.event is None or stored.entry_id is None:
            return False
        others = self._rules.get((stored.finding.rule, stored.finding.event), [])
        return any(other or stored.entry_id in self._certificates for other in others)

    def add(self, stored: StoredFinding) -> None:
        if stored.finding.event is None:
            return
        self._events.add(stored.finding.event)
        if stored.entry_id is not None:
            held = self._rules.setdefault((stored.finding.rule, stored.finding.event), [])
            held.append(stored.entry_id in self._certificates)


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
    if found is None and finding.event is not None and wanted == f"{_EVENT}{finding.event}":
        found = await incidents.of_event(
            tx, finding.event, _EVENT
        )  # opened by its certificate, before there was a signature
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
