"""Looks up the log entries that signatures beside released digests cite, in what was proven of those logs.

What is not there is not accused before its log had an hour to show it, and what cannot be checked never is (P6). A signature that
does not verify is told as such: in our name it is critical, of another it is something foreign that lies beside a release.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError, ProofError
from monitor.judge import intake
from monitor.model.entry import parse_workflow_name
from monitor.model.log import Conflict, ConflictKind, Mode, Protocol, uncovered
from monitor.model.release import Authority, InLog
from monitor.model.text import parse_rfc3339
from monitor.releases.beside import kept
from monitor.releases.explain import compare, missing_key
from monitor.releases.ledger import BASELINE_READ
from monitor.rules.integrity import Beside
from monitor.store import bundles, entries, health, logs, meta, releases
from monitor.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from monitor.model.log import Cursor, FollowedLog, Looked
    from monitor.releases.ports import Leaves
    from monitor.rules.policy import Policy
    from monitor.store.bundles import StoredBundle
    from monitor.store.engine import Store, Tx

_log = structlog.get_logger(__name__)

PATIENCE = timedelta(hours=1)
"""How long after a signature was fetched its log may still be without the entry: an old replica is no lie."""
_FIRST_DAY = timedelta(days=1)
"""How long after an artifact's first reading what lies beside its baseline is history."""
_A_READ = 100
_LOOKUPS_A_PASS = 20
_HOLES = 500


async def locate(tx: Tx, policy: Policy, now: datetime, *, lookup: bool = False) -> int:
    """Look the entries up that bundles cite, as far as their logs are read; return how many findings are new.

    With `lookup` what lies in no range that is read stays open: `look_up` asks for it.
    """
    followed = await logs.every(tx)
    found = 0
    for status in (InLog.OPEN, InLog.MISSING):
        after = 0
        while batch := await bundles.in_log(tx, status, _A_READ, after):
            after = batch[-1].id
            for bundle in batch:
                found += await _locate(tx, bundle, followed, policy, now, lookup=lookup)
    return found


async def look_up(
    store: Store, lookup: Leaves, policy: Policy, clock: Callable[[], datetime], stopping: Callable[[], bool]
) -> int:
    """Ask for some of the entries that no range covers, those asked for longest ago first; return how many findings are new."""
    found = 0
    async with store.read() as tx:
        followed = await logs.every(tx)
        cursors = {log.origin: await logs.cursor(tx, log.origin) for log in followed}
        cited = await bundles.with_status(tx, InLog.OPEN, InLog.UNCHECKED, InLog.MISSING)
    places = [(bundle, place) for bundle in cited if (place := _place(bundle, followed)) is not None]
    outside = [(bundle, place) for bundle, place in places if _outside(place, cursors[place.log.origin])]
    for bundle, place in outside[:_LOOKUPS_A_PASS]:
        if stopping():
            break
        looked: Looked | None = None
        try:
            looked = await lookup.cited(place.log, place.index)
        except (FetchError, FormatError, ProofError) as error:
            _log.warning("cited entry unread", log=place.log.origin, index=place.index, error=str(error))
        async with store.write() as tx:
            found += await _looked_up(tx, bundle.id, place, looked, policy, clock())
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a bundle's entry stands among the logs that we follow. `guessed`: by the global index over a server's shards."""

    log: FollowedLog
    index: int
    guessed: bool = False


def _place(bundle: StoredBundle, followed: Iterable[FollowedLog]) -> _Place | None:
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
    return _Place(shard, bundle.index - shard.offset, guessed=True) if shard is not None else None


def _outside(place: _Place, cursor: Cursor | None) -> bool:
    """Whether following the log will never come by this place."""
    return place.log.mode is not Mode.COMPLETE or (cursor is not None and place.index < cursor.started_at)


async def _locate(
    tx: Tx, bundle: StoredBundle, followed: list[FollowedLog], policy: Policy, now: datetime, *, lookup: bool
) -> int:
    if bundle.verified == "cannot-check":
        return 0
    if bundle.verified == "no":
        status = InLog.MISMATCH if _ours(bundle, policy) else InLog.UNCHECKED
        return await _keep(tx, bundle, status, unverified(bundle, policy), policy, now)
    status, conflict = await _read(tx, bundle, _place(bundle, followed), policy, lookup=lookup)
    return await _keep(tx, bundle, status, conflict, policy, now)


async def _keep(
    tx: Tx, bundle: StoredBundle, status: InLog, conflict: Conflict | None, policy: Policy, now: datetime
) -> int:
    if status is not bundle.in_log:
        await bundles.set_in_log(tx, bundle.id, status, now)
    if conflict is None:
        return 0
    return (await intake.conflict(tx, conflict, policy, now, await _beside(tx, bundle, policy))).findings


async def _read(
    tx: Tx, bundle: StoredBundle, place: _Place | None, policy: Policy, *, lookup: bool
) -> tuple[InLog, Conflict | None]:
    """Hold a bundle against what is read of its log."""
    cursor = await logs.cursor(tx, place.log.origin) if place is not None else None
    if place is None:  # a new log of the trusted root is followed from its first leaf, a moment later
        return (bundle.in_log if bundle.log is not None else InLog.UNCHECKED), None
    if lookup and _outside(place, cursor):
        return bundle.in_log, None
    if cursor is not None and place.index < cursor.started_at:
        return InLog.UNCHECKED, None
    if cursor is None or place.index >= cursor.position:
        beyond = await _beyond(tx, bundle, place)
        return (InLog.MISSING, _missing(bundle, place)) if beyond else (bundle.in_log, None)
    if uncovered(await logs.coverage(tx, place.log.origin), place.index, place.index + 1):
        return bundle.in_log, None  # it lies in a gap that is still to be read
    return await _read_there(tx, bundle, place, policy)


async def _read_there(tx: Tx, bundle: StoredBundle, place: _Place, policy: Policy) -> tuple[InLog, Conflict | None]:
    """Hold a bundle against what is kept of a place that is read and proven."""
    stored = await entries.find(tx, place.log.origin, place.index)
    if stored is not None:
        return _held(bundle, place, stored.leaf.data)
    holes = await logs.holes(tx, place.log.origin, _HOLES)
    if any(hole.begin <= place.index < hole.end for hole in holes) or not _ours(bundle, policy):
        # What does not concern us is not kept: there is nothing here to compare with.
        return InLog.UNCHECKED, None
    return InLog.MISMATCH, _other(bundle, place, b"")


async def _beyond(tx: Tx, bundle: StoredBundle, place: _Place) -> bool:
    """Whether the log still ended before this place long after the signature was there: by a checkpoint of its own, just shown."""
    newest = await logs.newest(tx, place.log.origin)
    late = bundle.fetched_at + PATIENCE
    if newest is None or place.index < newest.size or newest.last_seen < late:
        return False
    if not place.guessed:
        return True
    # A shard that we do not know yet may hold it: the server's list must be as new.
    source = f"shards:{place.log.origin.partition(' - ')[0]}"
    return any(
        each.source == source and each.last_success is not None and each.last_success >= late
        for each in await health.conditions(tx)
    )


async def _looked_up(
    tx: Tx, bundle_id: int, place: _Place, looked: Looked | None, policy: Policy, now: datetime
) -> int:
    bundle = await bundles.get(tx, bundle_id)
    if bundle is None:
        return 0
    status: InLog
    conflict: Conflict | None = None
    if looked is None:
        status = bundle.in_log
    elif looked.leaf is not None:
        status, conflict = _held(bundle, place, looked.leaf)
    elif place.index < looked.size or now >= bundle.fetched_at + PATIENCE:
        status, conflict = InLog.MISSING, _missing(bundle, place)
    else:
        status = InLog.OPEN
    await bundles.set_in_log(tx, bundle.id, status, now)
    return await _keep(tx, bundle, status, conflict, policy, now)


def _held(bundle: StoredBundle, place: _Place, leaf: bytes) -> tuple[InLog, Conflict | None]:
    """Hold a bundle against the leaf that is proven to stand where it cites one."""
    if leaf_hash(leaf) == bundle.leaf_hash:
        return InLog.CONFIRMED, None
    told = compare(kept(bundle), place.log.origin, place.index, leaf, place.log.protocol)
    return InLog.MISMATCH, told or _other(bundle, place, leaf)


def _missing(bundle: StoredBundle, place: _Place) -> Conflict:
    told = compare(kept(bundle), place.log.origin, place.index, None, place.log.protocol)
    return told or Conflict(
        ConflictKind.MISSING,
        place.log.origin,
        missing_key(place.index, bundle.leaf_hash or b""),
        f"A signature beside {bundle.artifact} cites entry {place.index}, and the log has none there.",
        place.index,
        (("bundle", bundle.data or b""),),
    )


def _other(bundle: StoredBundle, place: _Place, leaf: bytes) -> Conflict:
    return Conflict(
        ConflictKind.BUNDLE_MISMATCH,
        place.log.origin,
        _key(bundle),
        f"A signature beside {bundle.artifact} cites entry {place.index}, where the log has another.",
        place.index,
        (("bundle", bundle.data or b""), ("leaf", leaf)),
    )


def unverified(bundle: StoredBundle, policy: Policy) -> Conflict:
    """What is told of a signature that does not verify."""
    whose = "A signature in our name" if _ours(bundle, policy) else "A foreign signature"
    return Conflict(
        ConflictKind.BUNDLE_MISMATCH,
        bundle.log or "unknown log",
        _key(bundle),
        f"{whose} beside {bundle.artifact} does not verify: {bundle.why}.",
        bundle.index,
        (("bundle", bundle.data or b""),),
    )


async def _beside(tx: Tx, bundle: StoredBundle, policy: Policy) -> Beside:
    """What a finding says of the signature it is about."""
    verified = bundle.verified == "yes"
    foreign = not verified and not _ours(bundle, policy)
    belongs = [
        each for each in await releases.digests(tx) if (each.artifact, each.digest) == (bundle.artifact, bundle.digest)
    ]
    history = False
    if foreign and belongs and all(each.authority is Authority.BASELINE for each in belongs):
        begun = await meta.get(tx, f"{BASELINE_READ}{bundle.artifact}")
        history = begun is None or bundle.fetched_at < parse_rfc3339(begun) + _FIRST_DAY
    certificate = kept(bundle).certificate if verified else None
    return Beside(
        bundle.artifact,
        bundle.digest,
        belongs[0].version if belongs else None,
        bundle.identity,
        certificate.run if certificate is not None else None,
        foreign=foreign,
        history=history,
    )


def _key(bundle: StoredBundle) -> str:
    return f"bundle:{hashlib.sha256(f'{bundle.artifact} {bundle.digest} {bundle.source}'.encode()).hexdigest()[:32]}"


def _ours(bundle: StoredBundle, policy: Policy) -> bool:
    return policy.ours(parse_workflow_name(bundle.identity or ""))
