"""Reads from the store what one delivery tells, and has it put into words.

The words are made when they are sent, so that nobody is told yesterday's state. Nothing here sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from monitor.alerts import acts, appeared, wording
from monitor.alerts import exposure as reach
from monitor.alerts.message import Message, Paragraph, Section
from monitor.alerts.wording import Said, Telling
from monitor.model.finding import Severity
from monitor.model.incident import DeliveryKind
from monitor.store import deliveries, exposure, findings, incidents, logs

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.alerts.options import AlertOptions
    from monitor.model.finding import Finding
    from monitor.model.incident import Delivery, Incident
    from monitor.store.engine import Tx
    from monitor.store.incidents import OperatorEvent

_log = structlog.get_logger(__name__)
_MAX_READ = 50
"""Findings of a delivery that are read to word it; all are counted."""
_TOLD = ("acknowledged", "resolved", "recovered", *acts.ACTS, *appeared.APPEARED)
"""What was done to an incident that messages repeat."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery in words. `thread` is the message that it answers (or, of a state, changes); `threaded` that it may answer one."""

    message: Message
    thread: str | None
    threaded: bool
    broadcast: bool
    marker: str


async def write(tx: Tx, delivery: Delivery, options: AlertOptions, now: datetime) -> Letter:
    """The letter for a delivery, as things stand now."""
    incident = await incidents.get(tx, delivery.incident_id) if delivery.incident_id is not None else None
    if incident is None:
        return Letter(
            wording.test_message(delivery.sink, now), None, threaded=False, broadcast=False, marker=marker(delivery)
        )
    root = await deliveries.told_root(tx, incident.id, delivery.sink)
    first = root if delivery.kind is DeliveryKind.STATE and root is not None else delivery
    certificate_logs = {log.origin: log.title for log in await logs.every(tx) if log.protocol.certificates}
    told = await _findings(tx, incident, first)
    if any(each.log in certificate_logs for each in told):
        told += await _signed_since(tx, incident, told)
    telling = Telling(
        kind=delivery.kind,
        incident=incident,
        findings=told,
        total=max(len(first.finding_ids), len(told)),
        rules=await incidents.rules(tx, incident.id),
        said=_said(await incidents.events(tx, incident.id), delivery, await deliveries.of_incident(tx, incident.id)),
        told_at=(first.sent_at or now) if first is not delivery else now,
        severity=delivery.severity,
        exposures=tuple([await exposure.of(tx, each) for each in reach.asked(told)]),
        certificate_logs=certificate_logs,
    )
    thread = root.message_id if root is not None else None
    follows = delivery.kind in (DeliveryKind.EVENT, DeliveryKind.SIGNATURE)
    loud = delivery.kind is DeliveryKind.SIGNATURE or (
        bool(delivery.finding_ids) and delivery.severity is Severity.CRITICAL and not wording.quiet(incident)
    )
    return Letter(
        _worded(telling, options), thread, threaded=follows, broadcast=follows and loud, marker=marker(delivery)
    )


def _worded(telling: Telling, options: AlertOptions) -> Message:
    """The message; the barest one where wording itself fails, for a fault of ours must not keep a finding from being told."""
    try:
        return wording.compose(telling, options)
    except Exception:  # noqa: BLE001 - whatever wording does, the finding is told
        _log.exception("wording failed", incident=telling.incident.id)
        summaries = tuple(Paragraph(f"{f.severity.value}: {f.rule}: {f.summary}") for f in telling.findings)
        title = f"#{telling.incident.id} {telling.incident.title}"
        return Message(title, telling.incident.severity, (Section("", summaries),), state=telling.incident.state)


def marker(delivery: Delivery) -> str:
    """Names a delivery among all that were ever sent, those of a database since lost or restored included."""
    return f"{delivery.id}.{int(delivery.created_at.timestamp() * 1_000_000)}"


async def _findings(tx: Tx, incident: Incident, delivery: Delivery) -> tuple[Finding, ...]:
    """The worst findings that the delivery tells; what was taken back since is told only where nothing else is left."""
    ids = delivery.finding_ids
    if delivery.kind in (DeliveryKind.ESCALATION, DeliveryKind.STATE) or (
        delivery.kind is DeliveryKind.INCIDENT and not ids
    ):
        ids = tuple(dict.fromkeys((*ids, *await incidents.finding_ids(tx, incident.id, _MAX_READ))))
    stored = [await findings.get(tx, each) for each in await incidents.worst_of(tx, ids, _MAX_READ)]
    held = [each for each in stored if each is not None]
    standing = [each for each in held if each.withdrawn_at is None]
    return tuple(each.finding for each in standing or held)


async def _signed_since(tx: Tx, incident: Incident, told: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What was said of a certificate and holds by now of its signature, or the reverse: it is shown, and not told again."""
    said = {(each.rule, each.event) for each in told if each.event is not None}
    ids = await incidents.finding_ids(tx, incident.id, _MAX_READ)
    stored = [each for each in [await findings.get(tx, each) for each in ids] if each and each.withdrawn_at is None]
    return tuple(f.finding for f in stored if (f.finding.rule, f.finding.event) in said and f.finding not in told)


def _notice(delivery: Delivery) -> bool:
    """Whether it tells what was done to the incident, and no finding."""
    return delivery.kind is DeliveryKind.EVENT and not delivery.finding_ids


def _said(events: list[OperatorEvent], delivery: Delivery, others: list[Delivery]) -> tuple[Said, ...]:
    """What was done to the incident: for a notice what it gives notice of, for a whole message the last few.

    What people do to a release was done before the notice of it was queued, by another process perhaps.
    """
    told = [Said(e.at, e.who, e.what, e.detail) for e in events if e.what in _TOLD]
    if _notice(delivery):
        queued = delivery.created_at
        earlier = [
            e.created_at for e in others if e.sink == delivery.sink and e.sequence < delivery.sequence and _notice(e)
        ]
        since = max(earlier, default=None)
        news = [
            each
            for each in told
            if each.at == queued
            or (each.what in acts.ACTS and each.at <= queued and (since is None or each.at > since))
        ]
        return tuple(news or told[-1:])
    if delivery.kind in (DeliveryKind.INCIDENT, DeliveryKind.STATE, DeliveryKind.ESCALATION):
        return tuple(told[-3:])
    return ()
