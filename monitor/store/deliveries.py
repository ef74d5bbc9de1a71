"""Deliveries: what has to be told to whom, kept until it is told (P3).

A delivery is claimed before it is sent and settled after, so that a kill in between leaves a row that says so. What is told, and
when to try again, is decided above.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.errors import LostRaceError
from monitor.model.incident import Delivery, DeliveryKind, DeliveryState, IncidentState
from monitor.store.sql import severity_rank
from monitor.store.tables import deliveries, incidents

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from monitor.model.finding import Severity
    from monitor.store.connect import Tx

POSTS = (DeliveryKind.INCIDENT, DeliveryKind.ESCALATION)
"""The kinds that are posts of their own; the first of them is what threads hang on."""
_ERROR_LIMIT = 1_000


async def add(  # noqa: PLR0913 - one argument a column
    tx: Tx,
    *,
    incident_id: int | None,
    sink: str,
    kind: DeliveryKind,
    severity: Severity,
    finding_ids: tuple[int, ...],
    now: datetime,
    next_attempt: datetime | None = None,
) -> Delivery:
    """A new delivery, after all others of its incident and sink."""
    of = sa.and_(deliveries.c.incident_id == incident_id, deliveries.c.sink == sink)
    last = (await tx.execute(sa.select(sa.func.max(deliveries.c.sequence)).where(of))).scalar_one_or_none()
    row: dict[str, Any] = {
        "incident_id": incident_id,
        "sink": sink,
        "kind": kind,
        "severity": severity,
        "sequence": (last or 0) + 1,
        "finding_ids": finding_ids,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "next_attempt": next_attempt or now,
        "created_at": now,
        "sent_at": None,
        "message_id": None,
        "error": None,
        "unknown_outcome": False,
    }
    new = (await tx.execute(sa.insert(deliveries).values(row).returning(deliveries.c.id))).scalar_one()
    return Delivery(id=new, **row)


async def get(tx: Tx, delivery_id: int) -> Delivery | None:
    """The delivery of this number."""
    return await _first(tx, deliveries.c.id == delivery_id)


async def of_incident(tx: Tx, incident_id: int) -> list[Delivery]:
    """All deliveries of an incident, sink by sink, in the order in which they are told."""
    wanted = sa.select(deliveries).where(deliveries.c.incident_id == incident_id)
    rows = await tx.execute(wanted.order_by(deliveries.c.sink, deliveries.c.sequence))
    return [_delivery(row) for row in rows.mappings()]


async def sinks_of(tx: Tx, incident_id: int) -> tuple[str, ...]:
    """The sinks that have been, or will be, told of an incident."""
    named = sa.select(deliveries.c.sink).where(deliveries.c.incident_id == incident_id).distinct()
    return tuple(sorted((await tx.execute(named)).scalars()))


async def root(tx: Tx, incident_id: int, sink: str) -> Delivery | None:
    """The first post about an incident in a sink, told or not."""
    return await _first(tx, _of(incident_id, sink), deliveries.c.kind.in_(POSTS))


async def told_root(tx: Tx, incident_id: int, sink: str) -> Delivery | None:
    """The first post about an incident that a sink gave an id: what a thread hangs on and what an edit changes."""
    told = deliveries.c.message_id.is_not(None)
    return await _first(tx, _of(incident_id, sink), deliveries.c.kind.in_(POSTS), told)


async def last_waiting(tx: Tx, incident_id: int, sink: str, *, kinds: Collection[DeliveryKind]) -> Delivery | None:
    """The last delivery of these kinds that was certainly not told yet, so that more can be put into it."""
    waiting = sa.and_(deliveries.c.state == DeliveryState.PENDING, deliveries.c.unknown_outcome.is_(False))
    return await _first(tx, _of(incident_id, sink), waiting, deliveries.c.kind.in_(kinds), last=True)


async def extend(
    tx: Tx, before: Delivery, *, kind: DeliveryKind, severity: Severity, finding_ids: tuple[int, ...]
) -> None:
    """Put more into a delivery that waits. LostRaceError when it has been claimed since it was read."""
    await _swap(tx, before, kind=kind, severity=severity, finding_ids=finding_ids)


async def hasten(tx: Tx, incident_id: int, sink: str, now: datetime) -> None:
    """Let what waits for company (never tried yet) go now."""
    late = sa.and_(
        deliveries.c.state == DeliveryState.PENDING, deliveries.c.attempts == 0, deliveries.c.next_attempt > now
    )
    await tx.execute(sa.update(deliveries).where(_of(incident_id, sink), late).values(next_attempt=now))


async def due(tx: Tx, sink: str, now: datetime, *, without: Collection[int] = (), limit: int = 1) -> list[Delivery]:
    """What a sink can be told now: of each incident only the earliest that waits; the worst incident first, then the oldest."""
    same = deliveries.alias()
    worst = (
        sa.select(sa.func.max(severity_rank(same.c.severity)))
        .where(
            same.c.incident_id == deliveries.c.incident_id,
            same.c.sink == deliveries.c.sink,
            same.c.state == DeliveryState.PENDING,
        )
        .scalar_subquery()
    )
    wanted = (
        sa.select(deliveries)
        .where(
            deliveries.c.state == DeliveryState.PENDING,
            deliveries.c.sink == sink,
            deliveries.c.next_attempt <= now,
            ~_blocked(),
        )
        .order_by(
            sa.func.coalesce(worst, severity_rank(deliveries.c.severity)).desc(),
            deliveries.c.created_at,
            deliveries.c.id,
        )
        .limit(limit + len(without))
    )
    rows = [_delivery(row) for row in (await tx.execute(wanted)).mappings()]
    return [each for each in rows if each.id not in without][:limit]


async def waiting(tx: Tx, sink: str) -> int:
    """How many deliveries a sink has not been told."""
    pending = sa.and_(deliveries.c.sink == sink, deliveries.c.state == DeliveryState.PENDING)
    return (await tx.execute(sa.select(sa.func.count()).where(pending))).scalar_one()


async def next_due(tx: Tx, sinks: Collection[str]) -> datetime | None:
    """When the next attempt of any delivery to these sinks is due; None when nothing waits."""
    pending = sa.and_(deliveries.c.sink.in_(sinks), deliveries.c.state == DeliveryState.PENDING, ~_blocked())
    first: datetime | None = await tx.scalar(sa.select(sa.func.min(deliveries.c.next_attempt)).where(pending))
    return first


async def parked(tx: Tx, sink: str, limit: int = 10) -> list[Delivery]:
    """What a sink refused for good, of incidents that nobody has resolved."""
    refused = sa.and_(
        deliveries.c.sink == sink,
        deliveries.c.state == DeliveryState.PARKED,
        deliveries.c.kind != DeliveryKind.STATE,
        incidents.c.state != IncidentState.RESOLVED,
    )
    wanted = sa.select(deliveries).join(incidents).where(refused).order_by(deliveries.c.id.desc()).limit(limit)
    return [_delivery(row) for row in (await tx.execute(wanted)).mappings()]


async def orphans(tx: Tx, sinks: Collection[str], limit: int) -> list[Delivery]:
    """What waits for sinks that are no longer there, in the order in which it would have been told."""
    lost = sa.and_(deliveries.c.state == DeliveryState.PENDING, deliveries.c.sink.not_in(sinks))
    wanted = (
        sa.select(deliveries).where(lost).order_by(deliveries.c.incident_id, deliveries.c.sequence, deliveries.c.id)
    )
    return [_delivery(row) for row in (await tx.execute(wanted.limit(limit))).mappings()]


async def claim(tx: Tx, before: Delivery) -> Delivery:
    """Mark an attempt as begun: until it is settled its outcome is unknown. LostRaceError when somebody else has begun one."""
    await _swap(tx, before, attempts=before.attempts + 1, unknown_outcome=True)
    return replace(before, attempts=before.attempts + 1, unknown_outcome=True)


async def sent(tx: Tx, claimed: Delivery, message_id: str | None, now: datetime, note: str | None = None) -> None:
    """Settle an attempt: it was told. `note` says what is odd about that."""
    await _swap(
        tx,
        claimed,
        state=DeliveryState.SENT,
        sent_at=now,
        message_id=message_id,
        unknown_outcome=False,
        error=_clipped(note),
    )


async def failed(tx: Tx, claimed: Delivery, error: str, next_attempt: datetime, *, unknown: bool) -> None:
    """Settle an attempt: it was not told, or (`unknown`) nobody knows."""
    await _swap(tx, claimed, next_attempt=next_attempt, unknown_outcome=unknown, error=_clipped(error))


async def park(tx: Tx, claimed: Delivery, error: str) -> None:
    """Settle an attempt: it never will be told there."""
    await _swap(tx, claimed, state=DeliveryState.PARKED, unknown_outcome=False, error=_clipped(error))


def _blocked() -> sa.Exists:
    """Whether something earlier of the same incident still waits for the same sink."""
    other = deliveries.alias()
    return sa.exists().where(
        other.c.incident_id == deliveries.c.incident_id,
        other.c.sink == deliveries.c.sink,
        other.c.state == DeliveryState.PENDING,
        other.c.sequence < deliveries.c.sequence,
    )


async def _swap(tx: Tx, before: Delivery, **values: Any) -> None:  # noqa: ANN401 - column values
    changed = await tx.execute(
        sa.update(deliveries)
        .where(
            deliveries.c.id == before.id,
            deliveries.c.state == DeliveryState.PENDING,
            deliveries.c.attempts == before.attempts,
            deliveries.c.unknown_outcome == before.unknown_outcome,
        )
        .values(**values)
    )
    if changed.rowcount != 1:
        raise LostRaceError(f"delivery {before.id} was changed by somebody else")


async def _first(tx: Tx, *where: sa.ColumnElement[bool], last: bool = False) -> Delivery | None:
    order = deliveries.c.sequence.desc() if last else deliveries.c.sequence
    row = (await tx.execute(sa.select(deliveries).where(*where).order_by(order).limit(1))).mappings().first()
    return _delivery(row) if row else None


def _of(incident_id: int, sink: str) -> sa.ColumnElement[bool]:
    return sa.and_(deliveries.c.incident_id == incident_id, deliveries.c.sink == sink)


def _delivery(row: sa.RowMapping) -> Delivery:
    return Delivery(**{**row, "finding_ids": tuple(row["finding_ids"])})


def _clipped(text: str | None) -> str | None:
    return None if text is None else text[:_ERROR_LIMIT]
