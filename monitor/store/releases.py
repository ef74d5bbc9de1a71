"""The expected tag set: digests that somebody vouches for, and every hash under which one of them may stand in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.model.release import Authority, Expectations, ExpectedDigest, ExpectedHash, Match
from monitor.store import meta
from monitor.store.sql import chunks, insert
from monitor.store.tables import expected_digests, expected_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from monitor.store.connect import Tx

_GENERATION = "generation"
_ROWS = 500


async def add_digests(tx: Tx, digests: Sequence[ExpectedDigest], hashes: Sequence[ExpectedHash], now: datetime) -> int:
    """Add what is not known yet and return how many rows that was; any at all begins a new generation."""
    added = 0
    for chunk in chunks(digests, _ROWS):
        statement = insert(tx, expected_digests).values([_digest_row(digest, now) for digest in chunk])
        returned = await tx.execute(statement.on_conflict_do_nothing().returning(expected_digests.c.id))
        added += len(returned.all())
    for hash_chunk in chunks(hashes, _ROWS):
        rows = [{"value": each.value, "digest": each.digest, "how": each.how} for each in hash_chunk]
        statement = insert(tx, expected_hashes).values(rows)
        returned = await tx.execute(statement.on_conflict_do_nothing().returning(expected_hashes.c.value))
        added += len(returned.all())
    if added:
        await meta.set(tx, _GENERATION, str(await generation(tx) + 1))
    return added


def _digest_row(digest: ExpectedDigest, now: datetime) -> dict[str, Any]:
    return {
        "version": digest.version,
        "artifact": digest.artifact,
        "digest": digest.digest,
        "kind": digest.kind,
        "authority": digest.authority,
        "author": digest.author,
        "reason": digest.reason,
        "added_at": now,
    }


async def generation(tx: Tx) -> int:
    """Return a number that grows whenever what is expected changes."""
    return int(await meta.get(tx, _GENERATION) or 0)


async def expectations(tx: Tx, value: str | None) -> Expectations:
    """Return what is known about one logged hash (64 hex digits), or, for None, what is expected at all.

    `complete` and `sources` leave out digests that are only claimed: those explain, and never silence.
    """
    c = expected_digests.c
    matches: list[Match] = []
    if value is not None:
        joined = sa.select(c.version, c.artifact, c.digest, c.authority, expected_hashes.c.how).join_from(
            expected_hashes, expected_digests, c.digest == expected_hashes.c.digest
        )
        found = joined.where(expected_hashes.c.value == value).order_by(c.id, expected_hashes.c.how)
        matches = [Match(**row) for row in (await tx.execute(found)).mappings()]
    vouched = sa.select(c.version, c.artifact).where(c.authority != Authority.CLAIMED).distinct()
    complete = frozenset((row.version, row.artifact) for row in await tx.execute(vouched))
    return Expectations(tuple(matches), complete, sources=bool(complete))


async def versions(tx: Tx) -> list[str]:
    """Return every version that has an expected digest, in the order in which they were first added."""
    c = expected_digests.c
    rows = await tx.execute(sa.select(c.version).group_by(c.version).order_by(sa.func.min(c.id)))
    return list(rows.scalars())


async def digests(tx: Tx, version: str | None = None) -> list[ExpectedDigest]:
    """Return the expected digests of one version, or of all, in the order in which they were added."""
    c = expected_digests.c
    statement = sa.select(c.version, c.artifact, c.digest, c.kind, c.authority, c.author, c.reason).order_by(c.id)
    if version is not None:
        statement = statement.where(c.version == version)
    return [ExpectedDigest(**row) for row in (await tx.execute(statement)).mappings()]
