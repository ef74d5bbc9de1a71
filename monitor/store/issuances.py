"""What ties the certificates in certificate logs to the entries that they signed: one issuance, one signing event.

Which of two came first makes no difference, and doing it again changes nothing: an event that an entry gave is never taken away here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.entry import Trust, unsigned_event
from monitor.store.sql import chunks, of_certificate_log
from monitor.store.tables import certificates, entries, findings, signers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.store.connect import Tx

_RUNS = 500


async def event(tx: Tx, issuance: str) -> str | None:
    """Return the event of the first stored entry of a signature log that this issuance signed; None while there is none."""
    statement = (
        sa.select(signers.c.event)
        .join_from(certificates, signers, signers.c.fingerprint == certificates.c.fingerprint)
        .join(entries, entries.c.id == signers.c.entry_id)
        .where(
            certificates.c.issuance == issuance,
            signers.c.trust == Trust.TRUSTED,
            ~of_certificate_log(entries.c.protocol),
            entries.c.disproven.is_(False),
        )
        .order_by(entries.c.id, signers.c.number)
        .limit(1)
    )
    return (await tx.execute(statement)).scalar_one_or_none()


async def signed(tx: Tx, issuance: str) -> list[int]:
    """Return the ids of the stored entries of signature logs that this issuance signed, and that stand in their logs."""
    statement = (
        sa.select(entries.c.id)
        .join_from(certificates, signers, signers.c.fingerprint == certificates.c.fingerprint)
        .join(entries, entries.c.id == signers.c.entry_id)
        .where(
            certificates.c.issuance == issuance,
            ~of_certificate_log(entries.c.protocol),
            entries.c.disproven.is_(False),
            sa.or_(signers.c.verifies.is_(None), signers.c.verifies.is_(True)),
        )
        .distinct()
        .order_by(entries.c.id)
    )
    return list((await tx.execute(statement)).scalars())


async def join(tx: Tx, issuance: str, joined: str) -> int:
    """Give what certificate logs show of an issuance the event of the entry it signed; return how many entries had none yet."""
    unsigned = unsigned_event(issuance)
    waiting = sa.select(signers.c.entry_id).where(signers.c.event == unsigned)
    ids = list((await tx.execute(waiting)).scalars())
    if ids:
        await tx.execute(sa.update(entries).where(entries.c.id.in_(ids)).values(event=joined))
        await tx.execute(sa.update(findings).where(findings.c.event == unsigned).values(event=joined))
        await tx.execute(sa.update(signers).where(signers.c.event == unsigned).values(event=joined))
    return len(ids)


async def signing(tx: Tx, runs: Iterable[str]) -> set[str]:
    """Return those of the runs of which a signature log has a trusted entry."""
    e = entries.c
    stands = (e.trust == Trust.TRUSTED, e.disproven.is_(False), ~of_certificate_log(e.protocol))
    found: set[str] = set()
    for some in chunks(sorted(runs), _RUNS):
        wanted = sa.select(e.run).where(e.run.in_(some), *stands).distinct()
        found.update(run for run in (await tx.execute(wanted)).scalars() if run is not None)
    return found
