"""Our identity's signatures as the release rules see them: which version they name, which digest they are over, who made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.entry import Claim, Trust
from monitor.model.release import ATTESTED, Attempt, DigestStatus
from monitor.store.sql import chunks, of_certificate_log
from monitor.store.tables import certificates, entries, expected_hashes, findings, matches, signers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.model.finding import Category
    from monitor.store.connect import Tx

_REFS = "refs/tags/v%"
_ROWS = 500
_SHA256 = "sha256:"


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """A trusted entry at some tag of ours. `digests` are those it stands for, each with whether as an attestation."""

    entry_id: int
    log: str
    index: int
    identity: str
    ref: str
    run: str | None
    attempt: int | None
    commit: str | None
    workflow_digest: str | None
    event: str | None
    digests: tuple[tuple[str, bool], ...]
    status: DigestStatus
    wrong: frozenset[Category]
    """Categories of the findings that stand against it."""
    first_seen: datetime
    signed_at: datetime | None
    history: bool


async def every(tx: Tx) -> list[SignatureRow]:
    """Return every trusted entry whose name ends at a version tag, in the order in which they were stored.

    A certificate in a certificate log is none: nothing is signed with it yet.
    """
    e = entries.c
    mine = (
        e.trust == Trust.TRUSTED,
        e.ref.like(_REFS),
        e.disproven.is_(False),
        ~of_certificate_log(e.protocol),
    )
    chosen = sa.select(e.id).where(*mine)
    columns = (e.id, e.log, e.index, e.identity, e.ref, e.run, e.attempt, e.commit, e.event, e.digest, e.digest_status)
    statement = sa.select(*columns, e.first_seen, e.signed_at, e.history).where(*mine).order_by(e.id)
    rows = list((await tx.execute(statement)).mappings())
    wrong = await _wrong(tx, chosen)
    workflows = await _workflow_digests(tx, chosen)
    stands_for = await _stands_for(tx, {row["digest"] for row in rows if row["digest"]})
    return [
        SignatureRow(
            entry_id=row["id"],
            log=row["log"],
            index=row["index"],
            identity=row["identity"] or "",
            ref=row["ref"],
            run=row["run"],
            attempt=row["attempt"],
            commit=row["commit"],
            workflow_digest=workflows.get((row["id"], row["event"])),
            event=row["event"],
            digests=tuple(stands_for.get(row["digest"], ())),
            status=row["digest_status"],
            wrong=frozenset(wrong.get(row["id"], ())),
            first_seen=row["first_seen"],
            signed_at=row["signed_at"],
            history=row["history"],
        )
        for row in rows
    ]


async def _wrong(tx: Tx, chosen: sa.Select[tuple[int]]) -> dict[int, set[Category]]:
    f = findings.c
    statement = sa.select(f.entry_id, f.category).where(f.entry_id.in_(chosen), f.withdrawn_at.is_(None)).distinct()
    found: dict[int, set[Category]] = {}
    for row in await tx.execute(statement):
        found.setdefault(row.entry_id, set()).add(row.category)
    return found


async def _workflow_digests(tx: Tx, chosen: sa.Select[tuple[int]]) -> dict[tuple[int, str | None], str | None]:
    s, c = signers.c, certificates.c
    joined = signers.join(certificates, s.fingerprint == c.fingerprint)
    statement = sa.select(s.entry_id, s.event, c.claims).select_from(joined).where(s.entry_id.in_(chosen))
    claim = str(int(Claim.BUILD_CONFIG_DIGEST))
    return {(row.entry_id, row.event): row.claims.get(claim) for row in await tx.execute(statement)}


async def _stands_for(tx: Tx, logged: Iterable[str]) -> dict[str, list[tuple[str, bool]]]:
    """Map each logged digest (`sha256:…`) to the released digests whose hash it is."""
    h = expected_hashes.c
    values = [digest.removeprefix(_SHA256) for digest in logged if digest.startswith(_SHA256)]
    found: dict[str, list[tuple[str, bool]]] = {}
    for chunk in chunks(sorted(values), _ROWS):
        statement = sa.select(h.value, h.digest, h.how).where(h.value.in_(chunk)).order_by(h.value, h.digest, h.how)
        for row in await tx.execute(statement):
            found.setdefault(_SHA256 + row.value, []).append((row.digest, row.how.startswith(ATTESTED)))
    return found


async def attempts(tx: Tx, run: str) -> tuple[Attempt, ...]:
    """Return what the attempts of a run signed that a release carries."""
    e, m = entries.c, matches.c
    joined = entries.join(matches, m.entry_id == e.id)
    mine = (e.run == run, e.trust == Trust.TRUSTED, e.digest_status == DigestStatus.EXPECTED, e.disproven.is_(False))
    statement = sa.select(e.attempt, e.commit, m.version).select_from(joined).where(*mine).distinct()
    return tuple(
        Attempt(run, row.attempt, row.commit, row.version)
        for row in await tx.execute(statement.order_by(e.attempt, e.commit, m.version))
        if row.attempt is not None and row.commit is not None
    )


async def judge_again(tx: Tx, runs: Iterable[str]) -> None:
    """Have the unexpected signatures of these runs judged again: a later attempt may explain them."""
    e = entries.c
    for chunk in chunks(runs, _ROWS):
        unexplained = (e.run.in_(chunk), e.digest_status == DigestStatus.UNEXPECTED)
        await tx.execute(sa.update(entries).where(*unexplained).values(revision=None))


async def pending(tx: Tx) -> bool:
    """Whether any entry waits for the registry to explain it."""
    e = entries.c
    waiting = sa.select(e.id).where(e.digest_status == DigestStatus.PENDING, e.disproven.is_(False)).limit(1)
    return await tx.scalar(waiting) is not None
