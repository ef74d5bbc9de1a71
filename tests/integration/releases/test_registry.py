from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import tracemalloc
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError, RegistryError, SettingsError
from monitor.fetch import Client, FetchOptions
from monitor.releases.auth import Authorizer, Credentials
from monitor.releases.reference import OCI_INDEX, Reference
from monitor.releases.registry import MAX_KEPT, Registry, RegistryOptions
from monitor.testbed import oci
from monitor.testbed import registry as testbed
from tests.replay import LoopbackServer, ReplayRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUICK = FetchOptions(backoff=0.001, max_backoff=0.002, max_retry_after=0.05)
REPO = "trustacks/runner"


@pytest.fixture
async def server() -> AsyncIterator[testbed.Registry]:
    async with testbed.Registry() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(QUICK) as opened:
        yield opened


def options(server: testbed.Registry, **credentials: str) -> RegistryOptions:
    known = {server.host: Credentials(**credentials)} if credentials else {}
    return RegistryOptions({"runner": f"{server.host}/{REPO}"}, insecure_hosts=("127.0.0.1",), credentials=known)


def ref(server: testbed.Registry) -> Reference:
    return Reference(server.host, REPO)


def asked(server: testbed.Registry, path: str = "/v2/") -> list[tuple[str, str]]:
    return [(each.method, each.path.removeprefix(f"/v2/{REPO}/")) for each in server.seen(path)]


# tags


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


# manifests


async def test_manifests_of_every_type_are_read(server: testbed.Registry, client: Client) -> None:
    registry = Registry(client, options(server))
    made = {
        "oci": server.image(REPO, "oci"),
        "index": server.index(REPO, "index"),
        "docker": server.image(REPO, "docker", docker=True),
        "list": server.index(REPO, "list", docker=True),
        "artifact": server.artifact(REPO, "artifact"),
    }
    for tag, pushed in made.items():
        found = await registry.manifest(ref(server), tag)
        assert found is not None
        assert (found.digest, found.media_type, len(found.body)) == (pushed.digest, pushed.media_type, pushed.size)
        assert found.is_index is (tag in {"index", "list"})
        assert len(found.manifests if found.is_index else found.layers) == (2 if found.is_index else 1)
        assert found == await registry.manifest(ref(server), pushed.digest)
    artifact = await registry.manifest(ref(server), "artifact")
    assert artifact is not None
    assert artifact.artifact_type == "application/vnd.test.policy"
    assert artifact.config is not None
    assert artifact.config.media_type == oci.EMPTY_CONFIG


async def test_a_manifest_that_is_not_there_is_none(server: testbed.Registry, client: Client) -> None:
    server.image(REPO, "0.1.1")
    registry = Registry(client, options(server))
    assert await registry.manifest(ref(server), "0.1.2") is None
    assert await registry.resolve(ref(server), "0.1.2") is None
    assert await registry.manifest(ref(server), "sha256:" + "0" * 64) is None


async def test_an_idle_look_at_a_tag_is_one_head_and_a_digest_is_not_asked_for_again(
    server: testbed.Registry, client: Client
) -> None:
    pushed = server.image(REPO, "0.1.1")
    registry = Registry(client, options(server))
    for _ in range(3):
        assert await registry.resolve(ref(server), "0.1.1") == pushed.digest
        assert await registry.manifest(ref(server), pushed.digest)
    assert [method for method, _ in asked(server)] == ["GET", "HEAD", "HEAD"]


async def test_a_moved_tag_is_read_anew_and_a_deleted_one_is_none(server: testbed.Registry, client: Client) -> None:
    first = server.image(REPO, "0.1.1", "one")
    registry = Registry(client, options(server))
    assert await registry.resolve(ref(server), "0.1.1") == first.digest
    second = server.image(REPO, "0.1.1", "two")
    assert await registry.resolve(ref(server), "0.1.1") == second.digest != first.digest
    assert [method for method, _ in asked(server)] == ["GET", "HEAD", "GET"]
    server.tag(REPO, "0.1.1", first.digest)
    assert await registry.resolve(ref(server), "0.1.1") == first.digest
    server.untag(REPO, "0.1.1")
    assert await registry.resolve(ref(server), "0.1.1") is None


async def test_a_registry_without_head_or_digest_header_is_asked_by_get(client: Client) -> None:
    async with testbed.Registry(heads=False) as server:
        first = server.image(REPO, "0.1.1")
        registry = Registry(client, options(server))
        for _ in range(2):
            assert await registry.resolve(ref(server), "0.1.1") == first.digest
        server.heads, server.lies.digest_header = True, ""
        second = server.image(REPO, "0.1.1", "two")
        assert await registry.resolve(ref(server), "0.1.1") == second.digest


async def test_a_manifest_that_does_not_hash_to_its_digest_is_an_error_that_names_both(
    server: testbed.Registry, client: Client
) -> None:
    pushed = server.image(REPO, "0.1.1")
    false = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "layers": []}).encode()
    for name in ("0.1.1", pushed.digest):
        server.alter_manifest(REPO, name, false)
        with pytest.raises(RegistryError) as caught:
            await Registry(client, options(server)).manifest(ref(server), name)
        assert pushed.digest in str(caught.value)
        assert oci.digest_of(false) in str(caught.value)
        assert caught.value.cure


async def test_a_digest_header_is_held_against_the_bytes_whatever_its_algorithm(
    server: testbed.Registry, client: Client
) -> None:
    pushed = server.image(REPO, "0.1.1")
    server.lies.digest_header = "sha512:" + "0" * 128
    with pytest.raises(RegistryError, match="sha512:000"):
        await Registry(client, options(server)).resolve(ref(server), "0.1.1")
    server.lies.digest_header = "md5:nonsense"
    assert await Registry(client, options(server)).resolve(ref(server), "0.1.1") == pushed.digest


async def test_a_header_cannot_pass_another_kept_answer_for_a_manifest(client: Client) -> None:
    """A Docker-Content-Digest that spells the path of a kept list must not fetch that list out of memory."""
    async with LoopbackServer() as server:
        host = server.url.removeprefix("http://")
        path = "/v2/x/tags/list?n=1000"
        manifest = oci.compact(oci.manifest(oci.Pushed("sha256:" + "0" * 64, 2, oci.EMPTY_CONFIG), []))

        async def serve(request: web.Request) -> web.StreamResponse:
            headers = {"ETag": '"e"', "Docker-Content-Digest": path}
            if "/tags/" in request.path:
                return web.json_response({"tags": ["a"]}, headers=headers)
            return web.Response(body=manifest, content_type=oci.OCI_MANIFEST, headers=headers)

        server.intercept = serve
        registry, where = Registry(client, RegistryOptions({"a": f"{host}/x"}, ("127.0.0.1",))), Reference(host, "x")
        for _ in range(2):
            await registry.tags(where)
            assert await registry.resolve(where, "a") == oci.digest_of(manifest)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schemaVersion":1,"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
        oci.compact({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "layers": [], "manifests": []}),
        oci.compact({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "layers": [], "manifests": []}),
        oci.compact({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": []}),
        oci.compact({"schemaVersion": 2, "mediaType": "text/html"}),
        oci.compact({"schemaVersion": 2, "layers": [{"mediaType": "a/b", "digest": "sha256:1", "size": 1}]}),
        oci.compact({"schemaVersion": 2, "layers": [{"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": -1}]}),
        oci.compact(
            {"schemaVersion": 2, "layers": [{"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": True}]}
        ),
        oci.compact({"schemaVersion": 2, "layers": [{"digest": "sha256:" + "0" * 64, "size": 1}]}),
        oci.compact({"schemaVersion": 2, "layers": {}}),
        oci.compact({"schemaVersion": 2, "config": []}),
        oci.compact({"schemaVersion": 2, "annotations": {"a": 1}}),
        b'{"schemaVersion":2,"layers":[],"layers":[]}',
        b'{"schemaVersion":2,"layers":[],"Layers":[]}',
        b'{"schemaVersion":2,"subject":"sha256:0"}',
        b"[" * 100_000,
    ],
)
async def test_what_is_no_manifest_or_could_be_two_has_a_digest_and_no_reading(
    server: testbed.Registry, client: Client, document: bytes
) -> None:
    pushed = server.manifest(REPO, document, "0.1.1")
    registry = Registry(client, options(server))
    assert await registry.resolve(ref(server), "0.1.1") == pushed.digest
    with pytest.raises(RegistryError) as caught:
        await registry.manifest(ref(server), "0.1.1")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_a_manifest_over_the_bound_is_not_read(server: testbed.Registry, client: Client) -> None:
    server.manifest(REPO, b" " * ((4 << 20) + 1), "0.1.1")
    with pytest.raises(OversizeError):
        await Registry(client, options(server)).resolve(ref(server), "0.1.1")


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "a b", "sha256:12", "é", "a" * 129, "latest?x=1", "sha256:" + "A" * 64]
)
async def test_what_is_neither_tag_nor_digest_is_never_asked_for(
    server: testbed.Registry, client: Client, name: str
) -> None:
    registry = Registry(client, options(server))
    with pytest.raises(RegistryError):
        await registry.manifest(ref(server), name)
    with pytest.raises(RegistryError):
        await registry.referrers(ref(server), name)
    with pytest.raises(RegistryError):
        await registry.blob(ref(server), name, 10)
    assert not server.requests


async def test_what_is_kept_in_memory_is_bounded(server: testbed.Registry, client: Client) -> None:
    for number in range(12):
        server.manifest(REPO, b"%d" % number + b" " * ((4 << 20) - 10), f"huge-{number}")
    registry = Registry(client, options(server))
    tracemalloc.start()
    for number in range(12):
        assert await registry.resolve(ref(server), f"huge-{number}")
    gc.collect()  # what nobody holds any more is not kept
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MAX_KEPT + (8 << 20)
    assert await registry.resolve(ref(server), "huge-0")


# referrers


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


# blobs


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


# authorization


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


# a Docker configuration


def docker_config(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


async def test_a_docker_config_file_gives_the_credentials_of_its_hosts(client: Client, tmp_path: Path) -> None:
    async with testbed.Registry(protection="token") as server:
        server.users["bot"] = "wo:rd"
        server.image(REPO, "0.1.1")
        auth = b64encode(b"bot:wo:rd").decode()
        for held in ({"auth": auth}, {"username": "bot", "password": "wo:rd"}):
            for key in (server.host, f"https://{server.host}", f"http://{server.host}/v2/"):
                path = docker_config(tmp_path / "config.json", {"auths": {"ghcr.io": {}, key: held}})
                registry = Registry(client, replace(options(server), docker_config=path))
                assert await registry.tags(ref(server)) == ("0.1.1",)


async def test_credentials_of_the_settings_come_before_those_of_the_file(client: Client, tmp_path: Path) -> None:
    async with testbed.Registry(protection="token") as server:
        server.users["bot"] = "right"
        server.image(REPO, "0.1.1")
        held = {"username": "bot", "password": "wrong"}
        path = docker_config(tmp_path / "config.json", {"auths": {server.host: held}})
        known = options(server, username="bot", password="right")  # noqa: S106 - of a test
        assert await Registry(client, replace(known, docker_config=path)).tags(ref(server)) == ("0.1.1",)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"auths": []},
        {"auths": {"HOST": "x"}},
        {"auths": {"HOST": {"auth": "not base64!"}}},
        {"auths": {"HOST": {"auth": 5}}},
        {"auths": {"HOST": {"username": "bot"}}},
        {"auths": {"HOST": {"identitytoken": "secret-x"}}},
        {"auths": {"HOST": {}}, "credsStore": "desktop"},
        {"credHelpers": {"HOST": "gcloud"}},
    ],
)
async def test_a_docker_config_file_of_no_use_is_a_settings_error_without_its_secrets(
    server: testbed.Registry, client: Client, tmp_path: Path, document: object
) -> None:
    text = json.dumps(document).replace("HOST", server.host)
    path = docker_config(tmp_path / "config.json", json.loads(text))
    with pytest.raises(SettingsError) as caught:
        Registry(client, replace(options(server), docker_config=path))
    assert "secret-x" not in str(caught.value)
    assert caught.value.cure


async def test_a_docker_config_file_that_is_missing_or_no_json_is_a_settings_error(
    server: testbed.Registry, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError):
        Registry(client, replace(options(server), docker_config=tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text('{"auths": {"x": "secret-x')
    with pytest.raises(SettingsError) as caught:
        Registry(client, replace(options(server), docker_config=tmp_path / "bad.json"))
    assert "secret-x" not in str(caught.value)


async def test_what_a_docker_config_file_says_of_other_hosts_does_not_matter(
    server: testbed.Registry, client: Client, tmp_path: Path
) -> None:
    server.image(REPO, "0.1.1")
    document = {"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}, "auths": {"ghcr.io": {"auth": "!"}}}
    path = docker_config(tmp_path / "config.json", document)
    assert await Registry(client, replace(options(server), docker_config=path)).tags(ref(server)) == ("0.1.1",)


# a registry that is not well


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


# settings


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ghcr.io",
        "trustacks/runner",
        "ghcr.io/",
        "ghcr.io/Trustacks/runner",
        "ghcr.io/trustacks/runner:0.1.1",
        "ghcr.io/trustacks/runner@sha256:" + "0" * 64,
        "https://ghcr.io/trustacks/runner",
        "ghcr.io/trustacks//runner",
        "ghcr.io/../etc",
        "user@ghcr.io/a",
        "ghcr.io:port/a",
        "ghcr.io/" + "a" * 256,
        "ghcr.io/a\u202eb",
    ],
)
def test_a_reference_that_is_none_is_a_settings_error(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RegistryOptions({"runner": text})
    assert str(caught.value).isprintable()


def test_a_reference_has_a_host_and_a_repository() -> None:
    assert Reference.parse("GHCR.io/trustacks/policy/constitution") == Reference(
        "ghcr.io", "trustacks/policy/constitution"
    )
    assert Reference.parse("localhost/a__b/c-d.e").repository == "a__b/c-d.e"
    assert str(Reference.parse("[::1]:5000/a")) == "[::1]:5000/a"


@pytest.mark.parametrize(
    "host", ["ghcr.io", "10.0.0.1:5000", "127.0.0.1.evil.example", "localhost.evil.example", "", "["]
)
def test_only_this_machine_may_be_asked_by_http(host: str) -> None:
    with pytest.raises(SettingsError, match="not this machine"):
        RegistryOptions(insecure_hosts=(host,))


def test_a_host_is_insecure_with_its_port_or_with_any() -> None:
    any_port = RegistryOptions(insecure_hosts=("127.0.0.1", "[::1]:5000"))
    assert any_port.insecure("127.0.0.1:5000")
    assert any_port.insecure("[::1]:5000")
    assert not any_port.insecure("[::1]:5001")
    assert not any_port.insecure("ghcr.io")
    assert any_port.refresh_interval == timedelta(minutes=5)


@pytest.mark.parametrize("wrong", [("a:b", "c", ""), ("a", "", ""), ("", "c", ""), ("", "", "a b"), ("", "", "a\nb")])
def test_credentials_that_cannot_be_sent_are_a_settings_error(wrong: tuple[str, str, str]) -> None:
    with pytest.raises(SettingsError):
        Credentials(*wrong)


# the recording, and a real registry


async def test_the_recorded_registry_is_read_whole(client: Client) -> None:
    async with ReplayRegistry() as server:
        chosen = RegistryOptions(server.repositories(), insecure_hosts=("127.0.0.1",))
        registry = Registry(client, chosen)
        assert set(chosen.references) == {"control-plane", "runner", "ui", "policy/constitution"}
        bundles = 0
        for where in chosen.references.values():
            tags = await registry.tags(where)
            assert {"0.1.1", "0.1.2", "0.1.3", "0.2.0-rc1"} <= set(tags)
            for tag in tags:
                digest = await registry.resolve(where, tag)
                assert digest
                for each in await registry.referrers(where, digest):
                    manifest = await registry.manifest(where, each.digest)
                    assert manifest is not None
                    assert manifest.artifact_type == oci.BUNDLE
                    data = await registry.blob(where, manifest.layers[0].digest, 8 << 20)
                    assert json.loads(data)["mediaType"] == oci.BUNDLE
                    bundles += 1
                if tag.endswith(".sig"):
                    layers = await registry.manifest(where, tag)
                    assert layers is not None
                    assert "dev.cosignproject.cosign/signature" in layers.layers[0].annotations
        assert bundles > 20


@asynccontextmanager
async def docker_registry(folder: Path) -> AsyncIterator[str]:
    """A real docker-registry on a free port; its host."""
    binary = shutil.which("docker-registry") or shutil.which("registry")
    if binary is None:
        if os.environ.get("MONITOR_REAL") == "required":
            pytest.fail("docker-registry is not on the PATH")
        pytest.skip("docker-registry is not on the PATH")
    async with LoopbackServer() as placeholder:
        host = placeholder.url.removeprefix("http://")
    config = folder / "registry.yml"
    storage = f"{{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {storage}\nhttp: {{addr: '{host}'}}\n")
    process = await asyncio.create_subprocess_exec(
        binary, "serve", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with Client(QUICK) as client:
            for _ in range(6000):
                try:
                    await client.get(f"http://{host}/v2/", limit=100, attempts=1)
                    break
                except FetchError:
                    await asyncio.sleep(0.05)
        yield host
    finally:
        process.terminate()
        await process.wait()


async def test_a_real_docker_registry_is_read(client: Client, tmp_path: Path) -> None:
    import aiohttp  # noqa: PLC0415 - only to push

    async with docker_registry(tmp_path) as host, aiohttp.ClientSession() as session:
        made = testbed.Registry()
        index = made.index(REPO, "0.1.1")
        made.attach_bundle(REPO, index.digest, b'{"a":1}', "https://a.b/c")
        held = made.repository(REPO)
        for digest, data in held.blobs.items():
            async with session.post(f"http://{host}/v2/{REPO}/blobs/uploads/") as reply:
                where = reply.headers["Location"]
            async with session.put(f"{where}&digest={digest}", data=data) as reply:
                assert reply.status == 201
        for digest, (media_type, data) in held.manifests.items():
            names = [digest, *(tag for tag, named in held.tags.items() if named == digest)]
            for name in names:
                url = f"http://{host}/v2/{REPO}/manifests/{name}"
                async with session.put(url, data=data, headers={"Content-Type": media_type}) as reply:
                    assert reply.status == 201, await reply.text()
        registry = Registry(client, RegistryOptions({"runner": f"{host}/{REPO}"}, insecure_hosts=(host,)))
        where_it_is = Reference(host, REPO)
        assert set(await registry.tags(where_it_is)) == {"0.1.1", index.digest.replace(":", "-")}
        for _ in range(2):
            assert await registry.resolve(where_it_is, "0.1.1") == index.digest
        found = await registry.manifest(where_it_is, "0.1.1")
        assert found is not None
        assert len(found.manifests) == 2
        (bundle,) = await registry.referrers(where_it_is, index.digest)
        manifest = await registry.manifest(where_it_is, bundle.digest)
        assert manifest is not None
        assert await registry.blob(where_it_is, manifest.layers[0].digest, 100) == b'{"a":1}'
        assert await registry.resolve(where_it_is, "0.9.9") is None
        url = f"http://{host}/v2/{REPO}/manifests/{index.digest}"
        async with session.delete(url) as reply:
            assert reply.status == 202
        assert await registry.resolve(where_it_is, "0.1.1") is None
