"""Takes in what lies beside released digests: which logged hashes it explains, and which checkpoints of logs it carries.

Only what verified explains anything, and only if all that it is about belongs to one release. Where it was found never counts.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.errors import FormatError, MonitorError
from monitor.model.log import CheckpointSource, CheckpointStatus, Protocol, StoredCheckpoint
from monitor.model.release import VOUCHING, InLog
from monitor.releases.bundles import Kind
from monitor.releases.collect import collect, unpacked
from monitor.releases.explain import Explained, explain, explained, explains
from monitor.releases.verify import Verified, cited_log
from monitor.store import bundles, logs, releases
from monitor.store.bundles import UNSETTLED, StoredBundle
from monitor.tlog import note
from monitor.tlog.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.releases.bundles import Attached, Cited
    from monitor.releases.reference import Reference
    from monitor.releases.registry import Registry
    from monitor.releases.verify import SignatureVerifier
    from monitor.store.bundles import Known
    from monitor.store.engine import Tx
    from monitor.trust.root import TrustedLog, TrustRoot

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Examined:
    """What lies beside one digest: signatures, the checkpoints in them that count, and what could not be had, in words."""

    bundles: tuple[StoredBundle, ...] = ()
    checkpoints: tuple[StoredCheckpoint, ...] = ()
    missed: str = ""


class Examiner:
    """Fetches and verifies what lies beside a digest, under one trust root."""

    def __init__(self, registry: Registry, verifier: SignatureVerifier) -> None:
        self._registry = registry
        self._verifier = verifier

    @property
    def root(self) -> TrustRoot:
        """The trust root it verifies under."""
        return self._verifier.root

    @property
    def refreshed_at(self) -> datetime | None:
        """When that root was last found to be the newest."""
        return self._verifier.refreshed_at

    async def examine(self, artifact: str, ref: Reference, digest: str, known: Known, now: datetime) -> Examined:
        """Return what is not `known` yet, and what could not be had, in words. FetchError when the registry cannot be asked."""
        found: list[StoredBundle] = []
        notes: list[StoredCheckpoint] = []
        missed: list[str] = []
        for fetched in await collect(self._registry, ref, digest, known.settled):
            if fetched.error:
                missed.append(f"{ref}: beside {digest}: {fetched.error}")
                continue
            first = known.fetched.get(fetched.source, now)
            told = await explain(fetched, self._verifier, first)
            found.append(self._stored((artifact, digest, fetched.source), told, first, fetched.packed()))
            if told.attached is not None:
                notes.extend(counted(told.attached, self.root, now))
        return Examined(tuple(found), tuple(notes), "; ".join(missed[:_NAMED]))

    async def again(self, bundle: StoredBundle, now: datetime) -> Examined:
        """Verify what is kept, with its bytes, anew."""
        attached = kept(bundle).attached
        if attached is None:  # it cannot be read: no root changes that
            return Examined((replace(bundle, trust_root=self.root.digest),))
        told = await explained(attached, self._verifier, bundle.fetched_at)
        place = (bundle.artifact, bundle.digest, bundle.source)
        new = self._stored(place, told, bundle.fetched_at, bundle.data)
        return Examined((new,), counted(attached, self.root, now))

    def _stored(
        self, place: tuple[str, str, str], told: Explained, fetched_at: datetime, data: bytes | None
    ) -> StoredBundle:
        artifact, digest, source = place
        log, index = self._cited(told.cited)
        return StoredBundle(
            artifact=artifact,
            digest=digest,
            source=source,
            kind=told.kind.value,
            predicate_type=told.predicate or None,
            payload_hashes=told.payload_hashes,
            subjects=told.subjects,
            fingerprint=told.certificate.fingerprint if told.certificate else None,
            identity=told.certificate.san if told.certificate else None,
            verified=told.verified.value,
            why=told.why,
            log=log,
            index=index,
            leaf_hash=told.cited.leaf_hash if told.cited else None,
            in_log=InLog.OPEN,
            trust_root=UNSETTLED if told.stranger else self.root.digest,
            fetched_at=fetched_at,
            data=data,
        )

    def _cited(self, cited: Cited | None) -> tuple[str | None, int | None]:
        """The cited log's origin and the index there; of Rekor v1 without a proof its host and the global index."""
        if cited is None:
            return None, None
        if cited.proof is not None and cited.proof.note is not None:
            try:
                return Checkpoint.parse(cited.proof.note).origin, cited.proof.index
            except MonitorError:
                return None, None
        log = cited_log(cited, self.root)
        return (log.origin, cited.index) if log else (None, None)


def counted(attached: Attached, root: TrustRoot, now: datetime) -> tuple[StoredCheckpoint, ...]:
    """The checkpoints that a signature brings and that count: of a log of the trusted root, signed by its key, whose window has begun.

    Each is a statement of its log, whatever becomes of the rest of the signature, and is *seen*: whoever follows the log holds it
    against all others.
    """
    found = []
    for cited in attached.entries:
        if cited.proof is None or cited.proof.note is None:
            continue
        try:
            checkpoint = Checkpoint.parse(cited.proof.note)
            keys = [log.key for log in root.logs if _names(log, checkpoint.origin) and log.start <= now]
            note.verify(checkpoint.note, keys)
        except MonitorError:
            continue
        size, top, raw = checkpoint.size, checkpoint.root, checkpoint.raw
        source, status = CheckpointSource.BUNDLE, CheckpointStatus.SEEN
        found.append(StoredCheckpoint(checkpoint.origin, size, top, raw, source, status, now, now))
    return tuple(found)


def _names(log: TrustedLog, origin: str) -> bool:
    """Whether a checkpoint's origin is this log's; a Rekor v1 server's shards are its host name and a tree."""
    return log.origin == (origin.partition(" - ")[0] if log.protocol is Protocol.REKOR_V1 else origin)


async def keep_checkpoints(tx: Tx, new: Iterable[StoredCheckpoint]) -> None:
    """Keep what is not known. What is known is left as it is: only its log may say when it showed it last."""
    for each in new:
        if all(known.root != each.root for known in await logs.at_size(tx, each.log, each.size)):
            await logs.add_checkpoint(tx, each)


async def take_in(tx: Tx, now: datetime) -> int:
    """Make expected the hashes of every verified bundle whose subjects all belong to one version; return how many are new.

    Run over all of them, for a digest may become expected after its bundle was found.
    """
    expected: dict[str, set[tuple[str, str]]] = {}
    for each in await releases.digests(tx):
        if each.authority in VOUCHING:
            expected.setdefault(each.digest, set()).add((each.version, each.artifact))
    new = [each for bundle in await bundles.every(tx) for each in explains(kept(bundle), expected)]
    known = await releases.known_hashes(tx, {each.value for each in new})
    missing = dict.fromkeys(each for each in new if (each.value, each.digest) not in known)
    return await releases.add_digests(tx, [], list(missing), now)


def kept(bundle: StoredBundle) -> Explained:
    """What verifying a bundle came to, as it was kept, with what can be read of its bytes."""
    attached = None
    if bundle.data is not None:
        with contextlib.suppress(FormatError):
            attached = unpacked(bundle.data)
    return Explained(
        Kind(bundle.kind),
        bundle.payload_hashes,
        bundle.subjects,
        bundle.predicate_type or "",
        attached.certificate if attached else None,
        attached.cited if attached else None,
        Verified(bundle.verified),
        bundle.why,
        attached,
    )
