"""A process with a worker that reads for ever; it prints the worker's id and waits to be killed. Run by test_backfill.py.

usage: orphaned.py URL — the log at URL must hang.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from monitor.fetch import FetchOptions
from monitor.model.log import FollowedLog, LogState, Mode, Protocol
from monitor.rekor import v2
from monitor.watch.chunks import Piece
from monitor.watch.workers import Job, Worker


async def main(url: str) -> None:
    """Ask a worker for a chunk of a log that never answers."""
    log = FollowedLog("log.test", Protocol.REKOR_V2, url, Mode.COMPLETE, LogState.ACTIVE)
    async with Worker(
        Job(partial(v2.opened, log.origin, url, FetchOptions(timeout=600)), log, ("TruStacks",))
    ) as worker:
        sys.stdout.write(f"{worker.pid}\n")
        sys.stdout.flush()
        await worker.read(Piece(0, 256, 8), 1000)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
