"""Pages of an RFC 6962 log: as many leaves as the server gives at once, and what it does not give, singly or as a Gap.

An entry does not name its index: the first of an answer is the first that was asked for. How many come is the server's
choice, learned from its answers. What is asked for is always below a signed size, so whatever is not given is missing.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.ct import replies
from monitor.ct.leaves import pieces
from monitor.ct.query import ENTRIES_LIMIT, HEAD_LIMIT
from monitor.errors import FetchError, FormatError, NotFoundError, OversizeError
from monitor.model.log import Gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.ct.leaves import TreeLeaf
    from monitor.ct.query import Query
    from monitor.model.log import Block

PAGE: Final = 256
_GROWS_AFTER: Final = 8
"""Whole answers in a row after which the server is asked for more at once: it may have cut one at a border of its own."""
_LEFT_OUT: Final = "the log answered without it"


class Pages:
    """Reads leaves of one log, as many at once as its answers have shown to come."""

    def __init__(self, query: Query) -> None:
        """Ask nothing yet."""
        self._query = query
        self._page = PAGE
        self._whole = 0

    def cut(self, start: int, end: int) -> Iterator[range]:
        """Cut the leaves [start, end) into pages, each of the size that is known when it is taken."""
        while start < end:
            stop = min(start + self._page, end)
            yield range(start, stop)
            start = stop

    async def read(self, wanted: range, *, fresh: bool) -> tuple[list[Block | Gap], range]:
        """Return the first leaves of `wanted`, in order, and the rest, which is to be read on: at least one, within one answer's bound.

        FetchError for a server in trouble.
        """
        asked, refused = wanted[: self._page], 0
        while True:
            try:
                found = await self._entries(asked, fresh=fresh)
                break
            except OversizeError:
                if len(asked) == 1:
                    return _gap(asked, wanted, "oversize")
                self._shrink(len(asked) // 2)
                asked = asked[: len(asked) // 2]
            except FetchError as error:
                missing = isinstance(error, NotFoundError)
                if not missing and error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                if len(asked) == 1:
                    return await (self._refused if missing else self._failed)(wanted, error)
                # Perhaps the first of them, perhaps a later one, perhaps too many at once.
                asked, refused = asked[:1], len(asked)
        if refused:
            self._shrink(refused // 2)
        else:
            self._learn(len(asked), len(found))
        return await self._pieces(asked[: len(found)], found), range(asked.start + len(found), wanted.stop)

    async def single(self, index: int, *, fresh: bool) -> TreeLeaf:
        """Return one leaf. NotFoundError, OversizeError, FetchError; FormatError for one that cannot be read, twice."""
        found = await self._entries(range(index, index + 1), fresh=fresh)
        try:
            return replies.entry(found[0])
        except FormatError:
            found = await self._entries(range(index, index + 1), fresh=True)
        return replies.entry(found[0], alone=True)

    async def _entries(self, wanted: range, *, fresh: bool) -> list[object]:
        """Ask for a page: one entry at least (else NotFoundError), and never more than were asked for."""
        what = f"get-entries?start={wanted.start}&end={wanted[-1]}"
        try:
            found = replies.entries(await self._query.get_grown(what, ENTRIES_LIMIT, fresh=fresh))
        except FormatError as error:
            raise self._query.nonsense(what, str(error)) from error
        if not found:
            raise NotFoundError(f"GET {self._query.url}/{what}: no entries", status=HTTPStatus.OK)
        return found[: len(wanted)]

    def _shrink(self, most: int) -> None:
        self._page, self._whole = min(self._page, most), 0

    def _learn(self, asked: int, given: int) -> None:
        if given < asked:
            self._page, self._whole = given, 0
        elif asked >= self._page:
            self._whole += 1
            if self._whole == _GROWS_AFTER:
                self._page, self._whole = min(PAGE, 2 * self._page), 0

    async def _pieces(self, indexes: range, answer: Sequence[object]) -> list[Block | Gap]:
        """Read the entries of a page; what cannot be read there is asked for singly."""
        found: dict[int, TreeLeaf] = {}
        missing: dict[int, str] = {}
        for index, value in zip(indexes, answer, strict=True):
            try:
                found[index] = replies.entry(value)
            except FormatError:
                try:
                    found[index] = await self.single(index, fresh=True)
                except (NotFoundError, OversizeError, FormatError) as error:
                    missing[index] = _reason(error)
                except FetchError as error:
                    if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                        raise
                    missing[index] = str(error)  # the server is well: it has just given the page
        return pieces(indexes, found, missing)

    async def _refused(self, wanted: range, error: FetchError) -> tuple[list[Block | Gap], range]:
        """The first leaf is not given: a Gap, over all of them where the last one is not given either."""
        if len(wanted) > 1:
            try:
                with suppress(OversizeError):
                    await self._entries(wanted[-1:], fresh=True)
            except NotFoundError:
                return _gap(wanted, wanted, _reason(error))
        return _gap(wanted[:1], wanted, _reason(error))

    async def _failed(self, wanted: range, error: FetchError) -> tuple[list[Block | Gap], range]:
        """The server fails at the first leaf: a Gap where it is well otherwise. FetchError where it is not."""
        if len(wanted) > 1:
            with suppress(NotFoundError, OversizeError):
                await self._entries(wanted[-1:], fresh=True)
        else:
            await self._query.get("get-sth", HEAD_LIMIT, fresh=True)
        return _gap(wanted[:1], wanted, str(error))


def _gap(missing: range, wanted: range, reason: str) -> tuple[list[Block | Gap], range]:
    return [Gap(missing.start, missing.stop, reason)], range(missing.stop, wanted.stop)


def _reason(error: Exception) -> str:
    if isinstance(error, OversizeError):
        return "oversize"
    return _LEFT_OUT if isinstance(error, NotFoundError) else str(error)
