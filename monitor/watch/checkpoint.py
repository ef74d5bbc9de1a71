"""Checkpoints held against all others: stored before anything is read for them, and never a target before they are proven consistent.

Same size and another root, or a root computed from proven hashes that differs from a signed one, is a fork: both notes are kept for
ever. What cannot be proven either way is no fork and no target; it is asked about again (DESIGN section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from monitor.errors import BadSignatureError, FetchError, FormatError, ProofError, UnknownKeyError
from monitor.judge import intake
from monitor.model.log import CheckpointSource, CheckpointStatus, Conflict, ConflictKind, LogState, StoredCheckpoint
from monitor.store import health, logs, meta
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import EMPTY_ROOT
from monitor.tlog.proofs import verify_consistency
from monitor.watch.keys import counted
from monitor.watch.proven import range_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.model.log import FollowedLog
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx
    from monitor.watch.keys import LogKey
    from monitor.watch.ports import Log

_SEEN_A_PASS = 20


class Standing(Enum):
    """How a checkpoint came out of being held against the others."""

    CONSISTENT = auto()
    CONFLICTING = auto()
    UNPROVEN = auto()


_TROUBLE = {
    Standing.CONFLICTING: "its newest checkpoint conflicts with one that it signed before",
    Standing.UNPROVEN: "its newest checkpoint could not be proven consistent with those before",
}


@dataclass(frozen=True, slots=True)
class Polled:
    """The newest checkpoint that is proven consistent (None when there is none yet), and what is wrong with the one just polled."""

    target: Checkpoint | None
    error: str | None


class Keeper:
    """Keeps one log's checkpoints. It remembers nothing itself: the store does."""

    def __init__(
        self,
        log: Log,
        followed: FollowedLog,
        keys: tuple[LogKey, ...],
        store: Store,
        policy: Policy,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._followed = followed
        self.keys = keys
        self._store = store
        self._policy = policy
        self._clock = clock
        self._source = f"log:{followed.origin}"

    async def poll(self) -> Polled:
        """Ask for the newest checkpoint and hold it. What goes wrong is written to `health`, or kept as a conflict, and told."""
        checkpoint, error = await self._ask()
        if checkpoint is not None:
            async with self._store.read() as tx:
                before = await logs.newest(tx, self._followed.origin)
            standing = await self.hold(checkpoint, CheckpointSource.POLL)
            await self._report(checkpoint, before, standing)
            error = _TROUBLE.get(standing)
        await self._hold_seen()
        return Polled(await self.target(), error)

    async def target(self) -> Checkpoint | None:
        """The newest checkpoint that is proven consistent, as it is stored; None when there is none yet."""
        async with self._store.read() as tx:
            newest = await logs.newest(tx, self._followed.origin)
        return Checkpoint.parse(newest.note) if newest else None

    async def link(self, raw: bytes) -> Checkpoint:
        """The checkpoint that came inside a proof, once it is joined to ours. Raises ProofError when it cannot be."""
        try:
            checkpoint = counted(raw, self._followed.origin, self.keys, self._clock())
        except (FormatError, UnknownKeyError, BadSignatureError) as error:
            raise ProofError(f"{self._log.origin} sent a proof whose checkpoint does not count: {error}") from error
        if await self.hold(checkpoint, CheckpointSource.PROOF) is not Standing.CONSISTENT:
            raise ProofError(
                f"{self._log.origin} sent a proof under its checkpoint of size {checkpoint.size}, which is not joined to ours"
            )
        return checkpoint

    async def hold(self, checkpoint: Checkpoint, source: CheckpointSource) -> Standing:
        """Store a checkpoint that counts, and hold it against every stored one."""
        now = self._clock()
        origin = self._followed.origin
        async with self._store.write() as tx:
            rivals = await logs.at_size(tx, origin, checkpoint.size)
            await logs.add_checkpoint(tx, _stored(checkpoint, origin, source, now))
            known = next((rival for rival in rivals if rival.root == checkpoint.root), None)
            if known is not None and known.status is not CheckpointStatus.SEEN:
                return Standing.CONSISTENT if known.status is CheckpointStatus.CONSISTENT else Standing.CONFLICTING
            other = next((rival for rival in rivals if rival.root != checkpoint.root), None)
            if other is not None:
                await self._forked(tx, checkpoint, other, checkpoint.raw, now)
                return Standing.CONFLICTING
            anchor = await logs.newest(tx, origin)
            if anchor is None:
                await logs.set_status(tx, origin, checkpoint.size, checkpoint.root, CheckpointStatus.CONSISTENT)
                return Standing.CONSISTENT
        return await self._join(checkpoint, anchor)

    async def _join(self, checkpoint: Checkpoint, anchor: StoredCheckpoint) -> Standing:
        ours = Checkpoint.parse(anchor.note)
        small, large = (ours, checkpoint) if ours.size < checkpoint.size else (checkpoint, ours)
        try:
            if small.size == 0:
                if small.root != EMPTY_ROOT:
                    raise ProofError(f"{self._log.origin} signed size 0 with the root of a tree that is not empty")  # noqa: TRY301 - one way out for every failed proof
            else:
                await self._consistent(small, large)
        except (ProofError, FetchError, FormatError) as error:
            return await self._without_proof(checkpoint, anchor, small, large, error)
        return await self._settled(checkpoint)

    async def _consistent(self, small: Checkpoint, large: Checkpoint) -> None:
        """Raise ProofError unless the log proves it; a wrong proof is asked for once more, past caches."""
        proof = await self._log.consistency_proof(small.size, large.size)
        try:
            verify_consistency(small.size, large.size, small.root, large.root, proof)
        except ProofError:
            proof = await self._log.consistency_proof(small.size, large.size, fresh=True)
            verify_consistency(small.size, large.size, small.root, large.root, proof)

    async def _without_proof(
        self, checkpoint: Checkpoint, anchor: StoredCheckpoint, small: Checkpoint, large: Checkpoint, error: Exception
    ) -> Standing:
        """No consistency proof: compute the root at the smaller size under the larger note, and compare."""
        under: list[Checkpoint] = []

        async def only_counted(raw: bytes) -> Checkpoint:
            under.append(counted(raw, self._followed.origin, self.keys, self._clock()))
            return under[-1]

        try:
            root = (await range_at(self._log, small.size, large, only_counted, fresh=True)).root()
        except (ProofError, FetchError, FormatError, UnknownKeyError, BadSignatureError) as second:
            await self._unproven(f"{error}; computing the root at size {small.size} instead: {second}")
            return Standing.UNPROVEN
        if root != small.root:
            proving = under[-1] if under else large
            rival = checkpoint if proving is large or small is checkpoint else proving
            async with self._store.write() as tx:
                now = self._clock()
                if rival is not checkpoint:
                    await logs.add_checkpoint(tx, _stored(rival, self._followed.origin, CheckpointSource.PROOF, now))
                theirs = proving.raw if small is not checkpoint else small.raw
                await self._forked(tx, rival, anchor, theirs, now)
            return Standing.CONFLICTING
        if under:
            await self._unproven(f"{error}; sizes {small.size} and {large.size} agree with size {under[-1].size} only")
            return Standing.UNPROVEN
        return await self._settled(checkpoint)

    async def _settled(self, checkpoint: Checkpoint) -> Standing:
        async with self._store.write() as tx:
            await logs.set_status(
                tx, self._followed.origin, checkpoint.size, checkpoint.root, CheckpointStatus.CONSISTENT
            )
        return Standing.CONSISTENT

    async def _unproven(self, error: str) -> None:
        async with self._store.write() as tx:
            await health.report(tx, "consistency-unproven", self._source, self._clock(), error)

    async def _forked(self, tx: Tx, theirs: Checkpoint, ours: StoredCheckpoint, note: bytes, now: datetime) -> None:
        origin = self._followed.origin
        await logs.set_status(tx, origin, theirs.size, theirs.root, CheckpointStatus.CONFLICTING)
        at = (
            f"two roots at size {ours.size}"
            if ours.size == theirs.size
            else f"sizes {ours.size} and {theirs.size}, neither of which the other grew from"
        )
        found = Conflict(
            ConflictKind.FORKED,
            origin,
            f"{ours.size}:{ours.root.hex()[:16]}:{theirs.size}:{theirs.root.hex()[:16]}",
            f"{origin} signed two histories: {at}",
            evidence=(("ours", ours.note), ("theirs", note)),
        )
        await intake.conflict(tx, found, self._policy, now)

    async def _hold_seen(self) -> None:
        """Ask again about checkpoints that could not be joined before: the ones met earliest first."""
        async with self._store.read() as tx:
            seen = await logs.with_status(tx, self._followed.origin, CheckpointStatus.SEEN, _SEEN_A_PASS)
            newest = await logs.newest(tx, self._followed.origin)
        for stored in seen:
            if stored.source is CheckpointSource.BUNDLE and (newest is None or stored.size > newest.size):
                continue  # the log itself has not shown as much yet: what it shows comes first
            if await self.hold(Checkpoint.parse(stored.note), stored.source) is Standing.UNPROVEN:
                return

    async def _ask(self) -> tuple[Checkpoint | None, str | None]:
        """The log's newest checkpoint, if it counts, else why not; a known key's bad signature is asked for twice."""
        unreachable: str | None = None
        unknown: str | None = None
        checkpoint: Checkpoint | None = None
        invalid: tuple[bytes, str] | None = None
        for fresh in (False, True):
            invalid = None
            try:
                raw = await self._log.checkpoint(fresh=fresh)
            except (FetchError, FormatError) as error:
                unreachable = str(error)
                break
            try:
                checkpoint = counted(raw, self._followed.origin, self.keys, self._clock())
                break
            except FormatError as error:
                unreachable = str(error)
                break
            except UnknownKeyError as error:
                unknown = str(error)
                break
            except BadSignatureError as error:
                invalid = raw, str(error)
        async with self._store.write() as tx:
            now = self._clock()
            await health.report(tx, "log-unreachable", self._source, now, unreachable)
            if unreachable is None:
                await health.report(tx, "log-key-unknown", self._source, now, unknown)
            if invalid is not None:
                await intake.conflict(tx, self._invalid(*invalid, now), self._policy, now)
        return checkpoint, unreachable or unknown or (invalid[1] if invalid else None)

    def _invalid(self, raw: bytes, error: str, now: datetime) -> Conflict:
        origin = self._followed.origin
        return Conflict(
            ConflictKind.INVALID_CHECKPOINT,
            origin,
            f"{now:%Y-%m-%d}",
            f"{origin} twice served a checkpoint that names its key and does not verify under it: {error}",
            evidence=(("theirs", raw),),
        )

    async def _report(self, checkpoint: Checkpoint, before: StoredCheckpoint | None, standing: Standing) -> None:
        """What a polled checkpoint says of the log's health: rolled back, stalled, or grown after its end."""
        if standing is not Standing.CONSISTENT:
            return
        now = self._clock()
        size = before.size if before else 0
        rolled_back = None
        if checkpoint.size < size:
            rolled_back = f"served its checkpoint of size {checkpoint.size}; it had signed size {size} before"
        stalled = None
        if self._followed.state is LogState.ACTIVE and before and checkpoint.size == size:
            stalled = f"no growth over size {size}, first seen at {before.first_seen:%Y-%m-%dT%H:%M:%SZ}"
        async with self._store.write() as tx:
            await health.report(tx, "log-rolled-back", self._source, now, rolled_back)
            await health.report(tx, "log-stalled", self._source, now, stalled)
            await self._after_end(tx, checkpoint, max(size, checkpoint.size), now)

    async def _after_end(self, tx: Tx, checkpoint: Checkpoint, size: int, now: datetime) -> None:
        """Remember the greatest `size` that was signed when the log was first seen ended; growth over it is a conflict."""
        frozen = any(line.startswith("Log frozen") for line in checkpoint.extensions)
        ended = self._followed.state is LogState.ENDED or frozen
        key = f"ended:{self._followed.origin}"
        at = await meta.get(tx, key)
        if at is None:
            if ended:
                await meta.set(tx, key, str(size))
            return
        if checkpoint.size > int(at):
            found = Conflict(
                ConflictKind.GREW_AFTER_END,
                self._followed.origin,
                str(checkpoint.size),
                f"{self._followed.origin} had ended at size {at} and signed size {checkpoint.size}",
                evidence=(("theirs", checkpoint.raw),),
            )
            await intake.conflict(tx, found, self._policy, now)


def _stored(checkpoint: Checkpoint, origin: str, source: CheckpointSource, now: datetime) -> StoredCheckpoint:
    return StoredCheckpoint(
        origin, checkpoint.size, checkpoint.root, checkpoint.raw, source, CheckpointStatus.SEEN, now, now
    )
