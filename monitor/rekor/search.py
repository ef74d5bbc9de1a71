"""A Rekor v1 server's search index, and the entries that it names: every reply is read strictly and within its bound.

What the index says is a hint. It must never take an empty answer for a word on what is in the log, nor an entry for proven.
"""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.errors import FetchError, FormatError, NotFoundError, OversizeError
from monitor.model.log import Leaf
from monitor.model.search import Answer, Fetched, IndexField
from monitor.reading.ordered import in_order
from monitor.rekor import replies
from monitor.rekor.pages import PAGE
from monitor.rekor.query import ENTRY_LIMIT, PAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from monitor.model.log import FollowedLog, InclusionProof
    from monitor.model.search import Question
    from monitor.rekor.query import Query

    Found = tuple[Leaf, InclusionProof]

MOST_UUIDS: Final = 100_000
INDEX_LIMIT: Final = 9 << 20
"""Bytes of an answer: room for so many."""
_PATH: Final = "/api/v1/index/retrieve"
_RETRIEVE: Final = "/api/v1/log/entries/retrieve"
_ATTEMPTS: Final = 2
"""A question that fails twice waits for the next pass: the log's own interface must not wait for its index."""
_UUID: Final = re.compile(r"[0-9a-f]{80}")


class Index:
    """Asks the index of one server, and fetches entries by UUID, at the pace of everything on that server."""

    def __init__(self, query: Query) -> None:
        """Ask nothing yet."""
        self._query = query

    async def answers(self, questions: Iterable[Question]) -> AsyncGenerator[Answer, None]:
        """Yield the answer to each question in order, several in flight; trouble is an answer too. Close it when stopping early."""
        async with aclosing(in_order(questions, self._answer, lambda: self._query.pace.window)) as found:
            async for answer in found:
                yield answer

    async def entries(self, log: FollowedLog, uuids: Sequence[str]) -> AsyncGenerator[Fetched, None]:
        """Yield the entries of these UUIDs, ten at a time. All must be of the shard `log`; its pages are asked side by side.

        What a page leaves out is asked for singly, and is lost when it is still wrong. FetchError for a server in trouble.
        """
        name = replies.ShardName.of(log.origin, log.tree_id or "")
        pages = (uuids[at : at + PAGE] for at in range(0, len(uuids), PAGE))
        work = partial(self._page, log, name)
        async with aclosing(in_order(pages, work, lambda: self._query.pace.window)) as found:
            async for page in found:
                yield page

    async def _answer(self, question: Question) -> Answer:
        try:
            reply = await self._query.post(_PATH, _payload(question), INDEX_LIMIT, attempts=_ATTEMPTS)
            return Answer(question, uuids_of(reply))
        except FetchError as error:
            return Answer(question, error=str(error))
        except FormatError as error:
            return Answer(question, error=f"POST {self._query.url}{_PATH}: {error}")

    async def _page(self, log: FollowedLog, name: replies.ShardName, uuids: Sequence[str]) -> Fetched:
        found = await self._retrieved(log, name, uuids)
        lost: list[tuple[str, str]] = []
        for uuid in uuids:
            if uuid in found:
                continue
            try:
                found[uuid] = await self._single(log, name, uuid)
            except NotFoundError:
                lost.append((uuid, "the log does not have it"))
            except OversizeError:
                lost.append((uuid, "oversize"))
            except FormatError as error:
                lost.append((uuid, str(error)))
            except FetchError as error:
                if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                lost.append((uuid, str(error)))
        return Fetched(tuple(found[uuid] for uuid in uuids if uuid in found), tuple(lost))

    async def _retrieved(self, log: FollowedLog, name: replies.ShardName, uuids: Sequence[str]) -> dict[str, Found]:
        """What one request for all of them gives and is right; the rest is to be asked for singly."""
        try:
            reply = await self._query.post(_RETRIEVE, {"entryUUIDs": list(uuids)}, PAGE_LIMIT)
        except OversizeError:
            return {}
        except FetchError as error:
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return {}  # one entry that the server cannot read fails them all
        found: dict[str, Found] = {}
        for uuid, record in replies.listed(reply):
            if uuid in uuids and uuid not in found:
                try:
                    found[uuid] = _read(log, name, uuid, record)
                except FormatError:
                    continue  # asked for singly, and its reason told then
        return found

    async def _single(self, log: FollowedLog, name: replies.ShardName, uuid: str) -> Found:
        reply = await self._query.get(f"/api/v1/log/entries/{uuid}", ENTRY_LIMIT, fresh=True)
        for told, record in replies.listed([reply]):
            if told == uuid:
                return _read(log, name, uuid, record)
        raise FormatError("the log answered without it")


def uuids_of(reply: object) -> tuple[str, ...]:
    """Read an answer of the index: UUIDs, each once, in its order. FormatError names what is none, and an answer too long."""
    if reply is None:
        return ()  # Go writes an empty list that was never made as null
    if not isinstance(reply, list):
        raise FormatError(f"the index answered with a {type(reply).__name__}, not a list of UUIDs")
    if len(reply) > MOST_UUIDS:
        raise FormatError(f"the index named {len(reply)} entries: at most {MOST_UUIDS} are taken")
    for uuid in reply:
        if not isinstance(uuid, str) or not _UUID.fullmatch(uuid):
            raise FormatError(f"the index named {str(uuid)[:100]!r}, which is not 80 hexadecimal digits")
    return tuple(dict.fromkeys(reply))


def _payload(question: Question) -> Mapping[str, object]:
    if question.field is IndexField.KEY:
        return {"publicKey": {"format": "x509", "content": b64encode(question.value.encode()).decode("ascii")}}
    return {question.field.value: question.value}


def _read(log: FollowedLog, name: replies.ShardName, uuid: str, record: dict[str, object]) -> Found:
    entry = replies.entry(uuid, record, name)
    return Leaf(log.origin, log.protocol, entry.index, entry.body, entry.promise), replies.inclusion(entry, record)
