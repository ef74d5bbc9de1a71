"""One Rekor v1 server's requests: each within its bound, at the server's pace, and answered in JSON or not at all."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.errors import FetchError, FormatError
from monitor.rekor import replies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.fetch import Client, Response
    from monitor.reading.pace import Pace

INFO_LIMIT: Final = 1 << 20
PROOF_LIMIT: Final = 1 << 16
ENTRY_LIMIT: Final = 6 << 20
PAGE_LIMIT: Final = 8 << 20
"""Many times a usual page; the leaves of a larger one are asked for singly, each within its own limit."""


class Query:
    """Asks the server at `url`. `pace` is passed by every attempt."""

    def __init__(self, url: str, client: Client, pace: Pace) -> None:
        """Ask nothing yet."""
        self.url = url
        self.client = client
        self.pace = pace

    async def heads(self, *, fresh: bool) -> tuple[replies.ShardHead, ...]:
        """Ask for the shard list. FetchError, FormatError."""
        path = "/api/v1/log"
        try:
            return replies.shard_heads(await self.get(path, INFO_LIMIT, fresh=fresh))
        except FormatError as error:
            raise FormatError(f"GET {self.url}{path}: {error}") from error

    async def get(self, path: str, limit: int, *, fresh: bool) -> object:
        """Ask by GET. Raises FetchError, also when what answers (twice) is not JSON."""
        response = await self._get(path, limit, fresh=fresh)
        try:
            return replies.load(response.body)
        except FormatError:
            return _loaded("GET", await self._get(path, limit, fresh=True))

    async def entries(self, indexes: list[int], *, fresh: bool) -> object:
        """Ask for a page of entries by their indexes over all shards. FetchError as `get`."""
        return await self.post("/api/v1/log/entries/retrieve", {"logIndexes": indexes}, PAGE_LIMIT, fresh=fresh)

    async def post(
        self,
        path: str,
        payload: Mapping[str, object],
        limit: int,
        *,
        fresh: bool = False,
        attempts: int | None = None,
    ) -> object:
        """Ask by POST. FetchError as `get`."""
        response = await self._post(path, payload, limit, fresh=fresh, attempts=attempts)
        try:
            return replies.load(response.body)
        except FormatError:
            return _loaded("POST", await self._post(path, payload, limit, fresh=True, attempts=attempts))

    async def _get(self, path: str, limit: int, *, fresh: bool) -> Response:
        return await self.client.get(
            f"{self.url}{path}", limit=limit, accept="application/json", fresh=fresh, gate=self.pace
        )

    async def _post(
        self, path: str, payload: Mapping[str, object], limit: int, *, fresh: bool, attempts: int | None
    ) -> Response:
        return await self.client.post_json(
            f"{self.url}{path}", payload, limit=limit, fresh=fresh, attempts=attempts, gate=self.pace
        )


def _loaded(method: str, response: Response) -> object:
    try:
        return replies.load(response.body)
    except FormatError as error:
        raise FetchError(
            f"{method} {response.url}: {error}; it is {response.excerpt}",
            cure="ask the operator of the log or of the proxy before it",
            status=HTTPStatus.OK,
        ) from error
