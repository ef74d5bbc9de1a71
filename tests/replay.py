"""Serves the recording in tests/fixtures/recording on loopback: a Rekor v2 log at any recorded size, a Rekor v1 server, a registry.

v2 serves the recorded files and hides what a log of its present size would not have; `size` and `tree` may be moved while
it is watched. v1 answers any index, page, id or search from the recorded entries and computes consistency proofs. The
registry answers what was recorded, and what a test changed. All keep the paths they were asked for, and let a test step in
before the answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pybase64
from aiohttp import web

from monitor.testbed.v1_index import index_keys, query_keys
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import consistency_proof
from monitor.tlog.tiles import TILE_WIDTH, split_bundle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    Intercept = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

RECORDING = Path(__file__).parent / "fixtures" / "recording"
V2_SIZES = (200, 403, 414, 457)
V2_ORIGIN = "log2026-1.rekor.trustacks.test"
_PAGE = 10


class LoopbackServer:
    """An aiohttp application on 127.0.0.1 at a free port, as an async context manager."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.busiest = 0
        self.intercept: Intercept | None = None
        self._busy = 0
        self._url = ""
        self._app = web.Application(middlewares=[self._watched], client_max_size=1 << 20)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)

    @property
    def url(self) -> str:
        return self._url

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _watched(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            instead = await self.intercept(request) if self.intercept is not None else None
            return await handler(request) if instead is None else instead
        finally:
            self._busy -= 1


class ReplayV2(LoopbackServer):
    """The recorded tile log. `tree` is `log` or `fork`; `size` one of V2_SIZES (the fork has only the last)."""

    def __init__(self, *, size: int = V2_SIZES[-1], tree: str = "log", base: str = "/api/v2") -> None:
        super().__init__()
        self.size = size
        self.tree = tree
        self.keeps_partials = True
        self._app.router.add_get(base + "/{rest:.*}", self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        rest = request.match_info["rest"]
        root = RECORDING / "v2" / self.tree
        if rest == "checkpoint":
            whole = self.tree != "log" or self.size == V2_SIZES[-1]
            file = root / "checkpoint" if whole else RECORDING / "v2" / "checkpoints" / str(self.size)
            return web.Response(body=file.read_bytes(), content_type="text/plain")
        body = self._tile(root, rest) if rest.startswith("tile/") else None
        if body is None:
            raise web.HTTPNotFound
        return web.Response(body=body, content_type="application/octet-stream")

    def _tile(self, root: Path, rest: str) -> bytes | None:
        _, level, name = rest.split("/", 2)
        number, _, partial = name.partition(".p/")
        width = int(partial) if partial else TILE_WIDTH
        index = int(number.replace("/", "").replace("x", ""))
        have = self.size >> (0 if level == "entries" else 8 * int(level))
        if index * TILE_WIDTH + width > have or (partial and not self.keeps_partials):
            return None
        for file in [
            *sorted((root / "tile" / level).glob(f"{number}*/*"), reverse=True),
            root / "tile" / level / number,
        ]:
            held = int(file.name) if file.parent.name.endswith(".p") else TILE_WIDTH
            if file.is_file() and held >= width:  # the recorded log has outgrown this width: cut it from a wider one
                data = file.read_bytes()
                return data[: split_bundle(data, held)[1][width - 1]] if level == "entries" else data[: width * 32]
        return None


@dataclass(frozen=True)
class RecordedShard:
    """One shard of the recorded v1 server."""

    tree_id: str
    origin: str
    offset: int
    hashes: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return len(self.hashes)


class ReplayV1(LoopbackServer):
    """The recorded Rekor v1 server. `info` is its shard list and `entries` its entries by global index: both may be changed.

    With `index` off it knows no search, as a server older than that or without it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[int, dict[str, dict[str, object]]] = {}
        self.info: dict[str, object] = {}
        self.pages: list[list[int]] = []
        self.index = True
        self._insertion_keys: dict[str, list[str]] = {}
        for line in (RECORDING / "v1.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["path"] == "/api/v1/log":
                self.info = json.loads(row["response"])
            elif row["path"] == "/api/v1/log/entries/retrieve" and row["status"] == web.HTTPOk.status_code:
                for item in json.loads(row["response"]):
                    for uuid, record in item.items():
                        self.entries[record["logIndex"]] = {uuid: record}
            elif row["path"] == "/api/v1/index/retrieve" and row["status"] == web.HTTPOk.status_code:
                # Digests inside an attestation are indexed when it is logged and are in no entry: only the replies show them.
                for key in query_keys(row["request"]):
                    self._insertion_keys[key] = json.loads(row["response"])
        self.shards = tuple(self._shards())
        routes = self._app.router
        routes.add_get("/api/v1/log", self._info)
        routes.add_get("/api/v1/log/proof", self._proof)
        routes.add_get("/api/v1/log/entries", self._one)
        routes.add_get("/api/v1/log/entries/{uuid}", self._named)
        routes.add_post("/api/v1/log/entries/retrieve", self._page)
        routes.add_post("/api/v1/index/retrieve", self._search)

    def _shards(self) -> list[RecordedShard]:
        shards, offset = [], 0
        listed = json.loads(json.dumps(self.info))
        for shard in [*(listed["inactiveShards"] or ()), listed]:
            indexes = range(offset, offset + shard["treeSize"])
            hashes = tuple(leaf_hash(self.body(index)) for index in indexes)
            origin = shard["signedTreeHead"].partition("\n")[0]
            shards.append(RecordedShard(shard["treeID"], origin, offset, hashes))
            offset = indexes.stop
        return shards

    def body(self, index: int) -> bytes:
        """The leaf at a global index."""
        (record,) = self.entries[index].values()
        return pybase64.b64decode(str(record["body"]), validate=True)

    async def _info(self, _request: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def _proof(self, request: web.Request) -> web.Response:
        first, last = int(request.query["firstSize"]), int(request.query["lastSize"])
        hashes = next((shard.hashes for shard in self.shards if shard.tree_id == request.query["treeID"]), None)
        if hashes is None or not 0 < first <= last:
            return _refused(422, "firstSize in query should be greater than or equal to 1")
        if last > len(hashes):
            seen = len(hashes)
            return _refused(
                400, f"the tree size requested({last}) was greater than what is currently observable({seen})"
            )
        proof = consistency_proof(
            first, last, lambda level, index: tree_root(hashes[index << level : (index + 1) << level])
        )
        # The real server too answers with its newest root, whatever was asked.
        return web.json_response({"hashes": [item.hex() for item in proof], "rootHash": tree_root(hashes).hex()})

    async def _page(self, request: web.Request) -> web.Response:
        indexes = (await request.json()).get("logIndexes", [])
        self.pages.append(indexes)
        if len(indexes) > _PAGE:
            return _refused(422, "logIndexes in body should have at most 10 items")
        return web.json_response([self.entries[index] for index in indexes if index in self.entries])

    async def _named(self, request: web.Request) -> web.Response:
        uuid = request.match_info["uuid"].lower()
        if not re.fullmatch("[0-9a-f]{64}|[0-9a-f]{80}", uuid):
            return _refused(422, "entryUUID in path should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'")
        found = next((entry for entry in self.entries.values() if next(iter(entry)).endswith(uuid)), None)
        return web.Response(status=404) if found is None else web.json_response(found)

    async def _search(self, request: web.Request) -> web.Response:
        if not self.index:
            return _refused(404, f"path {request.path} was not found")
        query = await request.json()
        try:
            wanted = set(query_keys(query))
        except KeyError:
            return _refused(422, "hash in body should match a digest")
        recorded = {uuid for key in wanted for uuid in self._insertion_keys.get(key, ())}
        by_uuid = {next(iter(entry)): index for index, entry in self.entries.items()}
        return web.json_response(
            [uuid for uuid, index in by_uuid.items() if uuid in recorded or wanted & index_keys(self.body(index))]
        )

    async def _one(self, request: web.Request) -> web.Response:
        index = int(request.query["logIndex"])
        return web.json_response(self.entries[index]) if index in self.entries else web.Response(status=404)


@dataclass(frozen=True)
class RecordedReply:
    """What the registry answered to one GET."""

    status: int
    headers: dict[str, str]
    body: bytes


class ReplayRegistry(LoopbackServer):
    """The recorded OCI registry: all four artifacts. `replies` is by path and may be changed; `host` is for references."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: dict[str, RecordedReply] = {}
        for line in (RECORDING / "registry.jsonl").read_text().splitlines():
            row = json.loads(line)
            body = row["text"].encode() if "text" in row else pybase64.b64decode(row["base64"], validate=True)
            self.replies[row["path"]] = RecordedReply(row["status"], row["headers"], body)
        self._app.router.add_get("/v2/{rest:.*}", self._serve)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def repositories(self) -> dict[str, str]:
        """Artifact → reference, for the four artifacts."""
        suffix, prefix = "/tags/list", "/v2/trustacks/"
        paths = [path for path in self.replies if path.startswith(prefix) and path.endswith(suffix)]
        return {
            path.removeprefix(prefix).removesuffix(
                suffix
            ): f"{self.host}/{path.removeprefix('/v2/').removesuffix(suffix)}"
            for path in paths
        }

    def tags(self, artifact: str) -> list[str]:
        """The tags that are listed for an artifact."""
        return list(json.loads(self.replies[f"/v2/trustacks/{artifact}/tags/list"].body)["tags"])

    def point(self, artifact: str, tag: str, to: str | None) -> None:
        """Let a tag name what another tag or digest names, or nothing."""
        base = f"/v2/trustacks/{artifact}"
        tags = [each for each in self.tags(artifact) if each != tag]
        if to is None:
            self.replies.pop(f"{base}/manifests/{tag}", None)
        else:
            tags.append(tag)
            self.replies[f"{base}/manifests/{tag}"] = self.replies[f"{base}/manifests/{to}"]
        listed = self.replies[f"{base}/tags/list"]
        body = json.dumps({"name": f"trustacks/{artifact}", "tags": tags}).encode()
        self.replies[f"{base}/tags/list"] = RecordedReply(listed.status, listed.headers, body)

    async def _serve(self, request: web.Request) -> web.Response:
        reply = self.replies.get(request.path_qs) or self.replies.get(request.path)
        if reply is None:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "not recorded"}]}
            return web.json_response(error, status=404)
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "message": message}, status=status)
