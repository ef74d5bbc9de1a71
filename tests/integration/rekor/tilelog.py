"""A tile log made of any leaves, served from memory on loopback; a test may change every file it serves."""

from __future__ import annotations

from aiohttp import web

from monitor.tlog.checkpoint import checkpoint_text
from monitor.tlog.merkle import leaf_hash, node_hash, tree_root
from monitor.tlog.note import signature_line
from monitor.tlog.tiles import TILE_WIDTH, bundle_path, tile_path, tile_width
from tests.replay import LoopbackServer


class TileLog(LoopbackServer):
    """Serves `files` by path below `/api/v2/`. Lengths above 65,535 are written as old servers did: cut to 16 bits."""

    def __init__(self, leaves: list[bytes]) -> None:
        super().__init__()
        self.leaves = leaves
        self.hashes = [leaf_hash(leaf) for leaf in leaves]
        self.files: dict[str, bytes] = {}
        for index in range(-(-len(leaves) // TILE_WIDTH)):
            held = leaves[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
            prefixed = ((len(leaf) & 0xFFFF).to_bytes(2, "big") + leaf for leaf in held)
            self.files[bundle_path(index, len(held))] = b"".join(prefixed)
        level, hashes = 0, self.hashes
        while hashes:
            for index in range(-(-len(hashes) // TILE_WIDTH)):
                width = tile_width(level, index, len(leaves))
                self.files[tile_path(level, index, width)] = b"".join(hashes[index * TILE_WIDTH :][:width])
            for _ in range(8):
                hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=False)]
            level += 1
        text = checkpoint_text("tiles.test", len(leaves), tree_root(self.hashes))
        self.files["checkpoint"] = text + b"\n" + signature_line("tiles.test", bytes(4), bytes(64))
        self._app.router.add_get("/api/v2/{rest:.*}", self._serve)

    @property
    def size(self) -> int:
        return len(self.leaves)

    def root(self, size: int) -> bytes:
        return tree_root(self.hashes[:size])

    async def _serve(self, request: web.Request) -> web.Response:
        body = self.files.get(request.match_info["rest"])
        if body is None:
            raise web.HTTPNotFound
        return web.Response(body=body, content_type="application/octet-stream")
