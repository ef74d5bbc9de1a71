"""Since and until when everything logged was read: what may be said of a signature that is nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.log import CheckpointStatus, LogState, Mode, uncovered
from monitor.model.lookup import LookupState
from monitor.store.checkpoints import seen_by
from monitor.store.cursors import coverage
from monitor.store.tables import checkpoints, cursors, holes, logs, lookups

if TYPE_CHECKING:
    from monitor.store.connect import Tx

EVER = datetime(1970, 1, 1, tzinfo=UTC)


async def watched(tx: Tx) -> tuple[datetime, datetime] | None:
    """Return since and until when nothing logged can have been missed; None when that cannot be said of any time.

    Every log is proven without a hole or gap, but for Rekor v1 in mode `certificates`: there every certificate log is, and each
    certificate of ours in it was looked up. A log that is only searched says nothing of what it does not show.
    """
    c = logs.c
    every = (await tx.execute(sa.select(logs).where(c.state != LogState.LEFT).order_by(c.origin))).all()
    led = [row for row in every if row.mode is Mode.CERTIFICATES]
    if any(row.mode is Mode.SEARCH for row in every) or (led and not any(row.protocol.certificates for row in every)):
        return None
    since: list[datetime] = []
    until: list[datetime] = []
    for row in every:
        if row.mode is Mode.CERTIFICATES:
            continue
        read = await _of_log(tx, row.origin, row.first_seen)
        if read is None and row.protocol.certificates and row.state is LogState.ENDED:
            since.append(row.updated_at)  # whatever it holds, it takes in nothing any more
            continue
        if read is None:
            return None
        since.append(read[0])
        until.append(read[1])
    if led:
        await _of_lookups(tx, since, until)
    return (max(since), min(until)) if until else None


async def whole(tx: Tx, log: str, begin: int, end: int) -> bool:
    """Whether every leaf of [begin, end) is proven and its bytes were had."""
    c = holes.c
    lost = sa.select(c.begin).where(c.log == log, c.begin < end, c.end > begin, c.filled_at.is_(None)).limit(1)
    return not uncovered(await coverage(tx, log), begin, end) and await tx.scalar(lost) is None


async def whole_since(tx: Tx, log: str, moment: datetime) -> bool:
    """Whether every leaf that the log may have taken in since `moment` is proven and was had, up to where it is followed.

    What it had signed by then, as far as we saw, came before; of a log that was not seen by then, all of it may have come since.
    """
    position = await tx.scalar(sa.select(cursors.c.position).where(cursors.c.log == log))
    if position is None:
        return False
    before = await seen_by(tx, log, moment)
    return await whole(tx, log, before.size if before is not None else 0, position)


async def _of_lookups(tx: Tx, since: list[datetime], until: list[datetime]) -> None:
    """What was signed with a certificate whose entry is still looked for could be missing: nothing is said of that time."""
    c = lookups.c
    sought = sa.select(c.history, sa.func.min(c.not_before), sa.func.max(c.not_before))
    for history, first, last in await tx.execute(sought.where(c.state == LookupState.OPEN).group_by(c.history)):
        if history:
            since.append(last)
        else:
            until.append(first)


async def _of_log(tx: Tx, log: str, first_seen: datetime) -> tuple[datetime, datetime] | None:
    cursor = (
        await tx.execute(sa.select(cursors.c.position, cursors.c.started_at).where(cursors.c.log == log))
    ).one_or_none()
    open_hole = sa.select(holes.c.begin).where(holes.c.log == log, holes.c.filled_at.is_(None)).limit(1)
    if cursor is None or await tx.scalar(open_hole) is not None:
        return None
    # What was passed over is not read: only what joins on to the position counts, backfill included.
    joined = [each.begin for each in await coverage(tx, log) if each.begin <= cursor.position <= each.end]
    begin = min(joined, default=cursor.position)
    c = checkpoints.c
    proven = (c.log == log, c.status == CheckpointStatus.CONSISTENT, c.size <= cursor.position)
    newest = await tx.scalar(sa.select(sa.func.max(c.last_seen)).where(*proven))
    if newest is None:
        return None
    if begin == 0:
        return EVER, newest
    # What is read begins at a size that the log had when we first saw it, or later.
    first = await tx.scalar(sa.select(sa.func.min(c.first_seen)).where(c.log == log, c.size >= begin))
    return max(first_seen, first or first_seen), newest
