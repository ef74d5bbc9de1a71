"""Follows one log: a pass asks for a checkpoint, then reads and proves strides up to it, each taken in by one transaction.

Nothing is remembered between passes, or after an exception: the cursor is read anew from the store, so a kill at any instant loses and
repeats no row (P2). With an old backlog the newest comes first, and the rest is left to backfill. A log whose mode is not *complete* is
asked for its checkpoint, and read only where others say.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError, ProofError, SettingsError
from monitor.judge.intake import Taken
from monitor.model.log import CheckpointStatus, Cursor, Mode, uncovered
from monitor.store import health, logs
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.proofs import verify_subtree
from monitor.watch.newest import overdue, skipped
from monitor.watch.proven import inclusion, range_at
from monitor.watch.scan import Scanner, Stride
from monitor.watch.taking import Found, Taker, Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from monitor.model.log import FollowedLog, InclusionProof, Leaf, StoredCheckpoint
    from monitor.store.engine import Tx
    from monitor.watch.checkpoint import Keeper, Polled
    from monitor.watch.chunks import ReadChunk
    from monitor.watch.ports import Log
    from monitor.watch.proven import Proven

__all__ = ["Follower", "Pass", "Tools"]

_log = structlog.get_logger(__name__)

_BEHIND = "falling-behind"
_SEEN = 1000
_SMALLEST_STRIDE = 256
_FIRST_STRIDE = 2048
_LARGEST_STRIDE = 65_536
_SHORT = 6.0
_LONG = 15.0
"""Seconds of a stride. Each ends with a proof or two, during which a server that is read at a ceiling idles: with
short strides reading takes a tenth longer and more. A stop does not wait for one: it ends where it is."""
_AWAITED = 240


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over a log came to. `behind` leaves are signed and not yet read; `error` says why it stopped short.

    Where the log is not read completely, `position` is the size: nothing of it waits to be read. `skipped` leaves before `position`
    were passed over, for the newest to come first, and are left to backfill.
    """

    position: int = 0
    size: int = 0
    leaves: int = 0
    entries: int = 0
    findings: int = 0
    error: str | None = None
    skipped: int = 0

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
    skipped: int = 0

    def done(self, error: str | None = None) -> Pass:
        return Pass(self.position, self.size, self.leaves, self.entries, self.findings, error, self.skipped)

    def add(self, taken: Taken) -> None:
        self.entries += taken.entries
        self.findings += taken.findings


class Follower:
    """Follows one log from `start` (an index, or None for the tip at the first checkpoint)."""

    def __init__(self, log: Log, followed: FollowedLog, keeper: Keeper, tools: Tools, start: int | None) -> None:
        self.log = log
        self.followed = followed
        self.keys = keeper.keys
        self._keeper = keeper
        self._tools = tools
        self._start = start
        self._source = f"log:{followed.origin}"
        self._scanner = Scanner(log, followed, tools.prefilter, keeper.link)
        self._taker = Taker(log, followed, tools, keeper.link)
        self._stride = _FIRST_STRIDE
        self._awaited: deque[tuple[datetime, int]] = deque()
        self.reached: datetime | None = None
        """The last moment, since this object was made, of which this is known: all that the log had signed by then and is to be
        read of it is read. It moves when a pass has come to what the log showed at that moment or later."""
        self.reading = False
        """Whether a pass reads leaves just now: what is not urgent lets it go first."""

    async def run_pass(self, stopping: Callable[[], bool]) -> Pass:
        """One bounded pass; it ends soon once `stopping` says so. What goes wrong with the log is told, not raised."""
        tally = _Tally()
        error: str | None = None
        asked = self._tools.clock()
        try:
            polled = await self._keeper.poll()
            error = polled.error
            target = polled.target
            if target is not None:
                if error is None:
                    self._await(asked, target.size)
                tally.size = target.size
                if self.followed.mode is Mode.COMPLETE:
                    await self._follow(target, tally, stopping)
                else:
                    tally.position = target.size
                tally.add(await self._taker.ask_for_holes(target))
                await self._taker.ask_for_proofs(target)
                if error is None:
                    await self._well(tally)
        except (FetchError, FormatError) as problem:
            error = str(problem)
            await self._report("log-unreachable", error)
        except ProofError as problem:
            error = str(problem)
            await self._report("consistency-unproven", error)
        except SettingsError as problem:
            error = f"{problem}: {problem.cure}"
            await self._report(_BEHIND, error)
        await self._arrive(tally)
        return tally.done(error)

    async def _arrive(self, tally: _Tally) -> None:
        """Note which of what the log showed is read by now: none while leaves before it are passed over, however the pass ended."""
        if not self._awaited or self._awaited[0][1] > tally.position:
            return
        async with self._tools.store.read() as tx:
            if await self._gaps(tx):
                return
        while self._awaited and self._awaited[0][1] <= tally.position:
            self.reached, _ = self._awaited.popleft()

    async def _gaps(self, tx: Tx) -> list[tuple[int, int]]:
        """What following passed over and is still to be read; of a log that is not read completely nothing is."""
        cursor = await logs.cursor(tx, self.followed.origin) if self.followed.mode is Mode.COMPLETE else None
        return await skipped(tx, cursor) if cursor is not None else []

    def _await(self, asked: datetime, size: int) -> None:
        """Remember what the log showed when it was asked. With too much to remember the newest gives way, so that some is reached."""
        if len(self._awaited) == _AWAITED:
            self._awaited.pop()
        self._awaited.append((asked, size))

    async def target(self) -> Checkpoint | None:
        """The newest checkpoint that is proven consistent, as it is stored: nothing is asked."""
        return await self._keeper.target()

    async def poll_checkpoint(self) -> Polled:
        """Ask for the newest checkpoint and hold it against all others; nothing else is read."""
        return await self._keeper.poll()

    async def span(self, begin: int, end: int, stopping: Callable[[], bool]) -> Pass:
        """Read and prove what of [begin, end) is not covered yet, apart from following: its cursor stays where it is.

        It ends soon once `stopping` says so; `position` is then how far it came. Raises FetchError, FormatError and
        ProofError, and SettingsError for leaves that are not signed yet.
        """
        target = await self._keeper.target()
        if target is None or end > target.size:
            size = target.size if target else 0
            raise SettingsError(
                f"{self.followed.origin}: leaves up to {end} are asked for, {size} are signed",
                cure="name leaves below the newest checkpoint's size (`logs list`)",
            )
        tally = _Tally(position=begin, size=end)
        async with self._tools.store.read() as tx:
            missing = uncovered(await logs.coverage(tx, self.followed.origin), begin, end)
        for first, last in missing:
            if stopping():
                return tally.done()
            known = await range_at(self.log, first, target, self._keeper.link)
            reached = await self._read(
                Cursor(self.followed.origin, first, known, first), last, target, tally, stopping, follows=False
            )
            if reached < last:
                return tally.done()
        tally.position = end
        return tally.done()

    async def chunk(self, chunk: ReadChunk) -> Pass | None:
        """Take in a whole chunk that another process read, once it is proven; None when it is not: `span` reads it, and names why.

        Its root climbs its last leaf's inclusion proof. Raises FetchError, FormatError and ProofError when the log gives none.
        """
        piece, origin = chunk.piece, self.followed.origin
        target = await self._keeper.target()
        async with self._tools.store.read() as tx:
            seen = await logs.with_status(tx, origin, CheckpointStatus.SEEN, _SEEN)
        if target is None or any(piece.begin < each.size < piece.end for each in seen):
            return None  # a stored root within it is compared with what is read, leaf by leaf
        proven = await inclusion(self.log, piece.end - 1, target, self._keeper.link)
        try:
            verify_subtree(chunk.root, piece.node, proven.under.size, proven.proof.hashes, proven.under.root)
        except ProofError:
            return None
        taken = await self._taker.chunk(piece.begin, Stride(proven.through, proven.under, chunk.candidates))
        return Pass(piece.end, target.size, len(piece), taken.entries, taken.findings)

    async def inclusion(self, index: int, target: Checkpoint) -> Proven:
        """Leaf `index` proven under `target`, asked for past caches. Raises FetchError, FormatError and ProofError."""
        return await inclusion(self.log, index, target, self._keeper.link, fresh=True)

    async def found(self, found: Sequence[tuple[Leaf, InclusionProof]]) -> Found:
        """Take in leaves that were found by other ways, each proven by what it came with, in one transaction."""
        target = await self._keeper.target()
        if target is None:
            reason = f"{self.followed.origin} has no checkpoint yet that a found entry could be proven under"
            return Found(Taken(), tuple((leaf, reason) for leaf, _ in found))
        return await self._taker.found(found, target)

    async def _well(self, tally: _Tally) -> None:
        """A pass without trouble: what was read is proven, and nothing is left, or so much."""
        async with self._tools.store.write() as tx:
            gaps = await self._gaps(tx)
            tally.skipped = sum(end - begin for begin, end in gaps)
            behind = _behind(tally, gaps)
            await health.report(tx, "consistency-unproven", self._source, self._tools.clock(), None)
            await health.report(tx, _BEHIND, self._source, self._tools.clock(), behind)

    async def _report(self, rule: str, error: str) -> None:
        _log.warning("pass stopped short", log=self.followed.origin, rule=rule, error=error)
        async with self._tools.store.write() as tx:
            await health.report(tx, rule, self._source, self._tools.clock(), error)

    async def _follow(self, target: Checkpoint, tally: _Tally, stopping: Callable[[], bool]) -> None:
        cursor = await self._cursor(target)
        tally.position = cursor.position
        deadline = time.monotonic() + self._tools.pass_time
        self.reading = cursor.position < target.size
        try:
            await self._read(cursor, target.size, target, tally, lambda: stopping() or time.monotonic() >= deadline)
        finally:
            self.reading = False
        if tally.position < target.size and time.monotonic() >= deadline and not stopping():
            await self._newest_first(target, tally)

    async def _newest_first(self, target: Checkpoint, tally: _Tally) -> None:
        """With an old backlog, go on at the newest checkpoint: what lies between is a gap, which backfill reads."""
        now, patience = self._tools.clock(), self._tools.policy.deadline(_BEHIND)
        async with self._tools.store.read() as tx:
            cursor = await logs.cursor(tx, self.followed.origin)
            if cursor is None or not await overdue(tx, cursor, now, patience):
                return
        known = await range_at(self.log, target.size, target, self._keeper.link)
        ahead = Cursor(self.followed.origin, target.size, known, cursor.started_at)
        async with self._tools.store.write() as tx:
            await logs.advance(tx, cursor, ahead, now)
        _log.warning("newest first", log=self.followed.origin, left=cursor.position, until=target.size)
        tally.position = target.size

    async def _read(
        self,
        cursor: Cursor,
        end: int,
        target: Checkpoint,
        tally: _Tally,
        stopping: Callable[[], bool],
        *,
        follows: bool = True,
    ) -> int:
        """Read strides from the cursor on, to `end` at most; where it came to."""
        while cursor.position < end and not stopping():
            async with self._tools.store.read() as tx:
                stored = await logs.next_size(tx, self.followed.origin, cursor.position, target.size)
            stop = min(self._aim(cursor.position, stored), end)
            began = time.monotonic()
            at_stop = stored if stored and (stored.size, stored.status) == (stop, CheckpointStatus.CONSISTENT) else None
            stride = await self._scanner.stride(
                cursor, stop, target, stopping, Checkpoint.parse(at_stop.note) if at_stop else None
            )
            after, taken = await self._taker.stride(cursor, stride, follows=follows)
            if after.position == stop:
                self._pace(stop - cursor.position, time.monotonic() - began)
            tally.add(taken)
            tally.leaves += after.position - cursor.position
            if after.position == cursor.position:
                break
            cursor = after
            tally.position = cursor.position
        return cursor.position

    def _aim(self, position: int, stored: StoredCheckpoint | None) -> int:
        """The end of the next stride: on the border of an entry bundle, but at the next stored size where that is not much farther.

        No stored size is passed over, so that every root is compared; and one that ends a stride proves it.
        """
        aligned = (position + self._stride) // _SMALLEST_STRIDE * _SMALLEST_STRIDE
        return stored.size if stored and stored.size <= aligned + self._stride // 2 else aligned

    def _pace(self, leaves: int, seconds: float) -> None:
        """Strides grow while they are short, so that proofs and transactions cost little, and shrink so that what is found is told soon.

        One that was short because there was little to read says nothing.
        """
        if seconds < _SHORT and leaves >= self._stride // 2:
            self._stride = min(self._stride * 2, _LARGEST_STRIDE)
        elif seconds > _LONG:
            self._stride = max(self._stride // 2, _SMALLEST_STRIDE)

    async def _cursor(self, target: Checkpoint) -> Cursor:
        """Where following stands; at the first start, the range of the starting index is read out of a proof."""
        async with self._tools.store.read() as tx:
            cursor = await logs.cursor(tx, self.followed.origin)
        if cursor is not None:
            return cursor
        start = target.size if self._start is None else self._start
        if start > target.size:
            raise SettingsError(
                f"{self.followed.origin} is to be followed from leaf {start}, and its newest checkpoint is of size {target.size}",
                cure="correct `start` in the settings; until then nothing of this log is read",
            )
        known = await range_at(self.log, start, target, self._keeper.link)
        cursor = Cursor(self.followed.origin, start, known, start)
        async with self._tools.store.write() as tx:
            await logs.start_cursor(tx, cursor, self._tools.clock())
        return cursor


def _behind(tally: _Tally, gaps: Sequence[tuple[int, int]]) -> str | None:
    """What is signed and not read, in a sentence; None when all of it is."""
    told = []
    if tally.position < tally.size:
        told.append(f"proven up to {tally.position} of {tally.size}")
    if gaps:
        told.append(
            f"{tally.skipped} leaves from {gaps[-1][0]} on were passed over for the newest to come first, and are still to be read"
        )
    return "; ".join(told) or None
