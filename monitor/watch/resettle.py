"""Judges stored entries again, in bounded batches: at start, after a new trust root, new settings or newly expected digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.judge import settle
from monitor.judge.intake import Taken
from monitor.store import health

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.watch.follow import Tools

_BATCH = 50


async def resettle(tools: Tools, stopping: Callable[[], bool]) -> Taken:
    """One pass over all entries that are due. Entries still pending are judged once a pass, not for ever."""
    taken, after = Taken(), 0
    failed = False
    while not stopping():
        bench = tools.bench()
        async with tools.store.read() as tx:
            due = await settle.due(tx, bench, after, _BATCH)
        if not due:
            break
        async with tools.store.write() as tx:
            settled, well = await settle.settle(tx, due, bench, tools.prefilter, tools.clock())
        taken, failed = taken + settled, failed or not well
        after = due[-1].id
    if not failed and not stopping():
        async with tools.store.write() as tx:
            await health.report(tx, "rule-failed", "rules", tools.clock(), None)
    return taken
