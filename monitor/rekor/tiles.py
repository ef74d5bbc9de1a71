"""A tile log's objects by their C2SP tlog-tiles paths: where they are served, and hash tiles kept for a while.

What comes from here has the right size and nothing more: whether a hash belongs to the log is for others to prove.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.errors import FetchError, FormatError, NotFoundError
from monitor.tlog.merkle import HASH_SIZE
from monitor.tlog.note import MAX_NOTE_SIZE, Note
from monitor.tlog.tiles import TILE_WIDTH, TileCoordinates, bundle_path, split_tile

if TYPE_CHECKING:
    from monitor.fetch import Client, Response

TILE_LIMIT: Final = TILE_WIDTH * HASH_SIZE
BUNDLE_LIMIT: Final = 17 << 20
"""Above 256 leaves of 65,535 bytes with their prefixes."""
_KEPT_TILES: Final = 1024
_API: Final = "/api/v2"


class TileServer:
    """One tile log's server. The base path, `/api/v2` or the URL itself, is found out once and remembered."""

    def __init__(self, url: str, client: Client) -> None:
        """Ask nothing yet. A `url` that ends in `/api/v2` already names the base."""
        trimmed = url.rstrip("/")
        self._bases = (trimmed,) if trimmed.endswith(_API) else (trimmed + _API, trimmed)
        self._base: str | None = None
        self._probing = asyncio.Lock()
        self._client = client
        self._kept: OrderedDict[TileCoordinates, bytes] = OrderedDict()

    async def checkpoint(self, *, fresh: bool) -> bytes:
        """Return the newest note as it is served; FormatError when what is served is no note."""
        response = await self._probed(fresh=fresh)
        try:
            Note.parse(response.body)
        except FormatError as error:
            raise FormatError(f"GET {response.url}: no signed note: {error}; it is {response.excerpt}") from error
        return response.body

    async def bundle(self, index: int, width: int, *, fresh: bool) -> tuple[bytes, int]:
        """Return an entry bundle and how many leaves it should hold.

        Those are `width`, or 256 where the log has only the full bundle left. NotFoundError, OversizeError, FetchError.
        """
        if width < TILE_WIDTH:
            with suppress(NotFoundError):
                return (await self._get(bundle_path(index, width), BUNDLE_LIMIT, fresh=fresh)).body, width
        return (await self._get(bundle_path(index), BUNDLE_LIMIT, fresh=fresh)).body, TILE_WIDTH

    async def hashes(self, tile: TileCoordinates, *, fresh: bool = False) -> tuple[bytes, ...]:
        """Return a tile's hashes, exactly `tile.width`: of the tile itself, or cut from the full one that replaced it.

        `fresh` passes by what is kept here too. Raises FormatError when the tile's length is wrong, twice.
        """
        full = TileCoordinates(tile.level, tile.index, TILE_WIDTH)
        if tile != full and (fresh or full not in self._kept):
            with suppress(NotFoundError):
                return split_tile(await self._tile(tile, fresh=fresh), tile.width)
        return split_tile((await self._tile(full, fresh=fresh))[: tile.width * HASH_SIZE], tile.width)

    async def _tile(self, tile: TileCoordinates, *, fresh: bool) -> bytes:
        if not fresh and tile in self._kept:
            self._kept.move_to_end(tile)
            return self._kept[tile]
        response = await self._get(tile.path, TILE_LIMIT, fresh=fresh)
        wanted = tile.width * HASH_SIZE
        if len(response.body) != wanted and not fresh:
            response = await self._get(tile.path, TILE_LIMIT, fresh=True)
        if len(response.body) != wanted:
            raise FormatError(f"GET {response.url}: {len(response.body)} bytes, where a tile of {wanted} should be")
        self._keep(tile, response.body)
        return response.body

    def _keep(self, tile: TileCoordinates, data: bytes) -> None:
        self._kept[tile] = data
        while len(self._kept) > _KEPT_TILES:
            self._kept.popitem(last=False)

    async def _get(self, path: str, limit: int, *, fresh: bool) -> Response:
        async with self._probing:
            if self._base is None:
                await self._probed(fresh=False)
        response = await self._client.get(f"{self._base}/{path}", limit=limit, fresh=fresh)
        if response.content_type != "text/html":
            return response
        # No log serves its tiles as HTML: something before it answers, and perhaps only once, or from a cache.
        response = await self._client.get(f"{self._base}/{path}", limit=limit, fresh=True)
        if response.content_type != "text/html":
            return response
        raise FetchError(
            f"GET {response.url}: {response.excerpt}, where a tile should be",
            cure="ask the operator of the log or of the proxy before it",
            status=HTTPStatus.OK,
        )

    async def _probed(self, *, fresh: bool) -> Response:
        """Fetch the checkpoint from the base that serves one: the remembered one first."""
        *others, last = sorted(self._bases, key=lambda base: base != self._base)
        for base in others:
            with suppress(NotFoundError):
                return await self._checkpoint_at(base, fresh=fresh)
        return await self._checkpoint_at(last, fresh=fresh)

    async def _checkpoint_at(self, base: str, *, fresh: bool) -> Response:
        response = await self._client.get(f"{base}/checkpoint", limit=MAX_NOTE_SIZE, fresh=fresh)
        self._base = base
        return response
