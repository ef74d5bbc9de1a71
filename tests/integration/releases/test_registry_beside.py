"""What lies beside a manifest: what refers to it, and the blobs, bounded, hashed, and followed elsewhere once."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from monitor.errors import FetchError, NotFoundError, OversizeError, RegistryError
from monitor.releases.reference import OCI_INDEX
from monitor.releases.registry import Registry
from monitor.testbed import oci
from monitor.testbed import registry as testbed
from tests.integration.releases.asked import REPO, options, ref
from tests.replay import LoopbackServer

if TYPE_CHECKING:
    from monitor.fetch import Client


@pytest.mark.parametrize("api", [True, False])
async def test_what_refers_to_a_digest_is_listed_by_the_api_or_else_by_its_tag(client: Client, *, api: bool) -> None:
    async with testbed.Registry(referrers_api=api, page_size=2) as server:
        image = server.image(REPO, "0.1.1")
        made = [server.attach_bundle(REPO, image.digest, b'{"n":%d}' % number, "https://a.b/c") for number in range(5)]
        registry = Registry(client, options(server))
        found = await registry.referrers(ref(server), image.digest)
        assert [each.digest for each in found] == [each.digest for each in made]
        manifest = await registry.manifest(ref(server), found[0].digest)
        assert manifest is not None
        assert manifest.subject is not None
        assert (manifest.subject.digest, manifest.artifact_type) == (image.digest, oci.BUNDLE)
        assert await registry.blob(ref(server), manifest.layers[0].digest, 100) == b'{"n":0}'
        assert await registry.referrers(ref(server), made[0].digest) == ()


async def test_a_referrer_is_listed_whatever_the_list_calls_its_type(server: testbed.Registry, client: Client) -> None:
    """Old tools wrote the configuration's type into the fallback index."""
    image = server.image(REPO, "0.1.1")
    document = oci.manifest(server.blob(REPO, b"{}", oci.EMPTY_CONFIG), [], artifact_type=oci.BUNDLE, subject=image)
    server.attach(REPO, image.digest, document, oci.EMPTY_CONFIG)
    (found,) = await Registry(client, options(server)).referrers(ref(server), image.digest)
    assert found.artifact_type == oci.EMPTY_CONFIG


async def test_an_api_that_answers_with_something_else_is_no_api(server: testbed.Registry, client: Client) -> None:
    image = server.image(REPO, "0.1.1")
    made = server.attach_bundle(REPO, image.digest, b"{}", "a")
    path = f"/v2/{REPO}/referrers/"
    for status, kind in ((200, "text/html"), (404, "text/html"), (405, "text/html"), (400, "application/json")):
        server.heal()
        server.reply(status=status, body=b"<html>", content_type=kind, path_prefix=path)
        (found,) = await Registry(client, options(server)).referrers(ref(server), image.digest)
        assert found.digest == made.digest


async def test_an_api_that_fails_is_an_error_and_never_nothing(server: testbed.Registry, client: Client) -> None:
    image = server.image(REPO, "0.1.1")
    path = f"/v2/{REPO}/referrers/"
    for status in (500, 403, 418):
        server.heal()
        server.reply(status=status, path_prefix=path)
        with pytest.raises(FetchError):
            await Registry(client, options(server)).referrers(ref(server), image.digest)
    server.heal()
    server.reply(status=200, body=b"{}", content_type=OCI_INDEX, path_prefix=path)
    with pytest.raises(RegistryError):
        await Registry(client, options(server)).referrers(ref(server), image.digest)


async def test_more_referrers_than_the_bound_are_an_error(client: Client) -> None:
    async with testbed.Registry() as server:
        image = server.image(REPO, "0.1.1")
        many = [oci.Pushed(f"sha256:{number:064x}", 1, oci.OCI_MANIFEST).descriptor() for number in range(2001)]
        server.manifest(REPO, oci.index(many), image.digest.replace(":", "-"))
        with pytest.raises(RegistryError, match="more than 2000"):
            await Registry(client, options(server)).referrers(ref(server), image.digest)


async def test_an_image_under_the_fallback_tag_refers_to_nothing(server: testbed.Registry, client: Client) -> None:
    image = server.image(REPO, "0.1.1")
    server.tag(REPO, image.digest.replace(":", "-"), image.digest)
    assert await Registry(client, options(server)).referrers(ref(server), image.digest) == ()


async def test_a_blob_is_hashed_and_one_that_is_another_is_refused(server: testbed.Registry, client: Client) -> None:
    pushed = server.blob(REPO, b"payload")
    registry = Registry(client, options(server))
    assert await registry.blob(ref(server), pushed.digest, 7) == b"payload"
    with pytest.raises(OversizeError):
        await registry.blob(ref(server), pushed.digest, 6)
    server.alter_blob(REPO, pushed.digest, b"another")
    with pytest.raises(RegistryError, match="hashes to"):
        await registry.blob(ref(server), pushed.digest, 7)
    with pytest.raises(NotFoundError):
        await registry.blob(ref(server), "sha256:" + "0" * 64, 7)


async def test_a_blob_of_100_mb_is_left_at_its_bound(server: testbed.Registry, client: Client) -> None:
    server.image(REPO, "0.1.1")
    pushed = server.huge_blob(REPO, 100 << 20)
    tracemalloc.start()
    with pytest.raises(OversizeError):
        await Registry(client, options(server)).blob(ref(server), pushed.digest, 8 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


async def test_a_blob_elsewhere_is_fetched_there_once_and_without_the_token(client: Client) -> None:
    async with testbed.Registry(protection="token") as server, LoopbackServer() as elsewhere:
        seen: list[web.Request] = []

        async def serve(request: web.Request) -> web.StreamResponse:
            seen.append(request)
            return web.Response(body=b"payload")

        elsewhere.intercept = serve
        pushed = server.blob(REPO, b"payload")
        server.blobs_at = elsewhere.url
        registry = Registry(client, options(server))
        assert await registry.blob(ref(server), pushed.digest, 7) == b"payload"
        (request,) = seen
        assert "Authorization" not in request.headers
        assert request.query["signature"] == "secret"


async def test_a_second_redirect_is_refused(server: testbed.Registry, client: Client) -> None:
    async with LoopbackServer() as elsewhere:

        async def serve(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": "https://evil.example/"})

        elsewhere.intercept = serve
        pushed = server.blob(REPO, b"payload")
        server.blobs_at = elsewhere.url
        with pytest.raises(FetchError, match="redirects are not followed"):
            await Registry(client, options(server)).blob(ref(server), pushed.digest, 7)
        assert len(elsewhere.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/blob",
        "ftp://127.0.0.1/x",
        "https://user:word@cdn.example/x",
        "https://[",
        "",
        "file:///etc/passwd",
    ],
)
async def test_a_blob_is_not_fetched_from_where_anybody_could_listen(
    server: testbed.Registry, client: Client, location: str
) -> None:
    pushed = server.blob(REPO, b"payload")
    server.reply(status=307, headers={"Location": location})
    with pytest.raises(RegistryError, match="not an https URL") as caught:
        await Registry(client, options(server)).blob(ref(server), pushed.digest, 7)
    assert "word" not in str(caught.value) or "@" in location


async def test_nothing_but_a_blob_is_followed_elsewhere(server: testbed.Registry, client: Client) -> None:
    server.image(REPO, "0.1.1")
    server.reply(status=307, headers={"Location": "/v2/other/manifests/0.1.1"})
    registry = Registry(client, options(server))
    with pytest.raises(FetchError, match="redirects are not followed"):
        await registry.tags(ref(server))
    with pytest.raises(FetchError, match="redirects are not followed"):
        await registry.manifest(ref(server), "0.1.1")
