"""Newest first: whether a backlog is old enough to be left for later, and what was left.

What is skipped stays uncovered in the store, which is all that remembers it; backfill reads it, and nothing here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.model.log import uncovered
from monitor.store import logs

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from monitor.model.log import Cursor
    from monitor.store.engine import Tx


async def overdue(tx: Tx, cursor: Cursor, now: datetime, deadline: timedelta) -> bool:
    """Whether the log was last followed to its end longer ago than `deadline`; one that never was is overdue."""
    at_head = await logs.seen_up_to(tx, cursor.log, cursor.position)
    return at_head is None or now - at_head > deadline


async def skipped(tx: Tx, cursor: Cursor) -> list[tuple[int, int]]:
    """What following passed over and nobody has read since, as (begin, end), the newest first."""
    return uncovered(await logs.coverage(tx, cursor.log), cursor.started_at, cursor.position)[::-1]
