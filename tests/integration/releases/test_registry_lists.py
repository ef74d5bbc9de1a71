"""A registry's tags: every page of them, from its own server alone, and nothing that is no list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from monitor.errors import NotFoundError, RegistryError
from monitor.releases.reference import Reference
from monitor.releases.registry import Registry, RegistryOptions
from tests.integration.releases.asked import REPO, options, ref
from tests.replay import LoopbackServer

if TYPE_CHECKING:
    from monitor.fetch import Client
    from monitor.testbed import registry as testbed


async def test_every_tag_is_listed_over_all_pages(server: testbed.Registry, client: Client) -> None:
    tags = server.fill(REPO, 10_000)
    found = await Registry(client, options(server)).tags(ref(server))
    assert list(found) == tags
    assert len(server.requests) == 100


async def test_a_repository_without_tags_has_none_and_an_unknown_one_is_not_found(
    server: testbed.Registry, client: Client
) -> None:
    server.image(REPO, "")
    registry = Registry(client, options(server))
    assert await registry.tags(ref(server)) == ()
    with pytest.raises(NotFoundError, match="NAME_UNKNOWN"):
        await registry.tags(Reference(server.host, "trustacks/nowhere"))


async def test_more_tags_than_the_bound_are_an_error_and_never_a_shortened_list(
    server: testbed.Registry, client: Client
) -> None:
    server.page_size = 1000
    server.fill(REPO, 20_001)
    with pytest.raises(RegistryError, match="more than 20000 tags"):
        await Registry(client, options(server)).tags(ref(server))


async def test_more_pages_than_the_bound_are_an_error(server: testbed.Registry, client: Client) -> None:
    server.page_size = 1
    server.fill(REPO, 300)
    with pytest.raises(RegistryError, match="more than 200 pages"):
        await Registry(client, options(server)).tags(ref(server))
    assert len(server.requests) == 200


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example/v2/trustacks/runner/tags/list?last=a>; rel="next"',
        '<//evil.example/v2/x/tags/list>; rel="next"',
        '<http://127.0.0.1:1/v2/trustacks/runner/tags/list?last=a>; rel="next"',
        '<https://[/v2/>; rel="next"',
        '</token?scope=x>; rel="next"',
        '<file:///v2/etc/passwd>; rel="next"',
    ],
)
async def test_a_next_page_elsewhere_is_refused_and_nobody_is_asked(
    server: testbed.Registry, client: Client, link: str
) -> None:
    server.fill(REPO, 3)
    server.lies.link = link
    with pytest.raises(RegistryError, match="not the same server"):
        await Registry(client, options(server)).tags(ref(server))
    assert len(server.requests) == 1


async def test_a_list_that_leads_back_to_itself_is_refused(server: testbed.Registry, client: Client) -> None:
    server.fill(REPO, 3)
    server.lies.link = f'</v2/{REPO}/tags/list?n=1000>; rel="next"'
    with pytest.raises(RegistryError, match="leads back to itself"):
        await Registry(client, options(server)).tags(ref(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("link", "followed"),
    [
        ('<?last=x>; rel="next"', True),
        ("<?last=x>; rel=next", True),
        ('<?last=y>; rel="prev", <?last=x>; title="a, b"; REL="last next"', True),
        ('<?last=x>; rel="nextish"', False),
        ('<?last=x>; title="next"', False),
        ("?last=x; rel=next", False),
    ],
)
async def test_only_a_link_to_the_next_page_is_followed(
    server: testbed.Registry, client: Client, link: str, *, followed: bool
) -> None:
    server.fill(REPO, 3)
    server.lies.link = link
    registry = Registry(client, options(server))
    if followed:
        with pytest.raises(RegistryError, match="leads back"):
            await registry.tags(ref(server))
        assert server.requests[-1].path.endswith("tags/list?last=x")
    else:
        assert len(await registry.tags(ref(server))) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"[]",
        b"{}",
        b'{"tags": "a"}',
        b'{"tags": [1]}',
        b'{"tags": ["a/../b"]}',
        b'{"tags": ["a"], "tags": ["b"]}',
        b'{"tags": ["' + b"a" * 129 + b'"]}',
        b'{"tags": ["\xff"]}',
    ],
)
async def test_what_is_no_list_of_tags_is_a_registry_error(
    server: testbed.Registry, client: Client, body: bytes
) -> None:
    server.reply(body=body, content_type="application/json")
    with pytest.raises(RegistryError) as caught:
        await Registry(client, options(server)).tags(ref(server))
    assert str(caught.value).isprintable()


async def test_a_list_that_the_registry_says_still_holds_is_not_read_again(client: Client) -> None:
    async with LoopbackServer() as server:
        seen: list[str | None] = []

        async def serve(request: web.Request) -> web.StreamResponse:
            seen.append(request.headers.get("If-None-Match"))
            if seen[-1] == '"one"':
                return web.Response(status=304)
            return web.json_response({"tags": ["0.1.1"]}, headers={"ETag": '"one"'})

        server.intercept = serve
        host = server.url.removeprefix("http://")
        registry = Registry(client, RegistryOptions({"a": f"{host}/x"}, ("127.0.0.1",)))
        for _ in range(3):
            assert await registry.tags(Reference(host, "x")) == ("0.1.1",)
        assert seen == [None, '"one"', '"one"']
