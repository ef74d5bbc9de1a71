"""A real registry, Debian's `docker-registry`, and images as a build pushes them: by the distribution API, without Docker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp

from monitor.testbed import oci
from tests.real.programs import free_port
from tests.real.servers import Server

if TYPE_CHECKING:
    from pathlib import Path

POLICY_BUNDLE = "application/vnd.cncf.openpolicyagent.config.v1+json"
_TYPES = f"{oci.OCI_MANIFEST}, {oci.OCI_INDEX}"


class DockerRegistry(Server):
    """A registry that keeps its blobs in `folder`. `host` is how an image's reference begins."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.host = f"127.0.0.1:{free_port()}"
        self._session: aiohttp.ClientSession | None = None

    async def _start(self) -> None:
        settings = self.folder / "registry.yml"
        settings.write_text(
            "version: 0.1\n"
            "log: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: '{self.folder / 'blobs'}'}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.host}', secret: of-a-test}}\n"
        )
        server = await self._run("docker-registry", "docker-registry", "serve", settings)
        await server.reachable(f"http://{self.host}/v2/")
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession(f"http://{self.host}"))

    async def image(self, repository: str, tag: str, content: str, config: str = oci.CONFIG) -> oci.Pushed:
        """Push an image of one layer; with no tag it is reached by its digest alone."""
        layer = await self._blob(repository, content.encode(), oci.LAYER)
        described = oci.image_config("amd64", layer.digest) if config == oci.CONFIG else b"{}"
        document = oci.manifest(await self._blob(repository, described, config), [layer])
        return await self._manifest(repository, tag, oci.compact(document), oci.OCI_MANIFEST)

    async def index(self, repository: str, tag: str, *children: oci.Pushed) -> oci.Pushed:
        """Push an index of images that are there."""
        document = oci.compact(oci.index([each.descriptor() for each in children]))
        return await self._manifest(repository, tag, document, oci.OCI_INDEX)

    async def tag(self, repository: str, tag: str, digest: str) -> None:
        """Point a tag at what is there."""
        data, media_type = await self._read(repository, digest)
        await self._manifest(repository, tag, data, media_type)

    async def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest, and with it every tag of it."""
        async with self._open().delete(f"/v2/{repository}/manifests/{digest}") as reply:
            _expect(reply, 202)

    async def attach(self, repository: str, digest: str, bundle: bytes) -> None:
        """Put a bundle beside a manifest as cosign does where a registry has no referrers API: in the index of a tag."""
        data, media_type = await self._read(repository, digest)
        config = await self._blob(repository, b"{}", oci.EMPTY_CONFIG)
        layer = await self._blob(repository, bundle, oci.BUNDLE)
        subject = oci.Pushed(digest, len(data), media_type)
        document = oci.compact(oci.manifest(config, [layer], artifact_type=oci.BUNDLE, subject=subject))
        made = await self._manifest(repository, "", document, oci.OCI_MANIFEST)
        tag = digest.replace(":", "-")
        listed = oci.read((await self._read(repository, tag))[0])
        entry = replace(made, artifact_type=oci.BUNDLE).descriptor()
        await self._manifest(repository, tag, oci.compact(oci.index([*listed["manifests"], entry])), oci.OCI_INDEX)

    async def _read(self, repository: str, reference: str) -> tuple[bytes, str]:
        path = f"/v2/{repository}/manifests/{reference}"
        async with self._open().get(path, headers={"Accept": _TYPES}) as reply:
            _expect(reply, 200)
            return await reply.read(), reply.content_type

    async def _blob(self, repository: str, data: bytes, media_type: str) -> oci.Pushed:
        digest = oci.digest_of(data)
        async with self._open().post(f"/v2/{repository}/blobs/uploads/") as reply:
            _expect(reply, 202)
            place = reply.headers["Location"]
        kind = {"Content-Type": "application/octet-stream"}
        url = f"{place}{'&' if '?' in place else '?'}digest={digest}"
        async with aiohttp.ClientSession() as session, session.put(url, data=data, headers=kind) as reply:
            _expect(reply, 201)
        return oci.Pushed(digest, len(data), media_type)

    async def _manifest(self, repository: str, tag: str, data: bytes, media_type: str) -> oci.Pushed:
        digest = oci.digest_of(data)
        path = f"/v2/{repository}/manifests/{tag or digest}"
        async with self._open().put(path, data=data, headers={"Content-Type": media_type}) as reply:
            _expect(reply, 201)
        return oci.Pushed(digest, len(data), media_type)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the registry is not started")
        return self._session


def _expect(reply: aiohttp.ClientResponse, status: int) -> None:
    if reply.status != status:
        raise RuntimeError(f"{reply.method} {reply.url} answered {reply.status}, not {status}")
