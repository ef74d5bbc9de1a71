"""Since and until when everything logged was read: what may be said of a signature that is nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.log import CheckpointStatus
from monitor.store.tables import checkpoints, coverage, cursors, holes, logs

if TYPE_CHECKING:
    from monitor.store.connect import Tx

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


async def watched(tx: Tx) -> tuple[datetime, datetime] | None:
    """Return since and until when every followed log is proven without a hole or gap; None when one is not, or there is none."""
    since: list[datetime] = []
    until: list[datetime] = []
    for row in (await tx.execute(sa.select(logs.c.origin, logs.c.first_seen))).all():
        read = await _of_log(tx, row.origin, row.first_seen)
        if read is None:
            return None
        since.append(read[0])
        until.append(read[1])
    return (max(since), min(until)) if since else None


async def _of_log(tx: Tx, log: str, first_seen: datetime) -> tuple[datetime, datetime] | None:
    cursor = (
        await tx.execute(sa.select(cursors.c.position, cursors.c.started_at).where(cursors.c.log == log))
    ).one_or_none()
    open_hole = sa.select(holes.c.begin).where(holes.c.log == log, holes.c.filled_at.is_(None)).limit(1)
    if cursor is None or await tx.scalar(open_hole) is not None:
        return None
    ranges = (await tx.execute(sa.select(coverage.c.begin, coverage.c.end).where(coverage.c.log == log))).all()
    last = max(ranges, key=lambda each: each.end, default=None)
    if last is None and cursor.position > cursor.started_at:
        return None
    begin = last.begin if last is not None and last.end >= cursor.position else cursor.started_at
    c = checkpoints.c
    proven = (c.log == log, c.status == CheckpointStatus.CONSISTENT, c.size <= cursor.position)
    newest = await tx.scalar(sa.select(sa.func.max(c.last_seen)).where(*proven))
    if newest is None:
        return None
    if begin == 0:
        return _EVER, newest
    # What is read begins at a size that the log had when we first saw it, or later.
    first = await tx.scalar(sa.select(sa.func.min(c.first_seen)).where(c.log == log, c.size >= begin))
    return max(first_seen, first or first_seen), newest
