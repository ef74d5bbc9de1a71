"""Entries that concern us, with the bytes of their leaves, so that any of them can be judged again; unique by (log, index, leaf hash).

What a judgement says is replaced by the next one; the leaf, its place and when it was first seen never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.errors import StoreError
from monitor.model.entry import Claim, parse_workflow_name
from monitor.model.judgement import StoredEntry
from monitor.model.log import InclusionProof, Leaf, Promise
from monitor.model.release import DigestStatus
from monitor.store.certificates import StoredSigner, add_signers, signers_of
from monitor.store.entry_list import EntryRow, list_entries, row
from monitor.store.sql import chunks, insert
from monitor.store.tables import entries, leaves, matches, signers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.model.entry import JudgedSigner, LogEntry
    from monitor.model.judgement import Judgement
    from monitor.store.connect import Tx

__all__ = [
    "EntryRow",
    "StoredProof",
    "StoredSigner",
    "add",
    "find",
    "get",
    "judged",
    "known_uuids",
    "list_entries",
    "mark_disproven",
    "match_rows",
    "named",
    "proof",
    "row",
    "set_judgement",
    "set_proof",
    "signers_of",
    "to_settle",
    "without_proof",
]

_HASH = 32
_ROWS = 500


@dataclass(frozen=True, slots=True)
class StoredProof:
    """An inclusion proof that was verified under the stored checkpoint of `checkpoint_size`."""

    proof: InclusionProof
    checkpoint_size: int


async def add(tx: Tx, entry: LogEntry, judgement: Judgement, proof: InclusionProof | None, now: datetime) -> int | None:
    """Keep an entry as judged; a `proof` is one already verified. None when this (log, index, leaf hash) is known."""
    promise = entry.promise
    values = {
        "log": entry.log,
        "protocol": entry.decoded.protocol,
        "index": entry.index,
        "leaf_hash": entry.leaf_hash,
        "first_seen": entry.first_seen,
        "stored_at": now,
        "kind": entry.decoded.kind,
        "api_version": entry.decoded.api_version,
        "disproven": False,
        "global_index": promise.global_index if promise else None,
        "uuid": promise.uuid if promise else None,
        "promise_log_id": promise.log_id if promise else None,
        "integrated_time": promise.integrated_time if promise else None,
        "signed_entry_timestamp": promise.signed_entry_timestamp if promise else None,
        **judged(entry, judgement, now),
        **(_proven(proof, proof.size) if proof else {}),
    }
    statement = insert(tx, entries).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["log", "index", "leaf_hash"])
    entry_id: int | None = await tx.scalar(statement.returning(entries.c.id))
    if entry_id is not None:
        await tx.execute(sa.insert(leaves).values(entry_id=entry_id, data=entry.data, extra=entry.extra or None))
        await _add_details(tx, entry_id, entry, judgement, now)
    return entry_id


async def set_judgement(
    tx: Tx, entry_id: int, entry: LogEntry, judgement: Judgement, now: datetime, *, details: bool = True
) -> None:
    """Put a judgement in the place of the last one. StoreError when the entry is not kept.

    Without `details` the signers and releases that are kept stay: they are the same.
    """
    changed = await tx.execute(sa.update(entries).where(entries.c.id == entry_id).values(judged(entry, judgement, now)))
    if changed.rowcount != 1:
        raise StoreError(f"no entry {entry_id} is stored")
    if not details:
        return
    await tx.execute(sa.delete(signers).where(signers.c.entry_id == entry_id))
    await tx.execute(sa.delete(matches).where(matches.c.entry_id == entry_id))
    await _add_details(tx, entry_id, entry, judgement, now)


async def _add_details(tx: Tx, entry_id: int, entry: LogEntry, judgement: Judgement, now: datetime) -> None:
    await add_signers(tx, entry_id, entry, now)
    if rows := match_rows(entry_id, judgement):
        await tx.execute(sa.insert(matches), rows)


def match_rows(entry_id: int, judgement: Judgement) -> list[dict[str, Any]]:
    """What is kept of the releases that a judgement found an entry's digest in, a row each."""
    return [
        {
            "entry_id": entry_id,
            "number": number,
            "version": match.version,
            "artifact": match.artifact,
            "digest": match.digest,
            "authority": match.authority,
            "how": match.how,
        }
        for number, match in enumerate(judgement.matches)
    ]


def judged(entry: LogEntry, judgement: Judgement, now: datetime) -> dict[str, Any]:
    """What an entry's own columns say of its judgement, by column."""
    shown = _shown_signer(entry, judgement)
    certificate = shown.certificate if shown else None
    trusted = certificate if shown and shown.trusted else None
    name = parse_workflow_name(certificate.san) if certificate else None
    digest = entry.decoded.digest
    return {
        "signed_at": entry.signed_at,
        "at": entry.signed_at or entry.first_seen,
        "digest": str(digest) if digest else None,
        "digest_role": digest.role if digest else None,
        "identity": certificate.san if certificate else None,
        "issuer": certificate.oidc_issuer if certificate else None,
        "key_id": shown.signer.key_id if shown else None,
        "trust": shown.verdict.trust if shown and shown.verdict else None,
        "event": entry.event(shown.signer) if shown else None,
        "ref": name.ref if name else None,
        "workflow": name.file if name else None,
        "run": trusted.run if trusted else None,
        "attempt": trusted.attempt if trusted else None,
        "commit": trusted.claims.get(Claim.SOURCE_DIGEST) if trusted else None,
        "accepted": judgement.accepted,
        "digest_status": judgement.digest_status,
        "revision": judgement.revision,
        "judged_at": now,
        "history": judgement.history,
    }


def _shown_signer(entry: LogEntry, judgement: Judgement) -> JudgedSigner | None:
    """Of several signers, the one that the worst finding is about, else the first trusted one, else the first."""
    if not entry.signers:
        return None
    worst = max((f for f in judgement.findings if f.event), key=lambda f: f.severity.rank, default=None)
    if worst:
        for signer in entry.signers:
            if entry.event(signer.signer) == worst.event:
                return signer
    return next((signer for signer in entry.signers if signer.trusted), entry.signers[0])


async def to_settle(tx: Tx, revision: str, after: int, limit: int) -> list[StoredEntry]:
    """Return at most `limit` entries of ids above `after` that are unjudged, pending or of another revision.

    Those that a registry could not be asked about are too: it may answer now.
    """
    c = entries.c
    others = [c.revision == other for other in await _revisions(tx) if other != revision]
    ids: set[int] = set()
    waiting = [c.digest_status == status for status in (DigestStatus.PENDING, DigestStatus.UNJUDGED)]
    for unsettled in (c.revision.is_(None), *waiting, *others):  # an index each
        found = sa.select(c.id).where(unsettled, c.id > after, c.disproven.is_(False)).order_by(c.id).limit(limit)
        ids.update((await tx.execute(found)).scalars())
    statement = _select().where(c.id.in_(sorted(ids)[:limit])).order_by(c.id)
    return [_stored(each) for each in (await tx.execute(statement)).mappings()]


async def _revisions(tx: Tx) -> list[str]:
    """Return the revisions that any entry was judged by: few, found by leaps over the index."""
    found: list[str] = []
    newest = sa.select(sa.func.max(entries.c.revision))
    revision = await tx.scalar(newest)
    while revision is not None:
        found.append(revision)
        revision = await tx.scalar(newest.where(entries.c.revision < revision))
    return found


async def mark_disproven(tx: Tx, entry_id: int) -> None:
    """Say that the signed tree holds another leaf in this place. The entry stays, and is judged no more."""
    await tx.execute(sa.update(entries).where(entries.c.id == entry_id).values(disproven=True))


async def without_proof(tx: Tx, log: str, limit: int) -> list[StoredEntry]:
    """Return at most `limit` entries of a log whose inclusion is still to be proven, the first stored first."""
    c = entries.c
    unproven = (c.log == log, c.proof_size.is_(None), c.disproven.is_(False))
    statement = _select().where(*unproven).order_by(c.id).limit(limit)
    return [_stored(each) for each in (await tx.execute(statement)).mappings()]


async def set_proof(tx: Tx, entry_id: int, proof: InclusionProof, checkpoint_size: int) -> None:
    """Keep an inclusion proof that was verified. StoreError when the entry is not kept, or is another leaf."""
    same = (entries.c.id == entry_id, entries.c.index == proof.index, entries.c.leaf_hash == proof.leaf_hash)
    if (await tx.execute(sa.update(entries).where(*same).values(_proven(proof, checkpoint_size)))).rowcount != 1:
        raise StoreError(f"the proof of leaf {proof.index} is not one of entry {entry_id}")


def _proven(proof: InclusionProof, checkpoint_size: int) -> dict[str, Any]:
    return {"proof_size": proof.size, "proof_hashes": b"".join(proof.hashes), "checkpoint_size": checkpoint_size}


async def proof(tx: Tx, entry_id: int) -> StoredProof | None:
    """Return the inclusion proof kept with an entry."""
    c = entries.c
    statement = sa.select(c.index, c.leaf_hash, c.proof_size, c.proof_hashes, c.checkpoint_size).where(c.id == entry_id)
    kept = (await tx.execute(statement)).mappings().one_or_none()
    if kept is None or kept["proof_size"] is None:
        return None
    data = kept["proof_hashes"]
    hashes = tuple(data[at : at + _HASH] for at in range(0, len(data), _HASH))
    claim = InclusionProof(leaf_hash=kept["leaf_hash"], index=kept["index"], size=kept["proof_size"], hashes=hashes)
    return StoredProof(claim, kept["checkpoint_size"])


async def get(tx: Tx, entry_id: int) -> StoredEntry | None:
    """Return an entry with its leaf."""
    kept = (await tx.execute(_select().where(entries.c.id == entry_id))).mappings().one_or_none()
    return _stored(kept) if kept else None


async def known_uuids(tx: Tx, uuids: Iterable[str]) -> set[str]:
    """Return those of these UUIDs (Rekor v1) whose entries are kept."""
    found: set[str] = set()
    for chunk in chunks(uuids, _ROWS):
        found.update((await tx.execute(sa.select(entries.c.uuid).where(entries.c.uuid.in_(chunk)))).scalars())
    return found


async def named(tx: Tx, logs: Iterable[str], limit: int) -> list[tuple[str, str]]:
    """Return the (identity, UUID) of at most `limit` entries of these logs, each of another identity, the newest first."""
    c = entries.c
    mine = (c.log.in_(list(logs)), c.uuid.is_not(None), c.identity.is_not(None), c.disproven.is_(False))
    newest = sa.select(sa.func.max(c.id)).where(*mine).group_by(c.identity)
    statement = sa.select(c.identity, c.uuid).where(c.id.in_(newest)).order_by(c.id.desc()).limit(limit)
    return [(row.identity, row.uuid) for row in await tx.execute(statement)]


async def find(tx: Tx, log: str, index: int) -> StoredEntry | None:
    """Return the entry in a place of a log; where a leaf was disproven, the one that stands there."""
    c = entries.c
    statement = _select().where(c.log == log, c.index == index).order_by(c.disproven, c.id.desc()).limit(1)
    kept = (await tx.execute(statement)).mappings().one_or_none()
    return _stored(kept) if kept else None


def _select() -> sa.Select[Any]:
    return sa.select(entries, leaves.c.data, leaves.c.extra).join_from(
        entries, leaves, leaves.c.entry_id == entries.c.id
    )


def _stored(kept: sa.RowMapping) -> StoredEntry:
    promise = None
    if kept["uuid"] is not None:
        promise = Promise(
            log_id=kept["promise_log_id"],
            integrated_time=kept["integrated_time"],
            global_index=kept["global_index"],
            uuid=kept["uuid"],
            signed_entry_timestamp=kept["signed_entry_timestamp"],
        )
    return StoredEntry(
        id=kept["id"],
        leaf=Leaf(kept["log"], kept["protocol"], kept["index"], kept["data"], promise, kept["extra"] or b""),
        first_seen=kept["first_seen"],
        digest_status=kept["digest_status"],
        revision=kept["revision"],
        disproven=kept["disproven"],
    )
