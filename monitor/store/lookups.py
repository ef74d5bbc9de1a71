"""Which certificates of ours still lack the entry that they signed, and how far the search for it has come.

Found is what the stored entries say: it is computed from them again and again, so that a crash, or an entry met by another way,
forgets nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.entry import Trust
from monitor.model.lookup import Lookup, LookupState
from monitor.store.sql import insert, of_certificate_log
from monitor.store.tables import certificates, entries, lookups, signers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.store.connect import Tx

_UNSETTLED = (LookupState.OPEN, LookupState.UNLOGGED, LookupState.EXCUSED)


async def want(tx: Tx, lookup: Lookup) -> bool:
    """Look for the entry of an issuance from now on; False when it is looked for already (a certificate may stand in several logs)."""
    row = {name: getattr(lookup, name) for name in Lookup.__slots__}
    statement = insert(tx, lookups).values(row).on_conflict_do_nothing(index_elements=["issuance"])
    return await tx.scalar(statement.returning(lookups.c.issuance)) is not None


async def unsettled(tx: Tx, *states: LookupState, limit: int | None = None) -> list[Lookup]:
    """Return the lookups in these states, by default the open ones, the certificate issued first first."""
    c = lookups.c
    statement = sa.select(lookups).where(c.state.in_(states or (LookupState.OPEN,))).order_by(c.not_before, c.issuance)
    return [Lookup(**row) for row in (await tx.execute(statement.limit(limit))).mappings()]


async def find(tx: Tx, issuance: str) -> Lookup | None:
    """Return the lookup of an issuance."""
    row = (await tx.execute(sa.select(lookups).where(lookups.c.issuance == issuance))).mappings().one_or_none()
    return Lookup(**row) if row else None


async def sought(tx: Tx, since: datetime) -> list[Lookup]:
    """Return the lookups whose entry is still to be looked for, the certificate issued first first.

    Those are the open ones of what was issued while we watch, unless all was read before `since`, for a late replica may yet show
    more; and those that are found, not read whole, and whose certificate was valid `since` then: it may have signed more.
    """
    c = lookups.c
    sought = sa.and_(c.state == LookupState.OPEN, sa.or_(c.read_at.is_(None), c.read_at >= since))
    more = sa.and_(c.state == LookupState.FOUND, c.read_at.is_(None), c.not_after >= since)
    mine = (c.history.is_(False), sa.or_(sought, more))
    statement = sa.select(lookups).where(*mine).order_by(c.not_before, c.issuance)
    return [Lookup(**row) for row in (await tx.execute(statement)).mappings()]


async def unasked(tx: Tx, since: datetime, limit: int) -> list[Lookup]:
    """Return at most `limit` open lookups of history that no index was asked for `since` then, the one asked longest ago first."""
    c = lookups.c
    before = sa.or_(c.searched_at.is_(None), c.searched_at < since)
    mine = (c.history.is_(True), c.state == LookupState.OPEN, before)
    order = (c.searched_at.is_not(None), c.searched_at, c.not_before, c.issuance)
    return [
        Lookup(**row)
        for row in (await tx.execute(sa.select(lookups).where(*mine).order_by(*order).limit(limit))).mappings()
    ]


async def unread_history(tx: Tx, limit: int) -> list[Lookup]:
    """Return at most `limit` open lookups of history that nobody has said to be read whole, the certificate issued first first."""
    c = lookups.c
    mine = (c.history.is_(True), c.state == LookupState.OPEN, c.read_at.is_(None))
    statement = sa.select(lookups).where(*mine).order_by(c.not_before, c.issuance).limit(limit)
    return [Lookup(**row) for row in (await tx.execute(statement)).mappings()]


async def signing(tx: Tx) -> set[str]:
    """Return the issuances looked for that sign a stored entry, settled or not."""
    statement = sa.select(lookups.c.issuance).where(lookups.c.state.in_(_UNSETTLED), _signing())
    return set((await tx.execute(statement)).scalars())


def _signing() -> sa.ColumnElement[bool]:
    """Whether a lookup's certificate signs a stored entry that stands in its log.

    One that its authority did not sign is another, whatever else is the same: whoever holds the key can make such a copy.
    """
    found = (
        sa.select(certificates.c.issuance)
        .join_from(signers, certificates, signers.c.fingerprint == certificates.c.fingerprint)
        .join(entries, entries.c.id == signers.c.entry_id)
        .where(
            certificates.c.issuance == lookups.c.issuance,
            ~of_certificate_log(entries.c.protocol),
            entries.c.disproven.is_(False),
            signers.c.trust != Trust.UNTRUSTED,
            sa.or_(signers.c.verifies.is_(None), signers.c.verifies.is_(True)),
        )
    )
    return sa.exists(found)


async def settle_found(tx: Tx, now: datetime) -> list[Lookup]:
    """Close every lookup whose certificate signs a stored entry that stands in its log; return those as they were before."""
    c = lookups.c
    statement = sa.select(lookups).where(c.state.in_(_UNSETTLED), _signing())
    found = [Lookup(**row) for row in (await tx.execute(statement)).mappings()]
    if found:
        ids = [each.issuance for each in found]
        await tx.execute(sa.update(lookups).where(c.issuance.in_(ids)).values(state=LookupState.FOUND, closed_at=now))
    return found


async def searched(tx: Tx, issuances: Iterable[str], now: datetime) -> None:
    """Say that the indexes were asked for these."""
    await tx.execute(sa.update(lookups).where(lookups.c.issuance.in_(list(issuances))).values(searched_at=now))


async def read_whole(tx: Tx, issuances: Iterable[str], now: datetime) -> None:
    """Say that all was read in which the entries of these could stand."""
    c = lookups.c
    mine = (c.issuance.in_(list(issuances)), c.read_at.is_(None))
    await tx.execute(sa.update(lookups).where(*mine).values(read_at=now))


async def not_whole(tx: Tx, issuances: Iterable[str]) -> None:
    """Take that back: there is more to read than was known."""
    await tx.execute(sa.update(lookups).where(lookups.c.issuance.in_(list(issuances))).values(read_at=None))


async def close(
    tx: Tx, issuance: str, state: LookupState, now: datetime, *, before: LookupState = LookupState.OPEN
) -> bool:
    """Settle a lookup that is in the state `before`; False when it was settled meanwhile."""
    c = lookups.c
    mine = (c.issuance == issuance, c.state == before)
    return (await tx.execute(sa.update(lookups).where(*mine).values(state=state, closed_at=now))).rowcount == 1


async def counts(tx: Tx) -> dict[LookupState, int]:
    """Return how many lookups are in each state."""
    statement = sa.select(lookups.c.state, sa.func.count().label("n")).group_by(lookups.c.state)
    return {row.state: row.n for row in await tx.execute(statement)}
