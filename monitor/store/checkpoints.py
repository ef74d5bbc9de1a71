"""Every signed (log, size, root) that counted, kept for ever with its note and how it stands to the others (P9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.errors import StoreError
from monitor.model.log import CheckpointStatus, StoredCheckpoint
from monitor.store.sql import insert
from monitor.store.tables import checkpoints

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.filters import Page
    from monitor.store.connect import Tx


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint in a list, with the id by which the list pages."""

    id: int
    checkpoint: StoredCheckpoint


async def add_checkpoint(tx: Tx, new: StoredCheckpoint) -> bool:
    """Keep a checkpoint; True when its (log, size, root) is new. A known one keeps note and status, and is seen again."""
    row = {
        "log": new.log,
        "size": new.size,
        "root": new.root,
        "note": new.note,
        "source": new.source,
        "status": new.status,
        "first_seen": new.first_seen,
        "last_seen": new.last_seen,
    }
    statement = insert(tx, checkpoints).values(row).on_conflict_do_nothing(index_elements=["log", "size", "root"])
    if await tx.scalar(statement.returning(checkpoints.c.id)) is not None:
        return True
    seen = sa.update(checkpoints).where(_key(new.log, new.size, new.root), checkpoints.c.last_seen < new.last_seen)
    await tx.execute(seen.values(last_seen=new.last_seen))
    return False


async def at_size(tx: Tx, log: str, size: int) -> list[StoredCheckpoint]:
    """Return every checkpoint of this size, whatever its root, the first seen first."""
    statement = _select().where(checkpoints.c.log == log, checkpoints.c.size == size).order_by(checkpoints.c.id)
    return [_checkpoint(row) for row in await tx.execute(statement)]


async def newest(tx: Tx, log: str) -> StoredCheckpoint | None:
    """Return the greatest one that is proven consistent."""
    consistent = checkpoints.c.status == CheckpointStatus.CONSISTENT
    statement = _select().where(checkpoints.c.log == log, consistent).order_by(checkpoints.c.size.desc()).limit(1)
    row = (await tx.execute(statement)).one_or_none()
    return _checkpoint(row) if row else None


async def seen_up_to(tx: Tx, log: str, size: int) -> datetime | None:
    """Return when the greatest consistent checkpoint of at most this size was last seen; None when there is none."""
    c = checkpoints.c
    consistent = (c.log == log, c.size <= size, c.status == CheckpointStatus.CONSISTENT)
    found: datetime | None = await tx.scalar(sa.select(c.last_seen).where(*consistent).order_by(c.size.desc()).limit(1))
    return found


async def next_size(tx: Tx, log: str, after: int, upto: int) -> StoredCheckpoint | None:
    """Return the smallest one of a size in (after, upto] that does not conflict."""
    c = checkpoints.c
    sound = c.status != CheckpointStatus.CONFLICTING
    statement = _select().where(c.log == log, c.size > after, c.size <= upto, sound).order_by(c.size, c.id).limit(1)
    row = (await tx.execute(statement)).one_or_none()
    return _checkpoint(row) if row else None


async def seen_by(tx: Tx, log: str, moment: datetime) -> StoredCheckpoint | None:
    """Return the greatest one proven consistent that had been seen by `moment`: what it signs was in the log by then."""
    c = checkpoints.c
    mine = (c.log == log, c.status == CheckpointStatus.CONSISTENT, c.first_seen <= moment)
    row = (await tx.execute(_select().where(*mine).order_by(c.size.desc()).limit(1))).one_or_none()
    return _checkpoint(row) if row else None


async def set_status(tx: Tx, log: str, size: int, root: bytes, status: CheckpointStatus) -> None:
    """Say how a stored checkpoint stands to the others. StoreError when there is none such."""
    changed = await tx.execute(sa.update(checkpoints).where(_key(log, size, root)).values(status=status))
    if changed.rowcount != 1:
        raise StoreError(f"no checkpoint of {log} at size {size} with root {root.hex()} is stored")


async def with_status(tx: Tx, log: str, status: CheckpointStatus, limit: int) -> list[StoredCheckpoint]:
    """Return at most `limit` checkpoints that stand so, the smallest first."""
    c = checkpoints.c
    statement = _select().where(c.log == log, c.status == status).order_by(c.size, c.id).limit(limit)
    return [_checkpoint(row) for row in await tx.execute(statement)]


async def list_checkpoints(tx: Tx, log: str | None, page: Page) -> list[CheckpointRow]:
    """List the checkpoints of one log, or of all, in the order in which they were stored."""
    statement = _select().order_by(checkpoints.c.id).limit(page.limit)
    if log is not None:
        statement = statement.where(checkpoints.c.log == log)
    if page.after is not None:
        statement = statement.where(checkpoints.c.id > page.after)
    return [CheckpointRow(row.id, _checkpoint(row)) for row in await tx.execute(statement)]


def _select() -> sa.Select[Any]:
    return sa.select(checkpoints)


def _key(log: str, size: int, root: bytes) -> sa.ColumnElement[bool]:
    return sa.and_(checkpoints.c.log == log, checkpoints.c.size == size, checkpoints.c.root == root)


def _checkpoint(row: sa.Row[Any]) -> StoredCheckpoint:
    return StoredCheckpoint(
        log=row.log,
        size=row.size,
        root=row.root,
        note=row.note,
        source=row.source,
        status=row.status,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
    )
