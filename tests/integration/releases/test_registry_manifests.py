"""Manifests and indexes: of every type, hashed here, asked for no more than needed, and never read in two ways."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from monitor.errors import OversizeError, RegistryError
from monitor.releases.memory import MAX_KEPT
from monitor.releases.reference import Reference
from monitor.releases.registry import Registry, RegistryOptions
from monitor.testbed import oci
from monitor.testbed import registry as testbed
from tests.integration.releases.asked import REPO, asked, options, ref
from tests.replay import LoopbackServer

if TYPE_CHECKING:
    from monitor.fetch import Client


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
