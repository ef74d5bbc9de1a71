"""What the registry's tags resolved to, and when: a row a stretch of time, kept for ever. Nothing here says what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.release import TagObservation
from monitor.store.sql import chunks
from monitor.store.tables import tag_observations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from monitor.store.connect import Tx

_ROWS = 500


async def observe(
    tx: Tx, artifact: str, seen: Mapping[str, str], listed: Iterable[str], now: datetime
) -> list[TagObservation]:
    """Keep one whole listing of an artifact's tags and return the stretches that began with it.

    `seen` maps the tags that were resolved to their digests; `listed` are all that the registry named: a tag of neither is gone,
    one that is listed and could not be resolved stays as it was.
    """
    c = tag_observations.c
    open_ = {row.tag: row for row in await current(tx, artifact)}
    still = [tag for tag, row in open_.items() if seen.get(tag) == row.digest]
    over = [tag for tag, row in open_.items() if seen.get(tag, row.digest) != row.digest]
    named = {*listed, *seen}
    over += [tag for tag in open_ if tag not in named]
    here = (c.artifact == artifact, c.gone_at.is_(None))
    for chunk in chunks(still, _ROWS):
        await tx.execute(sa.update(tag_observations).where(*here, c.tag.in_(chunk)).values(last_seen=now))
    for chunk in chunks(over, _ROWS):
        await tx.execute(sa.update(tag_observations).where(*here, c.tag.in_(chunk)).values(gone_at=now))
    begun = [
        TagObservation(artifact, tag, digest, now, now)
        for tag, digest in seen.items()
        if tag not in open_ or open_[tag].digest != digest
    ]
    for begun_chunk in chunks(begun, _ROWS):
        rows = [
            {"artifact": each.artifact, "tag": each.tag, "digest": each.digest, "first_seen": now, "last_seen": now}
            for each in begun_chunk
        ]
        await tx.execute(sa.insert(tag_observations), rows)
    return begun


async def current(tx: Tx, artifact: str) -> list[TagObservation]:
    """Return what an artifact's tags resolve to now."""
    c = tag_observations.c
    return await _read(tx, c.artifact == artifact, c.gone_at.is_(None))


async def every(tx: Tx) -> list[TagObservation]:
    """Return every stretch of every tag, the oldest first."""
    return await _read(tx)


async def names(tx: Tx) -> list[str]:
    """Return every tag that any artifact ever had, the oldest first."""
    c = tag_observations.c
    rows = await tx.execute(sa.select(c.tag).group_by(c.tag).order_by(sa.func.min(c.id)))
    return list(rows.scalars())


async def of_tag(tx: Tx, tag: str) -> list[TagObservation]:
    """Return every stretch of one tag, over all artifacts, the oldest first."""
    return await _read(tx, tag_observations.c.tag == tag)


async def of_digest(tx: Tx, digest: str) -> list[TagObservation]:
    """Return every stretch in which a tag resolved to a digest, the oldest first."""
    return await _read(tx, tag_observations.c.digest == digest)


async def _read(tx: Tx, *where: sa.ColumnElement[bool]) -> list[TagObservation]:
    c = tag_observations.c
    statement = sa.select(c.artifact, c.tag, c.digest, c.first_seen, c.last_seen, c.gone_at).where(*where)
    return [TagObservation(**row) for row in (await tx.execute(statement.order_by(c.id))).mappings()]
