"""Keeps what verifying signatures came to, and verifies again what a newer trust root may tell otherwise: all but what is a yes.

It works from the bytes that are kept, not from the registry: who put a false signature there may have taken it away since. What was
told of a signature that is refused no more is taken back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.judge import intake
from monitor.releases import beside
from monitor.releases.locate import unverified
from monitor.releases.verify import Verified
from monitor.store import bundles

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.releases.beside import Examined, Examiner
    from monitor.releases.refresh import Tools
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx

_A_STEP = 32


async def keep(tx: Tx, found: Examined, policy: Policy, now: datetime) -> None:
    """Keep what was verified, for the first time or again."""
    for each in found.bundles:
        before = await bundles.at(tx, each.artifact, each.digest, each.source)
        same = before is not None and before.verified == each.verified
        if before is not None and before.verified == Verified.NO and not same:
            await intake.take_back(tx, unverified(before, policy), now)
        await bundles.add(tx, replace(each, in_log=before.in_log) if before is not None and same else each)
    await beside.keep_checkpoints(tx, found.checkpoints)


async def reverify(tools: Tools, stopping: Callable[[], bool]) -> None:
    """Verify again what is due, under the newest trust root: it is asked for where a signature hangs on what ours does not hold."""
    examiner = await _newest(tools)
    if examiner.refreshed_at is None:
        return  # a root that nobody found to be the newest knows no better than the last one
    after = 0
    while not stopping():
        async with tools.store.read() as tx:
            due = await bundles.to_verify(tx, examiner.root.digest, examiner.refreshed_at, after, _A_STEP)
        if not due:
            return
        after = due[-1].id
        found = [await examiner.again(each, tools.clock()) for each in due]
        async with tools.store.write() as tx:
            for each in found:
                await keep(tx, each, tools.policy, tools.clock())


async def _newest(tools: Tools) -> Examiner:
    async with tools.store.read() as tx:
        waiting = await bundles.strangers(tx, tools.examiner.refreshed_at)
    return await tools.newest() if waiting and tools.newest is not None else tools.examiner
