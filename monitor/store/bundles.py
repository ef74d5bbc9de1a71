"""The signatures and attestations found beside released digests, and which digests are to be asked about next.

A bundle is kept as what verifying it came to; whether its log entry is where it says is filled in later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.store.sql import chunks, insert
from monitor.store.tables import attachments, bundles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from monitor.model.release import InLog
    from monitor.store.connect import Tx

_ROWS = 500
_AGAIN = ("verified", "why", "trust_root", "payload_hashes", "subjects", "log", "index", "leaf_hash", "in_log")
"""What verifying a signature anew may come to otherwise."""
UNSETTLED = ""
MAX_DATA = 1 << 20
"""Bytes of a bundle that are kept: a longer one is fetched again where it is needed."""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """One bundle found beside `digest`. `source` names the blob that holds it; `verified` is yes, no or cannot-check."""

    artifact: str
    digest: str
    source: str
    kind: str
    predicate_type: str | None
    payload_hashes: tuple[str, ...]
    subjects: tuple[str, ...]
    fingerprint: str | None
    identity: str | None
    verified: str
    why: str
    log: str | None
    index: int | None
    leaf_hash: bytes | None
    """Of the entry that it brings along, which must stand at `index` of `log`."""
    in_log: InLog
    trust_root: str
    """The digest of the root that it was verified under, or UNSETTLED: a newer one may say otherwise."""
    fetched_at: datetime
    data: bytes | None = field(default=None, repr=False)
    checked_at: datetime | None = None
    id: int = 0


async def add(tx: Tx, bundle: StoredBundle) -> None:
    """Keep a bundle, or what is known of it now: another trust root may verify what the last one could not."""
    values: dict[str, Any] = {
        "artifact": bundle.artifact,
        "digest": bundle.digest,
        "source": bundle.source,
        "kind": bundle.kind,
        "predicate_type": bundle.predicate_type,
        "payload_hashes": list(bundle.payload_hashes),
        "subjects": list(bundle.subjects),
        "fingerprint": bundle.fingerprint,
        "identity": bundle.identity,
        "verified": bundle.verified,
        "why": bundle.why,
        "log": bundle.log,
        "index": bundle.index,
        "leaf_hash": bundle.leaf_hash,
        "in_log": bundle.in_log,
        "data": bundle.data if bundle.data is None or len(bundle.data) <= MAX_DATA else None,
        "trust_root": bundle.trust_root,
        "fetched_at": bundle.fetched_at,
        "checked_at": bundle.checked_at,
    }
    statement = insert(tx, bundles).values(values)
    again = {name: statement.excluded[name] for name in _AGAIN}
    await tx.execute(statement.on_conflict_do_update(index_elements=["artifact", "digest", "source"], set_=again))


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of what lies beside a digest: when each source was first fetched, and which need not be fetched again."""

    fetched: Mapping[str, datetime] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()


async def known(tx: Tx, artifact: str, digest: str, trust_root: str) -> Known:
    """Return what is kept beside a digest. Only what is kept without its bytes is fetched again, until it is settled under this root."""
    c = bundles.c
    settled = sa.or_(c.verified == "yes", c.data.is_not(None), c.trust_root == trust_root)
    statement = sa.select(c.source, c.fetched_at, settled.label("settled"))
    rows = (await tx.execute(statement.where(c.artifact == artifact, c.digest == digest))).all()
    return Known({row.source: row.fetched_at for row in rows}, frozenset(row.source for row in rows if row.settled))


async def at(tx: Tx, artifact: str, digest: str, source: str) -> StoredBundle | None:
    """Return what is kept of one source beside a digest, without its bytes."""
    c = bundles.c
    return next(iter(await _read(tx, c.artifact == artifact, c.digest == digest, c.source == source)), None)


async def strangers(tx: Tx, since: datetime | None) -> bool:
    """Whether anything unsettled was fetched since the trust root was found to be the newest, or ever."""
    c = bundles.c
    where = [c.trust_root == UNSETTLED, *([c.fetched_at >= since] if since is not None else [])]
    return await tx.scalar(sa.select(c.id).where(*where).limit(1)) is not None


async def to_verify(tx: Tx, trust_root: str, refreshed_at: datetime, after: int, limit: int) -> list[StoredBundle]:
    """Return at most `limit` bundles, with their bytes, that may be verified otherwise under the newest trust root. A yes stands."""
    c = bundles.c
    settled_before = c.trust_root.not_in([UNSETTLED, trust_root])
    due = sa.or_(settled_before, sa.and_(c.trust_root == UNSETTLED, c.fetched_at < refreshed_at))
    return await _read(tx, c.verified != "yes", c.data.is_not(None), due, c.id > after, limit=limit, data=True)


async def of_digest(tx: Tx, digest: str) -> list[StoredBundle]:
    """Return what was found beside a digest, in the order in which it was found, without its bytes."""
    return await _read(tx, bundles.c.digest == digest)


async def every(tx: Tx) -> list[StoredBundle]:
    """Return every bundle without its bytes, the first found first."""
    return await _read(tx)


async def with_status(tx: Tx, *statuses: InLog) -> list[StoredBundle]:
    """Return every bundle that verified and whose cited entry stands so, without its bytes, the one looked up longest ago first."""
    c = bundles.c
    found = await _read(tx, c.in_log.in_(statuses), c.verified == "yes")
    return sorted(found, key=lambda each: (each.checked_at is not None, each.checked_at or each.fetched_at, each.id))


async def get(tx: Tx, bundle_id: int) -> StoredBundle | None:
    """Return one bundle with its bytes."""
    return next(iter(await _read(tx, bundles.c.id == bundle_id, data=True)), None)


async def in_log(tx: Tx, status: InLog, limit: int, after: int = 0) -> list[StoredBundle]:
    """Return at most `limit` bundles of this status with their bytes, in the order in which they were found."""
    c = bundles.c
    return await _read(tx, c.in_log == status, c.id > after, limit=limit, data=True)


async def set_in_log(tx: Tx, bundle_id: int, status: InLog, now: datetime) -> None:
    """Say what looking the cited entry up came to."""
    await tx.execute(sa.update(bundles).where(bundles.c.id == bundle_id).values(in_log=status, checked_at=now))


async def _read(
    tx: Tx, *where: sa.ColumnElement[bool], limit: int | None = None, data: bool = False
) -> list[StoredBundle]:
    columns = [column for column in bundles.c if data or column.name != "data"]
    statement = sa.select(*columns).where(*where).order_by(bundles.c.id).limit(limit)
    found = []
    for row in (await tx.execute(statement)).mappings():
        lists = {name: tuple(row[name]) for name in ("payload_hashes", "subjects")}
        found.append(StoredBundle(**{**row, **lists}))
    return found


@dataclass(frozen=True, slots=True)
class Attachment:
    """A digest whose signatures are asked for again and again. `error` says why the last answer was not whole."""

    artifact: str
    digest: str
    asked_at: datetime | None
    added_at: datetime
    error: str


async def want(tx: Tx, artifact: str, digests: Iterable[str], now: datetime) -> None:
    """Ask for the signatures beside these digests from now on."""
    for chunk in chunks(dict.fromkeys(digests), _ROWS):
        rows = [{"artifact": artifact, "digest": digest, "added_at": now, "error": ""} for digest in chunk]
        await tx.execute(insert(tx, attachments).values(rows).on_conflict_do_nothing())


async def due(tx: Tx, recent: datetime, older: datetime, *, before: datetime, limit: int) -> list[Attachment]:
    """Return at most `limit` digests to ask about: never asked first, then those asked longest ago, none asked since `before`.

    What was added since `recent`, or was not answered wholly, is always due; the rest when it was last asked before `older`.
    """
    c = attachments.c
    fresh = sa.or_(c.asked_at.is_(None), c.added_at >= recent, c.error != "", c.asked_at < older)
    statement = sa.select(attachments).where(fresh, sa.or_(c.asked_at.is_(None), c.asked_at < before))
    statement = statement.order_by(c.asked_at.is_not(None), c.asked_at, c.artifact, c.digest).limit(limit)
    return [Attachment(**row) for row in (await tx.execute(statement)).mappings()]


async def asked(tx: Tx, artifact: str, digest: str, now: datetime, error: str = "") -> None:
    """Say that a digest was asked about, and what went wrong."""
    c = attachments.c
    here = (c.artifact == artifact, c.digest == digest)
    await tx.execute(sa.update(attachments).where(*here).values(asked_at=now, error=error))
