"""The ways out: directly, or by the proxy that the environment names. No credential is added that a URL did not hold."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp.transport import AiohttpResponseStream, AiohttpTransport

from monitor.errors import FetchError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
"""Never asked by a proxy."""
_READ_BUFFER = 1 << 18


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


def by_environment(tls: ssl.SSLContext, most: int) -> httpx.AsyncBaseTransport:
    """Return the way by each proxy that the environment names, by the scheme it is for, and else directly; `most` connections each.

    FetchError when the environment names a proxy that is none.
    """
    named = getproxies()
    proxies = {scheme: _way(tls, most, named[scheme]) for scheme in ("http", "https") if named.get(scheme)}
    return _Proxied(direct(tls, most), proxies)


def direct(tls: ssl.SSLContext, most: int) -> AiohttpTransport:
    """Return the way without a proxy, with at most so many connections."""
    return _way(tls, most)


def _way(tls: ssl.SSLContext, most: int, proxy: str | None = None) -> AiohttpTransport:
    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most, ssl=tls, keepalive_timeout=30.0),
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
def tls() -> ssl.SSLContext:
    """Read the certificate authorities once: that takes longer than most requests."""
    return httpx.create_ssl_context()
