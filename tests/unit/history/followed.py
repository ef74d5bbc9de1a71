"""A store that knows logs as following leaves them, and what the coverage statement says of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from monitor.history import coverage
from monitor.history.coverage import Patience
from monitor.model.log import (
    CheckpointSource,
    CheckpointStatus,
    Coverage,
    Cursor,
    FollowedLog,
    Mode,
    StoredCheckpoint,
)
from monitor.rules.policy import Policy
from monitor.store import health, logs
from monitor.tlog.merkle import CompactRange

if TYPE_CHECKING:
    from monitor.history.coverage import LogRow
    from monitor.store.engine import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENCE = Patience(timedelta(seconds=30), timedelta(hours=1), Policy().deadline)


def leaves(count: int) -> CompactRange:
    return CompactRange.empty().extend([bytes([number]) * 32 for number in range(count)])


def checkpoint(
    origin: str, size: int, status: CheckpointStatus = CheckpointStatus.CONSISTENT, *, seen: datetime = NOW
) -> StoredCheckpoint:
    return StoredCheckpoint(origin, size, bytes(32), b"note", CheckpointSource.POLL, status, seen, NOW)


async def follow(
    store: Store, log: FollowedLog, *, position: int = 8, size: int = 8, asked: datetime = NOW, began: datetime = NOW
) -> None:
    """A log that was met when it `began`, is signed up to `size`, and if it is read completely is read from leaf 4 to `position`."""
    origin = log.origin
    async with store.write() as tx:
        await logs.upsert(tx, log, began)
        await logs.add_checkpoint(tx, checkpoint(origin, size, seen=began))
        await health.report(tx, "log-unreachable", f"log:{origin}", asked, None)
        if log.mode is Mode.COMPLETE:
            await logs.start_cursor(tx, Cursor(origin, position, leaves(position), 4), NOW)
            await logs.cover(tx, Coverage(origin, 4, position, size), NOW)


async def row(store: Store, origin: str) -> LogRow:
    async with store.read() as tx:
        return {each.log: each for each in await coverage.statement(tx, PATIENCE, NOW)}[origin]
