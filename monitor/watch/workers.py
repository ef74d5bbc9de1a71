"""Processes that read chunks: spawned, a whole chunk at a time each, ended when their parent ends.

A worker opens its own client, fetches, hashes and looks for us; it has no database, and what it returns is proven by its parent, who
alone writes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from monitor.entries.prefilter import Prefilter
from monitor.errors import FetchError, FormatError
from monitor.watch import chunks

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from multiprocessing.connection import Connection
    from types import TracebackType

    from monitor.model.log import FollowedLog
    from monitor.watch.chunks import Piece, ReadChunk
    from monitor.watch.ports import Log

_LOWER_PRIORITY = 10
_END_SECONDS = 2.0


class WorkerLostError(Exception):
    """A worker ended before it answered."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told once, picklable. `opening` opens the log with a client of the worker's own."""

    opening: Callable[[], AbstractAsyncContextManager[Log]]
    followed: FollowedLog
    words: tuple[str, ...]
    keys: tuple[bytes, ...] = field(default=(), repr=False)


class Worker:
    """One process. It is started on entering and killed on leaving, whatever it does then."""

    def __init__(self, job: Job) -> None:
        """Start nothing yet."""
        self._job = job
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker")

    async def __aenter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._job), daemon=True, name="backfill")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._process.start)
        finally:
            theirs.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join(_END_SECONDS)  # it was killed: this is not waited for
        self._thread.shutdown()  # whoever waited for its answer has met its end
        self._ours.close()
        self._process.close()

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid

    async def read(self, piece: Piece, size: int) -> ReadChunk | None:
        """What `chunks.read` read there; None too when the log could not be read. WorkerLostError when the process has ended."""
        try:
            answer: ReadChunk | None = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._ask, piece, size
            )
        except (EOFError, OSError) as error:
            raise WorkerLostError(f"the process that read [{piece.begin}, {piece.end}) has ended") from error
        return answer

    def _ask(self, piece: Piece, size: int) -> ReadChunk | None:
        self._ours.send((piece, size))
        answer: ReadChunk | None = self._ours.recv()
        return answer


def _work(connection: Connection, job: Job) -> None:
    """The process: answers until nobody asks any more. Ctrl-C is for its parent to obey."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError, AttributeError):
        os.nice(_LOWER_PRIORITY)
    asyncio.run(_answer(connection, job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def _answer(connection: Connection, job: Job) -> None:
    prefilter = Prefilter(job.words, job.keys)
    async with job.opening() as log:
        while True:
            try:
                piece, size = await asyncio.to_thread(connection.recv)
            except EOFError:
                return
            try:
                found = await chunks.read(log, job.followed, prefilter, piece, size)
            except (FetchError, FormatError):
                found = None  # its parent meets the same, and tells it
            await asyncio.to_thread(connection.send, found)
