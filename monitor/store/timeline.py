"""Signatures, findings, incidents, what operators did, what was told and checkpoints, on one axis of time.

It reads the nouns' tables side by side and keeps nothing of its own. Strings stay raw (P7).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.model.incident import DeliveryState
from monitor.store import tables as t
from monitor.store.sql import of_certificate_log
from monitor.store.types import Foreign

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.connect import Tx

_ISSUED = "issued"
"""In place of a digest: what stands in a certificate log has signed nothing."""


class TimelineKind(StrEnum):
    """What happened. Rows of one moment stand in this order."""

    CHECKPOINT = "1-checkpoint"
    SIGNATURE = "2-signature"
    FINDING = "3-finding"
    INCIDENT = "4-incident"
    OPERATOR = "5-operator"
    DELIVERY = "6-delivery"

    @property
    def label(self) -> str:
        """The name that is shown."""
        return self.value.partition("-")[2]


@dataclass(frozen=True, slots=True)
class TimelineKey:
    """Where a row stands on the axis: by these a list pages."""

    time: datetime
    kind: TimelineKind
    id: int


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One thing that happened. `what` is a sentence of raw strings; `ids` name what it is about (`entry`, `log`, …)."""

    key: TimelineKey
    what: str
    ids: tuple[tuple[str, str], ...]

    @property
    def time(self) -> datetime:
        """When it happened: a signature when it was made, as far as that is known."""
        return self.key.time

    @property
    def kind(self) -> str:
        """What kind of thing happened."""
        return self.key.kind.label


async def rows(
    tx: Tx,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    limit: int = 100,
    after: TimelineKey | None = None,
) -> list[TimelineRow]:
    """Return at most `limit` rows of [since, until) that follow `after`, in order of time."""
    parts = [
        _narrowed(part, kind, since=since, until=until, after=after).order_by(sa.text("at, id")).limit(limit)
        for kind, part in _parts().items()
    ]
    union = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery()
    statement = sa.select(union).order_by(union.c.at, union.c.kind, union.c.id).limit(limit)
    return [_row(row) for row in (await tx.execute(statement)).mappings()]


def _narrowed(
    part: sa.Select[Any],
    kind: TimelineKind,
    *,
    since: datetime | None,
    until: datetime | None,
    after: TimelineKey | None,
) -> sa.Select[Any]:
    at, row_id = part.selected_columns.at, part.selected_columns.id
    if since is not None:
        part = part.where(at >= since)
    if until is not None:
        part = part.where(at < until)
    if after is not None:
        if kind > after.kind:
            part = part.where(at >= after.time)
        elif kind < after.kind:
            part = part.where(at > after.time)
        else:
            part = part.where(sa.or_(at > after.time, sa.and_(at == after.time, row_id > after.id)))
    return part


def _parts() -> dict[TimelineKind, sa.Select[Any]]:
    e, f, i, o, d, c = t.entries.c, t.findings.c, t.incidents.c, t.operator_events.c, t.deliveries.c, t.checkpoints.c
    told = d.state.in_([DeliveryState.SENT, DeliveryState.PARKED])
    return {
        TimelineKind.CHECKPOINT: _part(TimelineKind.CHECKPOINT, c.first_seen, c.id, c.log, c.size, None, c.status),
        TimelineKind.SIGNATURE: _part(
            TimelineKind.SIGNATURE,
            e.at,
            e.id,
            e.log,
            e.index,
            sa.func.coalesce(e.identity, e.key_id),
            sa.case((of_certificate_log(e.protocol), _ISSUED), else_=e.digest),
        ),
        TimelineKind.FINDING: _part(
            TimelineKind.FINDING, f.found_at, f.id, f.rule, f.incident_id, f.summary, f.severity
        ),
        TimelineKind.INCIDENT: _part(TimelineKind.INCIDENT, i.opened_at, i.id, i.key, i.id, i.title, i.severity),
        TimelineKind.OPERATOR: _part(TimelineKind.OPERATOR, o.at, o.id, o.who, o.incident_id, o.what, o.detail),
        TimelineKind.DELIVERY: _part(
            TimelineKind.DELIVERY,
            sa.func.coalesce(d.sent_at, d.next_attempt),
            d.id,
            d.sink,
            d.incident_id,
            d.kind,
            d.state,
        ).where(told),
    }


def _part(
    kind: TimelineKind,
    at: sa.ColumnElement[Any],
    row_id: sa.ColumnElement[Any],
    *columns: sa.ColumnElement[Any] | None,
) -> sa.Select[Any]:
    who, number, what, detail = columns
    return sa.select(
        at.label("at"),
        sa.literal(kind.value, sa.String).label("kind"),
        row_id.label("id"),
        _text(who).label("who"),
        (sa.null() if number is None else number).cast(sa.BigInteger).label("number"),
        _text(what).label("what"),
        _text(detail).label("detail"),
    )


def _text(column: sa.ColumnElement[Any] | None) -> sa.ColumnElement[str | None]:
    return sa.type_coerce((sa.null() if column is None else column).cast(sa.Text), Foreign())


def _row(row: sa.RowMapping) -> TimelineRow:
    kind = TimelineKind(row["kind"])
    who, number, what, detail = row["who"], row["number"], row["what"], row["detail"]
    ids: list[tuple[str, str]] = [(kind.label, str(row["id"]))]
    if kind is TimelineKind.CHECKPOINT:
        text = f"{who} signed a tree of {number} leaves ({detail})"
        ids += [("log", who), ("size", str(number))]
    elif kind is TimelineKind.SIGNATURE and detail == _ISSUED:
        text = f"a certificate was issued for {what or 'nobody'}"
        ids += [("log", who), ("index", str(number))]
    elif kind is TimelineKind.SIGNATURE:
        text = f"{what or 'an entry without a signer'} signed {detail or 'no digest'}"
        ids += [("log", who), ("index", str(number))]
    elif kind is TimelineKind.FINDING:
        text = f"{detail} {who}: {what}"
        ids += [("rule", who)]
    elif kind is TimelineKind.INCIDENT:
        text = f"{detail} incident {number} opened: {what}"
    elif kind is TimelineKind.OPERATOR:
        text = f"{who}: {what}{': ' + detail if detail else ''}"
    else:
        text = f"{what} told to {who}" if detail == DeliveryState.SENT else f"{what} refused by {who} for good"
    if kind in (TimelineKind.FINDING, TimelineKind.OPERATOR, TimelineKind.DELIVERY) and number is not None:
        ids += [("incident", str(number))]
    return TimelineRow(TimelineKey(row["at"], kind, row["id"]), text, tuple(ids))
