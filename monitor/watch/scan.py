"""Reads a stride of leaves and proves it: the compact range over what was read must be the one that a signed root commits to.

Nothing of a stride is believed before that. A difference is fetched again past caches: gone, it is a counted retry; still there, the log
rewrote a leaf, which is kept as evidence, and its proven hash lets reading go on.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.errors import ProofError
from monitor.model.log import Block, Conflict, ConflictKind, Gap, Hole, Leaf
from monitor.tlog.merkle import CompactRange, hash_leaves, leaf_hash
from monitor.watch.gaps import fill
from monitor.watch.proven import inclusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.entries.prefilter import Prefilter
    from monitor.model.log import Cursor, FollowedLog
    from monitor.tlog.checkpoint import Checkpoint
    from monitor.watch.ports import Log
    from monitor.watch.proven import Linker, Proven


@dataclass(frozen=True, slots=True)
class Stride:
    """Leaves proven under a signed root, and what was met on the way. `doubtful` leaves are bytes that the tree does not hold."""

    range: CompactRange
    under: Checkpoint
    candidates: tuple[Leaf, ...]
    doubtful: tuple[Leaf, ...] = ()
    holes: tuple[Hole, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    retries: int = 0


@dataclass(slots=True)
class _Draft:
    """A stride while it is read: one hash a leaf (None in a gap), and the leaves that may concern us.

    `whole` is the compact range [0, end) kept up with the blocks as they arrive; None once a gap or a difference broke it.
    """

    begin: int
    before: CompactRange
    whole: CompactRange | None
    hashes: list[bytes | None] = field(default_factory=list)
    candidates: dict[int, Leaf] = field(default_factory=dict)
    doubtful: dict[int, Leaf] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    holes: dict[int, Hole] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    retries: int = 0

    @property
    def end(self) -> int:
        return self.begin + len(self.hashes)

    def range(self, end: int) -> CompactRange:
        """The compact range [0, end) as we read it."""
        if self.whole is not None and self.whole.end == end:
            return self.whole
        whole = self.before
        run: list[bytes] = []
        index = self.begin
        while index < end:
            hole = self.holes.get(index)
            known = self.hashes[index - self.begin]
            if hole is not None:
                whole = whole.extend(run).merge(CompactRange(hole.begin, hole.end, (hole.hash,)))
                run = []
                index = hole.end
            elif known is None:
                raise ProofError(f"leaf {index} has neither bytes nor a proven hash")
            else:
                run.append(known)
                index += 1
        return whole.extend(run)

    def readable(self) -> list[int]:
        """The indices whose bytes we have, in order."""
        return [self.begin + i for i, known in enumerate(self.hashes) if known is not None]


class Scanner:
    """Reads and proves strides of one log."""

    def __init__(self, log: Log, followed: FollowedLog, prefilter: Prefilter, link: Linker) -> None:
        self._log = log
        self._followed = followed
        self._prefilter = prefilter
        self._link = link

    async def stride(
        self,
        cursor: Cursor,
        end: int,
        target: Checkpoint,
        stopping: Callable[[], bool] = lambda: False,
        at_end: Checkpoint | None = None,
    ) -> Stride:
        """Read [cursor.position, end) and prove it. It may end earlier.

        That is where it is once `stopping` says so, and at a gap that cannot be proven yet. `at_end` is a checkpoint of size `end` that
        is proven consistent with `target`, if there is one: its root proves what it is the root of, and nothing need be asked.
        Raises FetchError when the log cannot be read, ProofError when it proves nothing: the cursor then stays where it was.
        """
        draft = await self._read(cursor, end, target, stopping)
        end = draft.end
        stuck = await self._fill(draft, target)
        if stuck is not None:
            end = stuck
            self._cut(draft, end)
        if end == cursor.position:
            return Stride(cursor.range, target, (), conflicts=tuple(draft.conflicts))
        under = await self._prove(draft, target, at_end)
        return Stride(
            draft.range(end),
            under,
            tuple(draft.candidates[i] for i in sorted(draft.candidates)),
            tuple(draft.doubtful[i] for i in sorted(draft.doubtful)),
            tuple(draft.holes[i] for i in sorted(draft.holes)),
            tuple(draft.conflicts),
            draft.retries,
        )

    async def _read(self, cursor: Cursor, end: int, target: Checkpoint, stopping: Callable[[], bool]) -> _Draft:
        draft = _Draft(cursor.position, cursor.range, cursor.range)
        async with aclosing(self._log.blocks(cursor.position, end, target.size)) as items:
            async for item in items:
                self._add(draft, item, end)
                if stopping():
                    return draft
        if draft.end != end:
            raise ProofError(f"{self._log.origin} was asked for leaves up to {end} and stopped at {draft.end}")
        return draft

    def _add(self, draft: _Draft, item: Block | Gap, end: int) -> None:
        if item.start != draft.end or item.start + len(item) > end:
            raise ProofError(f"{self._log.origin} was asked for leaf {draft.end} and gave a block from {item.start}")
        if isinstance(item, Gap):
            draft.gaps.append(item)
            draft.hashes.extend([None] * len(item))
            draft.whole = None
        else:
            hashes = hash_leaves(item.data, item.starts, item.ends)
            draft.hashes.extend(hashes)
            draft.whole = draft.whole.extend(hashes) if draft.whole is not None else None
            self._keep_candidates(draft, item)

    def _keep_candidates(self, draft: _Draft, block: Block) -> None:
        for offset in self._prefilter.candidates(block, self._followed.protocol):
            leaf = self._leaf(block, offset)
            draft.candidates[leaf.index] = leaf

    def _leaf(self, block: Block, offset: int) -> Leaf:
        return block.taken(self._followed.origin, self._followed.protocol, offset)

    async def _fill(self, draft: _Draft, target: Checkpoint) -> int | None:
        if not draft.gaps:
            return None
        filled = await fill(self._log, draft.gaps, target, self._link)
        draft.holes.update((hole.begin, hole) for hole in filled.holes)
        for gap in draft.gaps:
            hole = draft.holes.get(gap.start)
            if gap.served and hole is not None and hole.end == gap.end:
                self._rewrote(draft, gap, hole, target)
        if filled.stuck_at is not None:
            draft.conflicts.append(
                Conflict(
                    ConflictKind.MISSING,
                    self._followed.origin,
                    str(filled.stuck_at),
                    f"{self._followed.origin} signed size {target.size} and gives neither leaf {filled.stuck_at} nor a proof of it: "
                    f"{draft.gaps[0].reason}",
                    index=filled.stuck_at,
                    evidence=(("theirs", target.raw),),
                )
            )
        return filled.stuck_at

    @staticmethod
    def _cut(draft: _Draft, end: int) -> None:
        del draft.hashes[end - draft.begin :]
        draft.candidates = {i: leaf for i, leaf in draft.candidates.items() if i < end}
        draft.holes = {i: hole for i, hole in draft.holes.items() if hole.end <= end}

    async def _prove(self, draft: _Draft, target: Checkpoint, at_end: Checkpoint | None) -> Checkpoint:
        """The checkpoint under which the whole draft is proven, differences named and mended."""
        for signed in (target, at_end):
            if signed and draft.end == signed.size and draft.range(draft.end).root() == signed.root:
                return signed
        readable = draft.readable()
        if not readable:
            return target  # every hash was proven by itself
        last = await self._inclusion(readable[-1], target)
        if last.through == draft.range(readable[-1] + 1):
            return last.under
        known_good = -1
        while (place := await self._first_difference(draft, readable, known_good, target)) is not None:
            await self._mend(draft, readable[place], target)
            known_good = place
        return last.under

    async def _inclusion(self, index: int, target: Checkpoint) -> Proven:
        """The proof of a leaf; a wrong one is asked for once more, past caches."""
        try:
            return await inclusion(self._log, index, target, self._link)
        except ProofError:
            return await inclusion(self._log, index, target, self._link, fresh=True)

    async def _first_difference(
        self, draft: _Draft, readable: list[int], known_good: int, target: Checkpoint
    ) -> int | None:
        """The place in `readable` of the first leaf after `known_good` whose hash is not the proven one.

        By bisection: prefixes agree up to the first difference and nowhere after it.
        """

        async def agrees(place: int) -> bool:
            index = readable[place]
            return (await self._inclusion(index, target)).through == draft.range(index + 1)

        low, high = known_good, len(readable) - 1
        if low == high or await agrees(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if await agrees(middle):
                low = middle
            else:
                high = middle
        return high

    async def _mend(self, draft: _Draft, index: int, target: Checkpoint) -> None:
        """Read a leaf that differs again, past caches: take it when it is right now, else keep the evidence and its proven hash."""
        proven = await self._inclusion(index, target)
        if proven.before != draft.range(index):
            raise ProofError(
                f"{self._log.origin}: the tree of size {proven.under.size} does not hold what was proven up to leaf {index}"
            )
        first = draft.candidates.pop(index, None)
        first_hash = draft.hashes[index - draft.begin] or b""
        draft.hashes[index - draft.begin] = proven.proof.leaf_hash
        draft.whole = None
        again: Leaf | None = None
        async with aclosing(self._log.blocks(index, index + 1, target.size, fresh=True)) as items:
            async for item in items:
                if isinstance(item, Block) and item.start == index and len(item) == 1:
                    again = self._leaf(item, 0)
                    if leaf_hash(again.data) == proven.proof.leaf_hash:
                        draft.retries += 1
                        self._keep_candidates(draft, item)
                        return
        served = again or first
        if served is not None and self._prefilter.matches_text(served.data):
            draft.doubtful[index] = served
        hole = Hole(self._log.origin, index, index + 1, proven.proof.leaf_hash, "the log serves other bytes")
        draft.holes[index] = hole
        draft.conflicts.append(self._rewritten(index, first, first_hash, again, proven))

    def _rewrote(self, draft: _Draft, gap: Gap, hole: Hole, target: Checkpoint) -> None:
        """The log gave other bytes for a leaf than the one it names itself, twice: it was asked for singly after its page."""
        draft.conflicts.append(
            Conflict(
                ConflictKind.REWRITTEN,
                self._followed.origin,
                str(gap.start),
                f"{self._followed.origin} serves other bytes for leaf {gap.start} than its tree of size {target.size} holds",
                index=gap.start,
                evidence=(("second read", gap.served), ("theirs", target.raw), ("proven leaf hash", hole.hash)),
            )
        )
        if self._prefilter.matches_text(gap.served):
            draft.doubtful[gap.start] = Leaf(self._followed.origin, self._followed.protocol, gap.start, gap.served)

    def _rewritten(
        self, index: int, first: Leaf | None, first_hash: bytes, again: Leaf | None, proven: Proven
    ) -> Conflict:
        shown = [("first read", first), ("second read", again)]
        return Conflict(
            ConflictKind.REWRITTEN,
            self._followed.origin,
            str(index),
            f"{self._followed.origin} serves other bytes for leaf {index} than its tree of size {proven.under.size} holds",
            index=index,
            evidence=(
                *((name, leaf.data) for name, leaf in shown if leaf is not None),
                ("first read leaf hash", first_hash),
                ("theirs", proven.under.raw),
                ("proven leaf hash", proven.proof.leaf_hash),
                ("proof", b"".join(proven.proof.hashes)),
            ),
        )
