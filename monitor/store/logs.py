"""The logs that are followed, and by this one name all that is kept of them.

Checkpoints, cursors with coverage, and troubles (conflicts, holes, unreadable leaves, counters) each have their file beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.log import FollowedLog
from monitor.store.checkpoints import (
    CheckpointRow,
    add_checkpoint,
    at_size,
    list_checkpoints,
    newest,
    next_size,
    seen_by,
    seen_up_to,
    set_status,
    with_status,
)
from monitor.store.cursors import advance, cover, coverage, cursor, start_cursor
from monitor.store.sql import insert
from monitor.store.tables import logs
from monitor.store.troubles import (
    QuarantinedRange,
    StoredConflict,
    add_conflict,
    add_hole,
    asked_hole,
    count,
    fill_hole,
    has_conflict,
    list_quarantined,
    quarantined_data,
)
from monitor.store.troubles import add_quarantined as quarantine
from monitor.store.troubles import list_conflicts as conflicts
from monitor.store.troubles import open_holes as holes
from monitor.store.troubles import read_counters as counters

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.connect import Tx

__all__ = [
    "CheckpointRow",
    "QuarantinedRange",
    "StoredConflict",
    "add_checkpoint",
    "add_conflict",
    "add_hole",
    "advance",
    "asked_hole",
    "at_size",
    "conflicts",
    "count",
    "counters",
    "cover",
    "coverage",
    "cursor",
    "every",
    "fill_hole",
    "has_conflict",
    "holes",
    "list_checkpoints",
    "list_quarantined",
    "newest",
    "next_size",
    "quarantine",
    "quarantined_data",
    "seen_by",
    "seen_up_to",
    "set_status",
    "start_cursor",
    "upsert",
    "with_status",
]


async def upsert(tx: Tx, log: FollowedLog, now: datetime) -> None:
    """Keep a log, or what is new about one that is kept: url, mode, state, offset. A log once seen is kept for ever.

    `updated_at` is when any of this last became another.
    """
    row = {
        "origin": log.origin,
        "protocol": log.protocol,
        "url": log.url,
        "mode": log.mode,
        "state": log.state,
        "tree_id": log.tree_id,
        "offset": log.offset,
        "first_seen": now,
        "updated_at": now,
    }
    statement = insert(tx, logs).values(row)
    news = {name: statement.excluded[name] for name in row if name not in ("origin", "first_seen")}
    other = sa.or_(*(logs.c[name].is_distinct_from(news[name]) for name in news if name != "updated_at"))
    await tx.execute(statement.on_conflict_do_update(index_elements=["origin"], set_=news, where=other))


async def every(tx: Tx) -> list[FollowedLog]:
    """Return every log, in the order of their origins."""
    rows = await tx.execute(sa.select(logs).order_by(logs.c.origin))
    return [
        FollowedLog(row.origin, row.protocol, row.url, row.mode, row.state, row.tree_id, row.offset) for row in rows
    ]
