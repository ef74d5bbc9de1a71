"""Takes proven leaves of one log into the store: entries, findings, holes and conflicts in one transaction with what moves (P2).

Whoever reads, by following, in a span of its own or leaf by leaf, hands over here what is proven; nothing is proven here but inclusion.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import FetchError, FormatError, ProofError
from monitor.judge import intake
from monitor.judge.intake import Taken
from monitor.judge.read import read
from monitor.model.log import Block, CheckpointStatus, Conflict, ConflictKind, Coverage, Cursor, Leaf
from monitor.store import entries, logs
from monitor.tlog.merkle import hash_leaves, tree_root
from monitor.watch.proven import inclusion, proven_by
from monitor.watch.signedfor import long_signed_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from monitor.entries.prefilter import Prefilter
    from monitor.judge.intake import Bench
    from monitor.judge.read import Reading
    from monitor.model.log import FollowedLog, Hole, InclusionProof
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx
    from monitor.tlog.checkpoint import Checkpoint
    from monitor.watch.ports import Log
    from monitor.watch.proven import Linker
    from monitor.watch.scan import Stride

_HOLES_A_PASS = 8
_PROOFS_A_PASS = 50


@dataclass(frozen=True, slots=True)
class Tools:
    """What a log is worked on with besides itself. `bench` is asked anew each time: the trust root may have moved."""

    store: Store
    prefilter: Prefilter
    bench: Callable[[], Bench]
    policy: Policy
    clock: Callable[[], datetime]
    pass_time: float = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """What single leaves came to: what was taken in, and of each leaf that was not proven the reason."""

    taken: Taken
    refused: tuple[tuple[Leaf, str], ...] = ()


class Taker:
    """Keeps what is read of one log. `link` joins the checkpoint inside a proof to ours."""

    def __init__(self, log: Log, followed: FollowedLog, tools: Tools, link: Linker) -> None:
        self._log = log
        self._followed = followed
        self._tools = tools
        self._link = link

    async def stride(self, cursor: Cursor, stride: Stride, *, follows: bool = True) -> tuple[Cursor, Taken]:
        """Take a proven stride in; return where it ends. The log's own cursor moves with it only where it `follows`."""
        after = Cursor(self._followed.origin, stride.range.end, stride.range, cursor.started_at)
        return after, await self._take(cursor.position, after, stride, cursor if follows else None)

    async def chunk(self, begin: int, stride: Stride) -> Taken:
        """Take in leaves from `begin` on that are proven without those before them. The log's own cursor stays where it is."""
        return await self._take(
            begin, Cursor(self._followed.origin, stride.range.end, stride.range, begin), stride, None
        )

    async def _take(self, begin: int, after: Cursor, stride: Stride, moves: Cursor | None) -> Taken:
        """Everything of a stride in one transaction, and the cursor `moves` with it where there is one to move."""
        now, bench = self._tools.clock(), self._tools.bench()
        readings = [self._read(leaf, bench, now) for leaf in stride.candidates]
        doubtful = [self._read(leaf, bench, now) for leaf in stride.doubtful]
        proofs = await self._proofs([reading.leaf for reading in readings if reading.entry], stride.under)
        origin, taken = self._followed.origin, Taken()
        async with self._tools.store.write() as tx:
            taken += await intake.take(tx, readings, proofs, bench, now)
            taken += await intake.take(tx, doubtful, {}, bench, now, disproven=True)
            for conflict in (*stride.conflicts, *await _against_stored(tx, after)):
                if conflict.kind is not ConflictKind.MISSING or await self._overdue(tx, conflict.index or 0, now):
                    taken += await intake.conflict(tx, conflict, bench.policy, now)
            for hole in stride.holes:
                await intake.hole(tx, hole, now)
                taken += await self._missing(tx, hole, bench.policy, now)
            if stride.retries:
                await logs.count(tx, origin, "retries", stride.retries)
            if after.position > begin:
                if moves is not None:
                    await logs.advance(tx, moves, after, now)
                await logs.cover(tx, Coverage(origin, begin, after.position, stride.under.size), now)
        return taken

    async def found(self, found: Sequence[tuple[Leaf, InclusionProof]], target: Checkpoint) -> Found:
        """Take in single leaves that were found by other ways than reading on, each proven by the proof that it came with.

        Those that are proven are taken in by one transaction, whatever is wrong with the others.
        """
        proofs: dict[int, InclusionProof] = {}
        proven, refused = [], []
        for leaf, claim in found:
            try:
                proofs[leaf.index] = await self._claimed(leaf, claim, target)
                proven.append(leaf)
            except (ProofError, FetchError, FormatError) as error:
                refused.append((leaf, str(error)))
        if not proven:
            return Found(Taken(), tuple(refused))
        now, bench = self._tools.clock(), self._tools.bench()
        readings = [self._read(leaf, bench, now) for leaf in proven]
        async with self._tools.store.write() as tx:
            taken = await intake.take(tx, readings, proofs, bench, now)
        return Found(taken, tuple(refused))

    async def _claimed(self, leaf: Leaf, claim: InclusionProof, target: Checkpoint) -> InclusionProof:
        """The proof that a leaf came with, verified. Raises FetchError, FormatError and ProofError."""
        proven = await proven_by(claim, leaf.index, target, self._link, self._log.origin)
        if proven.proof.leaf_hash != leaf.hash:
            raise ProofError(f"{self._log.origin} proves another leaf at {leaf.index} than it gives")
        return proven.proof

    def _read(self, leaf: Leaf, bench: Bench, now: datetime) -> Reading:
        return read(leaf, bench, self._tools.prefilter, now)

    async def _proofs(self, leaves: list[Leaf], under: Checkpoint) -> dict[int, InclusionProof]:
        """The inclusion proofs to keep with entries; one that cannot be had now is asked for in a later pass."""
        proofs = {}
        for leaf in leaves:
            try:
                proven = await inclusion(self._log, leaf.index, under, self._link)
            except (FetchError, FormatError, ProofError):
                break
            if proven.proof.leaf_hash == leaf.hash:
                proofs[leaf.index] = proven.proof
        return proofs

    async def ask_for_proofs(self, target: Checkpoint) -> None:
        """Fetch, verify and keep the inclusion proofs that entries still lack."""
        store = self._tools.store
        async with store.read() as tx:
            lacking = await entries.without_proof(tx, self._followed.origin, _PROOFS_A_PASS)
        if not lacking:
            return
        proofs = await self._proofs([stored.leaf for stored in lacking if stored.leaf.index < target.size], target)
        async with store.write() as tx:
            for stored in lacking:
                if stored.leaf.index in proofs:
                    proof = proofs[stored.leaf.index]
                    await entries.set_proof(tx, stored.id, proof, proof.size)

    async def ask_for_holes(self, target: Checkpoint) -> Taken:
        """Ask again for leaves whose bytes could not be had; bytes that hash to what was proven fill the hole."""
        taken = Taken()
        async with self._tools.store.read() as tx:
            holes = await logs.holes(tx, self._followed.origin, _HOLES_A_PASS)
        for hole in holes:
            if hole.end > target.size:
                continue
            leaves = await self._hole(hole, target)
            now, bench = self._tools.clock(), self._tools.bench()
            if leaves is None:
                async with self._tools.store.write() as tx:
                    await logs.asked_hole(tx, hole.log, hole.begin, now)
                    taken += await self._missing(tx, hole, bench.policy, now)
                continue
            readings = [self._read(leaf, bench, now) for leaf in leaves]
            async with self._tools.store.write() as tx:
                taken += await intake.take(tx, readings, {}, bench, now)
                await logs.fill_hole(tx, hole.log, hole.begin, now)
        return taken

    async def _missing(self, tx: Tx, hole: Hole, policy: Policy, now: datetime) -> Taken:
        """Tell of a hole, unless a late replica may be all there is to it, or a conflict has told of that leaf already."""
        if not await self._overdue(tx, hole.end - 1, now):
            return Taken()
        for kind in (ConflictKind.REWRITTEN, ConflictKind.MISSING):
            if await logs.has_conflict(tx, hole.log, kind, str(hole.begin)):
                return Taken()
        return await intake.missing(tx, hole, policy, now)

    async def _overdue(self, tx: Tx, index: int, now: datetime) -> bool:
        newest = await logs.newest(tx, self._followed.origin)
        return newest is not None and await long_signed_for(tx, self._followed.origin, index, newest.size, now)

    async def _hole(self, hole: Hole, target: Checkpoint) -> list[Leaf] | None:
        """The candidates among a hole's leaves, once all of them are had and proven; None while they are not."""
        hashes: list[bytes] = []
        candidates: list[Leaf] = []
        protocol = self._followed.protocol
        async with aclosing(self._log.blocks(hole.begin, hole.end, target.size, fresh=True)) as items:
            async for item in items:
                if not isinstance(item, Block):
                    return None
                hashes.extend(hash_leaves(item.data, item.starts, item.ends))
                found = self._tools.prefilter.candidates(item, protocol)
                candidates += [item.taken(hole.log, protocol, offset) for offset in found]
        complete = len(hashes) == hole.end - hole.begin and tree_root(hashes) == hole.hash
        return candidates if complete else None


async def _against_stored(tx: Tx, after: Cursor) -> list[Conflict]:
    """The proven root held against every stored one of its size: a fork may be seen only while scanning."""
    found = []
    for stored in await logs.at_size(tx, after.log, after.position):
        if stored.root == after.range.root() or stored.status is CheckpointStatus.CONFLICTING:
            continue
        await logs.set_status(tx, stored.log, stored.size, stored.root, CheckpointStatus.CONFLICTING)
        newest = await logs.newest(tx, stored.log)
        found.append(
            Conflict(
                ConflictKind.FORKED,
                stored.log,
                f"{stored.size}:{stored.root.hex()[:16]}:scanned",
                f"{stored.log} signed size {stored.size} with a root that its own later leaves do not lead to",
                evidence=(
                    ("ours", stored.note),
                    ("theirs", newest.note if newest else b""),
                    ("computed root", after.range.root()),
                ),
            )
        )
    return found
