"""The recorded RFC 6962 log, answering anything that can be asked of its 106 entries; a test may change each of its answers."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from aiohttp import web

from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import consistency_proof, inclusion_proof
from tests.replay import RECORDING, LoopbackServer

BASE = "/trustacks/ct/v1/"
SIZE = 106


def replies() -> dict[str, tuple[int, str]]:
    """What was recorded: path below the base → status and body."""
    rows = [json.loads(line) for line in (RECORDING / "ct.jsonl").read_text().splitlines()]
    return {row["path"].removeprefix(BASE): (row["status"], row["response"]) for row in rows}


class RecordedCT(LoopbackServer):
    """`entries` are what is handed out (None: left out), `page` how many at once at most, `seen` how far this replica has grown.

    `border` cuts an answer at its multiples, as ctfe does. Proofs are always those of the recorded leaves.
    """

    def __init__(self) -> None:
        super().__init__()
        recorded = replies()
        self.head = json.loads(recorded["get-sth"][1])
        self.entries: list[dict[str, object] | None] = json.loads(recorded["get-entries?start=0&end=105"][1])["entries"]
        self.leaves = [b64decode(str(entry["leaf_input"])) for entry in self.entries if entry is not None]
        self.extras = [b64decode(str(entry["extra_data"])) for entry in self.entries if entry is not None]
        self.page = 1000
        self.border = 1000
        self.seen = SIZE
        self.entry_and_proof = True
        for what in ("get-sth", "get-entries", "get-sth-consistency", "get-proof-by-hash", "get-entry-and-proof"):
            self._app.router.add_get(BASE + what, getattr(self, "_" + what.replace("-", "_")))

    @property
    def base(self) -> str:
        return f"{self.url}/trustacks"

    @property
    def hashes(self) -> list[bytes]:
        return [leaf_hash(leaf) for leaf in self.leaves]

    def asked(self, what: str) -> list[dict[str, str]]:
        """The queries of every request for `what`."""
        parts = [request.removeprefix(BASE).partition("?") for request in self.requests]
        return [dict(item.split("=", 1) for item in query.split("&")) for name, _, query in parts if name == what]

    def _node(self, level: int, index: int) -> bytes:
        return tree_root(self.hashes[index << level : (index + 1) << level])

    async def _get_sth(self, _request: web.Request) -> web.Response:
        return web.json_response(self.head)

    async def _get_entries(self, request: web.Request) -> web.Response:
        start, end = int(request.query["start"]), int(request.query["end"])
        if start > end:
            return web.Response(status=400, text=f"start ({start}) and end ({end}) is not a valid range")
        if start >= self.seen:
            return web.Response(status=400, text=f"need tree size: {start + 1} to get leaves but only got: {self.seen}")
        end = min(end + 1, self.seen, start + self.page, (start // self.border + 1) * self.border)
        return web.json_response({"entries": [entry for entry in self.entries[start:end] if entry is not None]})

    async def _get_sth_consistency(self, request: web.Request) -> web.Response:
        first, second = int(request.query["first"]), int(request.query["second"])
        if second > self.seen:
            return web.Response(status=400, text=f"need tree size: {second} for proof but only got: {self.seen}")
        return web.json_response({"consistency": _texts(consistency_proof(first, second, self._node))})

    async def _get_proof_by_hash(self, request: web.Request) -> web.Response:
        size, wanted = int(request.query["tree_size"]), b64decode(request.query["hash"])
        if size > self.seen or wanted not in self.hashes[:size]:
            return web.Response(status=404, text="no such leaf")
        index = self.hashes.index(wanted)
        return web.json_response({"leaf_index": index, "audit_path": _texts(inclusion_proof(index, size, self._node))})

    async def _get_entry_and_proof(self, request: web.Request) -> web.Response:
        index, size = int(request.query["leaf_index"]), int(request.query["tree_size"])
        entry = self.entries[index]
        if not self.entry_and_proof or entry is None or size > self.seen:
            return web.Response(status=400, text="Bad Request")
        return web.json_response({**entry, "audit_path": _texts(inclusion_proof(index, size, self._node))})


def _texts(hashes: tuple[bytes, ...]) -> list[str]:
    return [b64encode(item).decode() for item in hashes]
