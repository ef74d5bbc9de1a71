"""A Rekor v1 server and its shards, read by its REST API: pages of ten become blocks, replies become proofs.

Every request to one server passes one Pace, over all its shards. The shard list is an unsigned hint. What a page leaves
out or answers wrongly is asked for singly and is a Gap when it is still wrong; a server in trouble is a FetchError. It
must never verify, or pass over, anything by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.errors import FetchError, FormatError, NotFoundError
from monitor.model.log import FollowedLog, LogState, Mode, Protocol
from monitor.reading.ordered import in_order
from monitor.reading.pace import Pace
from monitor.rekor import replies
from monitor.rekor.pages import PAGE, Pages
from monitor.rekor.query import PROOF_LIMIT, Query
from monitor.rekor.search import Index

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from monitor.fetch import Client
    from monitor.model.log import Block, Gap, InclusionProof
    from monitor.model.search import Answer, Fetched, Question

_SKEW_TRIES: Final = 3


class RekorV1:
    """One v1 server at `url`: at most `requests_per_second`, and `in_flight` at once, over all its shards."""

    def __init__(self, url: str, client: Client, *, in_flight: int = 16, requests_per_second: float = 20.0) -> None:
        """Ask nothing yet."""
        self.url = url.rstrip("/")
        pace = Pace(requests_per_second, in_flight, patience=client.options.max_retry_after)
        self._query = Query(self.url, client, pace)
        self._index = Index(self._query)

    @property
    def window(self) -> int:
        """How many requests the server is asked at once now."""
        return self._query.pace.window

    async def shards(self) -> tuple[FollowedLog, ...]:
        """List the shards that the server names: ended ones oldest first, the active one last. FetchError, FormatError.

        The offsets are running sums of the unsigned sizes.
        """
        logs: list[FollowedLog] = []
        offset = 0
        for head in await self._query.heads(fresh=False):
            state = LogState.ACTIVE if head.active else LogState.ENDED
            logs.append(
                FollowedLog(
                    origin=head.origin,
                    protocol=Protocol.REKOR_V1,
                    url=self.url,
                    mode=Mode.COMPLETE,
                    state=state,
                    tree_id=head.tree_id,
                    offset=offset,
                )
            )
            offset += head.size
        return tuple(logs)

    def shard(self, log: FollowedLog) -> RekorV1Shard:
        """Read one shard, listed now or followed since earlier. FormatError when it has no tree id that can be one."""
        return RekorV1Shard(log, self._query)

    def search(self, questions: Iterable[Question]) -> AsyncGenerator[Answer, None]:
        """Yield what the index answers to each question, in order. Nothing in it is proven, its silence least of all."""
        return self._index.answers(questions)

    def entries(self, log: FollowedLog, uuids: Sequence[str]) -> AsyncGenerator[Fetched, None]:
        """Yield the entries of a shard that have these UUIDs, ten at a time, with unverified proofs. FetchError, FormatError."""
        return self._index.entries(log, uuids)


class RekorV1Shard:
    """One shard of a v1 server. Indexes and sizes are the shard's own, never those over all shards."""

    def __init__(self, log: FollowedLog, query: Query) -> None:
        """Ask nothing yet. FormatError when `log` has no tree id that can be one."""
        self._log = log
        self._query = query
        self._pages = Pages(query, replies.ShardName.of(log.origin, log.tree_id or ""), log.offset)

    @property
    def origin(self) -> str:
        """The shard's name in its checkpoints."""
        return self._log.origin

    async def checkpoint(self, *, fresh: bool = False) -> bytes:
        """Return the shard's note as the server lists it now. NotFoundError when it is not listed any more."""
        for head in await self._query.heads(fresh=fresh):
            if head.origin == self.origin:
                return head.note
        raise NotFoundError(
            f"GET {self._log.url}/api/v1/log: no shard {self.origin!r} in the list",
            cure="ask the operator of the log where the shard is served now",
        )

    async def consistency_proof(self, first: int, second: int, *, fresh: bool = False) -> tuple[bytes, ...]:
        """Ask for the unverified proof between two sizes, 1 <= first < second. FetchError, FormatError.

        A replica that has not seen `second` yet answers 400: others are asked, on new connections.
        """
        if not 1 <= first < second:
            raise ValueError(f"{self.origin}: no consistency proof from {first} to {second} can be asked for")
        path = f"/api/v1/log/proof?firstSize={first}&lastSize={second}&treeID={self._log.tree_id}"
        for attempt in range(1, _SKEW_TRIES + 1):
            try:
                reply = await self._query.get(path, PROOF_LIMIT, fresh=fresh or attempt > 1)
                break
            except FetchError as error:
                if error.status != HTTPStatus.BAD_REQUEST or attempt == _SKEW_TRIES:
                    raise
                await asyncio.sleep(self._query.client.options.backoff * attempt)
        return replies.consistency_hashes(reply)

    async def inclusion_proof(self, index: int, size: int, *, fresh: bool = False) -> InclusionProof:
        """Ask for leaf `index` with its unverified proof, to the size and under the note that the server has now.

        `size` is not what the server proves to: it is looked at for its message only. NotFoundError when the server
        does not have the leaf, FetchError, FormatError when the reply is not of this shard, index and leaf.
        """
        try:
            return await self._pages.proof(index, fresh=fresh)
        except FormatError as error:
            raise FormatError(f"{self.origin}: leaf {index} of {size}: {error}") from error

    async def blocks(
        self, start: int, end: int, size: int, *, fresh: bool = False
    ) -> AsyncGenerator[Block | Gap, None]:
        """Yield the leaves [start, end) of the shard at `size` in order, a page at a time, several in flight.

        A leaf that the server does not give, or gives wrongly, page and single, is a Gap. Raises FetchError for a
        server in trouble, ValueError for a range outside `size`. Close it when stopping early (`contextlib.aclosing`).
        """
        if not 0 <= start <= end <= size:
            raise ValueError(f"{self.origin}: leaves [{start}, {end}) of a log of {size}")
        pages = (range(at, min(at + PAGE, end)) for at in range(start, end, PAGE))
        async with aclosing(
            in_order(pages, partial(self._pages.read, fresh=fresh), lambda: self._query.pace.window)
        ) as pieces:
            async for page in pieces:
                for piece in page:
                    yield piece
