"""One RFC 6962 server's requests: each within its bound, at the server's pace, and answered in JSON or not at all."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.ct import replies
from monitor.errors import FetchError, FormatError, NotFoundError

if TYPE_CHECKING:
    from monitor.fetch import Client, Response
    from monitor.reading.pace import Pace

HEAD_LIMIT: Final = 1 << 14
PROOF_LIMIT: Final = 1 << 16
ENTRIES_LIMIT: Final = 8 << 20
"""Of a page, many times a usual one, and of a single entry."""
_SKEW_TRIES: Final = 3
_HAS_NOT: Final = frozenset({400, 404})


class Query:
    """Asks the log below `url`. `pace` is passed by every attempt."""

    def __init__(self, url: str, client: Client, pace: Pace) -> None:
        """Ask nothing yet."""
        self.url = f"{url.rstrip('/')}/ct/v1"
        self.pace = pace
        self._client = client

    async def get(self, what: str, limit: int, *, fresh: bool) -> object:
        """Ask for `what`, as `get-sth`. Raises FetchError, also when what answers (twice) is not JSON."""
        response = await self._get(what, limit, fresh=fresh)
        try:
            return replies.load(response.body)
        except FormatError:
            response = await self._get(what, limit, fresh=True)
        try:
            return replies.load(response.body)
        except FormatError as error:
            raise self.nonsense(what, f"{error}; it is {response.excerpt}") from error

    async def get_grown(self, what: str, limit: int, *, fresh: bool) -> object:
        """Ask as `get` for what a log has once it has grown far enough. NotFoundError when no replica has it.

        A replica that has not grown so far yet answers 400 or 404: others are asked, on new connections.
        """
        for attempt in range(1, _SKEW_TRIES + 1):
            try:
                return await self.get(what, limit, fresh=fresh or attempt > 1)
            except FetchError as error:
                if error.status not in _HAS_NOT:
                    raise
                refused = NotFoundError(str(error), cure=error.cure, status=error.status)
            if attempt < _SKEW_TRIES:
                await asyncio.sleep(self._client.options.backoff * attempt)
        raise refused

    def nonsense(self, what: str, error: str) -> FetchError:
        """The error of an answer that is of no use."""
        return FetchError(
            f"GET {self.url}/{what}: {error}",
            cure="ask the operator of the log or of the proxy before it",
            status=HTTPStatus.OK,
        )

    async def _get(self, what: str, limit: int, *, fresh: bool) -> Response:
        return await self._client.get(
            f"{self.url}/{what}", limit=limit, accept="application/json", fresh=fresh, gate=self.pace
        )
