"""An OCI registry: images, indexes, artifacts and signatures beside them, as ghcr.io and docker-registry serve them.

What is pushed lies in memory and is served at once. It can ask for a token or a password, leave things out, alter what it
serves and list without end; every lie is told until `tell_the_truth`. What is pushed is not checked.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from monitor.errors import NotFoundError
from monitor.testbed import oci
from monitor.testbed.oci import Pushed
from monitor.testbed.registry_routes import RegistryRoutes
from monitor.testbed.server import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp import web

Protection = Literal["none", "token", "basic"]

SIGNED_AT: Final = "2026-11-23T05:57:11Z"


@dataclass(slots=True)
class Repository:
    """What lies in one repository. Tags are in the order of their first push."""

    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)
    """Digest → media type and bytes."""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Lies:
    """What is shown in place of the truth."""

    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(repository, tag or digest) → other bytes under the true digest's header."""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    huge: dict[tuple[str, str], int] = field(default_factory=dict)
    """(repository, digest) → how many bytes are sent for the blob."""
    content_type: str = ""
    digest_header: str | None = None
    """In place of every Docker-Content-Digest; empty for none."""
    link: str = ""
    """In place of every Link header."""


class Registry(LoopbackServer):
    """The registry at `host`. By default anybody may read, and there is no referrers API, as at ghcr.io."""

    def __init__(
        self, *, protection: Protection = "none", referrers_api: bool = False, page_size: int = 100, heads: bool = True
    ) -> None:
        """Begin empty. A page of tags is never longer than `page_size`; without `heads`, HEAD is answered 405."""
        super().__init__()
        self.protection: Protection = protection
        self.referrers_api = referrers_api
        self.page_size = page_size
        self.heads = heads
        self.users: dict[str, str] = {}
        """Who may have a token or read by password; with none, every token is given to anybody."""
        self.realm = ""
        """The token service that challenges name; by default this server's own."""
        self.blobs_at = ""
        """Another server's base URL, to which blobs are redirected."""
        self.token_life: int | None = 300
        self.lies = Lies()
        self._repositories: dict[str, Repository] = {}
        self._tokens: dict[str, str] = {}

    @property
    def host(self) -> str:
        """Host and port, as references begin."""
        return self.url.removeprefix("http://")

    def repository(self, name: str) -> Repository:
        """Return a repository, made when it is first asked for here."""
        return self._repositories.setdefault(name, Repository())

    def known(self, name: str) -> Repository | None:
        """Return a repository that somebody pushed to."""
        return self._repositories.get(name)

    # pushing

    def blob(self, repository: str, data: bytes, media_type: str = oci.LAYER, **annotations: str) -> Pushed:
        """Push a blob."""
        pushed = Pushed(oci.digest_of(data), len(data), media_type, annotations=annotations)
        self.repository(repository).blobs[pushed.digest] = data
        return pushed

    def manifest(self, repository: str, document: oci.Document | bytes, tag: str = "", media_type: str = "") -> Pushed:
        """Push a manifest or index, by its digest and under a tag."""
        data = document if isinstance(document, bytes) else oci.compact(document)
        if isinstance(document, dict) and not media_type:
            media_type = str(document.get("mediaType") or oci.OCI_MANIFEST)
        pushed = Pushed(oci.digest_of(data), len(data), media_type or oci.OCI_MANIFEST)
        into = self.repository(repository)
        into.manifests[pushed.digest] = pushed.media_type, data
        if tag:
            into.tags[tag] = pushed.digest
        return pushed

    def image(
        self, repository: str, tag: str, content: str = "", *, architecture: str = "amd64", docker: bool = False
    ) -> Pushed:
        """Push an image with one layer that holds `content`, by default of its own."""
        layer = self.blob(repository, (content or f"{repository}:{tag} {architecture}").encode())
        config = self.blob(repository, oci.image_config(architecture, layer.digest), oci.CONFIG)
        media_type = oci.DOCKER_MANIFEST if docker else oci.OCI_MANIFEST
        return self.manifest(repository, oci.manifest(config, [layer], media_type=media_type), tag)

    def index(
        self, repository: str, tag: str, children: Mapping[str, Pushed] | None = None, *, docker: bool = False
    ) -> Pushed:
        """Push an index over images by architecture, by default of two new ones."""
        if children is None:
            children = {
                each: self.image(repository, "", f"{repository}:{tag} {each}", architecture=each, docker=docker)
                for each in ("amd64", "arm64")
            }
        listed = [
            child.descriptor() | {"platform": {"os": "linux", "architecture": each}} for each, child in children.items()
        ]
        media_type = oci.DOCKER_LIST if docker else oci.OCI_INDEX
        return self.manifest(repository, oci.index(listed, media_type), tag)

    def artifact(
        self, repository: str, tag: str, content: str = "", kind: str = "application/vnd.test.policy"
    ) -> Pushed:
        """Push an artifact that is no image, as a policy bundle."""
        layer = self.blob(repository, (content or f"{repository}:{tag}").encode(), kind)
        config = self.blob(repository, b"{}", oci.EMPTY_CONFIG)
        return self.manifest(repository, oci.manifest(config, [layer], artifact_type=kind), tag)

    def tag(self, repository: str, tag: str, digest: str) -> None:
        """Let a tag name a digest, whatever it named before."""
        self.repository(repository).tags[tag] = digest

    def untag(self, repository: str, tag: str) -> None:
        """Delete a tag; what it named stays."""
        self.repository(repository).tags.pop(tag, None)

    def fill(self, repository: str, count: int) -> list[str]:
        """Give one image `count` tags; the tags."""
        digest = self.image(repository, "").digest
        tags = [f"build-{number:05d}" for number in range(count)]
        self.repository(repository).tags.update(dict.fromkeys(tags, digest))
        return tags

    # beside

    def attach_bundle(self, repository: str, digest: str, bundle: bytes, predicate_type: str) -> Pushed:
        """Put a Sigstore bundle beside a manifest, as `cosign sign` and `cosign attest` do."""
        layer = self.blob(repository, bundle, oci.BUNDLE)
        config = self.blob(repository, b"{}", oci.EMPTY_CONFIG)
        annotations = {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate_type,
            "org.opencontainers.image.created": SIGNED_AT,
        }
        document = oci.manifest(
            config,
            [layer],
            artifact_type=oci.BUNDLE,
            subject=self.pushed(repository, digest),
            annotations=annotations,
        )
        return self.attach(repository, digest, document, oci.BUNDLE)

    def attach(self, repository: str, digest: str, document: oci.Document, artifact_type: str = "") -> Pushed:
        """Push a manifest that refers to another; where there is no referrers API, list it under `sha256-…`."""
        pushed = self.manifest(repository, document)
        if not self.referrers_api:
            tag = digest.replace(":", "-", 1)
            listed = self.referring(repository, digest, tag)
            listed.append(replace(pushed, artifact_type=artifact_type).descriptor())
            self.manifest(repository, oci.index(listed), tag)
        return pushed

    def attach_layer(
        self, repository: str, digest: str, suffix: Literal["sig", "att"], data: bytes, annotations: Mapping[str, str]
    ) -> Pushed:
        """Add a layer under the tag `sha256-….sig` or `.att`, as `cosign --new-bundle-format=false` does."""
        tag = f"{digest.replace(':', '-', 1)}.{suffix}"
        media_type = oci.SIMPLE_SIGNING if suffix == "sig" else oci.ENVELOPE
        layer = replace(self.blob(repository, data, media_type), annotations=annotations)
        layers = [*self.layers(repository, tag), layer]
        config = self.blob(repository, oci.image_config("", layer.digest), oci.CONFIG)
        return self.manifest(repository, oci.manifest(config, layers), tag)

    def pushed(self, repository: str, digest: str) -> Pushed:
        """Return what lies under a digest. NotFoundError."""
        found = self.repository(repository).manifests.get(digest)
        if found is None:
            raise NotFoundError(f"nothing was pushed to {repository} under {digest}")
        return Pushed(digest, len(found[1]), found[0])

    def layers(self, repository: str, tag: str) -> list[Pushed]:
        """Return the layers of what a tag names, none where there is no such tag."""
        return [
            Pushed(each["digest"], each["size"], each["mediaType"], annotations=each.get("annotations", {}))
            for each in self._listed(repository, tag, "layers")
        ]

    def referring(self, repository: str, digest: str, tag: str = "") -> list[oci.Document]:
        """Return the descriptors under a fallback tag, or, without one, of every manifest whose subject is `digest`."""
        if tag:
            return [dict(each) for each in self._listed(repository, tag, "manifests")]
        found = []
        for held, (media_type, data) in self.repository(repository).manifests.items():
            document = oci.read(data)
            if dict(document.get("subject") or {}).get("digest") == digest:
                pushed = Pushed(
                    held, len(data), media_type, document.get("artifactType", ""), document.get("annotations", {})
                )
                found.append(pushed.descriptor())
        return found

    # lies

    def alter_manifest(self, repository: str, name: str, data: bytes) -> None:
        """Serve other bytes for a tag or digest, under the true digest's header."""
        self.lies.manifests[repository, name] = data

    def alter_blob(self, repository: str, digest: str, data: bytes) -> None:
        """Serve other bytes for a blob."""
        self.lies.blobs[repository, digest] = data

    def huge_blob(self, repository: str, size: int) -> Pushed:
        """Pretend to hold a blob of `size` bytes."""
        pushed = Pushed(f"sha256:{secrets.token_hex(32)}", size, oci.BUNDLE)
        self.lies.huge[repository, pushed.digest] = size
        return pushed

    def rate_limit(
        self, *, header: str | None = None, body: str = "", times: int | None = None, path_prefix: str = ""
    ) -> None:
        """Answer 429, with a Retry-After header or a text such as ghcr.io's."""
        headers = {} if header is None else {"Retry-After": header}
        self.reply(status=429, body=body.encode(), headers=headers, times=times, path_prefix=path_prefix)

    def forget_tokens(self) -> None:
        """Let every token given out so far be over."""
        self._tokens.clear()

    def tell_the_truth(self) -> None:
        """Take back every lie and planned failure."""
        self.heal()
        self.lies = Lies()

    # what the routes ask

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the distribution API and the token service."""
        RegistryRoutes(self).add_to(router)

    def new_token(self, scope: str, authorization: str) -> str | None:
        """Return a token for a scope, None for whoever may not have one."""
        if self.users and authorization not in self._passwords():
            return None
        token = secrets.token_urlsafe(24)
        self._tokens[token] = scope
        return token

    def allows(self, repository: str, authorization: str) -> bool:
        """Tell whether a request may read a repository."""
        if self.protection == "none":
            return True
        if self.protection == "basic":
            return authorization in self._passwords()
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and self._tokens.get(token) == f"repository:{repository}:pull"

    def _passwords(self) -> Iterable[str]:
        return [f"Basic {b64encode(f'{user}:{word}'.encode()).decode()}" for user, word in self.users.items()]

    def _listed(self, repository: str, tag: str, name: str) -> Sequence[oci.Listed]:
        into = self.repository(repository)
        digest = into.tags.get(tag)
        return oci.read(into.manifests[digest][1]).get(name, []) if digest in into.manifests else []
