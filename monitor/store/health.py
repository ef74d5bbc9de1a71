"""How each source fares, as the loops report it; what follows from it is decided by `rules.health` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.health import Condition
from monitor.store.sql import insert
from monitor.store.tables import health
from monitor.store.types import Moment

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.connect import Tx

RECOVERED_AFTER = 2
"""Good passes in a row after which a failure is a new trouble, no longer the old one."""
_ERROR_LIMIT = 2000


async def report(tx: Tx, rule: str, source: str, now: datetime, error: str | None) -> None:
    """Report one pass over a source: `error` says what went wrong, None that it went well.

    `failing_since` stays while good passes are counted, so that flapping is one trouble and its recovery can name it; a failure
    after `RECOVERED_AFTER` good passes begins another.
    """
    where = (health.c.rule == rule, health.c.source == source)
    if error is None:
        row = {"last_success": now, "error": "", "good_passes": 1}
        known = {"last_success": now, "good_passes": health.c.good_passes + 1}
    else:
        told = error[:_ERROR_LIMIT]
        row = {"failing_since": now, "last_failure": now, "error": told, "good_passes": 0}
        another = sa.or_(health.c.failing_since.is_(None), health.c.good_passes >= RECOVERED_AFTER)
        since = sa.case((another, sa.literal(now, Moment())), else_=health.c.failing_since)
        known = {"failing_since": since, "last_failure": now, "error": told, "good_passes": 0}
    if not (await tx.execute(sa.update(health).where(*where).values(known))).rowcount:
        statement = insert(tx, health).values(rule=rule, source=source, **row)
        await tx.execute(statement)


async def conditions(tx: Tx) -> list[Condition]:
    """Return every condition that was ever reported and not forgotten."""
    rows = await tx.execute(sa.select(health).order_by(health.c.rule, health.c.source))
    return [
        Condition(
            rule=row.rule,
            source=row.source,
            failing_since=row.failing_since,
            last_success=row.last_success,
            last_failure=row.last_failure,
            error=row.error,
            good_passes=row.good_passes,
        )
        for row in rows
    ]


async def recovered(tx: Tx, rule: str, source: str) -> None:
    """Close a trouble whose recovery was told: nothing fails any more. Nothing when it failed again meanwhile."""
    over = (health.c.rule == rule, health.c.source == source, health.c.good_passes >= RECOVERED_AFTER)
    await tx.execute(sa.update(health).where(*over).values(failing_since=None, error=""))


async def forget(tx: Tx, rule: str, source: str) -> None:
    """Drop a condition whose source is no longer watched."""
    await tx.execute(sa.delete(health).where(health.c.rule == rule, health.c.source == source))
