"""A tile log's objects by their C2SP tlog-tiles paths: where they are served, hash tiles kept for a while, proofs made of them.

What comes from here has the right size and nothing more: whether a hash belongs to the log is for others to prove.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.errors import FetchError, FormatError, NotFoundError
from monitor.model.log import InclusionProof
from monitor.reading.ordered import in_order
from monitor.tlog.merkle import HASH_SIZE
from monitor.tlog.note import MAX_NOTE_SIZE, Note
from monitor.tlog.proofs import consistency_nodes, consistency_proof, inclusion_nodes, inclusion_proof
from monitor.tlog.tiles import TILE_WIDTH, TileCoordinates, node_from_tile, split_tile, tile_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from monitor.fetch import Client, Gate, Response
    from monitor.tlog.proofs import Node, NodeHashes

    LeafPath = Callable[[int, int], str]

TILE_LIMIT: Final = TILE_WIDTH * HASH_SIZE
_KEPT_TILES: Final = 1024


@dataclass(frozen=True, slots=True)
class LeafTiles:
    """How a kind of tile log serves its leaves: `path(index, width)` of the tiles that hold them, and the bound on one in bytes."""

    path: LeafPath
    limit: int


class TileServer:
    """One tile log's server. Of several `bases`, the one that serves the log is found out once and remembered."""

    def __init__(self, bases: tuple[str, ...], client: Client, leaves: LeafTiles, gate: Gate | None = None) -> None:
        """Ask nothing yet. Every attempt passes `gate`."""
        self._bases = bases
        self._base = bases[0] if len(bases) == 1 else None
        self._probing = asyncio.Lock()
        self._client = client
        self._leaves = leaves
        self._gate = gate
        self._kept: OrderedDict[TileCoordinates, bytes] = OrderedDict()

    async def checkpoint(self, *, fresh: bool) -> bytes:
        """Return the newest note as it is served; FormatError when what is served is no note."""
        response = await self._probed(fresh=fresh)
        try:
            Note.parse(response.body)
        except FormatError as error:
            raise FormatError(f"GET {response.url}: no signed note: {error}; it is {response.excerpt}") from error
        return response.body

    async def leaves(self, index: int, width: int, *, fresh: bool) -> tuple[bytes, int]:
        """Return a tile of leaves and how many it should hold.

        Those are `width`, or 256 where the log has only the full bundle left. NotFoundError, OversizeError, FetchError.
        """
        if width < TILE_WIDTH:
            with suppress(NotFoundError):
                return (await self._get(self._leaves.path(index, width), self._leaves.limit, fresh=fresh)).body, width
        return (await self._get(self._leaves.path(index, TILE_WIDTH), self._leaves.limit, fresh=fresh)).body, TILE_WIDTH

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
        response = await self._client.get(f"{self._base}/{path}", limit=limit, fresh=fresh, gate=self._gate)
        if response.content_type != "text/html":
            return response
        # No log serves its tiles as HTML: something before it answers, and perhaps only once, or from a cache.
        response = await self._client.get(f"{self._base}/{path}", limit=limit, fresh=True, gate=self._gate)
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
        response = await self._client.get(f"{base}/checkpoint", limit=MAX_NOTE_SIZE, fresh=fresh, gate=self._gate)
        self._base = base
        return response


class TileProofs:
    """Makes unverified proofs from the hash tiles of one server, at most `in_flight` of them asked for at once."""

    def __init__(self, server: TileServer, in_flight: int) -> None:
        """Ask nothing yet."""
        self._server = server
        self._in_flight = in_flight

    async def consistency(self, first: int, second: int, *, fresh: bool) -> tuple[bytes, ...]:
        """Make an RFC 6962 consistency proof from the tiles of the tree of `second` leaves.

        `fresh` reads them past all caches, ours included. FetchError; FormatError for tiles of a wrong length;
        ProofError unless 0 <= first <= second.
        """
        node = await self._nodes(consistency_nodes(first, second), second, fresh=fresh)
        return consistency_proof(first, second, node)

    async def inclusion(self, index: int, size: int, *, fresh: bool) -> InclusionProof:
        """Make a proof of leaf `index` from the tiles of the tree of `size` leaves, its leaf hash too.

        FetchError; FormatError for tiles of a wrong length; ProofError when that tree has no such leaf.
        """
        node = await self._nodes(((0, index), *inclusion_nodes(index, size)), size, fresh=fresh)
        return InclusionProof(node(0, index), index, size, inclusion_proof(index, size, node))

    async def _nodes(self, nodes: Iterable[Node], size: int, *, fresh: bool) -> NodeHashes:
        """Fetch the tiles that hold these nodes; the function returned gives the nodes' hashes."""
        tiles = {node: tile_of(node, size) for node in nodes}
        wanted = list(dict.fromkeys(tiles.values()))
        async with aclosing(in_order(wanted, partial(self._tile, fresh=fresh), lambda: self._in_flight)) as tiles_read:
            read = {tile: hashes async for tile, hashes in tiles_read}
        return lambda level, index: node_from_tile((level, index), read[tiles[level, index]])

    async def _tile(self, tile: TileCoordinates, *, fresh: bool) -> tuple[TileCoordinates, tuple[bytes, ...]]:
        return tile, await self._server.hashes(tile, fresh=fresh)
