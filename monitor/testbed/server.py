"""A server on loopback that does its work, and on request fails as real servers fail.

It keeps a log of the requests it saw. A planned failure comes before (or, for a lost reply, after) the real work, holds
for a number of requests and for one part of the paths, and is forgotten by `heal`. Nothing listens beyond 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import orjson
from aiohttp import web

from monitor.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import TracebackType

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_LIMIT: Final = 8 << 20
"""Bytes of a request that are read."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as it came in; `path` has the query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class _Failure:
    """A planned failure: what it does, to which paths, and for how many more requests (None: until healed)."""

    act: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
    path_prefix: str
    times: int | None

    def takes(self, path: str) -> bool:
        """Whether this request is its victim; a counted failure is used up by it."""
        if self.times == 0 or not path.startswith(self.path_prefix):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class LoopbackServer:
    """One HTTP server on 127.0.0.1 with a port of its own, kept across stop and start. Subclasses add routes."""

    def __init__(self) -> None:
        """Do not listen yet."""
        self.requests: list[SeenRequest] = []
        self._failures: list[_Failure] = []
        self._runner: web.AppRunner | None = None
        self._site: web.BaseSite | None = None
        self._held: socket.socket | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and give the port back."""
        await self.stop()
        self._let_go()

    @property
    def url(self) -> str:
        """Scheme, host and port, no trailing slash. Raises FetchError before the first start."""
        if not self._port:
            raise FetchError(f"{type(self).__name__} has no address before it is started", cure="start it first")
        return f"http://127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._runner is not None

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one afterwards."""
        if self._runner is not None:
            return
        app = web.Application(middlewares=[self._middleware], client_max_size=BODY_LIMIT)
        self.add_routes(app.router)
        # a hanging request must not hold the stop: the test that planned it has seen enough
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        self._let_go()
        await site.start()
        self._port = int(runner.addresses[0][1])
        self._runner, self._site = runner, site

    async def stop(self) -> None:
        """Close every connection and refuse new ones; the port stays ours, so that nobody else answers there meanwhile."""
        runner, self._runner = self._runner, None
        if runner is not None and self._site is not None:
            await self._site.stop()
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(("127.0.0.1", self._port))  # and does not listen: whoever connects is refused
            await runner.cleanup()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the server's own paths; by default none."""

    # failures

    def reply(
        self,
        *,
        status: int = 200,
        body: bytes = b"",
        content_type: str = "text/html",
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
        path_prefix: str = "",
    ) -> None:
        """Answer this instead of doing the work: an HTML page, a 429 with Retry-After, a 500, an empty reply."""

        async def act(_request: web.Request, _handler: Handler) -> web.StreamResponse:
            return web.Response(status=status, body=body, content_type=content_type, headers=dict(headers or {}))

        self._failures.append(_Failure(act, path_prefix, times))

    def hang(self, seconds: float, *, times: int | None = None, path_prefix: str = "") -> None:
        """Wait before the work is done."""

        async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
            await asyncio.sleep(seconds)
            return await handler(request)

        self._failures.append(_Failure(act, path_prefix, times))

    def drop(self, *, times: int | None = None, path_prefix: str = "") -> None:
        """Close the connection without doing the work."""

        async def act(request: web.Request, _handler: Handler) -> web.StreamResponse:
            return _cut(request)

        self._failures.append(_Failure(act, path_prefix, times))

    def lose_reply(self, *, times: int | None = None, path_prefix: str = "") -> None:
        """Do the work and close the connection without saying so: an attempt of unknown outcome."""

        async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
            await handler(request)
            return _cut(request)

        self._failures.append(_Failure(act, path_prefix, times))

    def heal(self) -> None:
        """Forget every planned failure."""
        self._failures.clear()

    def seen(self, path_prefix: str) -> Iterator[SeenRequest]:
        """Return the requests so far whose path begins so."""
        return (request for request in self.requests if request.path.startswith(path_prefix))

    def _saw(self, request: web.Request) -> None:
        self.requests.append(SeenRequest(request.method, request.path_qs, dict(request.headers)))

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._saw(request)
        for failure in self._failures:
            if failure.takes(request.path_qs):
                return await failure.act(request, handler)
        return await handler(request)


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere: the connection is gone


def json_reply(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None, end: str = ""
) -> web.Response:
    """Return a JSON answer as compact as Go writes it."""
    body = orjson.dumps(value) + end.encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=dict(headers or {}))
