"""The read paths of a certificate transparency log: RFC 6962 §4 as Google's ctfe words it, and static-CT's files.

They ask the log for what to show and decide nothing about it. The words were compared with a recording of ctfe 1.3.3.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from aiohttp import web

from monitor.errors import ProofError
from monitor.testbed.keys import text64
from monitor.testbed.server import json_reply
from monitor.tlog.tiles import TILE_HEIGHT, TILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.testbed.ct import CtLog
    from monitor.testbed.ct_entry import LogEntry

    Answer = Callable[[web.Request], Awaitable[web.Response]]

IMMUTABLE: Final = {"Cache-Control": "public, max-age=604800, immutable"}
UNCACHED: Final = {"Cache-Control": "no-cache"}
DATA: Final = -1
"""The level under which data tiles are named beside the levels of hash tiles."""
_TILE: Final = re.compile(r"(data|[0-5])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_INT64: Final = re.compile("-?[0-9]{1,18}")
_GZIP: Final = 31
"""zlib's window bits for a gzip stream."""


class _RefusedError(Exception):
    """A request that is answered with 400 (or another status) and a line of text."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Rfc6962Routes:
    """get-sth, get-sth-consistency, get-proof-by-hash, get-entries, get-roots and get-entry-and-proof of one log."""

    def __init__(self, log: CtLog) -> None:
        """Show `log`."""
        self._log = log

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths."""
        answers = {
            "get-sth": self._head,
            "get-sth-consistency": self._consistency,
            "get-proof-by-hash": self._proof_by_hash,
            "get-entries": self._entries,
            "get-roots": self._roots,
            "get-entry-and-proof": self._entry_and_proof,
        }
        for name, answer in answers.items():
            router.add_get(f"{self._log.base_path}/ct/v1/{name}", _answering(answer))

    async def _head(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._log.sth(), content_type="application/json")

    async def _consistency(self, request: web.Request) -> web.Response:
        first, second = _number(request, "first"), _number(request, "second")
        if not 0 <= first <= second:
            raise _RefusedError(f"failed to parse consistency range: invalid first, second params: {first} {second}")
        self._must_have(second, "for proof")
        return _found({"consistency": _hashes(self._log.history.tree.consistency(first, second))})

    async def _proof_by_hash(self, request: web.Request) -> web.Response:
        size = _number(request, "tree_size")
        try:
            hashed = b64decode(request.query.get("hash", ""), validate=True)
        except ValueError as error:
            raise _RefusedError(f"get-proof-by-hash: invalid base64 hash: {error}") from None
        if not hashed:
            raise _RefusedError("get-proof-by-hash: missing / empty hash param for get-proof-by-hash")
        if size < 1:
            raise _RefusedError(f"get-proof-by-hash: missing or invalid tree_size: {size}")
        if size > self._log.shown_size:
            raise _RefusedError(f"log returned tree size: {self._log.shown_size} but we expected: {size}", 404)
        index = self._log.history.places.get(hashed)
        if index is None or index >= size:
            raise _RefusedError("get-proof-by-hash: backend did not return a proof", 404)
        path = self._log.history.tree.inclusion(index, size)
        return _found({"leaf_index": index, "audit_path": _hashes(path)})

    async def _entries(self, request: web.Request) -> web.Response:
        start, end = _number(request, "start"), _number(request, "end")
        if start < 0 or end < 0:
            raise _RefusedError(f"bad range on get-entries request: start ({start}) and end ({end}) must be >= 0")
        if start > end:
            raise _RefusedError(
                f"bad range on get-entries request: start ({start}) and end ({end}) is not a valid range"
            )
        if start >= self._log.shown_end:
            raise _RefusedError(f"need tree size: {start + 1} to get leaves but only got: {self._log.shown_end}")
        most = self._log.page_size
        if end - start + 1 > most:  # cut at a multiple of the page size, so that the next one begins there
            end = (start + most) // most * most - 1
        return _found({"entries": [_entry(entry) for entry in self._log.shown(start, end + 1)]})

    async def _roots(self, _request: web.Request) -> web.Response:
        reply = json_reply({"certificates": [text64(root) for root in self._log.roots]}, end="\n")
        reply.headers["Content-Type"] = "text/plain; charset=utf-8"
        return reply

    async def _entry_and_proof(self, request: web.Request) -> web.Response:
        index, size = _number(request, "leaf_index"), _number(request, "tree_size")
        if not 0 <= index < size:
            raise _RefusedError("failed to parse get-entry-and-proof params: leaf_index not in range for tree")
        self._must_have(size, "for proof")
        shown = self._log.shown(index, index + 1, singly=True)
        if not shown:
            raise _RefusedError(f"need tree size: {index + 1} to get leaves but only got: {self._log.shown_end}")
        path = self._log.history.tree.inclusion(index, size)
        return _found({**_entry(shown[0]), "audit_path": _hashes(path)})

    def _must_have(self, size: int, what: str) -> None:
        if size > self._log.shown_size:
            raise _RefusedError(f"need tree size: {size} {what} but only got: {self._log.shown_size}")


class StaticRoutes:
    """Checkpoint, hash tiles, data tiles and issuers of one log."""

    def __init__(self, log: CtLog) -> None:
        """Show `log`."""
        self._log = log

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the paths."""
        base = self._log.base_path
        router.add_get(f"{base}/checkpoint", self._checkpoint)
        router.add_get(f"{base}/tile/{{path:.+}}", self._tile)
        router.add_get(f"{base}/issuer/{{fingerprint:[0-9a-f]{{64}}}}", self._issuer)

    async def _checkpoint(self, _request: web.Request) -> web.Response:
        raw = self._log.checkpoint()
        return web.Response(body=raw, content_type="text/plain", charset="utf-8", headers=UNCACHED)

    async def _tile(self, request: web.Request) -> web.Response:
        parts = _TILE.fullmatch(request.match_info["path"])
        if parts is None:
            raise web.HTTPNotFound
        level = DATA if parts[1] == "data" else int(parts[1])
        index = int(parts[2].replace("x", "").replace("/", ""))
        data = self._bytes(level, index, int(parts[3] or TILE_WIDTH), partial=parts[3] is not None)
        if data is None:
            raise web.HTTPNotFound
        headers = dict(IMMUTABLE)
        if level == DATA and self._log.gzip:
            packer = zlib.compressobj(wbits=_GZIP)
            data = packer.compress(data) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=data, content_type="application/octet-stream", headers=headers)

    async def _issuer(self, request: web.Request) -> web.Response:
        certificate = self._log.issuers.get(request.match_info["fingerprint"])
        if certificate is None:
            raise web.HTTPNotFound
        return web.Response(body=certificate, content_type="application/pkix-cert", headers=IMMUTABLE)

    def _bytes(self, level: int, index: int, width: int, *, partial: bool) -> bytes | None:
        start, end = index * TILE_WIDTH, index * TILE_WIDTH + width
        height = TILE_HEIGHT * max(level, 0)
        held = self._log.shown_size >> height
        full = held >= (index + 1) * TILE_WIDTH
        if end > held or (partial and (width == TILE_WIDTH or (full and self._log.partials_hidden))):
            return None
        if level != DATA:
            return b"".join(self._log.history.tree.nodes(height, start, end))
        if end > self._log.shown_end:
            return None
        # a TileLeaf begins with the TimestampedEntry: the leaf without version and leaf type
        return b"".join(entry.leaf_input[2:] + entry.extra for entry in self._log.shown(start, end))


def _answering(answer: Answer) -> Answer:
    """Turn what a handler refuses into ctfe's error reply."""

    async def answering(request: web.Request) -> web.Response:
        try:
            return await answer(request)
        except _RefusedError as refused:
            reason = "Not Found" if refused.status == web.HTTPNotFound.status_code else "Bad Request"
            return web.Response(status=refused.status, text=f"{reason}\n{refused}\n")
        except ProofError as error:
            return web.Response(status=400, text=f"Bad Request\n{error}\n")

    return answering


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if not _INT64.fullmatch(text):
        raise _RefusedError(f'parameter {name} is malformed: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _found(value: object) -> web.Response:
    return json_reply(value, headers=IMMUTABLE)


def _entry(entry: LogEntry) -> dict[str, object]:
    return {"leaf_input": text64(entry.leaf_input), "extra_data": text64(entry.extra)}


def _hashes(hashes: Sequence[bytes]) -> list[str]:
    return [text64(node) for node in hashes]
