"""Follows one log: a pass asks for a checkpoint, then reads and proves strides up to it, each taken in by one transaction.

Nothing is remembered between passes, or after an exception: the cursor is read anew from the store, so a kill at any instant loses and
repeats no row (P2).
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError, ProofError
from monitor.judge import intake
from monitor.judge.read import read
from monitor.model.log import Block, CheckpointStatus, Conflict, ConflictKind, Coverage, Cursor, Leaf
from monitor.store import entries, health, logs
from monitor.tlog.merkle import hash_leaves, tree_root
from monitor.watch.proven import inclusion, range_at
from monitor.watch.scan import Scanner, Stride

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.entries.prefilter import Prefilter
    from monitor.judge.intake import Bench, Taken
    from monitor.judge.read import Reading
    from monitor.model.log import FollowedLog, Hole, InclusionProof
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx
    from monitor.tlog.checkpoint import Checkpoint
    from monitor.watch.checkpoint import Keeper
    from monitor.watch.ports import Log

_log = structlog.get_logger(__name__)

_SMALLEST_STRIDE = 256
_FIRST_STRIDE = 2048
_LARGEST_STRIDE = 65_536
_SHORT = 0.5
_LONG = 2.0
_HOLES_A_PASS = 8
_PROOFS_A_PASS = 50


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over a log came to. `behind` leaves are signed and not yet read; `error` says why it stopped short."""

    position: int = 0
    size: int = 0
    leaves: int = 0
    entries: int = 0
    findings: int = 0
    error: str | None = None

    @property
    def behind(self) -> int:
        """Leaves between what is proven and what is signed."""
        return self.size - self.position


@dataclass(slots=True)
class _Tally:
    position: int = 0
    size: int = 0
    leaves: int = 0
    entries: int = 0
    findings: int = 0

    def done(self, error: str | None = None) -> Pass:
        return Pass(self.position, self.size, self.leaves, self.entries, self.findings, error)

    def add(self, taken: Taken) -> None:
        self.entries += taken.entries
        self.findings += taken.findings


@dataclass(frozen=True, slots=True)
class Tools:
    """What a follower works with besides its own log. `bench` is asked anew each pass: the trust root may have moved."""

    store: Store
    prefilter: Prefilter
    bench: Callable[[], Bench]
    policy: Policy
    clock: Callable[[], datetime]
    pass_time: float = field(default=60.0)


class Follower:
    """Follows one log from `start` (an index, or None for the tip at the first checkpoint)."""

    def __init__(self, log: Log, followed: FollowedLog, keeper: Keeper, tools: Tools, start: int | None) -> None:
        self._log = log
        self.followed = followed
        self.keys = keeper.keys
        self._keeper = keeper
        self._tools = tools
        self._start = start
        self._source = f"log:{followed.origin}"
        self._scanner = Scanner(log, followed, tools.prefilter, keeper.link)
        self._stride = _FIRST_STRIDE

    async def run_pass(self, stopping: Callable[[], bool]) -> Pass:
        """One bounded pass; it ends between strides once `stopping` says so. What goes wrong with the log is told, not raised."""
        tally = _Tally()
        error: str | None = None
        try:
            polled = await self._keeper.poll()
            error = polled.error
            target = polled.target
            if target is not None:
                tally.size = target.size
                await self._follow(target, tally, stopping)
                await self._ask_for_holes(target, tally)
                await self._ask_for_proofs(target)
                if error is None:
                    await self._well(tally)
        except (FetchError, FormatError) as problem:
            error = str(problem)
            await self._report("log-unreachable", error)
        except ProofError as problem:
            error = str(problem)
            await self._report("consistency-unproven", error)
        return tally.done(error)

    async def _well(self, tally: _Tally) -> None:
        """A pass without trouble: what was read is proven, and nothing is left, or so much."""
        behind = f"proven up to {tally.position} of {tally.size}" if tally.position < tally.size else None
        async with self._tools.store.write() as tx:
            await health.report(tx, "consistency-unproven", self._source, self._tools.clock(), None)
            await health.report(tx, "falling-behind", self._source, self._tools.clock(), behind)

    async def _report(self, rule: str, error: str) -> None:
        _log.warning("pass stopped short", log=self.followed.origin, rule=rule, error=error)
        async with self._tools.store.write() as tx:
            await health.report(tx, rule, self._source, self._tools.clock(), error)

    async def _follow(self, target: Checkpoint, tally: _Tally, stopping: Callable[[], bool]) -> None:
        cursor = await self._cursor(target)
        tally.position = cursor.position
        deadline = time.monotonic() + self._tools.pass_time
        while cursor.position < target.size and not stopping() and time.monotonic() < deadline:
            async with self._tools.store.read() as tx:
                stored = await logs.next_size(tx, self.followed.origin, cursor.position, target.size)
            end = min(self._aligned(cursor.position), stored.size if stored else target.size, target.size)
            began = time.monotonic()
            stride = await self._scanner.stride(cursor, end, target)
            after = await self._take(cursor, stride, tally)
            self._pace(time.monotonic() - began)
            if after.position == cursor.position:
                return
            cursor = after
            tally.position = cursor.position

    def _aligned(self, position: int) -> int:
        """The end of the next stride, on the border of an entry bundle."""
        return (position + self._stride) // _SMALLEST_STRIDE * _SMALLEST_STRIDE

    def _pace(self, seconds: float) -> None:
        """Strides grow while they are short, so that a transaction costs little, and shrink so that a stop need not wait."""
        if seconds < _SHORT:
            self._stride = min(self._stride * 2, _LARGEST_STRIDE)
        elif seconds > _LONG:
            self._stride = max(self._stride // 2, _SMALLEST_STRIDE)

    async def _cursor(self, target: Checkpoint) -> Cursor:
        """Where following stands; at the first start, the range of the starting index is read out of a proof."""
        async with self._tools.store.read() as tx:
            cursor = await logs.cursor(tx, self.followed.origin)
        if cursor is not None:
            return cursor
        start = target.size if self._start is None else min(self._start, target.size)
        known = await range_at(self._log, start, target, self._keeper.link)
        cursor = Cursor(self.followed.origin, start, known, start)
        async with self._tools.store.write() as tx:
            await logs.start_cursor(tx, cursor, self._tools.clock())
        return cursor

    async def _take(self, cursor: Cursor, stride: Stride, tally: _Tally) -> Cursor:
        """Take a proven stride in: entries, findings, holes, conflicts and the cursor in one transaction."""
        now = self._tools.clock()
        bench = self._tools.bench()
        readings = [self._read(leaf, bench, now) for leaf in stride.candidates]
        doubtful = [self._read(leaf, bench, now) for leaf in stride.doubtful]
        proofs = await self._proofs([reading.leaf for reading in readings if reading.entry], stride.under)
        origin = self.followed.origin
        after = Cursor(origin, stride.range.end, stride.range, cursor.started_at)
        async with self._tools.store.write() as tx:
            tally.add(await intake.take(tx, readings, proofs, bench, now))
            tally.add(await intake.take(tx, doubtful, {}, bench, now, disproven=True))
            rewritten = {c.index for c in stride.conflicts if c.kind is ConflictKind.REWRITTEN}
            for hole in stride.holes:
                tally.add(await intake.hole(tx, hole, bench.policy, now, told=hole.begin in rewritten))
            for conflict in (*stride.conflicts, *await self._against_stored(tx, after)):
                tally.add(await intake.conflict(tx, conflict, bench.policy, now))
            if stride.retries:
                await logs.count(tx, origin, "retries", stride.retries)
            if after.position > cursor.position:
                await logs.advance(tx, cursor, after, now)
                await logs.cover(tx, Coverage(origin, cursor.position, after.position, stride.under.size), now)
        tally.leaves += after.position - cursor.position
        return after

    def _read(self, leaf: Leaf, bench: Bench, now: datetime) -> Reading:
        return read(leaf, bench, self._tools.prefilter, now)

    async def _against_stored(self, tx: Tx, after: Cursor) -> list[Conflict]:
        """The proven root held against every stored one of its size: a fork may be seen only while scanning."""
        found = []
        for stored in await logs.at_size(tx, self.followed.origin, after.position):
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

    async def _proofs(self, leaves: list[Leaf], under: Checkpoint) -> dict[int, InclusionProof]:
        """The inclusion proofs to keep with entries; one that cannot be had now is asked for in a later pass."""
        proofs = {}
        for leaf in leaves:
            try:
                proven = await inclusion(self._log, leaf.index, under, self._keeper.link)
            except (FetchError, FormatError, ProofError):
                break
            if proven.proof.leaf_hash == leaf.hash:
                proofs[leaf.index] = proven.proof
        return proofs

    async def _ask_for_proofs(self, target: Checkpoint) -> None:
        """Fetch, verify and keep the inclusion proofs that entries still lack."""
        store = self._tools.store
        async with store.read() as tx:
            lacking = await entries.without_proof(tx, self.followed.origin, _PROOFS_A_PASS)
        if not lacking:
            return
        proofs = await self._proofs([stored.leaf for stored in lacking if stored.leaf.index < target.size], target)
        async with store.write() as tx:
            for stored in lacking:
                if stored.leaf.index in proofs:
                    proof = proofs[stored.leaf.index]
                    await entries.set_proof(tx, stored.id, proof, proof.size)

    async def _ask_for_holes(self, target: Checkpoint, tally: _Tally) -> None:
        """Ask again for leaves whose bytes could not be had; bytes that hash to what was proven fill the hole."""
        async with self._tools.store.read() as tx:
            holes = await logs.holes(tx, self.followed.origin, _HOLES_A_PASS)
        for hole in holes:
            if hole.end > target.size:
                continue
            leaves = await self._hole(hole, target)
            now = self._tools.clock()
            if leaves is None:
                async with self._tools.store.write() as tx:
                    await logs.asked_hole(tx, hole.log, hole.begin, now)
                continue
            bench = self._tools.bench()
            readings = [self._read(leaf, bench, now) for leaf in leaves]
            async with self._tools.store.write() as tx:
                tally.add(await intake.take(tx, readings, {}, bench, now))
                await logs.fill_hole(tx, hole.log, hole.begin, now)

    async def _hole(self, hole: Hole, target: Checkpoint) -> list[Leaf] | None:
        """The candidates among a hole's leaves, once all of them are had and proven; None while they are not."""
        hashes: list[bytes] = []
        candidates: list[Leaf] = []
        async with aclosing(self._log.blocks(hole.begin, hole.end, target.size, fresh=True)) as items:
            async for item in items:
                if not isinstance(item, Block):
                    return None
                hashes.extend(hash_leaves(item.data, item.starts, item.ends))
                protocol = self.followed.protocol
                found = self._tools.prefilter.candidates(item, protocol)
                candidates += [item.taken(hole.log, protocol, offset) for offset in found]
        complete = len(hashes) == hole.end - hole.begin and tree_root(hashes) == hole.hash
        return candidates if complete else None
