"""How far each log is proven, and which of its leaves.

A cursor moves only by compare-and-swap: whoever read it and finds it moved has lost the race and begins his pass again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.errors import LostRaceError
from monitor.model.log import Coverage, Cursor
from monitor.store.sql import insert
from monitor.store.tables import coverage as covered
from monitor.store.tables import cursors
from monitor.tlog.merkle import CompactRange

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.store.connect import Tx

_CURE = "nothing: the pass is begun again"


async def cursor(tx: Tx, log: str) -> Cursor | None:
    """Return how far the log is proven, None before its first cursor."""
    row = (await tx.execute(sa.select(cursors).where(cursors.c.log == log))).one_or_none()
    if row is None:
        return None
    return Cursor(row.log, row.position, CompactRange.decode(0, row.position, row.hashes), row.started_at)


async def start_cursor(tx: Tx, first: Cursor, now: datetime) -> None:
    """Keep a log's first cursor. LostRaceError when it has one."""
    row = {
        "log": first.log,
        "position": first.position,
        "hashes": first.range.encode(),
        "started_at": first.started_at,
        "updated_at": now,
    }
    statement = insert(tx, cursors).values(row).on_conflict_do_nothing(index_elements=["log"])
    if await tx.scalar(statement.returning(cursors.c.position)) is None:
        raise LostRaceError(f"the cursor of {first.log} was started by somebody else", cure=_CURE)


async def advance(tx: Tx, before: Cursor, after: Cursor, now: datetime) -> None:
    """Put `after` in the place of exactly `before`. LostRaceError when the stored cursor is another."""
    if before.log != after.log:
        raise ValueError(f"a cursor of {before.log} does not become one of {after.log}")
    statement = (
        sa.update(cursors)
        .where(
            cursors.c.log == before.log,
            cursors.c.position == before.position,
            cursors.c.hashes == before.range.encode(),
            cursors.c.started_at == before.started_at,
        )
        .values(position=after.position, hashes=after.range.encode(), started_at=after.started_at, updated_at=now)
    )
    if (await tx.execute(statement)).rowcount != 1:
        raise LostRaceError(f"the cursor of {before.log} is no longer at {before.position}", cure=_CURE)


async def cover(tx: Tx, new: Coverage, now: datetime) -> None:
    """Add a proven range, merged with those it touches; an empty one adds nothing. The merged range names the largest size.

    Several programs may cover one log at once: where another has covered from the same leaf meanwhile, the longer range stays, or
    the transaction has lost the race (LostRaceError) and nothing of it is kept. Ranges that overlap are one when they are read.
    """
    if not 0 <= new.begin <= new.end <= new.size:
        raise ValueError(f"leaves [{new.begin}, {new.end}) of {new.log} are not below its size {new.size}")
    if new.begin == new.end:
        return
    touching = (covered.c.log == new.log, covered.c.begin <= new.end, covered.c.end >= new.begin)
    rows = (await tx.execute(sa.select(covered).where(*touching))).all()
    if rows:
        await tx.execute(sa.delete(covered).where(*touching))
    row = {
        "log": new.log,
        "begin": min(new.begin, *(row.begin for row in rows), new.begin),
        "end": max(new.end, *(row.end for row in rows), new.end),
        "size": max(new.size, *(row.size for row in rows), new.size),
        "updated_at": now,
    }
    statement = insert(tx, covered).values(row)
    theirs = statement.excluded
    greater = {
        name: sa.case((theirs[name] > covered.c[name], theirs[name]), else_=covered.c[name]) for name in ("end", "size")
    }
    await tx.execute(
        statement.on_conflict_do_update(index_elements=["log", "begin"], set_=greater | {"updated_at": now})
    )


async def coverage(tx: Tx, log: str) -> list[Coverage]:
    """Return the proven ranges of a log, in order, none touching another."""
    rows = await tx.execute(sa.select(covered).where(covered.c.log == log).order_by(covered.c.begin))
    return _merged(Coverage(row.log, row.begin, row.end, row.size) for row in rows)


def _merged(ranges: Iterable[Coverage]) -> list[Coverage]:
    merged: list[Coverage] = []
    for new in ranges:
        last = merged[-1] if merged else None
        if last and new.begin <= last.end:
            merged[-1] = Coverage(last.log, last.begin, max(last.end, new.end), max(last.size, new.size))
        else:
            merged.append(new)
    return merged
