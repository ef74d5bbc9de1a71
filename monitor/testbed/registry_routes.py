"""The OCI distribution API word for word, with its token service: paths, codes, headers, as docker-registry and ghcr.io answer.

It asks the registry what lies there and what to lie about. The words were compared with a recording of docker-registry 2.8.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from monitor.testbed import oci
from monitor.testbed.server import json_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.testbed.registry import Registry, Repository

VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
CHUNK: Final = 1 << 16
_PATH: Final = re.compile(r"(?P<name>.+?)/(?:(?P<kind>manifests|blobs|referrers)/(?P<what>[^/]+)|tags/list)")


class RegistryRoutes:
    """The interface of one registry."""

    def __init__(self, registry: Registry) -> None:
        """Serve `registry`."""
        self._registry = registry

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add every path."""
        router.add_get("/token", self._token)
        router.add_get("/v2/", self._version)
        router.add_get("/v2/{path:.+}", self._serve)

    async def _version(self, request: web.Request) -> web.StreamResponse:
        if not self._registry.allows("", request.headers.get("Authorization", "")):
            return self._challenge("")
        return json_reply({}, headers=VERSION)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        token = self._registry.new_token(request.query.get("scope", ""), request.headers.get("Authorization", ""))
        if token is None:
            return _error(401, "UNAUTHORIZED", "authentication required")
        life = self._registry.token_life
        return json_reply({"token": token} | ({} if life is None else {"expires_in": life}))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = _PATH.fullmatch(request.match_info["path"])
        repository = None if path is None else self._registry.known(path["name"])
        refusal = self._refusal(request, path, repository)
        if refusal is not None or path is None or repository is None:
            return refusal or _nowhere()
        name, what = path["name"], path["what"]
        match path["kind"]:
            case "manifests":
                return self._manifest(request, name, what, repository)
            case "blobs":
                return await self._blob(request, name, what, repository)
            case "referrers":
                return self._referrers(request, name, what)
            case _:
                return self._tags(request, name, repository)

    def _refusal(
        self, request: web.Request, path: re.Match[str] | None, repository: Repository | None
    ) -> web.StreamResponse | None:
        """Return why a request is not served; None where it is."""
        if path is None:
            return _nowhere()
        if not self._registry.allows(path["name"], request.headers.get("Authorization", "")):
            return self._challenge(path["name"])
        if request.method == "HEAD" and not self._registry.heads:
            return _error(405, "UNSUPPORTED", "The operation is unsupported.")
        if path["kind"] == "referrers" and not self._registry.referrers_api:
            return _nowhere()
        return _error(404, "NAME_UNKNOWN", "repository name not known to registry") if repository is None else None

    def _manifest(self, request: web.Request, name: str, what: str, repository: Repository) -> web.StreamResponse:
        digest = repository.tags.get(what, what)
        held = repository.manifests.get(digest)
        lies = self._registry.lies
        if held is None:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = held
        if media_type not in request.headers.get("Accept", ""):
            return _error(404, "MANIFEST_UNKNOWN", f"{media_type} found, but accept header does not support it")
        headers = {**VERSION, "ETag": f'"{digest}"', "Docker-Content-Digest": lies.digest_header or digest}
        if lies.digest_header == "":
            del headers["Docker-Content-Digest"]
        data = lies.manifests.get((name, what), lies.manifests.get((name, digest), data))
        return _found(request, data, lies.content_type or media_type, headers)

    async def _blob(self, request: web.Request, name: str, digest: str, repository: Repository) -> web.StreamResponse:
        huge = self._registry.lies.huge.get((name, digest))
        if huge is not None:
            return await _zeros(request, huge)
        if self._registry.blobs_at and digest in repository.blobs:
            target = f"{self._registry.blobs_at}/{name}/{digest}?signature=secret"
            return web.Response(status=307, headers={**VERSION, "Location": target})
        data = self._registry.lies.blobs.get((name, digest), repository.blobs.get(digest))
        if data is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {**VERSION, "ETag": f'"{digest}"', "Docker-Content-Digest": digest}
        return _found(request, data, "application/octet-stream", headers)

    def _referrers(self, request: web.Request, name: str, digest: str) -> web.StreamResponse:
        listed = self._registry.referring(name, digest)
        kind = request.query.get("artifactType")
        start = int(request.query.get("start", "0"))
        page = [each for each in listed if kind in {None, each.get("artifactType")}][start:]
        headers = dict(VERSION)
        if len(page) > self._registry.page_size:
            page = page[: self._registry.page_size]
            headers |= self._link(f"/v2/{name}/referrers/{digest}?start={start + len(page)}")
        return _found(request, oci.compact(oci.index(page)), oci.OCI_INDEX, headers)

    def _tags(self, request: web.Request, name: str, repository: Repository) -> web.StreamResponse:
        tags, last = list(repository.tags), request.query.get("last")
        start = tags.index(last) + 1 if last in repository.tags else 0
        asked = request.query.get("n", "")
        width = min(
            int(asked) if asked.isdigit() and int(asked) else self._registry.page_size, self._registry.page_size
        )
        page = tags[start : start + width]
        headers = dict(VERSION)
        if start + width < len(tags) or self._registry.lies.link:
            headers |= self._link(f"/v2/{name}/tags/list?last={quote(page[-1]) if page else ''}&n={width}")
        return _found(request, oci.compact({"name": name, "tags": page or None}), "application/json", headers)

    def _link(self, target: str) -> dict[str, str]:
        return {"Link": self._registry.lies.link or f'<{target}>; rel="next"'}

    def _challenge(self, name: str) -> web.StreamResponse:
        if self._registry.protection == "basic":
            challenge = 'Basic realm="registry"'
        else:
            realm = self._registry.realm or f"{self._registry.url}/token"
            challenge = f'Bearer realm="{realm}",service="{self._registry.host}",scope="repository:{name}:pull"'
        response = _error(401, "UNAUTHORIZED", "authentication required")
        response.headers["WWW-Authenticate"] = challenge
        return response


def _found(request: web.Request, data: bytes, media_type: str, headers: Mapping[str, str]) -> web.StreamResponse:
    """Return what was asked for, or 304 for whoever has it already."""
    tag = headers.get("ETag")
    if tag is not None and request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, content_type=media_type, headers=headers)


async def _zeros(request: web.Request, size: int) -> web.StreamResponse:
    """Send so many bytes, piece by piece."""
    response = web.StreamResponse(headers={**VERSION, "Content-Type": "application/octet-stream"})
    await response.prepare(request)
    for start in range(0, size, CHUNK):
        await response.write(bytes(min(CHUNK, size - start)))
    await response.write_eof()
    return response


def _nowhere() -> web.Response:
    return web.Response(status=404, text="404 page not found\n", headers=VERSION)


def _error(status: int, code: str, message: str) -> web.Response:
    return json_reply({"errors": [{"code": code, "message": message}]}, status=status, headers=VERSION)
