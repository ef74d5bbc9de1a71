"""A Rekor v2 log: a C2SP tile log with an Ed25519 key, served as files, that can lie in every way a log can.

What is appended is integrated at once and visible once a checkpoint is published. Each lie is told until it is taken
back with `tell_the_truth`, or for a number of times. Entries are not checked: nor does the real log check identities.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from monitor.errors import ProofError
from monitor.testbed.bodies import foreign_v2, hashedrekord_v2
from monitor.testbed.keys import LogKey
from monitor.testbed.server import LoopbackServer
from monitor.testbed.tree import Tree
from monitor.tlog.checkpoint import checkpoint_text
from monitor.tlog.tiles import TILE_HEIGHT, TILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509 import Certificate

ENTRIES: Final = -1
"""The level under which entry bundles are named beside the levels of hash tiles."""
IMMUTABLE: Final = {"Cache-Control": "max-age=604800, immutable"}
UNCACHED: Final = {"Cache-Control": "no-cache"}
LENGTH_MASK: Final = 0xFFFF
_TILE: Final = re.compile(r"(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(slots=True)
class _Lie:
    """Bytes shown in place of the true ones (None: nothing), for so many more times (None: until taken back)."""

    data: bytes | None
    times: int | None

    def told(self) -> bool:
        """Whether it is told this time."""
        if self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class RekorV2(LoopbackServer):
    """The log `origin`. Its tiles are under `base_path`, which on the public logs is `/api/v2`."""

    def __init__(
        self,
        origin: str = "log2026-1.rekor.trustacks.test",
        *,
        key: Ed25519PrivateKey | None = None,
        base_path: str = "/api/v2",
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Begin with an empty tree, its checkpoint published."""
        super().__init__()
        self.origin = origin
        self.key = LogKey.ed25519(origin, key)
        self.base_path = base_path
        self.checkpoint_bytes = b""
        """The newest checkpoint as published, whatever is served in its place."""
        self.published_size = 0
        self._now = now or (lambda: datetime.now(UTC))
        self._signing = self.key
        self._honest = self._tree = Tree()
        self._notes: dict[int, bytes] = {}
        self._shown_checkpoint: bytes | None = None
        self._leaf_lies: dict[int, _Lie] = {}
        self._tile_lies: dict[tuple[int, int], _Lie] = {}
        self._hide_partials = False
        self.publish()

    # the honest log

    @property
    def spki(self) -> bytes:
        """The public key, DER."""
        return self.key.spki

    @property
    def key_id(self) -> bytes:
        """The 32 bytes that trusted_root.json calls `keyId`; the first four are on the signature line."""
        return self.key.log_id

    @property
    def size(self) -> int:
        """Leaves in the tree, published or not."""
        return len(self._tree)

    @property
    def tree(self) -> Tree:
        """The history that is served."""
        return self._tree

    def append(self, body: bytes) -> int:
        """Add a leaf; its index."""
        return self._tree.append(body)

    def append_many(self, bodies: Iterable[bytes]) -> range:
        """Add leaves; their indexes."""
        return self._tree.extend(bodies)

    def publish(self, size: int | None = None) -> bytes:
        """Sign a checkpoint over the first `size` leaves, by default all of them, and serve it."""
        self.published_size = self.size if size is None else size
        self.checkpoint_bytes = self._note(self.published_size)
        self._notes[self.published_size] = self.checkpoint_bytes
        return self.checkpoint_bytes

    @staticmethod
    def sign_hashedrekord(key: EllipticCurvePrivateKey, certificate: Certificate | None, digest: bytes) -> bytes:
        """Return the leaf of a signature over `digest`, as rekor-tiles would write it."""
        return hashedrekord_v2(key, certificate, digest)

    def freeze(self) -> bytes:
        """End the log: its last checkpoint carries the line that says so. To grow and publish after that is a lie."""
        moment = self._now().astimezone(UTC)
        line = f"Log frozen — {moment:%a %b} {moment.day:2d} {moment:%H:%M:%S} UTC {moment:%Y}"
        self.published_size = self.size
        self.checkpoint_bytes = self._note(self.size, (line,))
        self._notes[self.size] = self.checkpoint_bytes
        return self.checkpoint_bytes

    # lies

    def alter_leaf(self, index: int, data: bytes, *, times: int | None = None) -> None:
        """Show other bytes for a leaf in its bundle; hashes and checkpoints stay those of the true one."""
        self._leaf_lies[index] = _Lie(data, times)

    def hide_bundle(self, index: int, *, times: int | None = None) -> None:
        """Answer 404 for an entry bundle, whole or partial."""
        self._tile_lies[ENTRIES, index] = _Lie(None, times)

    def alter_bundle(self, index: int, data: bytes, *, times: int | None = None) -> None:
        """Serve these bytes for an entry bundle of any width: cut short, garbled, of another log."""
        self._tile_lies[ENTRIES, index] = _Lie(data, times)

    def hide_tile(self, level: int, index: int, *, times: int | None = None) -> None:
        """Answer 404 for a hash tile."""
        self._tile_lies[level, index] = _Lie(None, times)

    def alter_tile(self, level: int, index: int, data: bytes, *, times: int | None = None) -> None:
        """Serve these bytes for a hash tile of any width."""
        self._tile_lies[level, index] = _Lie(data, times)

    def hide_partials(self, *, hidden: bool = True) -> None:
        """Answer 404 for a partial tile or bundle once the full one exists, as after garbage collection."""
        self._hide_partials = hidden

    def serve_checkpoint(self, raw: bytes) -> None:
        """Serve these bytes as the checkpoint, whatever is published."""
        self._shown_checkpoint = raw

    def serve_old(self, size: int) -> None:
        """Serve the checkpoint of an earlier size, as first signed if it was ever published."""
        self._shown_checkpoint = self._notes.get(size) or self._note(size)

    def fork(self, at: int, leaves: Sequence[bytes] | None = None) -> None:
        """Serve another history from leaf `at` on, signed by the same key: by default as long as the true one."""
        if leaves is None:
            leaves = [foreign_v2(f"fork {index}") for index in range(at, self.size)]
        self._tree = self._tree.branch(at)
        self._tree.extend(leaves)
        self._notes = {size: note for size, note in self._notes.items() if size <= at}
        self.publish()

    def sign_with(self, key: Ed25519PrivateKey, *, keep_key_id: bool = False) -> None:
        """Sign from now on with another key, under its own id or, keeping the id, so that the signature is bad."""
        other = LogKey.ed25519(self.origin, key)
        self._signing = other.posing_as(self.key) if keep_key_id else other
        self.publish(self.published_size)

    def tell_the_truth(self) -> None:
        """Take back every lie, fork and planned failure; the honest history is published as it stands."""
        self.heal()
        self._tree, self._signing, self._shown_checkpoint = self._honest, self.key, None
        self._leaf_lies.clear()
        self._tile_lies.clear()
        self._hide_partials = False
        self._notes.clear()
        self.publish()

    # serving

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the checkpoint and the tiles."""
        router.add_get(f"{self.base_path}/checkpoint", self._get_checkpoint)
        router.add_get(f"{self.base_path}/tile/{{path:.+}}", self._get_tile)

    async def _get_checkpoint(self, _request: web.Request) -> web.StreamResponse:
        raw = self.checkpoint_bytes if self._shown_checkpoint is None else self._shown_checkpoint
        return web.Response(body=raw, content_type="text/plain", charset="utf-8", headers=UNCACHED)

    async def _get_tile(self, request: web.Request) -> web.StreamResponse:
        parts = _TILE.fullmatch(request.match_info["path"])
        if parts is None:
            raise web.HTTPNotFound
        level = ENTRIES if parts[1] == "entries" else int(parts[1])
        index = int(parts[2].replace("x", "").replace("/", ""))
        data = self._tile(level, index, int(parts[3] or TILE_WIDTH), partial=parts[3] is not None)
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type="application/octet-stream", headers=IMMUTABLE)

    def _tile(self, level: int, index: int, width: int, *, partial: bool) -> bytes | None:
        start, end = index * TILE_WIDTH, index * TILE_WIDTH + width
        height = TILE_HEIGHT * max(level, 0)
        held = self.published_size >> height
        full = held >= (index + 1) * TILE_WIDTH
        if end > held or (partial and (width == TILE_WIDTH or (full and self._hide_partials))):
            return None
        lie = self._tile_lies.get((level, index))
        if lie is not None and lie.told():
            return lie.data
        if level != ENTRIES:
            return b"".join(self._tree.nodes(height, start, end))
        return b"".join(
            _bundled(self._shown_leaf(start + i, leaf)) for i, leaf in enumerate(self._tree.leaves(start, end))
        )

    def _shown_leaf(self, index: int, leaf: bytes) -> bytes:
        lie = self._leaf_lies.get(index)
        return lie.data if lie is not None and lie.data is not None and lie.told() else leaf

    def _note(self, size: int, extensions: Sequence[str] = ()) -> bytes:
        if size > self.size:
            raise ProofError(f"a log of {self.size} leaves cannot sign a checkpoint of {size}")
        return self._signing.note(checkpoint_text(self.origin, size, self._tree.root(size), extensions))


def _bundled(leaf: bytes) -> bytes:
    """Return a leaf with its length in front; over 64 KiB the length wraps, as it did in Tessera before 1.0.2."""
    return (len(leaf) & LENGTH_MASK).to_bytes(2, "big") + leaf
