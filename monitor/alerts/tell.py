"""Decides what has to be told to which sink when an incident changes, and queues it in the caller's transaction. Sends nothing."""

from __future__ import annotations

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


async def finding(
    tx: Tx,
    before: Incident,
    after: Incident,
    stored: StoredFinding,
    options: AlertOptions,
    now: datetime,
    *,
    fresh: bool,
) -> None:
    """Queue the telling of one finding that `before` grew by."""
    known = await deliveries.sinks_of(tx, after.id)
    configured = {route.sink for route in options.routes}
    chosen = (*sinks_for(after.severity, options.routes), *(sink for sink in known if sink in configured))
    for sink in dict.fromkeys(chosen):
        if sink not in known:
            ids = await incidents.finding_ids(tx, after.id, MAX_FINDINGS)
            await _queue(tx, after, sink, DeliveryKind.INCIDENT, after.severity, ids, now)
            continue
        kind = kind_of(before, after, fresh=fresh)
        quiet = wording.quiet(after)
        waits = quiet and kind is DeliveryKind.EVENT
        await _add(tx, after, sink, kind, stored, now, now + options.quiet_interval if waits else now)
        if before.severity is not after.severity or before.state is not after.state or waits:
            await state(tx, after, sink, now, now + options.quiet_interval if waits else now)


async def place(tx: Tx, incident: Incident, stored: StoredFinding, options: AlertOptions, now: datetime) -> None:
    """Show where else stands what was said already: in what still waits to be told, else by an edit of the first message."""
    later = now + options.quiet_interval if wording.quiet(incident) else now
    for sink in await deliveries.sinks_of(tx, incident.id):
        last = await deliveries.last_waiting(tx, incident.id, sink, kinds=_WEIGHT)
        together = merged(last, DeliveryKind.EVENT) if last is not None else None
        if last is None or together is None:
            await state(tx, incident, sink, now, later)
        else:
            ids = (*last.finding_ids, stored.id)
            await deliveries.extend(tx, last, kind=together, severity=last.severity, finding_ids=ids)


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
    tx: Tx, incident: Incident, sink: str, kind: DeliveryKind, stored: StoredFinding, now: datetime, at: datetime
) -> None:
    """Put a finding into the last delivery that waits, or queue a new one. What cannot wait takes along what does."""
    severity = stored.finding.severity
    if at <= now:
        await deliveries.hasten(tx, incident.id, sink, now)
    last = await deliveries.last_waiting(tx, incident.id, sink, kinds=_WEIGHT)
    together = merged(last, kind) if last is not None else None
    if last is None or together is None:
        await _queue(tx, incident, sink, kind, severity, (stored.id,), now, at)
        return
    ids = (*last.finding_ids, stored.id)
    await deliveries.extend(tx, last, kind=together, severity=max(last.severity, severity), finding_ids=ids)


async def _queue(  # noqa: PLR0913, PLR0917 - one argument a column
    tx: Tx,
    incident: Incident,
    sink: str,
    kind: DeliveryKind,
    severity: Severity,
    finding_ids: tuple[int, ...],
    now: datetime,
    at: datetime | None = None,
) -> None:
    await deliveries.add(
        tx,
        incident_id=incident.id,
        sink=sink,
        kind=kind,
        severity=severity,
        finding_ids=finding_ids,
        now=now,
        next_attempt=at,
    )
