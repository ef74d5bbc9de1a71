"""Pages of an RFC 6962 log: as many leaves as the server gives at once, and what it does not give, singly or as a Gap.

An entry does not name its index: the first of an answer is the first that was asked for. How many come, and at which borders
an answer ends, is the server's choice, learned from its answers. What is asked for is always below a signed size, so whatever
is not given is missing.
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

PAGE: Final = 1000
"""What ctfe gives at most unless it is told otherwise; more at once saves little."""
_GROWS_AFTER: Final = 8
"""Whole answers in a row after which more is asked for at once: what was too much once may have been so by a single large leaf."""
_GROWS_AT_LAST: Final = 512
_LEAST: Final = 64
"""Fewer leaves at once help no server that does not answer in time."""
_IN_TIME: Final = frozenset({None, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
"""Statuses (or none) with which an answer that takes too long fails: half of it may be given."""
_LEFT_OUT: Final = "the log answered without it"


class Pages:
    """Reads leaves of one log, as many at once as it gives, begun where its own pages begin."""

    def __init__(self, query: Query) -> None:
        """Ask nothing yet."""
        self._query = query
        self._page = PAGE
        self._border = 0
        """Where an answer was last cut short by the server: if its pages have borders, there is one."""
        self._whole = 0
        self._grows_after = _GROWS_AFTER
        self._grown = False
        """More is asked for than was ever given since it was too much."""

    def cut(self, start: int, end: int) -> Iterator[range]:
        """Cut the leaves [start, end) into pages, each of the size and up to the border that is known when it is taken."""
        while start < end:
            stop = min(start + self._page - (start - self._border) % self._page, end)
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
                    if error.status in _IN_TIME and len(asked) > _LEAST:
                        self._shrink(max(_LEAST, len(asked) // 2))  # for the next pass
                    raise
                if len(asked) == 1:
                    return await (self._refused if missing else self._failed)(wanted, error)
                # Perhaps the first of them, perhaps a later one, perhaps too many at once.
                asked, refused = asked[:1], len(asked)
        if refused:
            self._shrink(refused // 2)
        else:
            self._learn(asked, len(found))
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
        """Ask for less from now on. What is too much again is tried half as often."""
        if most < self._page:
            self._grows_after = min(_GROWS_AT_LAST, self._grows_after * (2 if self._grown else 1))
            self._page, self._whole, self._grown = most, 0, False

    def _learn(self, asked: range, given: int) -> None:
        """The server gives at once what it gives from its own border on; an answer begun elsewhere may only have met one."""
        if given < len(asked):
            if asked.start == self._border:
                self._page, self._whole, self._grown = given, 0, False
            self._border = asked.start + given
        elif len(asked) >= self._page:
            self._whole, self._grown = self._whole + 1, False
            if self._whole >= self._grows_after and self._page < PAGE:
                self._page, self._whole, self._grown = min(PAGE, 2 * self._page), 0, True

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
