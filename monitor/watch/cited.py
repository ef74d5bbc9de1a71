"""Fetches one leaf of a followed log by its index, proven: what `releases` asks for that following will never come by.

It accuses nobody lightly: that a leaf is not there is said only of one that was signed for a while ago, asked for twice past caches.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from monitor.errors import NotFoundError, ProofError
from monitor.model.log import Block, Looked
from monitor.tlog.merkle import leaf_hash
from monitor.watch.signedfor import long_signed_for

if TYPE_CHECKING:
    from monitor.model.log import FollowedLog
    from monitor.tlog.checkpoint import Checkpoint
    from monitor.watch.fleet import Fleet
    from monitor.watch.follow import Follower
    from monitor.watch.taking import Tools

_TRIES = 2


class Cited:
    """Single leaves of the logs of a fleet, as of its last muster."""

    def __init__(self, fleet: Fleet, tools: Tools) -> None:
        self._fleet = fleet
        self._tools = tools

    async def cited(self, log: FollowedLog, index: int) -> Looked:
        """What stands at `index` of `log`, proven under its newest stored checkpoint that is consistent.

        FetchError, FormatError or ProofError where that cannot be told now.
        """
        follower = self._fleet.find(log.origin)
        target = await follower.target() if follower is not None else None
        if follower is None or target is None:
            raise ProofError(f"{log.origin} has no checkpoint yet that leaf {index} could be proven under")
        if index >= target.size:
            return Looked(target.size, None)
        for attempt in range(1, _TRIES + 1):
            try:
                return Looked(target.size, await self._leaf(follower, index, target))
            except NotFoundError:
                if attempt == _TRIES and not await self._long_signed_for(log.origin, index, target.size):
                    raise
        return Looked(target.size, None)

    async def _leaf(self, follower: Follower, index: int, target: Checkpoint) -> bytes:
        proven = await follower.inclusion(index, target)
        async with aclosing(follower.log.blocks(index, index + 1, target.size, fresh=True)) as items:
            async for item in items:
                if isinstance(item, Block) and leaf_hash(item.leaf(0)) == proven.proof.leaf_hash:
                    return item.leaf(0)
        raise ProofError(f"{follower.followed.origin} proves leaf {index} and does not give its bytes")

    async def _long_signed_for(self, origin: str, index: int, size: int) -> bool:
        async with self._tools.store.read() as tx:
            return await long_signed_for(tx, origin, index, size, self._tools.clock())
