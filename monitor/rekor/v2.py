"""A Rekor v2 log, read as the tile log that it is: entry bundles become blocks, hash tiles become proofs.

It asks only for tiles that a given size implies, and tells apart what a log does not have or has broken (a Gap: reading
goes on) from a server in trouble (FetchError: the pass ends). It must never verify, or pass over, anything by itself.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from monitor.errors import FormatError, NotFoundError, OversizeError
from monitor.fetch import Client
from monitor.model.log import Block, Gap
from monitor.reading.ordered import in_order
from monitor.reading.tilelog import TileLog
from monitor.reading.tiles import LeafTiles, TileProofs, TileServer
from monitor.tlog.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    TileCoordinates,
    bundle_path,
    recover_bundle,
    split_bundle,
    tile_width,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from monitor.fetch import FetchOptions

BUNDLE_LIMIT: Final = 17 << 20
"""Above 256 leaves of 65,535 bytes with their prefixes."""
_API: Final = "/api/v2"
_PREFIX: Final = 2


@asynccontextmanager
async def opened(origin: str, url: str, options: FetchOptions, in_flight: int = 8) -> AsyncIterator[RekorV2]:
    """One v2 log with a client of its own, for as long as the block runs: what another process opens."""
    async with Client(options) as client:
        yield RekorV2(origin, url, client, in_flight=in_flight)


class RekorV2(TileLog):
    """One v2 log at `url`, named `origin`. At most `in_flight` bundles are asked for, or held, at once."""

    def __init__(self, origin: str, url: str, client: Client, *, in_flight: int = 8) -> None:
        """Ask nothing yet."""
        trimmed = url.rstrip("/")
        bases = (trimmed,) if trimmed.endswith(_API) else (trimmed + _API, trimmed)
        server = TileServer(bases, client, LeafTiles(bundle_path, BUNDLE_LIMIT))
        super().__init__(origin, server, TileProofs(server, in_flight))
        self._in_flight = in_flight

    async def blocks(
        self, start: int, end: int, size: int, *, fresh: bool = False
    ) -> AsyncGenerator[Block | Gap, None]:
        """Yield the leaves [start, end) of the log at `size` in order, a bundle at a time, several in flight.

        Close it when stopping early (`contextlib.aclosing`): that ends the requests under way.

        A bundle that is not there, too large, or cannot be cut into its leaves is a Gap over exactly those of its
        leaves that were asked for. Raises FetchError for a server in trouble, ValueError for a range outside `size`.
        """
        if not 0 <= start <= end <= size:
            raise ValueError(f"{self._origin}: leaves [{start}, {end}) of a log of {size}")
        bundles = range(start >> TILE_HEIGHT, (end + TILE_WIDTH - 1) >> TILE_HEIGHT) if start < end else range(0)
        work = partial(self._bundle, start=start, end=end, size=size, fresh=fresh)
        async with aclosing(in_order(bundles, work, lambda: self._in_flight)) as pieces:
            async for piece in pieces:
                yield piece

    async def _bundle(self, number: int, *, start: int, end: int, size: int, fresh: bool) -> Block | Gap:
        base, width = number * TILE_WIDTH, tile_width(0, number, size)
        begin, stop = max(start, base), min(end, base + width)
        try:
            try:
                data, starts, ends = await self._leaves(number, width, fresh=fresh)
            except FormatError:
                if fresh:
                    raise
                # Cut short on its way, or a bad copy in a cache: the origin may have it whole.
                data, starts, ends = await self._leaves(number, width, fresh=True)
        except NotFoundError:
            return Gap(begin, stop, "not found")
        except OversizeError:
            return Gap(begin, stop, "oversize")
        except FormatError as error:
            return Gap(begin, stop, f"malformed entry bundle: {error}")
        return _block(begin, data, starts[begin - base : stop - base], ends[begin - base : stop - base])

    async def _leaves(self, number: int, width: int, *, fresh: bool) -> tuple[bytes, list[int], list[int]]:
        data, held = await self._server.leaves(number, width, fresh=fresh)
        try:
            return data, *split_bundle(data, held)
        except FormatError as error:
            try:
                hashes = await self._server.hashes(TileCoordinates(0, number, held), fresh=fresh)
            except (NotFoundError, OversizeError, FormatError):
                raise error from None
            return data, *recover_bundle(data, hashes)


def _block(start: int, data: bytes, starts: list[int], ends: list[int]) -> Block:
    """Make the block of these leaves; bytes of the bundle's other leaves are left behind."""
    first, last = starts[0] - _PREFIX, ends[-1]
    if (first, last) == (0, len(data)):
        return Block(start, data, starts, ends)
    return Block(start, data[first:last], [at - first for at in starts], [at - first for at in ends])
