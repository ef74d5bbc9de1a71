"""The one HTTP client: every request of ours to a log, a registry or a trust root leaves here.

It bounds the time and the decoded size of every answer, tries again what may succeed later, and turns whatever goes
wrong into a FetchError that says what was asked and what came back. It must never follow a redirect, keep a cookie, add
a credential of its own accord, or return a body that was cut short.
"""

from __future__ import annotations

import asyncio
import random
import re
import zlib
from base64 import b64encode
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Protocol, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import orjson
from httpx_aiohttp.transport import AiohttpResponseStream, AiohttpTransport

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping
    from collections.abc import Set as AbstractSet
    from types import TracebackType

_EXCERPT = 120
_ERROR_BODY = 4096
_READ_BUFFER = 1 << 18
_LONGEST_WAIT = 86_400.0
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_LATER = frozenset({408, 425, 429})
_ONLY_200 = frozenset({int(HTTPStatus.OK)})
_IN_BODY = re.compile(r"retry-after: *([0-9][0-9a-zA-Z.\\µμ]{0,40})", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|μs|\\u00b5s|\\u03bcs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Bounds of every request. Times are in seconds; `timeout` is for one whole attempt, body included."""

    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_connections: int = 32
    attempts: int = 4
    backoff: float = 0.5
    """The longest wait before the second attempt; it doubles with each further one."""
    max_backoff: float = 8.0
    max_retry_after: float = 60.0
    """A server that asks for a longer wait than this ends the attempts: the caller comes back with its next pass."""
    user_agent: str = "trustacks-monitor"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer with status 200, or another that was asked for. Header names are in lower case; `body` is decoded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, or an empty text."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def excerpt(self) -> str:
        """What came back in one short printable line, for messages."""
        return _came_back(self.content_type, self.body)


class Gate(Protocol):
    """What a caller puts around its attempts to keep a rate, and to learn how the server takes it."""

    async def enter(self) -> float:
        """Wait until the next attempt may start, and give it a ticket. May raise FetchError instead of waiting long."""

    def leave(self, ticket: float, error: BaseException | None) -> None:
        """Take the ticket back when the attempt is over: served when `error` is None, else what it failed with."""


def retry_delay(error: FetchError, attempt: int, options: FetchOptions, spread: float) -> float | None:
    """Tell how many seconds to wait after failed attempt `attempt` (from 1), or None when another is of no use.

    `spread` in [0, 1] places the wait between half and all of the exponential backoff. A server's own Retry-After is a
    lower bound.
    """
    if isinstance(error, OversizeError | NotFoundError):
        return None
    if error.status is not None and error.status not in _LATER and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    wait = min(options.backoff * 2.0 ** min(attempt - 1, 16), options.max_backoff) * (0.5 + spread / 2)
    if isinstance(error, RateLimitedError):
        if error.retry_after > options.max_retry_after:
            return None
        wait = max(wait, error.retry_after)
    return wait


class _Transport(AiohttpTransport):
    """The transport, handing bodies over in large pieces: each costs the same, and an entry bundle is 0.7 MB."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream.CHUNK_SIZE = _READ_BUFFER
        return response


class _Proxied(httpx.AsyncBaseTransport):
    """Takes each request by the proxy that the environment names for it, or directly.

    aiohttp could do that too, but not without adding credentials out of ~/.netrc to whatever host is asked.
    """

    def __init__(self, direct: httpx.AsyncBaseTransport, proxies: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        self._direct = direct
        self._proxies = proxies

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        way = self._proxies.get(request.url.scheme)
        if way is None or proxy_bypass(request.url.host):
            way = self._direct
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        for way in (self._direct, *self._proxies.values()):
            await way.aclose()


class Client:
    """An HTTP client to enter once and share: `async with Client() as client`. Safe to use from many tasks."""

    def __init__(self, options: FetchOptions | None = None) -> None:
        """Open nothing yet."""
        self.options = options or FetchOptions()
        self._tls = _tls()
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
        request = _Request("GET", _checked("GET", url), None, sent, limit, _ONLY_200 | also)
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
        request = _Request("HEAD", _checked("HEAD", url), None, sent, 0, _ONLY_200 | also)
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
        request = _Request("POST", _checked("POST", url), orjson.dumps(payload), headers, limit)
        return await self._ask(request, fresh=fresh, attempts=attempts, gate=gate)

    async def _ask(self, request: _Request, *, fresh: bool, attempts: int | None, gate: Gate | None) -> Response:
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

    async def _gated(self, request: _Request, gate: Gate | None, *, fresh: bool) -> Response:
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

    async def _attempt(self, request: _Request, *, fresh: bool) -> Response:
        if self._shared is None:
            raise RuntimeError("the client is used outside its context")
        try:
            async with asyncio.timeout(self.options.timeout):
                if not fresh:
                    return await _send(self._shared, request, {})
                async with self._open() as client:
                    return await _send(client, request, {"cache-control": "no-cache", "pragma": "no-cache"})
        except TimeoutError as error:
            what = f"no whole answer within {self.options.timeout:g} s"
            raise FetchError(f"{request}: {what}", cure="check the network and the server") from error
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
            what = f"{type(error).__name__} {_printable(str(error))}".rstrip()
            raise FetchError(f"{request}: {what}", cure="check the network and the server") from error

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            transport=_Proxied(self._transport(), self._proxies()),
            mounts=dict.fromkeys(_LOOPBACK, self._transport()),
            timeout=httpx.Timeout(self.options.timeout, connect=self.options.connect_timeout),
            headers={"user-agent": self.options.user_agent, "accept-encoding": "gzip"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        ) as client:
            yield client

    def _proxies(self) -> dict[str, httpx.AsyncBaseTransport]:
        """Return a way by each proxy that the environment names, by the scheme it is for; loopback never takes one."""
        named = getproxies()
        return {scheme: self._transport(named[scheme]) for scheme in ("http", "https") if named.get(scheme)}

    def _transport(self, proxy: str | None = None) -> AiohttpTransport:
        tls = self._tls

        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.options.max_connections, ssl=tls, keepalive_timeout=30.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
                trust_env=False,
            )

        try:
            by = _proxy(proxy) if proxy else None
        except (httpx.InvalidURL, ValueError) as error:
            raise FetchError(
                "the environment names a proxy that is not an http URL", cure="correct HTTP_PROXY and HTTPS_PROXY"
            ) from error
        return _Transport(verify=tls, client=session, proxy=by)


def _proxy(url: str) -> httpx.Proxy:
    """Return the proxy at a URL; its password, if any, is put into the header that aiohttp shows to proxies alone."""
    proxy = httpx.Proxy(url)
    if proxy.auth is None:
        return proxy
    shown = b64encode(":".join(proxy.auth).encode()).decode("ascii")
    return httpx.Proxy(proxy.url, headers={"Authorization": f"Basic {shown}"})


@cache
def _tls() -> ssl.SSLContext:
    """Read the certificate authorities once: that takes longer than most requests."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: httpx.URL
    content: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    limit: int
    statuses: AbstractSet[int] = _ONLY_200
    """What is an answer; everything else is an error."""

    def __str__(self) -> str:
        return f"{self.method} {self.url.netloc.decode('ascii')}{_printable(self.url.path)}"


def _checked(method: str, url: str) -> httpx.URL:
    """Return the URL, if it is one that we may ask: http or https, a host, no credentials in it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FetchError(
            f"{method} {_printable(url)}: not a URL ({error})", cure="correct the URL in the settings"
        ) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise FetchError(
            f"{method} {parsed.scheme}://{parsed.host}: not an http or https URL with a host and no credentials",
            cure="correct the URL in the settings",
        )
    return parsed


async def _send(client: httpx.AsyncClient, request: _Request, more: Mapping[str, str]) -> Response:
    headers = {**request.headers, **more}
    async with client.stream(request.method, request.url, content=request.content, headers=headers) as reply:
        if reply.status_code not in request.statuses:
            raise await _refusal(request, reply)
        whole = request.method != "HEAD" and reply.status_code == HTTPStatus.OK
        body = await _body(request, reply, request.limit) if whole else b""
        return Response(reply.status_code, {k.lower(): v for k, v in reply.headers.items()}, body, str(request.url))


async def _body(request: _Request, reply: httpx.Response, limit: int) -> bytes:
    """Read the decoded body, never more than `limit` bytes of it in memory."""
    inflate = _inflater(request, reply)
    chunks: list[bytes] = []
    room = limit
    async for raw in reply.aiter_raw():
        chunk = raw
        if inflate is not None:
            try:
                chunk = inflate.decompress(raw, room + 1)
            except zlib.error as error:
                raise FetchError(f"{request}: broken gzip in the answer: {error}", status=reply.status_code) from error
        room -= len(chunk)
        if room < 0:
            kind = _printable(reply.headers.get("content-type", "no content type"))
            raise OversizeError(f"{request}: more than {limit} bytes of {kind}", status=reply.status_code)
        chunks.append(chunk)
    if inflate is not None and not inflate.eof:
        raise FetchError(f"{request}: the gzip of the answer is cut short")
    return b"".join(chunks)


def _inflater(request: _Request, reply: httpx.Response) -> zlib._Decompress | None:
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    raise FetchError(
        f"{request}: an answer in {_printable(encoding)}, which was not asked for", status=reply.status_code
    )


async def _refusal(request: _Request, reply: httpx.Response) -> FetchError:
    """Make the error of an answer other than 200. Its body is only read for the message."""
    body = b""
    try:
        body = await _body(request, reply, _ERROR_BODY) if request.method != "HEAD" else b""
    except (FetchError, httpx.HTTPError, aiohttp.ClientError, OSError):
        body = b""
    status, headers = reply.status_code, reply.headers
    message = f"{request}: {status} {_came_back(headers.get('content-type', ''), body)}"
    if reply.is_redirect:
        return FetchError(
            f"{request}: {status} to {_printable(headers.get('location', ''))}: redirects are not followed",
            cure="set the URL that the server redirects to, if you trust it",
            status=status,
        )
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message, status=status)
    wait = _retry_after(headers.get("retry-after", ""))
    if wait is None and status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = _retry_in_body(body)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait is not None):
        return RateLimitedError(message, retry_after=wait or 0.0, status=status)
    return FetchError(
        message, cure="nothing while it lasts minutes; then ask the operator of the server", status=status
    )


def _retry_after(text: str) -> float | None:
    """Read seconds out of either form of RFC 9110 Retry-After; None where it is absent or neither."""
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)


def _retry_in_body(body: bytes) -> float | None:
    """Read the seconds out of a Go duration in an error text, as `retry-after: 1m2.5s`; None where there is none."""
    found = _IN_BODY.search(body.decode("utf-8", "replace"))
    parts = _DURATION.findall(found[1]) if found else []
    if not parts:
        return None
    return min(sum(float(number) * _SECONDS.get(unit, 1e-6) for number, unit in parts), _LONGEST_WAIT)


def _came_back(content_type: str, body: bytes) -> str:
    kind = _printable(content_type) or "no content type"
    if not body:
        return f"({kind}, empty)"
    return f"({kind}) {_printable(body[:_EXCERPT].decode('utf-8', 'replace'))}"


def _printable(text: str) -> str:
    """Return at most the excerpt's length of a foreign text, in printable ASCII."""
    return text[:_EXCERPT].encode("unicode_escape").decode("ascii")
