"""Where a log contradicts itself, and what of it could not be had or read. Nothing in here is ever deleted.

Anyone can write leaves that nobody can read, so what is kept of them is bounded: beyond that, a range and a count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.log import Conflict, ConflictKind, Hole, QuarantinedLeaf
from monitor.store.sql import insert
from monitor.store.tables import conflict_evidence, conflicts, counters, holes, quarantine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.model.filters import Page
    from monitor.store.connect import Tx

RAW_LEAVES = 1000
"""Unreadable leaves of one log and reason that are kept raw; those that bear our name are counted apart."""
RAW_BYTES = 256 * 1024 * 1024
"""Bytes of unreadable leaves of one log, likewise."""
REASONS = 256
"""Reasons told apart beyond that."""
OTHER_REASONS = "other reasons"


@dataclass(frozen=True, slots=True)
class StoredConflict:
    """A conflict as kept, with its evidence."""

    id: int
    conflict: Conflict
    found_at: datetime


@dataclass(frozen=True, slots=True)
class QuarantinedRange:
    """Unreadable leaves of one reason: one that is kept raw, or `count` of them within [begin, end)."""

    id: int
    log: str
    begin: int
    end: int
    count: int
    reason: str
    ours: bool
    leaf_hash: bytes | None
    first_seen: datetime


async def add_conflict(tx: Tx, conflict: Conflict, now: datetime) -> int | None:
    """Keep a contradiction with all its evidence; None when this (log, kind, key) is known, and then nothing changes."""
    row = {
        "kind": conflict.kind,
        "log": conflict.log,
        "key": conflict.key,
        "summary": conflict.summary,
        "index": conflict.index,
        "found_at": now,
    }
    statement = insert(tx, conflicts).values(row).on_conflict_do_nothing(index_elements=["log", "kind", "key"])
    conflict_id: int | None = await tx.scalar(statement.returning(conflicts.c.id))
    if conflict_id is not None and conflict.evidence:
        rows = [
            {"conflict_id": conflict_id, "number": number, "name": name, "data": data}
            for number, (name, data) in enumerate(conflict.evidence)
        ]
        await tx.execute(sa.insert(conflict_evidence), rows)
    return conflict_id


async def has_conflict(tx: Tx, log: str, kind: ConflictKind, key: str) -> bool:
    """Whether a contradiction is kept."""
    c = conflicts.c
    return await tx.scalar(sa.select(c.id).where(c.log == log, c.kind == kind, c.key == key)) is not None


async def list_conflicts(tx: Tx, log: str | None, page: Page) -> list[StoredConflict]:
    """List the contradictions of one log, or of all, with their evidence."""
    statement = sa.select(conflicts).order_by(conflicts.c.id).limit(page.limit)
    if log is not None:
        statement = statement.where(conflicts.c.log == log)
    if page.after is not None:
        statement = statement.where(conflicts.c.id > page.after)
    return [await _conflict(tx, row) for row in (await tx.execute(statement)).mappings().all()]


async def _conflict(tx: Tx, row: sa.RowMapping) -> StoredConflict:
    c = conflict_evidence.c
    pieces = await tx.execute(sa.select(c.name, c.data).where(c.conflict_id == row["id"]).order_by(c.number))
    conflict = Conflict(
        kind=row["kind"],
        log=row["log"],
        key=row["key"],
        summary=row["summary"],
        index=row["index"],
        evidence=tuple((piece.name, piece.data) for piece in pieces),
    )
    return StoredConflict(row["id"], conflict, row["found_at"])


async def add_hole(tx: Tx, hole: Hole, now: datetime) -> bool:
    """Keep a hole; True when it is new, or had been filled and is open again."""
    row = {
        "log": hole.log,
        "begin": hole.begin,
        "end": hole.end,
        "hash": hole.hash,
        "reason": hole.reason,
        "found_at": now,
        "asked_at": now,
    }
    statement = insert(tx, holes).values(row).on_conflict_do_nothing(index_elements=["log", "begin"])
    if await tx.scalar(statement.returning(holes.c.begin)) is not None:
        return True
    known = sa.update(holes).where(holes.c.log == hole.log, holes.c.begin == hole.begin)
    reopened = await tx.execute(
        known.where(holes.c.filled_at.is_not(None)).values(
            end=hole.end, hash=hole.hash, reason=hole.reason, filled_at=None, asked_at=now
        )
    )
    if reopened.rowcount:
        return True
    await tx.execute(known.values(asked_at=now))
    return False


async def open_holes(tx: Tx, log: str, limit: int) -> list[Hole]:
    """Return at most `limit` holes that are open, the one asked for longest ago first."""
    c = holes.c
    statement = sa.select(holes).where(c.log == log, c.filled_at.is_(None)).order_by(c.asked_at, c.begin).limit(limit)
    return [Hole(row.log, row.begin, row.end, row.hash, row.reason) for row in await tx.execute(statement)]


async def asked_hole(tx: Tx, log: str, begin: int, now: datetime) -> None:
    """Say that a hole was asked for in vain: it goes behind the others."""
    await tx.execute(sa.update(holes).where(holes.c.log == log, holes.c.begin == begin).values(asked_at=now))


async def fill_hole(tx: Tx, log: str, begin: int, now: datetime) -> None:
    """Say that the leaves of a hole were had after all."""
    await tx.execute(sa.update(holes).where(holes.c.log == log, holes.c.begin == begin).values(filled_at=now))


async def add_quarantined(tx: Tx, leaf: QuarantinedLeaf, now: datetime) -> bool:
    """Keep an unreadable leaf, raw while there is room and else in a range's count; False when it is kept raw already."""
    c = quarantine.c
    known = sa.select(c.id).where(c.log == leaf.log, c.begin == leaf.index, c.leaf_hash == leaf.leaf_hash)
    if await tx.scalar(known) is not None:
        return False
    row = {
        "log": leaf.log,
        "reason": leaf.reason,
        "ours": leaf.ours,
        "begin": leaf.index,
        "end": leaf.index + 1,
        "count": 1,
        "first_seen": now,
        "last_seen": now,
    }
    if await _room(tx, leaf):
        await tx.execute(sa.insert(quarantine).values(**row, leaf_hash=leaf.leaf_hash, data=leaf.data))
        await count(tx, leaf.log, _bytes_counter(leaf), len(leaf.data))
        return True
    ranges = (c.log == leaf.log, c.leaf_hash.is_(None))
    of_reason = (*ranges, c.reason == leaf.reason, c.ours == leaf.ours)
    if await tx.scalar(sa.select(c.id).where(*of_reason)) is None:
        reasons = await tx.scalar(sa.select(sa.func.count()).select_from(quarantine).where(*ranges))
        if (reasons or 0) >= REASONS:
            row["reason"] = OTHER_REASONS
            of_reason = (*ranges, c.reason == OTHER_REASONS, c.ours == leaf.ours)
    grown = sa.update(quarantine).where(*of_reason)
    begin = sa.case((c.begin > leaf.index, leaf.index), else_=c.begin)
    end = sa.case((c.end < leaf.index + 1, leaf.index + 1), else_=c.end)
    if not (await tx.execute(grown.values(begin=begin, end=end, count=c.count + 1, last_seen=now))).rowcount:
        await tx.execute(sa.insert(quarantine).values(row))
    return True


async def _room(tx: Tx, leaf: QuarantinedLeaf) -> bool:
    c = quarantine.c
    raw = (c.log == leaf.log, c.reason == leaf.reason, c.ours == leaf.ours, c.leaf_hash.is_not(None))
    kept = await tx.scalar(sa.select(sa.func.count()).select_from(quarantine).where(*raw))
    if (kept or 0) >= RAW_LEAVES:
        return False
    taken = (await read_counters(tx, leaf.log)).get(_bytes_counter(leaf), 0)
    return taken + len(leaf.data) <= RAW_BYTES


def _bytes_counter(leaf: QuarantinedLeaf) -> str:
    return "quarantined_bytes_ours" if leaf.ours else "quarantined_bytes"


async def list_quarantined(tx: Tx, log: str | None, page: Page) -> list[QuarantinedRange]:
    """List what could not be read, of one log or of all; their bytes by `quarantined_data`."""
    c = quarantine.c
    statement = (
        sa.select(c.id, c.log, c.begin, c.end, c.count, c.reason, c.ours, c.leaf_hash, c.first_seen)
        .order_by(c.id)
        .limit(page.limit)
    )
    if log is not None:
        statement = statement.where(c.log == log)
    if page.after is not None:
        statement = statement.where(c.id > page.after)
    return [QuarantinedRange(**row) for row in (await tx.execute(statement)).mappings()]


async def quarantined_data(tx: Tx, row_id: int) -> bytes | None:
    """Return the bytes of one leaf that was kept raw."""
    data: bytes | None = await tx.scalar(sa.select(quarantine.c.data).where(quarantine.c.id == row_id))
    return data


async def count(tx: Tx, log: str, counter: str, n: int) -> None:
    """Add `n` to a counter of a log."""
    statement = insert(tx, counters).values(log=log, name=counter, value=n)
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["log", "name"], set_={"value": counters.c.value + statement.excluded.value}
        )
    )


async def read_counters(tx: Tx, log: str) -> Mapping[str, int]:
    """Return every counter of a log that was ever added to."""
    rows = await tx.execute(sa.select(counters.c.name, counters.c.value).where(counters.c.log == log))
    return {row.name: row.value for row in rows}
