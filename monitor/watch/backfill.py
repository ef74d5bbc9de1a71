"""Backfill on one machine: reads what of a range is not covered yet, on all cores where that pays, apart from following.

The store's coverage is all its memory, so that it can be stopped at any instant and begun again, beside a daemon or without one. Workers
read; this process alone proves and writes. A chunk that they cannot read, or that does not prove, is read again as following reads.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from monitor.errors import LostRaceError
from monitor.model.log import Protocol, uncovered
from monitor.store import logs
from monitor.watch.chunks import LEVEL, PAGED_LEVEL, plan
from monitor.watch.newest import skipped
from monitor.watch.workers import Job, Worker, WorkerLostError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from monitor.model.log import FollowedLog
    from monitor.store.engine import Store
    from monitor.watch.chunks import Piece
    from monitor.watch.follow import Follower, Pass
    from monitor.watch.ports import Log

    Opening = Callable[[], AbstractAsyncContextManager[Log]]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_WORTH = 4
"""Chunks a worker must have before it is started: to start one takes about as long as to read one chunk."""
_RACES = 50
_PAUSE = 0.05
_LOOK = 0.2
_LIVES = 3


@dataclass(frozen=True, slots=True)
class Hands:
    """Who reads. `opening` gives what opens a log in another process, None for a log that is read in this one alone."""

    store: Store
    opening: Callable[[FollowedLog], Opening | None]
    words: tuple[str, ...]
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    workers: int = 0
    """At most so many processes; 0: as many as this machine has cores."""
    level: int = LEVEL


def worth(chunks: int, most: int = 0) -> int:
    """How many workers so many whole chunks are worth, at most `most` (0: the number of cores)."""
    return min(most or os.cpu_count() or 1, chunks // _WORTH)


@dataclass(slots=True)
class Progress:
    """How far a backfill is: leaves read by it, of those that were missing when it began, and what was found. Times are in seconds."""

    missing: int
    workers: int = 0
    leaves: int = 0
    entries: int = 0
    findings: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        """Whether nothing is missing any more."""
        return self.leaves >= self.missing

    @property
    def rate(self) -> float:
        """Leaves a second, so far."""
        return self.leaves / max(time.monotonic() - self.begun, 1e-6)

    @property
    def left(self) -> float | None:
        """Seconds left at this rate; None before anything was read."""
        return (self.missing - self.leaves) / self.rate if self.leaves else None

    def add(self, passed: Pass, leaves: int) -> None:
        """Count what a piece came to."""
        self.leaves += leaves
        self.entries += passed.entries
        self.findings += passed.findings


async def missing(store: Store, log: str, begin: int, end: int) -> list[tuple[int, int]]:
    """What of [begin, end) is not covered yet."""
    async with store.read() as tx:
        return uncovered(await logs.coverage(tx, log), begin, end)


async def backfill(
    follower: Follower,
    ranges: list[tuple[int, int]],
    hands: Hands,
    stopping: Callable[[], bool],
    told: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Read and prove these ranges, in their order; it ends between pieces once `stopping` says so, and `told` hears of each piece.

    Raises FetchError, FormatError and ProofError when the log cannot be read or proves nothing, SettingsError for leaves that are not
    signed yet; what was taken in until then stays.
    """
    followed = follower.followed
    progress = Progress(sum(end - begin for begin, end in ranges))
    level = hands.level if followed.protocol is Protocol.REKOR_V2 else PAGED_LEVEL
    chunks = sum(1 for piece in plan(ranges, level) if piece.whole)
    opening = hands.opening(followed)
    progress.workers = worth(chunks, hands.workers) if opening is not None else 0
    reader = _Reader(follower, plan(ranges, level), stopping, progress, told)
    told(progress)
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(progress.workers):
                if opening is not None:
                    tasks.create_task(reader.with_workers(Job(opening, followed, hands.words, hands.keys)))
            if not progress.workers:
                tasks.create_task(reader.alone())
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    return progress


async def close_gaps(
    follower: Follower, hands: Hands, stopping: Callable[[], bool], seconds: float = math.inf
) -> Progress | None:
    """Read what following passed over, the newest first, for so long at most; None when there is nothing, or following comes first.

    A log that is read in pages has a ceiling of requests: while following reads, this waits. Raises as `backfill` does.
    """
    deadline = time.monotonic() + seconds
    paged = follower.followed.protocol is not Protocol.REKOR_V2

    def over() -> bool:
        return stopping() or time.monotonic() >= deadline or (paged and follower.reading)

    async with hands.store.read() as tx:
        cursor = await logs.cursor(tx, follower.followed.origin)
        gaps = await skipped(tx, cursor) if cursor is not None else []
    if not gaps or over():
        return None
    return await backfill(follower, gaps, hands, over)


class _Reader:
    """One backfill's pieces, handed to whoever is free."""

    def __init__(
        self,
        follower: Follower,
        pieces: Iterator[Piece],
        stopping: Callable[[], bool],
        progress: Progress,
        told: Callable[[Progress], None],
    ) -> None:
        self._follower = follower
        self._pieces = pieces
        self._stopping = stopping
        self._progress = progress
        self._told = told
        self._here = asyncio.Lock()

    async def with_workers(self, job: Job) -> None:
        """Read with one worker at a time; one that dies is replaced, and after a few that die this process reads alone."""
        for _ in range(_LIVES):
            async with Worker(job) as worker:
                try:
                    await self._all(worker)
                except WorkerLostError as error:
                    if not self._stopping():
                        _log.warning("a worker ended before its time", log=job.followed.origin, error=str(error))
                    continue
                return
        await self._all(None)

    async def alone(self) -> None:
        """Read in this process."""
        await self._all(None)

    async def _all(self, worker: Worker | None) -> None:
        while not self._stopping() and (piece := next(self._pieces, None)) is not None:
            try:
                passed = await self._by(worker, piece) if worker is not None and piece.whole else None
            except WorkerLostError:
                await self._read_here(piece)
                raise
            if passed is not None:
                self._count(piece, passed)
            else:
                await self._read_here(piece)

    async def _by(self, worker: Worker, piece: Piece) -> Pass | None:
        """The chunk as a worker reads it, proven and taken in; None when it must be read here."""
        target = await self._follower.target()
        if target is None:
            return None
        reading = asyncio.ensure_future(worker.read(piece, target.size))
        try:
            while not reading.done():
                if self._stopping():
                    return None
                await asyncio.wait([reading], timeout=_LOOK)
            chunk = reading.result()
        finally:
            reading.cancel()
        if chunk is None:
            return None
        return await _raced(partial(self._follower.chunk, chunk))

    async def _read_here(self, piece: Piece) -> None:
        if self._stopping():
            return
        async with self._here:  # one at a time: a stride is held in memory
            self._count(piece, await _raced(partial(self._follower.span, piece.begin, piece.end, self._stopping)))

    def _count(self, piece: Piece, passed: Pass) -> None:
        self._progress.add(passed, len(piece) if passed.position == piece.end else passed.leaves)
        self._told(self._progress)


async def _raced(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, again as long as another program that writes into this database wins the race."""
    for _ in range(_RACES):
        try:
            return await work()
        except LostRaceError:
            await asyncio.sleep(_PAUSE)
    return await work()
