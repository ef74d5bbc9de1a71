"""Whole registries, recorded and real."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from monitor.errors import FetchError
from monitor.fetch import Client
from monitor.releases.reference import Reference
from monitor.releases.registry import Registry, RegistryOptions
from monitor.testbed import oci
from monitor.testbed import registry as testbed
from tests.integration.releases.asked import QUICK, REPO
from tests.replay import LoopbackServer, ReplayRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
