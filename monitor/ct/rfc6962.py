"""A certificate log with the interface of RFC 6962 §4: its tree heads become notes, its pages blocks, its replies proofs.

What the log does not give, or gives in a form that cannot be read, is a Gap; a server in trouble is a FetchError. It must
never verify, or pass over, anything by itself.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from monitor.ct import replies
from monitor.ct.beside import from_neighbour, neighbour
from monitor.ct.pages import Pages
from monitor.ct.query import ENTRIES_LIMIT, HEAD_LIMIT, PROOF_LIMIT, Query
from monitor.errors import FormatError, NotFoundError, OversizeError
from monitor.model.log import InclusionProof
from monitor.reading.ordered import in_order
from monitor.reading.pace import Pace
from monitor.tlog import treehead
from monitor.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from monitor.fetch import Client
    from monitor.model.log import Block, Gap


class CtLog:
    """One log read below `url`: at most `requests_per_second`, and `in_flight` at once.

    `origin` and `key_id` are what its notes bear: the log's id in hex, and the key id of `NoteKey.tree_head`.
    """

    def __init__(
        self,
        origin: str,
        url: str,
        key_id: bytes,
        client: Client,
        *,
        in_flight: int = 4,
        requests_per_second: float = 10.0,
    ) -> None:
        """Ask nothing yet."""
        self._origin = origin
        self._key_id = key_id
        pace = Pace(requests_per_second, in_flight, patience=client.options.max_retry_after)
        self._query = Query(url, client, pace)
        self._pages = Pages(self._query)

    @property
    def origin(self) -> str:
        """The log's name in its notes."""
        return self._origin

    async def checkpoint(self, *, fresh: bool = False) -> bytes:
        """Return the newest signed tree head as a note, unverified. FetchError; FormatError when it is no tree head."""
        reply = await self._query.get("get-sth", HEAD_LIMIT, fresh=fresh)
        try:
            head = replies.tree_head(reply)
            return treehead.note(self._origin, self._key_id, head.timestamp, head.size, head.root, head.signature)
        except FormatError as error:
            raise FormatError(f"GET {self._query.url}/get-sth: {error}") from error

    async def consistency_proof(self, first: int, second: int, *, fresh: bool = False) -> tuple[bytes, ...]:
        """Ask for the unverified proof between two sizes, 1 <= first < second. FetchError, FormatError."""
        if not 1 <= first < second:
            raise ValueError(f"{self._origin}: no consistency proof from {first} to {second} can be asked for")
        what = f"get-sth-consistency?first={first}&second={second}"
        try:
            return replies.consistency_hashes(await self._query.get_grown(what, PROOF_LIMIT, fresh=fresh))
        except FormatError as error:
            raise FormatError(f"GET {self._query.url}/{what}: {error}") from error

    async def inclusion_proof(self, index: int, size: int, *, fresh: bool = False) -> InclusionProof:
        """Ask for the unverified proof of leaf `index` in the tree of `size` leaves.

        A leaf is looked up by the hash of the bytes that the log gives for it. Where that leads nowhere, or to an equal leaf
        at another place, its neighbour's proof tells its hash; at last the log is asked for leaf and proof in one.
        NotFoundError when all three fail, FetchError.
        """
        if not 0 <= index < size:
            raise ValueError(f"{self._origin}: no proof of leaf {index} of {size} can be asked for")
        reasons = []
        for way in (self._by_hash, self._by_neighbour, self._with_entry):
            try:
                return await way(index, size, fresh=fresh)
            except (NotFoundError, OversizeError, FormatError) as error:
                reasons.append(str(error))
        raise NotFoundError(f"{self._origin}: no proof of leaf {index} of {size}: {'; '.join(reasons)}")

    async def blocks(
        self, start: int, end: int, size: int, *, fresh: bool = False
    ) -> AsyncGenerator[Block | Gap, None]:
        """Yield the leaves [start, end) of the log at `size` in order, a page at a time, several in flight.

        A leaf that the log does not give, or gives in a form that cannot be read, page and single, is a Gap. Raises
        FetchError for a server in trouble, ValueError for a range outside `size`. Close it when stopping early
        (`contextlib.aclosing`).
        """
        if not 0 <= start <= end <= size:
            raise ValueError(f"{self._origin}: leaves [{start}, {end}) of a log of {size}")
        read = partial(self._pages.read, fresh=fresh)
        async with aclosing(in_order(self._pages.cut(start, end), read, lambda: self._query.pace.window)) as answers:
            async for answer in answers:
                pieces, rest = answer
                while True:
                    for piece in pieces:
                        yield piece
                    if not rest:
                        break
                    pieces, rest = await read(rest)

    async def _by_hash(self, index: int, size: int, *, fresh: bool) -> InclusionProof:
        entry = await self._pages.single(index, fresh=fresh)
        wanted = leaf_hash(entry.leaf)
        what = f"get-proof-by-hash?hash={quote(b64encode(wanted), safe='')}&tree_size={size}"
        place, path = replies.place_and_path(await self._query.get_grown(what, PROOF_LIMIT, fresh=fresh))
        if place != index:
            raise FormatError(f"the log has the bytes that it gives for leaf {index} at {place}")
        return InclusionProof(wanted, index, size, path)

    async def _by_neighbour(self, index: int, size: int, *, fresh: bool) -> InclusionProof:
        beside = neighbour(index, size)
        if beside is None:
            raise NotFoundError(f"leaf {index} is the only one")
        return from_neighbour(index, await self._by_hash(beside, size, fresh=fresh))

    async def _with_entry(self, index: int, size: int, *, fresh: bool) -> InclusionProof:
        what = f"get-entry-and-proof?leaf_index={index}&tree_size={size}"
        entry, path = replies.entry_and_path(await self._query.get_grown(what, ENTRIES_LIMIT, fresh=fresh))
        return InclusionProof(leaf_hash(entry.leaf), index, size, path)
