"""Trust roots as they were read, so that the last good one is in force when no newer can be had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.store.sql import insert
from monitor.store.tables import trusted_roots

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.connect import Tx


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """A trusted_root.json and where it came from. `digest` is the SHA-256 of its bytes, in hex."""

    digest: str
    data: bytes = field(repr=False)
    source: str
    first_seen: datetime
    last_seen: datetime


async def keep_root(tx: Tx, digest: str, data: bytes, source: str, now: datetime) -> None:
    """Keep a trust root as the newest; a known one is seen again, from this source."""
    row = {"digest": digest, "data": data, "source": source, "first_seen": now, "last_seen": now}
    statement = insert(tx, trusted_roots).values(row)
    news = {"source": statement.excluded.source, "last_seen": statement.excluded.last_seen}
    await tx.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=news))


async def newest_root(tx: Tx) -> StoredRoot | None:
    """Return the trust root seen last."""
    c = trusted_roots.c
    statement = sa.select(trusted_roots).order_by(c.last_seen.desc(), c.first_seen.desc()).limit(1)
    row = (await tx.execute(statement)).one_or_none()
    return StoredRoot(row.digest, row.data, row.source, row.first_seen, row.last_seen) if row else None
