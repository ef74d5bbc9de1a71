from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError
from monitor.fetch import Client, FetchOptions, Response, retry_delay
from tests.replay import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

QUICK = FetchOptions(timeout=5.0, backoff=0.001, max_backoff=0.002, max_retry_after=1.0)
HTML = "<html><body>502 — Bad\u202e Gateway\x07</body></html>"


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(QUICK) as opened:
        yield opened


def answers(*responses: Callable[[], web.StreamResponse]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Each response once in turn, the last one for ever."""
    queue = deque(responses)

    async def intercept(_request: web.Request) -> web.StreamResponse:
        return (queue.popleft() if len(queue) > 1 else queue[0])()

    return intercept


def ok(body: bytes = b"fine", **headers: str) -> Callable[[], web.Response]:
    return lambda: web.Response(body=body, headers={key.replace("_", "-"): value for key, value in headers.items()})


def status(code: int, text: str = "", **headers: str) -> Callable[[], web.Response]:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda: web.Response(status=code, text=text, content_type="text/html", headers=named)


async def test_an_answer_is_its_status_its_lower_case_headers_and_its_whole_body(
    server: LoopbackServer, client: Client
) -> None:
    server.intercept = answers(ok(b"\x00" * 300_000, X_Some="Thing", Content_Type="Text/Plain; charset=utf-8"))
    response = await client.get(f"{server.url}/a?b=1", limit=300_000)
    assert (response.status, response.body, response.headers["x-some"]) == (200, b"\x00" * 300_000, "Thing")
    assert response.content_type == "text/plain"
    assert server.requests == ["/a?b=1"]


async def test_a_missing_thing_is_not_found_at_once_and_the_message_says_what_came_back(
    server: LoopbackServer, client: Client
) -> None:
    server.intercept = answers(status(404, HTML))
    with pytest.raises(
        NotFoundError, match=r"GET 127\.0\.0\.1:\d+/tile/0: 404 \(text/html; charset=utf-8\) <html>"
    ) as caught:
        await client.get(f"{server.url}/tile/0", limit=10)
    assert caught.value.status == 404
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(server.requests) == 1


async def test_a_failing_server_is_asked_again_until_it_serves(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(status(500), status(502, HTML), status(429, Retry_After="0"), ok())
    assert (await client.get(server.url, limit=10)).body == b"fine"
    assert len(server.requests) == 4


async def test_attempts_are_counted_and_the_last_failure_is_raised(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(status(502, HTML))
    with pytest.raises(FetchError) as caught:
        await client.get(server.url, limit=10, attempts=2)
    assert (caught.value.status, len(server.requests)) == (502, 2)
    assert caught.value.cure


@pytest.mark.parametrize("code", [400, 401, 403, 405, 409, 410, 422])
async def test_what_the_server_will_refuse_again_is_not_asked_again(
    server: LoopbackServer, client: Client, code: int
) -> None:
    server.intercept = answers(status(code))
    with pytest.raises(FetchError) as caught:
        await client.get(server.url, limit=10)
    assert (caught.value.status, len(server.requests)) == (code, 1)


async def test_429_is_rate_limited_after_the_attempts(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(status(429, Retry_After="0"))
    with pytest.raises(RateLimitedError) as caught:
        await client.get(server.url, limit=10, attempts=3)
    assert (caught.value.status, len(server.requests)) == (429, 3)


async def test_a_longer_silence_than_the_bound_is_left_to_the_next_pass(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(status(429, Retry_After="3600"))
    with pytest.raises(RateLimitedError) as caught:
        await client.get(server.url, limit=10)
    assert (caught.value.retry_after, len(server.requests)) == (3600.0, 1)


async def test_a_503_with_a_date_to_come_back_at_is_rate_limited(server: LoopbackServer, client: Client) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=1800)
    server.intercept = answers(status(503, Retry_After=format_datetime(moment, usegmt=True)))
    with pytest.raises(RateLimitedError) as caught:
        await client.get(server.url, limit=10)
    assert 1700 < caught.value.retry_after <= 1800
    assert caught.value.status == 503


@pytest.mark.parametrize(
    "nonsense",
    ["soon", "-5", "1e9", "٣", "9" * 400, f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"],
)
async def test_a_nonsense_retry_after_neither_raises_nor_waits_for_ever(
    server: LoopbackServer, client: Client, nonsense: str
) -> None:
    server.intercept = answers(status(429, Retry_After=nonsense))
    with pytest.raises(RateLimitedError) as caught:
        await client.get(server.url, limit=10, attempts=2)
    assert 0 <= caught.value.retry_after <= 86_400


async def test_a_dropped_connection_is_a_fetch_error_without_a_status(server: LoopbackServer, client: Client) -> None:
    async def drop(request: web.Request) -> web.StreamResponse | None:
        assert request.transport is not None
        request.transport.abort()
        return None

    server.intercept = drop
    with pytest.raises(FetchError) as caught:
        await client.get(server.url, limit=10, attempts=2)
    assert caught.value.status is None
    assert len(server.requests) >= 2


async def test_nobody_listening_is_a_fetch_error_that_names_the_server(client: Client) -> None:
    with pytest.raises(FetchError, match=r"GET 127\.0\.0\.1:1/x: "):
        await client.get("http://127.0.0.1:1/x", limit=10, attempts=1)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_cut_short_is_never_returned(server: LoopbackServer, client: Client, declared: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if declared:
            response.content_length = 100
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.abort()
        return response

    server.intercept = cut
    with pytest.raises(FetchError):
        await client.get(server.url, limit=1000, attempts=1)


@pytest.mark.parametrize("before_headers", [True, False])
async def test_a_hanging_server_is_left_after_the_time_of_one_whole_request(
    server: LoopbackServer,
    before_headers: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not before_headers:
            await response.prepare(request)
        for _ in range(100):  # it does send a byte now and then: only the whole time bounds it
            await asyncio.sleep(0.05)
            if not before_headers:
                await response.write(b".")
        return response

    server.intercept = hang
    async with Client(FetchOptions(timeout=0.2, backoff=0.001)) as client:
        with pytest.raises(FetchError, match=r"no whole answer within 0\.2 s"):
            await client.get(server.url, limit=1000, attempts=2)


async def test_a_declared_length_over_the_limit_is_oversize_and_not_asked_again(
    server: LoopbackServer, client: Client
) -> None:
    server.intercept = answers(ok(b"x" * 101))
    with pytest.raises(OversizeError, match="more than 100 bytes"):
        await client.get(server.url, limit=100)
    assert len(server.requests) == 1
    server.intercept = answers(ok(b"x" * 100))
    assert len((await client.get(server.url, limit=100)).body) == 100


async def test_an_endless_body_is_oversize_as_soon_as_it_passes_the_limit(
    server: LoopbackServer, client: Client
) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2000):
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    server.intercept = endless
    with pytest.raises(OversizeError):
        await client.get(server.url, limit=100_000)
    assert sent < 64 << 20


async def test_gzip_is_decoded(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(ok(gzip.compress(b"leaf" * 10_000, mtime=0), Content_Encoding="gzip"))
    assert (await client.get(server.url, limit=40_000)).body == b"leaf" * 10_000


async def test_a_gzip_bomb_is_oversize(server: LoopbackServer, client: Client) -> None:
    bomb = gzip.compress(b"\x00" * (64 << 20))
    assert len(bomb) < 100_000
    server.intercept = answers(ok(bomb, Content_Encoding="gzip"))
    with pytest.raises(OversizeError):
        await client.get(server.url, limit=100_000)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"leaf" * 100, mtime=0)[:-9], "gzip"),
        (b"not gzip at all", "gzip"),
        (zlib.compress(b"leaf"), "deflate"),
        (gzip.compress(gzip.compress(b"leaf", mtime=0), mtime=0), "gzip, gzip"),
        (b"leaf", "br"),
    ],
)
async def test_an_encoding_that_is_broken_or_was_not_asked_for_is_refused(
    server: LoopbackServer, client: Client, body: bytes, encoding: str
) -> None:
    server.intercept = answers(ok(body, Content_Encoding=encoding))
    with pytest.raises(FetchError):
        await client.get(server.url, limit=1000, attempts=1)


async def test_a_redirect_is_refused_and_never_followed(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(status(302, Location=f"{server.url}/elsewhere"))
    with pytest.raises(FetchError, match=r"302 to http.*redirects are not followed"):
        await client.get(f"{server.url}/here", limit=10)
    assert server.requests == ["/here"]


async def test_a_cookie_is_not_sent_back(server: LoopbackServer, client: Client) -> None:
    seen: list[str | None] = []

    async def bake(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("cookie"))
        response = web.Response(text="fine")
        response.set_cookie("who", "you")
        return response

    server.intercept = bake
    for _ in range(2):
        await client.get(server.url, limit=10)
    assert seen == [None, None]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "http://",
        "nonsense",
        "http://user:hunter2@host/",
        "http://[",
        "http://a:99999/",
    ],
)
async def test_only_plain_http_and_https_urls_are_asked_and_no_password_is_shown(client: Client, url: str) -> None:
    with pytest.raises(FetchError) as caught:
        await client.get(url, limit=10)
    assert "hunter2" not in str(caught.value)


async def test_a_fresh_request_passes_by_caches_and_kept_connections(server: LoopbackServer, client: Client) -> None:
    peers: list[object] = []
    asked: list[str | None] = []

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        asked.append(request.headers.get("cache-control"))
        return web.Response(text="fine")

    server.intercept = note
    for fresh in (False, False, True, True, False):
        await client.get(server.url, limit=10, fresh=fresh)
    assert asked == [None, None, "no-cache", "no-cache", None]
    assert peers[0] == peers[1] == peers[4]
    assert len({peers[0], peers[2], peers[3]}) == 3


async def test_a_query_is_posted_as_json(server: LoopbackServer, client: Client) -> None:
    bodies: list[object] = []

    async def read(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        assert request.content_type == "application/json"
        return web.json_response([])

    server.intercept = read
    response = await client.post_json(f"{server.url}/retrieve", {"logIndexes": [1, 2]}, limit=10)
    assert (response.body, bodies) == (b"[]", [{"logIndexes": [1, 2]}])


async def test_every_attempt_passes_the_gate_and_its_end_is_told(server: LoopbackServer, client: Client) -> None:
    told: list[tuple[float, int | None]] = []
    entered = 0.0

    class Turnstile:
        async def enter(self) -> float:
            nonlocal entered
            entered += 1
            return entered

        def leave(self, ticket: float, error: BaseException | None) -> None:
            told.append((ticket, error.status if isinstance(error, FetchError) else None))

    server.intercept = answers(status(429, Retry_After="0"), status(500), ok())
    await client.get(server.url, limit=10, gate=Turnstile())
    assert told == [(1, 429), (2, 500), (3, None)]


async def test_many_requests_at_once_keep_to_the_bound_on_connections(server: LoopbackServer) -> None:
    async def slow(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.005)
        return web.Response(text="fine")

    server.intercept = slow
    async with Client(FetchOptions(max_connections=3)) as client:
        await asyncio.gather(*(client.get(server.url, limit=10) for _ in range(20)))
    assert len(server.requests) == 20
    assert server.busiest <= 3


async def test_a_client_outside_its_context_says_so() -> None:
    with pytest.raises(RuntimeError, match="outside its context"):
        await Client(QUICK).get("http://127.0.0.1:1/", limit=1)


def test_an_excerpt_of_an_answer_is_one_short_printable_line() -> None:
    excerpt = Response(200, {"content-type": "text/html"}, (HTML * 10).encode() + b"\xff\n", "http://x").excerpt
    assert excerpt.isascii()
    assert excerpt.isprintable()
    assert len(excerpt) < 400


errors = st.one_of(
    st.integers(300, 599).map(lambda code: FetchError("x", status=code)),
    st.just(FetchError("x")),
    st.just(OversizeError("x", status=200)),
    st.just(NotFoundError("x", status=404)),
    st.floats(0, 86_400).map(lambda wait: RateLimitedError("x", retry_after=wait, status=429)),
)


@given(errors, st.integers(1, 10_000), st.floats(0, 1))
def test_a_wait_is_bounded_and_never_shorter_than_the_server_asked_for(
    error: FetchError, attempt: int, spread: float
) -> None:
    options = FetchOptions()
    wait = retry_delay(error, attempt, options, spread)
    if isinstance(error, RateLimitedError):
        if error.retry_after > options.max_retry_after:
            assert wait is None
        else:
            assert wait is not None
            assert wait >= error.retry_after
    elif isinstance(error, OversizeError | NotFoundError) or (error.status or 500) < 500:
        assert wait is None or error.status in {408, 425, 429}
    else:
        assert wait is not None
    assert wait is None or 0 < wait <= max(options.max_backoff, options.max_retry_after)


async def test_headers_are_sent_and_a_status_that_was_asked_for_is_an_answer(
    server: LoopbackServer, client: Client
) -> None:
    seen: list[str | None] = []

    async def intercept(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=307, text="a body nobody asked for", headers={"Location": "/there"})

    server.intercept = intercept
    response = await client.get(server.url, limit=0, headers={"authorization": "Bearer secret"}, also={307})
    assert (response.status, response.body, response.headers["location"]) == (307, b"", "/there")
    assert (seen, len(server.requests)) == (["Bearer secret"], 1)
    with pytest.raises(FetchError, match="307") as caught:
        await client.get(server.url, limit=0, headers={"authorization": "Bearer secret"}, also={301})
    assert "secret" not in str(caught.value) + repr(caught.value)


async def test_a_head_has_headers_and_no_body_whatever_they_say(server: LoopbackServer, client: Client) -> None:
    server.intercept = answers(ok(b"x" * 5000, X_Some="Thing", Content_Encoding="gzip"))
    response = await client.head(server.url, accept="text/plain")
    assert (response.status, response.body, response.headers["x-some"]) == (200, b"", "Thing")
    server.intercept = answers(status(404))
    with pytest.raises(NotFoundError, match="HEAD"):
        await client.head(server.url)
    server.intercept = answers(status(429, Retry_After="3600"))
    with pytest.raises(RateLimitedError):
        await client.head(server.url)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("toomanyrequests: retry-after: 985.86µs, allowed: 44000/minute", 0.00098586),
        ('{"message":"retry-after: 1.5ms, allowed"}', 0.0015),
        ('{"message":"retry-after: 20\\u00b5s, allowed"}', 0.00002),
        ("Retry-After: 1h2m3.5s", 3723.5),
        ("retry-after: 3ns", 3e-9),
        ("retry-after: 99999999999h", 86_400.0),
        ("retry-after: soon", 0.0),
        ("retry-after: 5", 0.0),
        ("slow down", 0.0),
    ],
)
async def test_a_duration_in_the_text_of_a_429_is_waited_for(
    server: LoopbackServer, client: Client, text: str, seconds: float
) -> None:
    server.intercept = answers(status(429, text))
    with pytest.raises(RateLimitedError) as caught:
        await client.get(server.url, limit=10, attempts=1)
    assert caught.value.retry_after == pytest.approx(seconds)


@pytest.fixture
async def proxied(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A client that reaches 127.0.0.2, where nobody listens, by way of the server as its proxy."""
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://user:word@"))
    async with Client(QUICK) as opened:
        yield opened


async def test_the_proxy_of_the_environment_is_taken_but_for_loopback_and_its_exceptions(
    server: LoopbackServer, proxied: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []

    async def intercept(request: web.Request) -> web.StreamResponse:
        seen.append((request.host.partition(":")[0], "Proxy-Authorization" in request.headers))
        return web.Response(body=b"fine")

    server.intercept = intercept
    assert (await proxied.get("http://127.0.0.2:9/a", limit=10)).body == b"fine"
    assert (await proxied.get(server.url, limit=10)).body == b"fine"
    assert seen == [("127.0.0.2", True), ("127.0.0.1", False)]
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    with pytest.raises(FetchError):
        await proxied.get("http://127.0.0.2:9/a", limit=10, attempts=1)
    assert len(seen) == 2


async def test_no_credentials_are_taken_out_of_a_netrc_file(
    server: LoopbackServer, proxied: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.2 login somebody password something\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[str | None] = []

    async def intercept(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=b"fine")

    server.intercept = intercept
    await proxied.get("http://127.0.0.2:9/", limit=10)
    await proxied.get("http://127.0.0.2:9/", limit=10, headers={"authorization": "Bearer own"})
    assert seen == [None, "Bearer own"]


async def test_a_proxy_that_is_no_url_is_a_fetch_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks9://x")
    with pytest.raises(FetchError, match="proxy"):
        async with Client(QUICK):
            pass
