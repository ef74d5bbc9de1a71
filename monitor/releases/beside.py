"""Takes in what lies beside released digests: which logged hashes it explains, and whether the log entry it cites is there.

Only what verified explains anything, and only if all that it is about belongs to one release. Where it was found never counts.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import FormatError, MonitorError
from monitor.judge import intake
from monitor.model.entry import parse_workflow_name
from monitor.model.log import Conflict, ConflictKind, Protocol
from monitor.model.release import VOUCHING, InLog
from monitor.releases.bundles import Kind
from monitor.releases.collect import collect, unpacked
from monitor.releases.explain import Explained, compare, explain, explains
from monitor.releases.verify import Verified, cited_log
from monitor.store import bundles, entries, logs, releases
from monitor.store.bundles import StoredBundle
from monitor.tlog.checkpoint import Checkpoint

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.log import FollowedLog
    from monitor.releases.bundles import Cited
    from monitor.releases.collect import Fetched
    from monitor.releases.reference import Reference
    from monitor.releases.registry import Registry
    from monitor.releases.verify import SignatureVerifier
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx
    from monitor.trust.root import TrustRoot

_A_PASS = 500
_NAMED = 3


class Examiner:
    """Fetches and verifies what lies beside a digest, under one trust root."""

    def __init__(self, registry: Registry, verifier: SignatureVerifier) -> None:
        self._registry = registry
        self._verifier = verifier

    @property
    def root(self) -> TrustRoot:
        """The trust root it verifies under."""
        return self._verifier.root

    async def examine(
        self, artifact: str, ref: Reference, digest: str, known: set[str], now: datetime
    ) -> tuple[tuple[StoredBundle, ...], str]:
        """Return what is not `known` yet, and what could not be had, in words. FetchError when the registry cannot be asked."""
        found: list[StoredBundle] = []
        missed: list[str] = []
        for fetched in await collect(self._registry, ref, digest, known):
            if fetched.error:
                missed.append(f"{ref}: beside {digest}: {fetched.error}")
                continue
            told = await explain(fetched, self._verifier)
            found.append(self._stored(artifact, digest, fetched, told, now))
        return tuple(found), "; ".join(missed[:_NAMED])

    def _stored(self, artifact: str, digest: str, fetched: Fetched, told: Explained, now: datetime) -> StoredBundle:
        log, index = self._cited(told.cited)
        return StoredBundle(
            artifact=artifact,
            digest=digest,
            source=fetched.source,
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
            trust_root=self.root.digest,
            fetched_at=now,
            data=fetched.packed(),
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


async def take_in(tx: Tx, now: datetime) -> int:
    """Make expected the hashes of every verified bundle whose subjects all belong to one version; return how many are new.

    Run over all of them, for a digest may become expected after its bundle was found.
    """
    expected: dict[str, set[tuple[str, str]]] = {}
    for each in await releases.digests(tx):
        if each.authority in VOUCHING:
            expected.setdefault(each.digest, set()).add((each.version, each.artifact))
    new = [each for bundle in await bundles.every(tx) for each in explains(_told(bundle), expected)]
    known = await releases.known_hashes(tx, {each.value for each in new})
    missing = dict.fromkeys(each for each in new if (each.value, each.digest) not in known)
    return await releases.add_digests(tx, [], list(missing), now)


def _told(bundle: StoredBundle) -> Explained:
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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a bundle's entry stands among the logs that we follow."""

    log: FollowedLog
    index: int


async def locate(tx: Tx, policy: Policy, now: datetime) -> int:
    """Look the entries up that bundles cite, as far as their logs are read; return how many findings are new."""
    followed = await logs.every(tx)
    found = 0
    for bundle in await bundles.in_log(tx, InLog.OPEN, _A_PASS):
        if bundle.verified == "cannot-check":
            continue
        if bundle.verified == "no":
            status = InLog.MISMATCH if _ours(bundle, policy) else InLog.UNCHECKED
            if status is InLog.MISMATCH:
                found += (await intake.conflict(tx, _unverified(bundle), policy, now)).findings
        else:
            status, conflict = await _look_up(tx, bundle, _place(bundle, followed), policy)
            if conflict is not None:
                found += (await intake.conflict(tx, conflict, policy, now)).findings
        if status is not InLog.OPEN:
            await bundles.set_in_log(tx, bundle.id, status, now)
    return found


def _place(bundle: StoredBundle, followed: list[FollowedLog]) -> _Place | None:
    """Return the place by the checkpoint's origin, else by the global index over the shards of a Rekor v1 server."""
    if bundle.log is None or bundle.index is None:
        return None
    shards = []
    for log in followed:
        if log.origin == bundle.log:
            return _Place(log, bundle.index)
        if log.protocol is Protocol.REKOR_V1 and log.origin.partition(" - ")[0] == bundle.log:
            shards.append(log)
    shard = max((log for log in shards if log.offset <= bundle.index), key=lambda log: log.offset, default=None)
    return _Place(shard, bundle.index - shard.offset) if shard is not None else None


async def _look_up(tx: Tx, bundle: StoredBundle, place: _Place | None, policy: Policy) -> tuple[InLog, Conflict | None]:
    cursor = await logs.cursor(tx, place.log.origin) if place is not None else None
    if place is None or (cursor is not None and place.index < cursor.started_at):
        return InLog.UNCHECKED, None
    if cursor is None or place.index >= cursor.position:
        return InLog.OPEN, None
    stored = await entries.find(tx, place.log.origin, place.index)
    if stored is not None and stored.leaf.hash == bundle.leaf_hash:
        return InLog.CONFIRMED, None
    if stored is None:
        holes = await logs.holes(tx, place.log.origin, _A_PASS)
        if any(hole.begin <= place.index < hole.end for hole in holes) or not _ours(bundle, policy):
            # What does not concern us is not kept: there is nothing here to compare with.
            return InLog.UNCHECKED, None
    protocol, leaf = place.log.protocol, stored.leaf.data if stored is not None else b""
    told = compare(_told(bundle), place.log.origin, place.index, leaf, protocol) if stored is not None else None
    return InLog.MISMATCH, told or Conflict(
        ConflictKind.BUNDLE_MISMATCH,
        place.log.origin,
        _key(bundle),
        f"A signature beside {bundle.artifact} cites entry {place.index}, where the log has another.",
        place.index,
        (("bundle", bundle.data or b""), ("leaf", leaf)),
    )


def _unverified(bundle: StoredBundle) -> Conflict:
    return Conflict(
        ConflictKind.BUNDLE_MISMATCH,
        bundle.log or "unknown log",
        _key(bundle),
        f"A bundle in our name beside {bundle.artifact} does not verify: {bundle.why}.",
        bundle.index,
        (("bundle", bundle.data or b""),),
    )


def _key(bundle: StoredBundle) -> str:
    return f"bundle:{hashlib.sha256(f'{bundle.artifact} {bundle.digest} {bundle.source}'.encode()).hexdigest()[:32]}"


def _ours(bundle: StoredBundle, policy: Policy) -> bool:
    return policy.ours(parse_workflow_name(bundle.identity or ""))
