"""The one door to the registries: a request to a repository's own host, with what that host may see, and the answer.

Credentials go to that host alone. A blob that lies elsewhere is fetched from there once, without them; nothing else is
followed. It knows no document of the specification.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from monitor.errors import FetchError, RegistryError
from monitor.model.text import clip, visible
from monitor.releases.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from collections.abc import Set as AbstractSet

    from monitor.fetch import Client, Response
    from monitor.releases.auth import Authorizer
    from monitor.releases.reference import Reference

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNAUTHORIZED: Final = frozenset({int(HTTPStatus.UNAUTHORIZED)})
_SHOWN: Final = 80


class Endpoint:
    """Asks registries, a bounded number of requests at a time."""

    def __init__(self, client: Client, auth: Authorizer, insecure: Callable[[str], bool], in_flight: int) -> None:
        """`insecure` tells of a host whether it is asked by http."""
        self._client = client
        self._auth = auth
        self._insecure = insecure
        self._slots = asyncio.Semaphore(in_flight)

    async def ask(
        self,
        ref: Reference,
        path: str,
        *,
        accept: str | None = None,
        limit: int = 0,
        extra: Mapping[str, str] | None = None,
        also: AbstractSet[int] = frozenset(),
        elsewhere: bool = False,
    ) -> Response:
        """Return the answer to GET `path` at a repository's registry, whose challenge is answered once.

        `extra` headers are sent, a status in `also` is an answer, and `elsewhere` follows one redirect. Errors are those of
        the client, and RegistryError when the registry refuses us or redirects to where we do not go.
        """
        url, statuses = self._base(ref) + path, also | _UNAUTHORIZED | (_REDIRECTS if elsewhere else frozenset())

        async def send(headers: Mapping[str, str]) -> Response:
            return await self._client.get(url, limit=limit, accept=accept, headers=headers, also=statuses)

        async with self._slots:
            reply = await self._authorized(ref, path, send, extra or {})
            if elsewhere and reply.status in _REDIRECTS:
                reply = await self._client.get(self._target(ref, url, reply), limit=limit)
        return reply

    async def head(self, ref: Reference, path: str, *, accept: str) -> Response:
        """Return the answer to HEAD `path`, as `ask` does for GET."""

        async def send(headers: Mapping[str, str]) -> Response:
            return await self._client.head(self._base(ref) + path, accept=accept, headers=headers, also=_UNAUTHORIZED)

        async with self._slots:
            return await self._authorized(ref, path, send, {})

    def path_of(self, ref: Reference, path: str, target: str) -> str | None:
        """Return the path, with its query, that a link found at `path` leads to; None where it leaves the server's API."""
        here = self._base(ref) + path
        try:
            there, base = urlsplit(urljoin(here, target)), urlsplit(here)
        except ValueError:
            return None
        if (there.scheme, there.netloc) != (base.scheme, base.netloc) or not there.path.startswith("/v2/"):
            return None
        return f"{there.path}?{there.query}" if there.query else there.path

    async def _authorized(
        self,
        ref: Reference,
        path: str,
        send: Callable[[Mapping[str, str]], Awaitable[Response]],
        extra: Mapping[str, str],
    ) -> Response:
        cure = f"give credentials for {ref.host} that may read {ref.repository}"
        shown = await self._auth.header(ref)
        try:
            reply = await send(_with(extra, shown))
            if reply.status == HTTPStatus.UNAUTHORIZED:
                shown = await self._auth.answer(ref, reply.headers.get("www-authenticate", ""), shown)
                reply = await send(_with(extra, shown))
        except FetchError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            raise RegistryError(str(error), cure=cure, status=error.status) from error
        if reply.status == HTTPStatus.UNAUTHORIZED:
            told = f"{ref}: 401 for {path.partition('?')[0]}, although it was shown what it had asked for"
            raise RegistryError(told, cure=cure, status=reply.status)
        return reply

    def _base(self, ref: Reference) -> str:
        return f"{'http' if self._insecure(ref.host) else 'https'}://{ref.host}"

    def _target(self, ref: Reference, url: str, reply: Response) -> str:
        """Return where a redirect leads, if we go there: by https, or from this machine to itself."""
        location = reply.headers.get("location", "")
        try:
            target = urlsplit(urljoin(url, location))
            local = target.scheme == "http" and self._insecure(ref.host) and is_loopback(target.netloc)
            fine = bool(location and target.hostname) and "@" not in target.netloc
        except ValueError:
            local = fine = False
        if not fine or not (local or target.scheme == "https"):
            told = visible(clip(location.partition("?")[0], _SHOWN)) or "nowhere"
            raise RegistryError(
                f"{ref}: {urlsplit(url).path} is said to be at {told}, which is not an https URL",
                cure="ask the operator of the registry",
                status=reply.status,
            )
        return target.geturl()


def _with(extra: Mapping[str, str], authorization: str) -> dict[str, str]:
    return {**extra, "authorization": authorization} if authorization else dict(extra)
