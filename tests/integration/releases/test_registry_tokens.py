"""Tokens and credentials: shown to whom they are meant for, renewed in time, and in no message."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.errors import NotFoundError, RegistryError
from monitor.releases.auth import Authorizer, Credentials
from monitor.releases.reference import Reference
from monitor.releases.registry import Registry
from monitor.testbed import registry as testbed
from tests.integration.releases.asked import REPO, asked, options, ref

if TYPE_CHECKING:
    from monitor.fetch import Client


async def test_anybody_gets_a_token_for_one_repository_and_it_serves_many_requests(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        server.fill(REPO, 250)
        registry = Registry(client, options(server))
        assert len(await registry.tags(ref(server))) == 250
        (token,) = server.seen("/token")
        assert token.path == f"/token?service={server.host}&scope=repository:{REPO}:pull"
        assert "Authorization" not in token.headers
        assert len(asked(server)) == 4


async def test_many_requests_at_once_ask_for_one_token(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        pushed = [server.image(REPO, f"0.1.{number}") for number in range(20)]
        registry = Registry(client, options(server))
        found = await asyncio.gather(*(registry.resolve(ref(server), f"0.1.{number}") for number in range(20)))
        assert found == [each.digest for each in pushed]
        assert len(list(server.seen("/token"))) == 1


async def test_a_token_that_is_over_is_renewed(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        server.image(REPO, "0.1.1")
        registry = Registry(client, options(server))
        for life in (None, 1, 300):
            server.token_life = life
            server.forget_tokens()
            assert await registry.tags(ref(server)) == ("0.1.1",)
        assert len(list(server.seen("/token"))) == 3


async def test_a_token_is_renewed_before_it_ends_and_its_life_is_bounded(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        now = [0.0]
        auth = Authorizer(client, {}, lambda _host: True, clock=lambda: now[0])
        challenge = f'Basic realm="x", Bearer realm="{server.url}/token",service="a \\"b\\""'
        first = await auth.answer(ref(server), challenge, "")
        assert next(server.seen("/token")).path.startswith("/token?service=a+%22b%22&")
        for moment, life, renewed in (
            (239.0, 300, False),
            (241.0, None, True),
            (288.0, None, False),
            (290.0, 10**9, True),
        ):
            now[0], server.token_life = moment, life
            header = await auth.header(ref(server))
            assert (header != first) is renewed
            first = header
        now[0] += 3601.0
        assert await auth.header(ref(server)) != first


async def test_each_repository_has_its_own_token(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        for name in ("a/one", "a/two"):
            server.image(name, "1")
        registry = Registry(client, options(server))
        for name in ("a/one", "a/two", "a/one"):
            assert await registry.tags(Reference(server.host, name)) == ("1",)
        assert len(list(server.seen("/token"))) == 2


async def test_credentials_are_shown_to_the_token_service_alone(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        server.users["bot"] = "pat-secret"
        server.image(REPO, "0.1.1")
        registry = Registry(client, options(server, username="bot", password="pat-secret"))  # noqa: S106 - of a test
        assert await registry.tags(ref(server)) == ("0.1.1",)
        basic = f"Basic {b64encode(b'bot:pat-secret').decode()}"
        assert [each.headers.get("Authorization") for each in server.seen("/token")] == [basic]
        assert basic not in [each.headers.get("Authorization") for each in server.seen("/v2/")]


async def test_credentials_are_not_shown_to_a_token_service_elsewhere_unless_it_is_named(client: Client) -> None:
    async with testbed.Registry(protection="token") as server, testbed.Registry(protection="token") as other:
        server.image(REPO, "0.1.1")
        server.realm = f"{other.url}/token"
        known = options(server, username="bot", password="pat-secret")  # noqa: S106 - of a test
        with pytest.raises(RegistryError, match="not shown to another host"):
            await Registry(client, known).tags(ref(server))
        assert not other.requests
        named = Credentials("bot", "pat-secret", token_host=other.host)
        with pytest.raises(RegistryError):  # its tokens are worth nothing here, but it was asked
            await Registry(client, replace(known, credentials={server.host: named})).tags(ref(server))
        assert len(list(other.seen("/token"))) == 1


@pytest.mark.parametrize(
    "realm", ["http://evil.example/token", "https://u:p@evil.example/token", "//x", "ftp://x/y", "https://["]
)
async def test_a_token_service_that_is_no_https_url_is_refused(client: Client, realm: str) -> None:
    async with testbed.Registry(protection="token") as server:
        server.image(REPO, "0.1.1")
        server.realm = realm
        with pytest.raises(RegistryError, match="token service"):
            await Registry(client, options(server)).tags(ref(server))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"token": 5}'),
        (200, b'{"token": "a\\r\\nX-Evil: 1"}'),
        (200, b'{"token": ""}'),
        (200, b'{"token":"a","token":"b"}'),
        (401, b"{}"),
        (403, b"{}"),
        (404, b"{}"),
    ],
)
async def test_a_token_service_that_gives_no_token_is_a_registry_error_and_never_an_absence(
    client: Client, status: int, body: bytes
) -> None:
    async with testbed.Registry(protection="token") as server:
        server.image(REPO, "0.1.1")
        server.reply(status=status, body=body, content_type="application/json", path_prefix="/token")
        with pytest.raises(RegistryError, match="no token") as caught:
            await Registry(client, options(server)).resolve(ref(server), "0.1.1")
        assert not isinstance(caught.value, NotFoundError)


async def test_a_token_that_is_refused_is_not_asked_for_in_a_circle(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        server.image(REPO, "0.1.1")
        server.reply(
            status=200, body=b'{"token": "of no worth"}', content_type="application/json", path_prefix="/token"
        )
        registry = Registry(client, options(server))
        with pytest.raises(RegistryError):
            await registry.tags(ref(server))
        server.heal()
        server.reply(status=200, body=b'{"token": "worthless"}', content_type="application/json", path_prefix="/token")
        with pytest.raises(RegistryError, match="401"):
            await registry.tags(ref(server))
        assert len(server.requests) <= 6


async def test_a_password_is_sent_only_when_it_is_asked_for(client: Client) -> None:
    async with testbed.Registry(protection="basic") as server:
        server.users["bot"] = "word"
        server.image(REPO, "0.1.1")
        registry = Registry(client, options(server, username="bot", password="word"))  # noqa: S106 - of a test
        for _ in range(2):
            assert await registry.tags(ref(server)) == ("0.1.1",)
        assert ["Authorization" in each.headers for each in server.requests] == [False, True, True]
        wrong = Registry(client, options(server, username="bot", password="other"))  # noqa: S106 - of a test
        with pytest.raises(RegistryError, match="401") as caught:
            await wrong.tags(ref(server))
        assert "other" not in str(caught.value)
        with pytest.raises(RegistryError, match="no such credentials"):
            await Registry(client, options(server)).tags(ref(server))


async def test_a_ready_token_is_sent_from_the_start_and_never_exchanged(client: Client) -> None:
    async with testbed.Registry(protection="token") as server:
        server.image(REPO, "0.1.1")
        token = server.new_token(f"repository:{REPO}:pull", "")
        assert token
        registry = Registry(client, options(server, token=token))
        assert await registry.tags(ref(server)) == ("0.1.1",)
        server.forget_tokens()
        with pytest.raises(RegistryError, match="refused the credentials"):
            await registry.tags(ref(server))
        assert not list(server.seen("/token"))


async def test_no_secret_is_in_a_repr(server: testbed.Registry) -> None:
    known = options(server, username="bot", password="pat-secret")  # noqa: S106 - of a test
    assert "pat-secret" not in repr(known) + repr(known.credentials)
    assert "tok-secret" not in repr(Credentials(token="tok-secret"))  # noqa: S106 - of a test


async def test_a_forbidden_repository_is_an_error_that_asks_for_credentials(
    server: testbed.Registry, client: Client
) -> None:
    server.reply(status=403, body=b'{"errors":[{"code":"DENIED"}]}', content_type="application/json")
    with pytest.raises(RegistryError, match="DENIED") as caught:
        await Registry(client, options(server)).manifest(ref(server), "0.1.1")
    assert "credentials" in caught.value.cure
