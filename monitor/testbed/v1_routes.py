"""Rekor v1's REST interface word for word: paths, parameter checks with their codes, headers, shapes of replies.

It asks the log for what to show and decides nothing about it. The words were compared with a recording of Rekor 1.5.4.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from aiohttp import web

from monitor.testbed.keys import pem_of
from monitor.testbed.server import json_reply
from monitor.testbed.v1_index import query_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from monitor.testbed.keys import LogKey

    Answer = Callable[[web.Request], Awaitable[web.Response]]

MAX_ASKED: Final = 10
"""Entries that one request may ask for."""
UNCACHED: Final = {"Cache-Control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0"}
HASH_PATTERN: Final = "^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$"
UUID_PATTERN: Final = "^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$"
SUBJECT_LIMIT: Final = 512
NOT_FOUND: Final = 404
# go-openapi's codes of what is wrong with a parameter
NOT_OF_TYPE, REQUIRED, TOO_LONG, NO_MATCH, TOO_SMALL, TOO_MANY = 601, 602, 603, 605, 609, 611


class _RefusedError(Exception):
    """A request that is answered with an error: HTTP status, code and message."""

    def __init__(self, status: int, message: str, code: int | None = None) -> None:
        """Without a code of the parameter checks it is the handler that refuses, and the code is the status."""
        super().__init__(message)
        self.status = status
        self.code = code or status
        self.handled = code is None and status != NOT_FOUND


class ShownTree(Protocol):
    """What is read of a shard's tree."""

    def root(self, size: int) -> bytes:
        """Return the root over the first `size` leaves."""

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the consistency proof between two sizes."""


class ShownShard(Protocol):
    """What is read of a shard."""

    @property
    def tree_id(self) -> int:
        """Trillian's number of it."""

    @property
    def tree(self) -> ShownTree:
        """The tree that is shown."""


S = TypeVar("S", bound=ShownShard)


class ShownLog(Protocol[S]):
    """What the interface asks a log for: `RekorV1` says what each answer is."""

    index_off: int | None
    """The status with which searches are refused: 501 by a server without an index, 404 by what stands before one."""

    @property
    def key(self) -> LogKey: ...  # noqa: D102

    @property
    def active(self) -> S: ...  # noqa: D102

    def shown_size(self, shard: S, /) -> int: ...  # noqa: D102

    def shown_inactive(self) -> list[S]: ...  # noqa: D102

    def by_tree(self, tree_id: int) -> S | None: ...  # noqa: D102

    def checkpoint(self, shard: S, size: int, /) -> bytes: ...  # noqa: D102

    def by_index(self, index: int, *, singly: bool) -> dict[str, object] | None: ...  # noqa: D102

    def by_uuid(self, uuid: str, *, singly: bool) -> list[dict[str, object]]: ...  # noqa: D102

    def search(self, keys: Sequence[str], *, every: bool) -> list[str]: ...  # noqa: D102


class V1Routes(Generic[S]):
    """The interface of one log."""

    def __init__(self, log: ShownLog[S]) -> None:
        """Show `log`."""
        self._log = log

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add every path of the interface; the last one answers what no other does."""
        router.add_get("/api/v1/log", _answering(self._info))
        router.add_get("/api/v1/log/proof", _answering(self._proof))
        router.add_get("/api/v1/log/publicKey", _answering(self._public_key))
        router.add_get("/api/v1/log/entries", _answering(self._entry_by_index))
        router.add_get("/api/v1/log/entries/{uuid}", _answering(self._entry_by_uuid))
        router.add_post("/api/v1/log/entries/retrieve", _answering(self._retrieve))
        router.add_post("/api/v1/index/retrieve", _answering(self._search))
        router.add_route("*", "/{path:.*}", _answering(self._unknown))

    async def _info(self, _request: web.Request) -> web.Response:
        shards = self._log.shown_inactive()
        inactive = [self._head(shard) for shard in shards]
        return _found({"inactiveShards": inactive, **self._head(self._log.active)})

    async def _proof(self, request: web.Request) -> web.Response:
        first = _whole_number(request, "firstSize", least=1, otherwise=1)
        last = _whole_number(request, "lastSize", least=1)
        tree_id = request.query.get("treeID")
        if tree_id is not None and not re.fullmatch("[0-9]+", tree_id):
            raise _RefusedError(422, "treeID in query should match '^[0-9]+$'", NO_MATCH)
        shard = self._log.active if tree_id is None else self._log.by_tree(int(tree_id))
        if shard is None:
            raise _RefusedError(400, f"there is no tree {tree_id}")
        size = self._log.shown_size(shard)
        if first > last:
            raise _RefusedError(400, f"firstSize({first}) must be less than lastSize({last})")
        if last > size:
            raise _RefusedError(
                400, f"the tree size requested({last}) was greater than what is currently observable({size})"
            )
        hashes = [node.hex() for node in shard.tree.consistency(first, last)]
        # the root is the newest one, not the one at lastSize: so does the real server
        return _found({"hashes": hashes, "rootHash": shard.tree.root(size).hex()})

    async def _public_key(self, _request: web.Request) -> web.Response:
        pem = pem_of(self._log.key.key).decode()
        return web.Response(text=pem, content_type="application/x-pem-file", headers=UNCACHED)

    async def _entry_by_index(self, request: web.Request) -> web.Response:
        entry = self._log.by_index(_whole_number(request, "logIndex", least=0), singly=True)
        return _missing() if entry is None else _found(entry)

    async def _entry_by_uuid(self, request: web.Request) -> web.Response:
        uuid = request.match_info["uuid"]
        if not re.fullmatch(UUID_PATTERN, uuid):
            raise _RefusedError(422, f"entryUUID in path should match '{UUID_PATTERN}'", NO_MATCH)
        found = self._log.by_uuid(uuid, singly=True)
        return _found(found[0]) if found else _missing()

    async def _retrieve(self, request: web.Request) -> web.Response:
        query = await _json_object(request)
        uuids, indexes = _list(query, "entryUUIDs"), _list(query, "logIndexes")
        if len(uuids) + len(indexes) > MAX_ASKED:
            raise _RefusedError(422, "more than max allowed 10 entries in request")
        for position, index in enumerate(indexes):
            if not isinstance(index, int) or index < 0:
                message = f"logIndexes.{position} in body should be greater than or equal to 0"
                raise _RefusedError(422, message, TOO_SMALL)
        for position, uuid in enumerate(uuids):
            if not isinstance(uuid, str) or not re.fullmatch(UUID_PATTERN, uuid):
                raise _RefusedError(422, f"entryUUIDs.{position} in body should match '{UUID_PATTERN}'", NO_MATCH)
        # whole ids come first, then bare leaf hashes, then indexes; what is not there is left out without a word
        found: list[dict[str, object]] = []
        for uuid in sorted((str(uuid) for uuid in uuids), key=len, reverse=True):
            found += self._log.by_uuid(uuid, singly=False)
        for index in indexes:
            entry = self._log.by_index(int(str(index)), singly=False)
            found += [] if entry is None else [entry]
        return json_reply(found, end="\n")

    async def _search(self, request: web.Request) -> web.Response:
        if self._log.index_off == NOT_FOUND:
            return await self._unknown(request)
        if self._log.index_off is not None:
            raise _RefusedError(self._log.index_off, "Search Index API not enabled in this Rekor instance")
        query = await _json_object(request)
        hashed, subject = query.get("hash"), query.get("subject")
        if hashed is not None and not re.search(HASH_PATTERN, str(hashed)):
            raise _RefusedError(422, f"hash in body should match '{HASH_PATTERN}'", NO_MATCH)
        if isinstance(subject, str) and len(subject) > SUBJECT_LIMIT:
            raise _RefusedError(422, f"subject in body should be at most {SUBJECT_LIMIT} chars long", TOO_LONG)
        keys = query_keys(query)
        found = self._log.search(keys, every=query.get("operator") == "and") if keys else []
        return json_reply(found, end="\n")

    async def _unknown(self, request: web.Request) -> web.Response:
        raise _RefusedError(404, f"path {request.path} was not found")

    def _head(self, shard: S) -> dict[str, object]:
        size = self._log.shown_size(shard)
        return {
            "rootHash": shard.tree.root(size).hex(),
            "signedTreeHead": self._log.checkpoint(shard, size).decode(),
            "treeID": str(shard.tree_id),
            "treeSize": size,
        }


def _answering(handler: Answer) -> Answer:
    """Turn what a handler refuses into the server's error reply, with the cache headers that GETs carry."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except _RefusedError as refused:
            headers = UNCACHED if request.method == "GET" and refused.status != NOT_FOUND else {}
            error = {"code": refused.code, "message": str(refused)}
            return json_reply(error, status=refused.status, headers=headers, end="\n" if refused.handled else "")

    return answer


def _found(value: object) -> web.Response:
    return json_reply(value, headers=UNCACHED, end="\n")


def _missing() -> web.Response:
    """Return the reply for an entry that is not there: 404 with nothing in it."""
    response = web.Response(status=404, headers=UNCACHED)
    response.headers.popall("Content-Type", None)
    return response


def _whole_number(request: web.Request, name: str, *, least: int, otherwise: int | None = None) -> int:
    text = request.query.get(name)
    if text is None:
        if otherwise is None:
            raise _RefusedError(422, f"{name} in query is required", REQUIRED)
        return otherwise
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise _RefusedError(422, f'{name} in query must be of type int64: "{text}"', NOT_OF_TYPE)
    if int(text) < least:
        raise _RefusedError(422, f"{name} in query should be greater than or equal to {least}", TOO_SMALL)
    return int(text)


async def _json_object(request: web.Request) -> Mapping[str, object]:
    try:
        value = json.loads(await request.text())
    except ValueError as error:
        raise _RefusedError(400, f'parsing entry body from "" failed, because {error}') from None
    if not isinstance(value, dict):
        raise _RefusedError(400, 'parsing entry body from "" failed, because it is no object')
    return value


def _list(query: Mapping[str, object], name: str) -> list[object]:
    values = query.get(name) or []
    if not isinstance(values, list):
        raise _RefusedError(422, f"{name} in body must be of type array", NOT_OF_TYPE)
    if len(values) > MAX_ASKED:
        raise _RefusedError(422, f"{name} in body should have at most {MAX_ASKED} items", TOO_MANY)
    return values
