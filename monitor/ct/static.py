"""A certificate log served as tiles (C2SP static-ct-api): data tiles become blocks of RFC 6962 leaves, hash tiles become proofs.

It asks only for tiles that a given size implies, and tells apart what a log does not have or has broken (a Gap: reading
goes on) from a server in trouble (FetchError: the pass ends). It must never verify, or pass over, anything by itself.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from monitor.ct.leaves import cut_tile, pieces
from monitor.errors import FormatError, NotFoundError, OversizeError
from monitor.model.log import Gap
from monitor.reading.ordered import in_order
from monitor.reading.pace import Pace
from monitor.reading.tilelog import TileLog
from monitor.reading.tiles import LeafTiles, TileProofs, TileServer
from monitor.tlog.merkle import leaf_hash
from monitor.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, TileCoordinates, data_path, tile_width

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from monitor.ct.leaves import Cut, TreeLeaf
    from monitor.fetch import Client
    from monitor.model.log import Block

DATA_LIMIT: Final = 24 << 20
"""Above 256 leaves of 40 KiB with their precertificates: a tile that is not read cannot be asked for in parts.

Four of them are held at once (P8).
"""


class StaticCtLog(TileLog):
    """One log read below `url` (its monitoring prefix) and named `origin` (its submission prefix without scheme).

    It is asked at most `requests_per_second`, and `in_flight` at once; as many data tiles are held.
    """

    def __init__(
        self, origin: str, url: str, client: Client, *, in_flight: int = 4, requests_per_second: float = 10.0
    ) -> None:
        """Ask nothing yet."""
        self._pace = Pace(requests_per_second, in_flight, patience=client.options.max_retry_after)
        server = TileServer((url.rstrip("/"),), client, LeafTiles(data_path, DATA_LIMIT), self._pace)
        super().__init__(origin, server, TileProofs(server, in_flight))

    async def blocks(
        self, start: int, end: int, size: int, *, fresh: bool = False
    ) -> AsyncGenerator[Block | Gap, None]:
        """Yield the leaves [start, end) of the log at `size` in order, a data tile at a time, several in flight.

        Close it when stopping early (`contextlib.aclosing`): that ends the requests under way.

        A tile that is not there or too large is a Gap over those of its leaves that were asked for; of one that is broken, the
        leaves that can be told are given and the others are Gaps. Raises FetchError for a server in trouble, ValueError for a
        range outside `size`.
        """
        if not 0 <= start <= end <= size:
            raise ValueError(f"{self._origin}: leaves [{start}, {end}) of a log of {size}")
        tiles = range(start >> TILE_HEIGHT, (end + TILE_WIDTH - 1) >> TILE_HEIGHT) if start < end else range(0)
        work = partial(self._tile, start=start, end=end, size=size, fresh=fresh)
        async with aclosing(in_order(tiles, work, lambda: self._pace.window)) as read:
            async for found in read:
                for piece in found:
                    yield piece

    async def _tile(self, number: int, *, start: int, end: int, size: int, fresh: bool) -> list[Block | Gap]:
        base, width = number * TILE_WIDTH, tile_width(0, number, size)
        wanted = range(max(start, base), min(end, base + width))
        try:
            cut, held = await self._cut(number, width, fresh=fresh)
            if cut.problem and not fresh:
                # Cut short on its way, or a bad copy in a cache: the origin may have it whole.
                cut, held = await self._cut(number, width, fresh=True)
        except NotFoundError:
            return [Gap(wanted.start, wanted.stop, "not found")]
        except OversizeError:
            return [Gap(wanted.start, wanted.stop, "oversize")]
        found = dict(enumerate(cut.leaves, base))
        if cut.problem:
            found = await self._placed(cut, TileCoordinates(0, number, held), found)
        return pieces(wanted, found, dict.fromkeys(wanted, f"malformed data tile: {cut.problem}"))

    async def _cut(self, number: int, width: int, *, fresh: bool) -> tuple[Cut, int]:
        data, held = await self._server.leaves(number, width, fresh=fresh)
        return cut_tile(data, held), held

    async def _placed(self, cut: Cut, tile: TileCoordinates, found: dict[int, TreeLeaf]) -> dict[int, TreeLeaf]:
        """Put the leaves of a broken tile where its hash tile has them: one that was left out moved the later ones up."""
        try:
            hashes = await self._server.hashes(tile, fresh=True)
        except (NotFoundError, OversizeError, FormatError):
            return found
        by_hash = {leaf_hash(leaf.leaf): leaf for leaf in cut.leaves}
        return {at: by_hash[known] for at, known in enumerate(hashes, tile.index * TILE_WIDTH) if known in by_hash}
