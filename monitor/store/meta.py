"""Single values that the program remembers about itself, by name (`watch_from`, `generation` and their like)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.store.sql import insert
from monitor.store.tables import meta

if TYPE_CHECKING:
    from monitor.store.connect import Tx


_WIDTH = 64


async def get(tx: Tx, key: str) -> str | None:
    """Return the value, None when it was never set."""
    value: str | None = await tx.scalar(sa.select(meta.c.value).where(meta.c.key == _bounded(key)))
    return value


async def set(tx: Tx, key: str, value: str) -> None:  # noqa: A001 - read as meta.set
    """Set the value, whatever it was."""
    statement = insert(tx, meta).values(key=_bounded(key), value=value)
    await tx.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value}))


async def set_once(tx: Tx, key: str, value: str) -> str:
    """Set the value unless there is one, and return the one that holds."""
    await tx.execute(
        insert(tx, meta).values(key=_bounded(key), value=value).on_conflict_do_nothing(index_elements=["key"])
    )
    kept = await get(tx, key)
    return value if kept is None else kept


async def next_number(tx: Tx, key: str, last: str | None) -> bool:
    """Count on from what was read before; False, and nothing changes, when somebody else did meanwhile."""
    number = str(int(last or 0) + 1)
    if last is None:
        statement = (
            insert(tx, meta).values(key=_bounded(key), value=number).on_conflict_do_nothing(index_elements=["key"])
        )
        return await tx.scalar(statement.returning(meta.c.key)) is not None
    same = (meta.c.key == _bounded(key), meta.c.value == last)
    return (await tx.execute(sa.update(meta).where(*same).values(value=number))).rowcount == 1


def _bounded(key: str) -> str:
    """The name as the column has room for it: one that is longer, as of a log that is named by its id, by its SHA-256."""
    return key if len(key) <= _WIDTH else hashlib.sha256(key.encode()).hexdigest()
