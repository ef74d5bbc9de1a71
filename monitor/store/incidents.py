"""Incidents and what people did about them. Keeps rows; which finding belongs to which incident is decided above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.errors import LostRaceError
from monitor.model.incident import Incident, IncidentState
from monitor.store.sql import at_least, chunks, of_certificate_log, severity_rank
from monitor.store.tables import entries, findings, incidents, operator_events

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from monitor.model.filters import IncidentFilter, Page
    from monitor.model.finding import Category, Severity
    from monitor.store.connect import Tx

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class OperatorEvent:
    """What a person, or this program in their stead (`monitor`), did to an incident."""

    id: int
    at: datetime
    who: str
    what: str
    incident_id: int | None
    detail: str


async def create(  # noqa: PLR0913 - one argument a column
    tx: Tx,
    *,
    key: str,
    severity: Severity,
    category: Category,
    title: str,
    now: datetime,
    previous_id: int | None = None,
    history: bool = False,
) -> Incident:
    """A new open incident without findings."""
    row: dict[str, Any] = {
        "key": key,
        "joined_key": None,
        "state": IncidentState.OPEN,
        "severity": severity,
        "category": category,
        "title": title,
        "history": history,
        "opened_at": now,
        "updated_at": now,
        "resolved_at": None,
        "previous_id": previous_id,
        "count": 0,
    }
    new = (await tx.execute(sa.insert(incidents).values(row).returning(incidents.c.id))).scalar_one()
    return Incident(id=new, **row)


async def get(tx: Tx, incident_id: int) -> Incident | None:
    """The incident of this number."""
    return await _first(tx, incidents.c.id == incident_id)


async def unresolved(tx: Tx, key: str) -> Incident | None:
    """The incident that is not resolved and has this key, or that a run of this key joined."""
    mine = sa.or_(incidents.c.key == key, incidents.c.joined_key == key)
    return await _first(tx, sa.and_(mine, incidents.c.state != IncidentState.RESOLVED))


async def latest(tx: Tx, key: str) -> Incident | None:
    """The newest incident of this key, in whatever state."""
    mine = sa.or_(incidents.c.key == key, incidents.c.joined_key == key)
    return await _first(tx, mine, newest=True)


async def first_run(tx: Tx, workflows: Collection[str], ref: str, commit: str) -> str | None:
    """The run whose trusted findings were the first to open an incident, of one of these workflows (lower case) at this ref and commit."""
    found = (
        sa.select(findings.c.run)
        .where(
            findings.c.incident_id.is_not(None),
            findings.c.trusted,
            findings.c.run.is_not(None),
            findings.c.history.is_(False),
            findings.c.ref == ref,
            findings.c.commit == commit,
            sa.func.lower(findings.c.workflow).in_(sorted(workflows)),
        )
        .order_by(findings.c.incident_id, findings.c.id)
        .limit(1)
    )
    return (await tx.execute(found)).scalar_one_or_none()


async def save(tx: Tx, before: Incident, after: Incident) -> None:
    """Move an incident on. LostRaceError when it is no longer as it was read."""
    changed = await tx.execute(
        sa.update(incidents)
        .where(incidents.c.id == before.id, incidents.c.state == before.state, incidents.c.count == before.count)
        .values(
            joined_key=after.joined_key,
            state=after.state,
            severity=after.severity,
            category=after.category,
            title=after.title,
            updated_at=after.updated_at,
            resolved_at=after.resolved_at,
            count=after.count,
        )
    )
    if changed.rowcount != 1:
        raise LostRaceError(f"incident {before.id} was changed by somebody else")


@dataclass(frozen=True, slots=True)
class EventFinding:
    """One finding of an incident about a signing event. `certificate`: its entry is a certificate log's; None where it has no entry."""

    rule: str
    event: str
    certificate: bool | None
    withdrawn: bool


async def of_events(tx: Tx, incident_id: int, events: Collection[str]) -> list[EventFinding]:
    """The findings of an incident about these signing events, withdrawn ones included."""
    f = findings.c
    joined = sa.select(f.rule, f.event, f.withdrawn_at, entries.c.protocol).select_from(
        findings.outerjoin(entries, entries.c.id == f.entry_id)
    )
    found: list[EventFinding] = []
    for chunk in chunks(sorted(events), _CHUNK):
        for row in await tx.execute(joined.where(f.incident_id == incident_id, f.event.in_(chunk))):
            certificate = row.protocol.certificates if row.protocol is not None else None
            found.append(EventFinding(row.rule, row.event, certificate, row.withdrawn_at is not None))
    return found


async def of_certificates(tx: Tx, entry_ids: Collection[int]) -> set[int]:
    """Those of these entries that stand in certificate logs."""
    found: set[int] = set()
    for chunk in chunks(sorted(entry_ids), _CHUNK):
        mine = sa.select(entries.c.id).where(entries.c.id.in_(chunk), of_certificate_log(entries.c.protocol))
        found.update((await tx.execute(mine)).scalars())
    return found


async def of_event(tx: Tx, event: str, prefix: str) -> Incident | None:
    """The incident that is not resolved, whose key begins so, and that holds a finding about this signing event."""
    held = sa.exists().where(findings.c.incident_id == incidents.c.id, findings.c.event == event)
    mine = (held, incidents.c.key.startswith(prefix, autoescape=True))
    return await _first(tx, sa.and_(*mine, incidents.c.state != IncidentState.RESOLVED))


async def rules(tx: Tx, incident_id: int) -> Mapping[str, int]:
    """How many findings of each rule the incident holds, withdrawn ones aside; the worst rule first."""
    counted = (
        sa.select(findings.c.rule, sa.func.count())
        .where(findings.c.incident_id == incident_id, findings.c.withdrawn_at.is_(None))
        .group_by(findings.c.rule)
        .order_by(sa.func.max(severity_rank(findings.c.severity)).desc(), sa.func.min(findings.c.id))
    )
    return {rule: count for rule, count in (await tx.execute(counted)).all()}  # noqa: C416 - rows are no pairs to mypy


async def finding_ids(tx: Tx, incident_id: int, limit: int) -> tuple[int, ...]:
    """The numbers of the incident's findings, the worst first."""
    held = findings.c.incident_id == incident_id
    rows = await tx.execute(_worst_first(sa.select(findings.c.id).where(held)).limit(limit))
    return tuple(row.id for row in rows)


async def subjects(tx: Tx, incident_id: int) -> Sequence[str]:
    """The subjects of the incident's findings, withdrawn ones aside."""
    held = sa.and_(findings.c.incident_id == incident_id, findings.c.withdrawn_at.is_(None))
    return tuple((await tx.execute(sa.select(findings.c.subject).where(held))).scalars())


async def explained(tx: Tx, limit: int) -> list[Incident]:
    """Incidents that are not resolved and all of whose findings a later judgement took back."""
    mine = findings.c.incident_id == incidents.c.id
    wanted = (
        sa.select(incidents)
        .where(
            incidents.c.state != IncidentState.RESOLVED,
            sa.exists().where(mine),
            ~sa.exists().where(mine, findings.c.withdrawn_at.is_(None)),
        )
        .order_by(incidents.c.id)
        .limit(limit)
    )
    return [_incident(row) for row in (await tx.execute(wanted)).mappings()]


async def worst_of(tx: Tx, ids: Sequence[int], limit: int) -> tuple[int, ...]:
    """The worst `limit` of these findings, the worst first."""
    ranked: list[tuple[int, int]] = []
    for some in chunks(ids, _CHUNK):
        rows = sa.select(severity_rank(findings.c.severity), findings.c.id).where(findings.c.id.in_(some))
        ranked += [(-rank, each) for rank, each in (await tx.execute(rows)).all()]
    return tuple(each for _, each in sorted(ranked)[:limit])


async def list_incidents(tx: Tx, narrowed: IncidentFilter, page: Page) -> list[Incident]:
    """Incidents in the order of their numbers, from `page.after` on."""
    wanted = sa.select(incidents).order_by(incidents.c.id).limit(page.limit)
    if page.after is not None:
        wanted = wanted.where(incidents.c.id > page.after)
    if narrowed.state is not None:
        wanted = wanted.where(incidents.c.state == IncidentState(narrowed.state))
    if narrowed.severity is not None:
        wanted = wanted.where(at_least(incidents.c.severity, narrowed.severity))
    if narrowed.since is not None:
        wanted = wanted.where(incidents.c.opened_at >= narrowed.since)
    if narrowed.until is not None:
        wanted = wanted.where(incidents.c.opened_at < narrowed.until)
    return [_incident(row) for row in (await tx.execute(wanted)).mappings()]


async def add_event(tx: Tx, incident_id: int, who: str, what: str, detail: str, now: datetime) -> int:
    """Keep what was done to an incident, for ever."""
    row = {"at": now, "who": who, "what": what, "incident_id": incident_id, "release": None, "detail": detail}
    new: int = (await tx.execute(sa.insert(operator_events).values(row).returning(operator_events.c.id))).scalar_one()
    return new


async def events(tx: Tx, incident_id: int) -> list[OperatorEvent]:
    """What was done to an incident, in order."""
    e = operator_events.c
    done = (
        sa.select(e.id, e.at, e.who, e.what, e.incident_id, e.detail).where(e.incident_id == incident_id).order_by(e.id)
    )
    return [OperatorEvent(**row) for row in (await tx.execute(done)).mappings()]


async def _first(tx: Tx, where: sa.ColumnElement[bool], *, newest: bool = False) -> Incident | None:
    order = incidents.c.id.desc() if newest else incidents.c.id
    row = (await tx.execute(sa.select(incidents).where(where).order_by(order).limit(1))).mappings().first()
    return _incident(row) if row else None


def _incident(row: sa.RowMapping) -> Incident:
    return Incident(**row)


def _worst_first(select: sa.Select[tuple[int]]) -> sa.Select[tuple[int]]:
    return select.order_by(severity_rank(findings.c.severity).desc(), findings.c.id)
