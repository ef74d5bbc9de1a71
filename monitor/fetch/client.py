"""The one HTTP client: every request of ours to a log, a registry or a trust root leaves here.

It bounds the time and the decoded size of every answer, tries again what may succeed later, and turns whatever goes
wrong into a FetchError that says what was asked and what came back. It must never follow a redirect, keep a cookie, add
a credential of its own accord, or return a body that was cut short.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Self

import aiohttp
import httpx
import orjson

from monitor.errors import FetchError
from monitor.fetch import transport
from monitor.fetch.answer import ONLY_200, Request, checked, send
from monitor.fetch.options import FetchOptions, printable, retry_delay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from collections.abc import Set as AbstractSet
    from types import TracebackType

    from monitor.fetch.options import Gate, Response


class Client:
    """An HTTP client to enter once and share: `async with Client() as client`. Safe to use from many tasks."""

    def __init__(self, options: FetchOptions | None = None) -> None:
        """Open nothing yet."""
        self.options = options or FetchOptions()
        self._tls = transport.tls()
        self._stack = AsyncExitStack()
        self._shared: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._shared = await self._stack.enter_async_context(self._open())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shared = None
        await self._stack.aclose()

    async def get(  # noqa: PLR0913 - a request has this many sides
        self,
        url: str,
        *,
        limit: int,
        accept: str | None = None,
        fresh: bool = False,
        attempts: int | None = None,
        gate: Gate | None = None,
        headers: Mapping[str, str] | None = None,
        also: AbstractSet[int] = frozenset(),
    ) -> Response:
        """Return the answer to GET `url`, at most `limit` bytes of body once decoded.

        `fresh` asks past caches, on a connection of its own. `headers` are sent with it, to this host alone. A status in
        `also` is an answer like 200, with an empty body: a redirect, a 304, a 401. Raises NotFoundError on 404,
        RateLimitedError when the server still asked us to come back later at the last attempt, OversizeError, and
        FetchError for everything else.
        """
        sent = {**(headers or {}), "accept": accept or "*/*"}
        request = Request("GET", checked("GET", url), None, sent, limit, ONLY_200 | also)
        return await self._ask(request, fresh=fresh, attempts=attempts, gate=gate)

    async def head(
        self,
        url: str,
        *,
        accept: str | None = None,
        attempts: int | None = None,
        headers: Mapping[str, str] | None = None,
        also: AbstractSet[int] = frozenset(),
    ) -> Response:
        """Return the answer to HEAD `url`, which has no body; parameters and errors are those of `get`."""
        sent = {**(headers or {}), "accept": accept or "*/*"}
        request = Request("HEAD", checked("HEAD", url), None, sent, 0, ONLY_200 | also)
        return await self._ask(request, fresh=False, attempts=attempts, gate=None)

    async def post_json(
        self,
        url: str,
        payload: object,
        *,
        limit: int,
        fresh: bool = False,
        attempts: int | None = None,
        gate: Gate | None = None,
    ) -> Response:
        """Return the answer to a query sent as JSON by POST, with the bounds and errors of `get`.

        It is tried again like a GET, so it must change nothing at the server.
        """
        headers = {"accept": "application/json", "content-type": "application/json"}
        request = Request("POST", checked("POST", url), orjson.dumps(payload), headers, limit)
        return await self._ask(request, fresh=fresh, attempts=attempts, gate=gate)

    async def _ask(self, request: Request, *, fresh: bool, attempts: int | None, gate: Gate | None) -> Response:
        allowed = self.options.attempts if attempts is None else attempts
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._gated(request, gate, fresh=fresh)
            except FetchError as error:
                delay = retry_delay(error, attempt, self.options, random.random())  # noqa: S311 - spreads, hides nothing
                if attempt >= allowed or delay is None:
                    raise
            await asyncio.sleep(delay)

    async def _gated(self, request: Request, gate: Gate | None, *, fresh: bool) -> Response:
        if gate is None:
            return await self._attempt(request, fresh=fresh)
        ticket = await gate.enter()
        try:
            response = await self._attempt(request, fresh=fresh)
        except BaseException as error:
            gate.leave(ticket, error)
            raise
        gate.leave(ticket, None)
        return response

    async def _attempt(self, request: Request, *, fresh: bool) -> Response:
        if self._shared is None:
            raise RuntimeError("the client is used outside its context")
        try:
            async with asyncio.timeout(self.options.timeout):
                if not fresh:
                    return await send(self._shared, request, {})
                async with self._open() as client:
                    return await send(client, request, {"cache-control": "no-cache", "pragma": "no-cache"})
        except TimeoutError as error:
            what = f"no whole answer within {self.options.timeout:g} s"
            raise FetchError(f"{request}: {what}", cure="check the network and the server") from error
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
            raise FetchError(f"{request}: {_trouble(error)}", cure=_cure(error)) from error

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            transport=transport.by_environment(self._tls, self.options.max_connections),
            mounts=dict.fromkeys(transport.LOOPBACK, transport.direct(self._tls, self.options.max_connections)),
            timeout=httpx.Timeout(self.options.timeout, connect=self.options.connect_timeout),
            headers={"user-agent": self.options.user_agent, "accept-encoding": "gzip"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        ) as client:
            yield client


def _trouble(error: Exception) -> str:
    """What came back. A connection that was refused, or a name that is not known, is no timeout, whatever its class is called."""
    within = error.__cause__
    if isinstance(within, aiohttp.ClientConnectorError):
        return f"cannot connect to {within.host}:{within.port}: {printable(_reason(within))}"
    return f"{type(error).__name__} {printable(str(error))}".rstrip()


def _reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    return error.os_error.strerror or str(error.os_error) or type(error.os_error).__name__


def _cure(error: Exception) -> str:
    within = error.__cause__
    if isinstance(within, aiohttp.ClientConnectorCertificateError):
        return "check the server's certificate, and that this machine trusts its authority (SSL_CERT_FILE) and has the right time"
    if isinstance(within, aiohttp.ClientConnectorSSLError):
        return "check that the server speaks https (a registry on this machine that does not: registry.insecure_hosts)"
    if isinstance(within, aiohttp.ClientConnectorDNSError):
        return "check the name in the settings, this machine's name servers, and the proxy"
    return "check the network and the server"
