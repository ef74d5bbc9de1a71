"""Decides what has to be told to which sink when an incident changes, and queues it in the caller's transaction. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.alerts import wording
from monitor.alerts.routing import sinks_for
from monitor.model.finding import Severity
from monitor.model.incident import DeliveryKind, DeliveryState
from monitor.store import deliveries, incidents

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.alerts.options import AlertOptions
    from monitor.model.finding import StoredFinding
    from monitor.model.incident import Delivery, Incident
    from monitor.store.engine import Tx

_WEIGHT = (DeliveryKind.EVENT, DeliveryKind.SIGNATURE, DeliveryKind.ESCALATION, DeliveryKind.INCIDENT)
"""Of two things to tell in one message, the later in this list is how it is told."""
MAX_FINDINGS = 500
"""Findings of one delivery; more begin another."""


def kind_of(before: Incident, after: Incident, *, fresh: bool) -> DeliveryKind:
    """How a finding that came into a known incident is told.

    What makes an incident critical is a new post; a new signature is broadcast; quiet incidents speak in their thread, and
    broadcast only what is worse than all before.
    """
    raised = after.severity > before.severity
    if wording.quiet(after):
        return DeliveryKind.SIGNATURE if raised else DeliveryKind.EVENT
    if raised and after.severity is Severity.CRITICAL:
        return DeliveryKind.ESCALATION
    return DeliveryKind.SIGNATURE if fresh else DeliveryKind.EVENT


def merged(waiting: Delivery, new: DeliveryKind) -> DeliveryKind | None:
    """The kind of a waiting delivery that also tells something `new`; None when the two are told apart.

    A notice without findings stays by itself, and so does a delivery that is full.
    """
    if waiting.kind not in _WEIGHT or not waiting.finding_ids or len(waiting.finding_ids) >= MAX_FINDINGS:
        return None
    return max(waiting.kind, new, key=_WEIGHT.index)


class Book:
    """The deliveries of one incident, read and written as seldom as a row of findings allows. `close` writes what still waits here."""

    def __init__(self, tx: Tx, incident_id: int) -> None:
        self.tx = tx
        self._incident_id = incident_id
        self._sinks: tuple[str, ...] | None = None
        self._last: dict[str, Delivery | None] = {}
        self._grown: dict[int, Delivery] = {}
        self._hastened: set[str] = set()
        self._stated: set[str] = set()
        self.placed: list[int] = []
        """The findings that came into the incident, in order; they are not assigned to it yet."""

    async def sinks(self) -> tuple[str, ...]:
        """The sinks that have been, or will be, told of the incident."""
        if self._sinks is None:
            self._sinks = await deliveries.sinks_of(self.tx, self._incident_id)
        return self._sinks

    async def last(self, sink: str) -> Delivery | None:
        """The last delivery into which more can be put, as it is by now."""
        if sink not in self._last:
            self._last[sink] = await deliveries.last_waiting(self.tx, self._incident_id, sink, kinds=_WEIGHT)
        return self._last[sink]

    async def add(self, incident: Incident, new: _New, now: datetime) -> None:
        """A new delivery, after all others."""
        queued = await _queue(self.tx, incident, new.sink, new.kind, new.severity, new.finding_ids, now, new.at)
        self._last[new.sink] = queued
        self._sinks = (*dict.fromkeys((*await self.sinks(), new.sink)),)
        if new.at > now:
            self._hastened.discard(new.sink)

    def extend(self, last: Delivery, kind: DeliveryKind, severity: Severity, finding_id: int) -> None:
        """Put one finding more into a delivery that `last` gave."""
        grown = replace(last, kind=kind, severity=severity, finding_ids=(*last.finding_ids, finding_id))
        self._last[last.sink] = self._grown[last.id] = grown

    async def hasten(self, sink: str, now: datetime) -> None:
        """Let what waits for company go now."""
        if sink not in self._hastened:
            await deliveries.hasten(self.tx, self._incident_id, sink, now)
            self._hastened.add(sink)

    async def state(self, incident: Incident, sink: str, now: datetime, at: datetime) -> None:
        """Queue an edit of the first message, as `state` does: once is enough, whatever else comes."""
        if sink in self._stated:
            return
        self._stated.add(sink)
        await state(self.tx, incident, sink, now, at)
        if at > now:
            self._hastened.discard(sink)

    async def close(self) -> None:
        """Write what grew. LostRaceError when somebody has claimed it meanwhile."""
        for each in self._grown.values():
            await deliveries.extend(self.tx, each, kind=each.kind, severity=each.severity, finding_ids=each.finding_ids)


@dataclass(frozen=True, slots=True)
class _New:
    """A delivery to queue: what it tells, how, where and from when on."""

    sink: str
    kind: DeliveryKind
    severity: Severity
    finding_ids: tuple[int, ...]
    at: datetime


async def finding(
    book: Book,
    before: Incident,
    after: Incident,
    stored: StoredFinding,
    options: AlertOptions,
    now: datetime,
    *,
    fresh: bool,
) -> None:
    """Queue the telling of one finding that `before` grew by."""
    book.placed.append(stored.id)
    known = await book.sinks()
    configured = {route.sink for route in options.routes}
    chosen = (*sinks_for(after.severity, options.routes), *(sink for sink in known if sink in configured))
    for sink in dict.fromkeys(chosen):
        if sink not in known:
            ids = (*book.placed, *await incidents.finding_ids(book.tx, after.id, MAX_FINDINGS))[:MAX_FINDINGS]
            await book.add(after, _New(sink, DeliveryKind.INCIDENT, after.severity, ids, now), now)
            continue
        kind = kind_of(before, after, fresh=fresh)
        quiet = wording.quiet(after)
        waits = quiet and kind is DeliveryKind.EVENT
        await _add(book, after, sink, kind, stored, now, now + options.quiet_interval if waits else now)
        if before.severity is not after.severity or before.state is not after.state or waits:
            await book.state(after, sink, now, now + options.quiet_interval if waits else now)


async def place(book: Book, incident: Incident, stored: StoredFinding, options: AlertOptions, now: datetime) -> None:
    """Show where else stands what was said already: in what still waits to be told, else by an edit of the first message."""
    book.placed.append(stored.id)
    later = now + options.quiet_interval if wording.quiet(incident) else now
    for sink in await book.sinks():
        last = await book.last(sink)
        together = merged(last, DeliveryKind.EVENT) if last is not None else None
        if last is None or together is None:
            await book.state(incident, sink, now, later)
        else:
            book.extend(last, together, last.severity, stored.id)


async def opened(tx: Tx, incident: Incident, options: AlertOptions, now: datetime) -> None:
    """Queue the telling of an incident that has no finding."""
    for sink in sinks_for(incident.severity, options.routes):
        await _queue(tx, incident, sink, DeliveryKind.INCIDENT, incident.severity, (), now)


async def notice(tx: Tx, incident: Incident, now: datetime) -> None:
    """Queue the telling of what a person, or recovery, did to an incident: words for the thread, and the first message's state."""
    for sink in await deliveries.sinks_of(tx, incident.id):
        await deliveries.hasten(tx, incident.id, sink, now)
        await _queue(tx, incident, sink, DeliveryKind.EVENT, incident.severity, (), now)
        await state(tx, incident, sink, now, now)


async def state(tx: Tx, incident: Incident, sink: str, now: datetime, at: datetime) -> None:
    """Queue an edit of the first message, unless one waits already or the message itself still does."""
    root = await deliveries.root(tx, incident.id, sink)
    if root is None or (root.state is DeliveryState.PENDING and not root.unknown_outcome):
        return
    if await deliveries.last_waiting(tx, incident.id, sink, kinds=(DeliveryKind.STATE,)) is None:
        await _queue(tx, incident, sink, DeliveryKind.STATE, incident.severity, (), now, at)


async def _add(
    book: Book, incident: Incident, sink: str, kind: DeliveryKind, stored: StoredFinding, now: datetime, at: datetime
) -> None:
    """Put a finding into the last delivery that waits, or queue a new one. What cannot wait takes along what does."""
    severity = stored.finding.severity
    if at <= now:
        await book.hasten(sink, now)
    last = await book.last(sink)
    together = merged(last, kind) if last is not None else None
    if last is None or together is None:
        await book.add(incident, _New(sink, kind, severity, (stored.id,), at), now)
    else:
        book.extend(last, together, max(last.severity, severity), stored.id)


async def _queue(  # noqa: PLR0913, PLR0917 - one argument a column
    tx: Tx,
    incident: Incident,
    sink: str,
    kind: DeliveryKind,
    severity: Severity,
    finding_ids: tuple[int, ...],
    now: datetime,
    at: datetime | None = None,
) -> Delivery:
    return await deliveries.add(
        tx,
        incident_id=incident.id,
        sink=sink,
        kind=kind,
        severity=severity,
        finding_ids=finding_ids,
        now=now,
        next_attempt=at,
    )
