"""Sends one request and reads its answer, bounded and whole, or makes the error that says what was asked and what came back."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import httpx

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError
from monitor.fetch.options import Response, came_back, printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

ONLY_200 = frozenset({int(HTTPStatus.OK)})
_ERROR_BODY = 4096
_LONGEST_WAIT = 86_400.0
_IN_BODY = re.compile(r"retry-after: *([0-9][0-9a-zA-Z.\\µμ]{0,40})", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|μs|\\u00b5s|\\u03bcs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it is sent; `limit` bounds its answer's decoded body in bytes."""

    method: str
    url: httpx.URL
    content: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    limit: int
    statuses: AbstractSet[int] = ONLY_200
    """What is an answer; everything else is an error."""

    def __str__(self) -> str:
        return f"{self.method} {self.url.netloc.decode('ascii')}{printable(self.url.path)}"


def checked(method: str, url: str) -> httpx.URL:
    """Return the URL, if it is one that we may ask: http or https, a host, no credentials in it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FetchError(
            f"{method} {printable(url)}: not a URL ({error})", cure="correct the URL in the settings"
        ) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise FetchError(
            f"{method} {parsed.scheme}://{parsed.host}: not an http or https URL with a host and no credentials",
            cure="correct the URL in the settings",
        )
    return parsed


async def send(client: httpx.AsyncClient, request: Request, more: Mapping[str, str]) -> Response:
    """Send a request, with `more` headers, and return its whole answer. FetchError and its kinds, httpx.HTTPError, OSError."""
    headers = {**request.headers, **more}
    async with client.stream(request.method, request.url, content=request.content, headers=headers) as reply:
        if reply.status_code not in request.statuses:
            raise await _refusal(request, reply)
        whole = request.method != "HEAD" and reply.status_code == HTTPStatus.OK
        body = await _body(request, reply, request.limit) if whole else b""
        return Response(reply.status_code, {k.lower(): v for k, v in reply.headers.items()}, body, str(request.url))


async def _body(request: Request, reply: httpx.Response, limit: int) -> bytes:
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
            kind = printable(reply.headers.get("content-type", "no content type"))
            raise OversizeError(f"{request}: more than {limit} bytes of {kind}", status=reply.status_code)
        chunks.append(chunk)
    if inflate is not None and not inflate.eof:
        raise FetchError(f"{request}: the gzip of the answer is cut short")
    return b"".join(chunks)


def _inflater(request: Request, reply: httpx.Response) -> zlib._Decompress | None:
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    raise FetchError(
        f"{request}: an answer in {printable(encoding)}, which was not asked for", status=reply.status_code
    )


async def _refusal(request: Request, reply: httpx.Response) -> FetchError:
    """Make the error of an answer other than 200. Its body is only read for the message."""
    body = b""
    try:
        body = await _body(request, reply, _ERROR_BODY) if request.method != "HEAD" else b""
    except (FetchError, httpx.HTTPError, aiohttp.ClientError, OSError):
        body = b""
    status, headers = reply.status_code, reply.headers
    message = f"{request}: {status} {came_back(headers.get('content-type', ''), body)}"
    if reply.is_redirect:
        return FetchError(
            f"{request}: {status} to {printable(headers.get('location', ''))}: redirects are not followed",
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
    except (ValueError, OverflowError):
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
