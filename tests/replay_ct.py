"""Serves the recorded CT log in tests/fixtures/recording on loopback: its head, any range of its entries, any proof.

Proofs are computed from the recorded entries. It keeps the paths it was asked for, and lets a test step in before the answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pybase64
from aiohttp import web

from monitor.errors import ProofError
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import consistency_proof, inclusion_proof
from tests.replay import RECORDING, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Iterable


class ReplayCT(LoopbackServer):
    """The recorded CT log, an RFC 6962 one. `sth` is its head and `entries` its entries: both may be changed."""

    def __init__(self, *, base: str = "/trustacks", page: int = 1000) -> None:
        super().__init__()
        self.base = base
        self.page = page
        self.sth: dict[str, object] = {}
        self.entries: list[dict[str, str]] = []
        self._root_list = ""
        for line in (RECORDING / "ct.jsonl").read_text().splitlines():
            row = json.loads(line)
            name, _, query = row["path"].rpartition("/")[2].partition("?")
            if name == "get-sth":
                self.sth = json.loads(row["response"])
            elif name == "get-roots":
                self._root_list = row["response"]
            elif name == "get-entries" and query.startswith("start=0&"):
                self.entries = json.loads(row["response"])["entries"]
        self.hashes = [leaf_hash(pybase64.b64decode(entry["leaf_input"])) for entry in self.entries]
        answers = {
            "get-sth": self._head,
            "get-roots": self._roots,
            "get-entries": self._range,
            "get-sth-consistency": self._consistency,
            "get-proof-by-hash": self._by_hash,
            "get-entry-and-proof": self._one,
        }
        for name, answer in answers.items():
            self._app.router.add_get(f"{base}/ct/v1/{name}", answer)

    @property
    def read_url(self) -> str:
        """The address below which `ct/v1/…` is."""
        return self.url + self.base

    @property
    def origin(self) -> str:
        """The log's id in hex, as the recorded trusted root has it."""
        [log] = json.loads((RECORDING / "trusted_root.json").read_text())["ctlogs"]
        return pybase64.b64decode(log["logId"]["keyId"]).hex()

    async def _head(self, _request: web.Request) -> web.Response:
        return web.json_response(self.sth)

    async def _roots(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._root_list)

    async def _range(self, request: web.Request) -> web.Response:
        start, end = int(request.query["start"]), int(request.query["end"])
        if not 0 <= start <= end:
            return _bad(f"bad range on get-entries request: start ({start}) and end ({end}) is not a valid range")
        if start >= len(self.entries):
            return _bad(f"need tree size: {start + 1} to get leaves but only got: {len(self.entries)}")
        return web.json_response({"entries": self.entries[start : min(end + 1, start + self.page)]})

    async def _consistency(self, request: web.Request) -> web.Response:
        first, second = int(request.query["first"]), int(request.query["second"])
        if not 0 <= first <= second <= len(self.hashes):
            return _bad(f"need tree size: {second} for proof but only got: {len(self.hashes)}")
        return web.json_response({"consistency": _texts(consistency_proof(first, second, self._node))})

    async def _by_hash(self, request: web.Request) -> web.Response:
        hashed, size = pybase64.b64decode(request.query["hash"]), int(request.query["tree_size"])
        if hashed not in self.hashes[:size]:
            return web.Response(status=404, text="Not Found\nget-proof-by-hash: backend did not return a proof\n")
        index = self.hashes.index(hashed)
        return self._proven(index, size, {"leaf_index": index})

    async def _one(self, request: web.Request) -> web.Response:
        index, size = int(request.query["leaf_index"]), int(request.query["tree_size"])
        entry = self.entries[index] if 0 <= index < len(self.entries) else {}
        return self._proven(index, size, {**entry})

    def _proven(self, index: int, size: int, facts: dict[str, object]) -> web.Response:
        try:
            path = inclusion_proof(index, size, self._node) if size <= len(self.hashes) else None
        except ProofError:
            path = None
        if path is None:
            return _bad(f"need tree size: {size} for proof but only got: {len(self.hashes)}")
        return web.json_response({**facts, "audit_path": _texts(path)})

    def _node(self, level: int, index: int) -> bytes:
        return tree_root(self.hashes[index << level : (index + 1) << level])


def _bad(message: str) -> web.Response:
    return web.Response(status=400, text=f"Bad Request\n{message}\n")


def _texts(hashes: Iterable[bytes]) -> list[str]:
    return [pybase64.b64encode(node).decode() for node in hashes]
