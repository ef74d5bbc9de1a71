"""A registry that is down, slow or asks for patience is an error, and never an absence."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.errors import FetchError, NotFoundError, RateLimitedError
from monitor.releases.registry import Registry
from monitor.testbed import registry as testbed
from tests.integration.releases.asked import REPO, options, ref

if TYPE_CHECKING:
    from monitor.fetch import Client


async def test_a_registry_asked_too_often_is_rate_limited_with_the_time_it_names(
    server: testbed.Registry, client: Client
) -> None:
    registry = Registry(client, options(server))
    body = "toomanyrequests: retry-after: 1m985.86µs, allowed: 44000/minute"
    told = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": body}]})
    for header, text, seconds in (
        ("7", "", 7.0),
        (None, body, 60.00098586),
        (None, told, 60.00098586),
        ("9", body, 9.0),
    ):
        server.heal()
        server.rate_limit(header=header, body=text)
        with pytest.raises(RateLimitedError) as caught:
            await registry.tags(ref(server))
        assert caught.value.retry_after == pytest.approx(seconds)
    server.heal()
    server.image(REPO, "0.1.1")
    server.rate_limit(body="retry-after: 985.86µs", times=2)
    assert await registry.tags(ref(server)) == ("0.1.1",)


async def test_a_token_service_asked_too_often_is_rate_limited_too(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        server.rate_limit(header="30", path_prefix="/token")
        with pytest.raises(RateLimitedError):
            await Registry(client, options(server)).tags(ref(server))


async def test_a_registry_that_is_down_is_an_error_and_never_an_absence(
    server: testbed.Registry, client: Client
) -> None:
    image = server.image(REPO, "0.1.1")
    registry = Registry(client, options(server))
    assert await registry.resolve(ref(server), "0.1.1") == image.digest
    await server.stop()
    for attempt in (
        registry.tags(ref(server)),
        registry.resolve(ref(server), "0.1.1"),
        registry.manifest(ref(server), "0.1.1"),
        registry.referrers(ref(server), image.digest),
    ):
        with pytest.raises(FetchError) as caught:
            await attempt
        assert not isinstance(caught.value, NotFoundError)
    await server.start()
    server.reply(status=502, body=b"<html>Bad Gateway")
    with pytest.raises(FetchError):
        await registry.resolve(ref(server), "0.1.1")


async def test_no_more_requests_are_in_flight_than_the_options_say(server: testbed.Registry, client: Client) -> None:
    for number in range(30):
        server.image(REPO, f"0.1.{number}")
    busiest = busy = 0
    real = server.allows

    def watched(repository: str, authorization: str) -> bool:
        nonlocal busy, busiest
        busy += 1
        busiest = max(busiest, busy)
        asyncio.get_running_loop().call_later(0.01, done)
        return real(repository, authorization)

    def done() -> None:
        nonlocal busy
        busy -= 1

    server.hang(0.02)
    server.allows = watched  # type: ignore[method-assign]  # to look over its shoulder
    registry = Registry(client, replace(options(server), in_flight=3))
    await asyncio.gather(*(registry.resolve(ref(server), f"0.1.{number}") for number in range(30)))
    assert 1 <= busiest <= 3
