"""Pages of one v1 shard: ten leaves asked for at once, matched by what each reply says of itself, the rest singly.

A reply counts for a leaf only when it names our tree, that index in it and its own leaf (`replies.entry`). What is then
still missing is a Gap with the reason. The shard's offset among the global indexes is a hint: where all replies agree
that it is another, the page is asked for again with theirs.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.errors import FetchError, FormatError, NotFoundError, OversizeError
from monitor.model.log import Block, Gap
from monitor.rekor import replies
from monitor.rekor.query import ENTRY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.model.log import InclusionProof
    from monitor.rekor.query import Query

    Records = list[replies.Record]

PAGE: Final = 10
_LEFT_OUT: Final = "the log answered without it"


class Pages:
    """Reads leaves of the shard `name`, which is thought to begin at the global index `offset`."""

    def __init__(self, query: Query, name: replies.ShardName, offset: int) -> None:
        """Ask nothing yet."""
        self._query = query
        self._name = name
        self._offset = offset

    async def read(self, indexes: range, *, fresh: bool) -> list[Block | Gap]:
        """Return at most ten leaves of the shard in order, as blocks and gaps. FetchError for a server in trouble."""
        found = await self._page(indexes, fresh=fresh)
        failures: dict[int, FetchError] = {}
        reasons: dict[int, str] = {}
        served: dict[int, bytes] = {}
        for index in indexes:
            if index not in found:
                try:
                    found[index], _ = await self._single(index, fresh=True)
                except (NotFoundError, OversizeError, FormatError) as error:
                    reasons[index] = _reason(error)
                    if isinstance(error, replies.OtherBodyError):
                        served[index] = error.body
                except FetchError as error:
                    if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                        raise
                    failures[index] = error
        if failures and not found:
            await self._excuse(indexes, next(iter(failures.values())))
        reasons |= {index: str(error) for index, error in failures.items()}
        return _assembled(indexes, found, {i: Gap(i, i + 1, reasons[i], served.get(i, b"")) for i in reasons})

    async def proof(self, index: int, *, fresh: bool) -> InclusionProof:
        """Return the inclusion proof beside leaf `index`. NotFoundError, FetchError, FormatError."""
        found, record = await self._single(index, fresh=fresh)
        return replies.inclusion(found, record)

    async def _page(self, indexes: range, *, fresh: bool) -> dict[int, replies.Entry]:
        """Ask for all at once; what is missing from the result is to be asked for singly."""
        offset = self._offset
        try:
            records = await self._retrieved(indexes, offset, fresh=fresh)
            found = self._matched(records, indexes)
            other = self._other_offset(records, offset)
            if other is None:
                return found
            records = await self._retrieved(indexes, other, fresh=fresh)
        except OversizeError:
            return {}
        except FetchError as error:
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return {}  # one entry that the server cannot read fails the whole page
        better = self._matched(records, indexes)
        if len(better) > len(found):
            self._offset, found = other, better
        return found

    async def _retrieved(self, indexes: range, offset: int, *, fresh: bool) -> Records:
        reply = await self._query.entries([offset + index for index in indexes], fresh=fresh)
        if not isinstance(reply, list):
            raise FetchError(f"POST {self._query.url}/api/v1/log/entries/retrieve: not a list of entries", status=200)
        return replies.listed(reply)

    async def _single(self, index: int, *, fresh: bool) -> tuple[replies.Entry, dict[str, object]]:
        """Ask for one leaf by its index over all shards, and with another offset if its reply tells one."""
        offset = self._offset
        records = await self._asked(offset + index, fresh=fresh)
        try:
            return self._chosen(records, index)
        except FormatError as error:
            other = self._other_offset(records, offset)
            if other is None:
                raise
            try:
                return self._chosen(await self._asked(other + index, fresh=fresh), index)
            except (FormatError, NotFoundError):
                raise error from None  # what was answered at the index asked for says more

    def _chosen(self, records: Records, index: int) -> tuple[replies.Entry, dict[str, object]]:
        for uuid, record in records:
            found = replies.entry(uuid, record, self._name)
            if found.index == index:
                return found, record
            raise FormatError(f"the log answered with leaf {found.index}")
        raise FormatError(_LEFT_OUT)

    async def _asked(self, global_index: int, *, fresh: bool) -> Records:
        reply = await self._query.get(f"/api/v1/log/entries?logIndex={global_index}", ENTRY_LIMIT, fresh=fresh)
        return replies.listed([reply])

    def _matched(self, records: Records, wanted: range) -> dict[int, replies.Entry]:
        found: dict[int, replies.Entry] = {}
        for uuid, record in records:
            try:
                entry = replies.entry(uuid, record, self._name)
            except FormatError:
                continue  # asked for singly, and its reason told then
            if entry.index in wanted:
                found.setdefault(entry.index, entry)
        return found

    def _other_offset(self, records: Records, offset: int) -> int | None:
        """Return the one offset on which all replies of our tree agree, when it is not the one they were asked with."""
        told = {replies.offset_of(record) for uuid, record in records if uuid.startswith(self._name.prefix)}
        other = told.pop() if len(told) == 1 else None
        return other if other is not None and other != offset and other >= 0 else None

    async def _excuse(self, indexes: range, error: FetchError) -> None:
        """Raise `error` unless it looks like the trouble of a single leaf: nothing else failed, and the server is well."""
        if len(indexes) > 1:
            raise error
        await self._query.heads(fresh=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OversizeError):
        return "oversize"
    return _LEFT_OUT if isinstance(error, NotFoundError) else str(error)


def _assembled(indexes: range, found: dict[int, replies.Entry], gaps: dict[int, Gap]) -> list[Block | Gap]:
    pieces: list[Block | Gap] = []
    run: list[replies.Entry] = []
    for index in indexes:
        if index in found:
            run.append(found[index])
            continue
        if run:
            pieces.append(_block(run))
            run = []
        pieces.append(gaps[index])
    if run:
        pieces.append(_block(run))
    return pieces


def _block(entries: Sequence[replies.Entry]) -> Block:
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for entry in entries:
        starts.append(position)
        position += len(entry.body)
        ends.append(position)
    data = b"".join(entry.body for entry in entries)
    return Block(entries[0].index, data, starts, ends, tuple(entry.promise for entry in entries))
