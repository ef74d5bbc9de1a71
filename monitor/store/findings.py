"""Findings, unique by (rule, subject). One without an incident is the queue from which incidents are made (P2).

A finding is never deleted: a later judgement that no longer holds it withdraws it, and one that holds it again brings it back. What
has become worse, or has come back after its incident was resolved, goes into the queue again.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.errors import LostRaceError
from monitor.model.finding import Category, Fact, Finding, Severity, StoredFinding
from monitor.model.incident import IncidentState
from monitor.store.sql import at_least, chosen, chunks, insert, severity_rank
from monitor.store.tables import findings, incidents, matches
from monitor.store.types import bounded_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from monitor.model.filters import FindingFilter, Page
    from monitor.store.connect import Tx

_ROWS = 500
_FIELDS = tuple(field.name for field in fields(Finding))


async def put(tx: Tx, new: Sequence[Finding], now: datetime, *, entry_id: int | None) -> list[int]:
    """Keep findings and return the ids of those that are to be told: new ones, worse ones, and ones back after a resolution."""
    told = []
    for finding in new:
        values = _values(finding)
        statement = insert(tx, findings).values(**values, found_at=now, entry_id=entry_id)
        statement = statement.on_conflict_do_nothing(index_elements=["rule", "subject"])
        finding_id = await tx.scalar(statement.returning(findings.c.id))
        if finding_id is None:
            finding_id = await _again(tx, finding, values)
        if finding_id is not None:
            told.append(finding_id)
    return told


async def _again(tx: Tx, finding: Finding, values: dict[str, Any]) -> int | None:
    c = findings.c
    statement = (
        sa.select(c.id, c.severity, c.withdrawn_at, incidents.c.state)
        .select_from(findings.outerjoin(incidents, c.incident_id == incidents.c.id))
        .where(c.rule == finding.rule, c.subject == finding.subject)
    )
    known = (await tx.execute(statement)).one()
    back = known.withdrawn_at is not None and known.state in (None, IncidentState.RESOLVED)
    requeued = back or finding.severity > known.severity
    values = {**values, "withdrawn_at": None, **({"incident_id": None} if requeued else {})}
    await tx.execute(sa.update(findings).where(c.id == known.id).values(values))
    return known.id if requeued else None


async def replace(tx: Tx, entry_id: int, new: Sequence[Finding], now: datetime) -> list[int]:
    """Keep exactly these findings of an entry, withdraw its others, and return what `put` returns."""
    told = await put(tx, new, now, entry_id=entry_id)
    c = findings.c
    held = {(finding.rule, bounded_key(finding.subject)) for finding in new}
    statement = sa.select(c.id, c.rule, c.subject).where(c.entry_id == entry_id, c.withdrawn_at.is_(None))
    gone = [row.id for row in await tx.execute(statement) if (row.rule, row.subject) not in held]
    if gone:
        await tx.execute(sa.update(findings).where(c.id.in_(gone)).values(withdrawn_at=now))
    return told


async def withdraw(tx: Tx, rule: str, subject: str, now: datetime) -> bool:
    """Take back one finding; False when there is none that stands."""
    c = findings.c
    standing = (c.rule == rule, c.subject == subject, c.withdrawn_at.is_(None))
    return (await tx.execute(sa.update(findings).where(*standing).values(withdrawn_at=now))).rowcount == 1


async def taken_back(tx: Tx, rule: str, subject: str) -> bool:
    """Whether there is such a finding, and it does not stand."""
    c = findings.c
    mine = (c.rule == rule, c.subject == subject, c.withdrawn_at.is_not(None))
    return await tx.scalar(sa.select(c.id).where(*mine)) is not None


async def standing(tx: Tx, prefix: str) -> list[tuple[str, str]]:
    """Return (rule, subject) of every finding that stands, is about no entry and whose subject begins so."""
    c = findings.c
    statement = sa.select(c.rule, c.subject).where(
        c.entry_id.is_(None), c.withdrawn_at.is_(None), c.subject.startswith(prefix, autoescape=True)
    )
    return [(row.rule, row.subject) for row in await tx.execute(statement.order_by(c.id))]


async def unassigned(tx: Tx, limit: int) -> list[StoredFinding]:
    """Return at most `limit` findings that stand and have no incident yet, the worst first, then the oldest."""
    c = findings.c
    statement = (
        sa.select(findings)
        .where(c.incident_id.is_(None), c.withdrawn_at.is_(None))
        .order_by(severity_rank(c.severity).desc(), c.id)
        .limit(limit)
    )
    return [stored(row) for row in (await tx.execute(statement)).mappings()]


async def unplaced(tx: Tx, ids: Sequence[int]) -> list[StoredFinding]:
    """Return those of these findings that stand and have no incident yet, in this order."""
    c = findings.c
    found: dict[int, StoredFinding] = {}
    for chunk in chunks(ids, _ROWS):
        free = sa.select(findings).where(c.id.in_(chunk), c.incident_id.is_(None), c.withdrawn_at.is_(None))
        found.update({row["id"]: stored(row) for row in (await tx.execute(free)).mappings()})
    return [found[each] for each in ids if each in found]


async def assign(tx: Tx, ids: Sequence[int], incident_id: int) -> None:
    """Put findings into an incident. LostRaceError when one is in one already."""
    for chunk in chunks(ids, _ROWS):
        free = (findings.c.id.in_(chunk), findings.c.incident_id.is_(None))
        done = await tx.execute(sa.update(findings).where(*free).values(incident_id=incident_id))
        if done.rowcount != len(chunk):
            raise LostRaceError("a finding has an incident already", cure="nothing: the pass is begun again")


async def get(tx: Tx, finding_id: int) -> StoredFinding | None:
    """Return one finding."""
    row = (await tx.execute(sa.select(findings).where(findings.c.id == finding_id))).mappings().one_or_none()
    return stored(row) if row else None


async def list_findings(tx: Tx, narrow: FindingFilter, page: Page) -> list[StoredFinding]:
    """List findings in the order in which they were first found. SettingsError for a severity or category that is none."""
    c = findings.c
    statement = sa.select(findings).where(*_conditions(narrow)).order_by(c.id).limit(page.limit)
    if page.after is not None:
        statement = statement.where(c.id > page.after)
    return [stored(row) for row in (await tx.execute(statement)).mappings()]


def _conditions(narrow: FindingFilter) -> list[sa.ColumnElement[bool]]:
    c = findings.c
    conditions: list[sa.ColumnElement[bool]] = []
    if narrow.rule is not None:
        conditions.append(c.rule == narrow.rule)
    if narrow.severity is not None:
        conditions.append(at_least(c.severity, narrow.severity))
    if narrow.category is not None:
        conditions.append(c.category == chosen(Category, narrow.category, "category"))
    if narrow.log is not None:
        conditions.append(c.log == narrow.log)
    if narrow.digest is not None:
        matched = sa.select(matches.c.entry_id).where(matches.c.digest == narrow.digest)
        conditions.append(sa.or_(c.digest == narrow.digest, c.entry_id.in_(matched)))
    if narrow.incident is not None:
        conditions.append(c.incident_id == narrow.incident)
    if narrow.since is not None:
        conditions.append(c.found_at >= narrow.since)
    if narrow.until is not None:
        conditions.append(c.found_at < narrow.until)
    if not narrow.withdrawn:
        conditions.append(c.withdrawn_at.is_(None))
    return conditions


async def counts(tx: Tx) -> Mapping[tuple[Category, Severity], int]:
    """Return how many findings stand, by category and severity."""
    c = findings.c
    statement = sa.select(c.category, c.severity, sa.func.count().label("n")).where(c.withdrawn_at.is_(None))
    rows = await tx.execute(statement.group_by(c.category, c.severity))
    return {(row.category, row.severity): row.n for row in rows}


def _values(finding: Finding) -> dict[str, Any]:
    values = {name: getattr(finding, name) for name in _FIELDS}
    values["facts"] = [[fact.name, fact.seen, fact.expected] for fact in finding.facts]
    values["artifacts"] = list(finding.artifacts)
    return values


def stored(row: sa.RowMapping) -> StoredFinding:
    """Return the finding of a row."""
    values = {name: row[name] for name in _FIELDS}
    values["facts"] = tuple(Fact(*fact) for fact in row["facts"])
    values["artifacts"] = tuple(row["artifacts"])
    return StoredFinding(
        id=row["id"],
        finding=Finding(**values),
        found_at=row["found_at"],
        entry_id=row["entry_id"],
        incident_id=row["incident_id"],
        withdrawn_at=row["withdrawn_at"],
    )
