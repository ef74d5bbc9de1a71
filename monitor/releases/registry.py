"""Reads OCI registries (distribution specification 1.1): tags, manifests, what refers to them, and small blobs.

Everything it hands out was hashed here; where a registry contradicts a digest it raises. An idle refresh costs one HEAD a
tag. It never follows a list or a redirect with credentials to another host, and holds bounded memory whatever is served.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from monitor.entries import strictjson
from monitor.errors import FetchError, FormatError, NotFoundError, RegistryError, SettingsError
from monitor.model.text import clip, visible
from monitor.releases.auth import Authorizer, Credentials, read_docker_config
from monitor.releases.endpoint import Endpoint
from monitor.releases.memory import Answer, Memory
from monitor.releases.reference import (
    MANIFESTS,
    OCI_INDEX,
    Descriptor,
    Manifest,
    Reference,
    digest_of,
    host_name,
    is_digest,
    is_loopback,
    is_tag,
    read_manifest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from pathlib import Path

    from monitor.fetch import Client, Response

MAX_TAGS: Final = 20_000
MAX_TAG_PAGES: Final = 200
MAX_REFERRERS: Final = 2000
MAX_REFERRER_PAGES: Final = 50
MAX_MANIFEST: Final = 4 << 20
"""Bytes; the specification asks registries to take no more."""
_PAGE: Final = 1000
_MAX_PAGE: Final = 4 << 20
_SHOWN: Final = 80
_ACCEPT: Final = ", ".join(MANIFESTS)
_NO_SUCH_API: Final = frozenset({400, 404, 405, 406, 410, 501})
_NO_HEAD: Final = frozenset({400, 405, 501})
_LINK: Final = re.compile(r"<([^>]*)>((?:\s*;\s*[A-Za-z*]+\s*(?:=\s*(?:\"[^\"]*\"|[^\s;,\"]+))?)*)")
_NEXT: Final = re.compile(r";\s*rel\s*=\s*\"?(?:[^\";,]*\s)?next(?:\s[^\";,]*)?\"?\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Where the artifacts are. `repositories` maps an artifact to host and repository; with none, no registry is asked."""

    repositories: Mapping[str, str] = field(
        default_factory=lambda: {
            artifact: f"ghcr.io/trustacks/{artifact}"
            for artifact in ("control-plane", "runner", "ui", "policy/constitution")
        }
    )
    insecure_hosts: tuple[str, ...] = ()
    """Hosts (with or without a port) that are asked by http: of this machine alone."""
    refresh_interval: timedelta = timedelta(minutes=5)
    docker_config: Path | None = None
    credentials: Mapping[str, Credentials] = field(default_factory=dict, repr=False)
    """By host; they come before those of the Docker config file."""
    in_flight: int = 8

    def __post_init__(self) -> None:
        for text in self.repositories.values():
            Reference.parse(text)
        for host in self.insecure_hosts:
            if not is_loopback(host):
                raise SettingsError(
                    f"{visible(clip(host, _SHOWN))} cannot be an insecure host: it is not this machine",
                    cure="give the registry a certificate; only loopback is asked by http",
                )

    @property
    def references(self) -> dict[str, Reference]:
        """Artifact → repository."""
        return {artifact: Reference.parse(text) for artifact, text in self.repositories.items()}

    def insecure(self, host: str) -> bool:
        """Tell whether a host is asked by http."""
        return host in self.insecure_hosts or host_name(host) in self.insecure_hosts


class Registry:
    """Every registry that the options name. Safe to use from many tasks."""

    def __init__(self, client: Client, options: RegistryOptions) -> None:
        """Ask nobody yet. SettingsError when the Docker config file is of no use."""
        hosts = {reference.host for reference in options.references.values()} - options.credentials.keys()
        kept = read_docker_config(options.docker_config, sorted(hosts)) if options.docker_config else {}
        auth = Authorizer(client, {**kept, **options.credentials}, options.insecure)
        self._at = Endpoint(client, auth, options.insecure, options.in_flight)
        self._memory = Memory()
        self._tags: OrderedDict[tuple[Reference, str], None] = OrderedDict()

    async def tags(self, ref: Reference) -> tuple[str, ...]:
        """Return every tag, in the registry's order. NotFoundError when it has no such repository; RegistryError."""
        found: dict[str, None] = {}
        path = f"/v2/{ref.repository}/tags/list?n={_PAGE}"
        async with aclosing(self._pages(ref, path, "application/json", MAX_TAG_PAGES)) as pages:
            async for page in pages:
                found.update(dict.fromkeys(_tags(ref, page.body)))
                if len(found) > MAX_TAGS:
                    raise RegistryError(f"{ref}: more than {MAX_TAGS} tags", cure="delete tags of no use")
        return tuple(found)

    async def resolve(self, ref: Reference, tag: str) -> str | None:
        """Return the digest of what a tag names, None where the registry has no such tag. RegistryError."""
        kept = await self._manifest(ref, tag)
        return None if kept is None else kept.digest

    async def manifest(self, ref: Reference, tag_or_digest: str) -> Manifest | None:
        """Return a manifest or index, None where the registry has none. RegistryError when it is not what it should be."""
        kept = await self._manifest(ref, tag_or_digest)
        return None if kept is None else _read(ref, tag_or_digest, kept)

    async def referrers(self, ref: Reference, digest: str) -> tuple[Descriptor, ...]:
        """Return what the registry lists as referring to a manifest: by its API, else by the tag `sha256-…` in its place.

        Neither the artifact types nor the annotations of such a list are to be believed: each manifest must be opened.
        """
        _checked_digest(ref, digest)
        found = await self._listed_referrers(ref, digest)
        if found is None:
            index = await self.manifest(ref, digest.replace(":", "-", 1))
            found = _distinct(ref, digest, index.manifests if index is not None else ())
        return tuple(found.values())

    async def blob(self, ref: Reference, digest: str, limit: int) -> bytes:
        """Return a blob of at most `limit` bytes. NotFoundError, OversizeError; RegistryError when it hashes to another digest."""
        _checked_digest(ref, digest)
        reply = await self._at.ask(ref, f"/v2/{ref.repository}/blobs/{digest}", limit=limit, elsewhere=True)
        if digest_of(reply.body, digest) != digest:
            raise RegistryError(f"{ref}: the blob {digest} hashes to {digest_of(reply.body, digest)}")
        return reply.body

    # manifests

    async def _manifest(self, ref: Reference, name: str) -> Answer | None:
        """Return a manifest under its computed digest, out of memory where the registry still names the same one."""
        by_digest = is_digest(name)
        if not by_digest and not is_tag(name):
            raise RegistryError(f"{ref}: {visible(clip(name, _SHOWN))} is neither a tag nor a digest")
        path = f"/v2/{ref.repository}/manifests/{name}"
        try:
            digest = name if by_digest else await self._claimed(ref, name, path)
            kept = self._memory.recall(ref, digest) if digest else None
            return kept or await self._fetched(ref, name, path)
        except NotFoundError:
            self._tags.pop((ref, name), None)
            return None

    async def _claimed(self, ref: Reference, tag: str, path: str) -> str:
        """Return the digest that the registry says a tag has, if the tag was read before; else, or unsaid, nothing."""
        if (ref, tag) not in self._tags:
            return ""
        try:
            reply = await self._at.head(ref, path, accept=_ACCEPT)
        except FetchError as error:
            if error.status not in _NO_HEAD:
                raise
            return ""
        return _said(reply)

    async def _fetched(self, ref: Reference, name: str, path: str) -> Answer:
        reply = await self._at.ask(ref, path, accept=_ACCEPT, limit=MAX_MANIFEST)
        by_digest, said = is_digest(name), _said(reply)
        for digest in (name if by_digest else "", said):
            if digest and digest_of(reply.body, digest) != digest:
                raise RegistryError(
                    f"{ref}: the manifest {name}, said to be {digest}, hashes to {digest_of(reply.body, digest)}",
                    cure="ask the operator of the registry: it, or something before it, alters what it serves",
                )
        kept = Answer(name if by_digest else digest_of(reply.body), reply.content_type, reply.body)
        self._memory.keep(ref, kept.digest, kept)
        if not by_digest and said:
            self._memory.keep(ref, said, kept)
        if not by_digest:
            self._tags[ref, name] = None
            while len(self._tags) > MAX_TAGS:
                self._tags.popitem(last=False)
        return kept

    # lists

    async def _listed_referrers(self, ref: Reference, digest: str) -> dict[str, Descriptor] | None:
        """Return what the referrers API lists, None where the registry has no such API."""
        found: dict[str, Descriptor] = {}
        path = f"/v2/{ref.repository}/referrers/{digest}"
        try:
            async with aclosing(self._pages(ref, path, OCI_INDEX, MAX_REFERRER_PAGES)) as pages:
                async for page in pages:
                    if page.content_type != OCI_INDEX:
                        return None
                    listed = _read(ref, f"the list of what refers to {digest}", page).manifests
                    found = _distinct(ref, digest, (*found.values(), *listed))
        except FetchError as error:
            if found or error.status not in _NO_SUCH_API:
                raise
            return None
        return found

    async def _pages(self, ref: Reference, path: str, accept: str, most: int) -> AsyncGenerator[Answer]:
        """Yield the pages of a list, one after the other. RegistryError: a next page elsewhere, twice, or too many."""
        seen: set[str] = set()
        while path:
            if path in seen or len(seen) >= most:
                what = "its list leads back to itself" if path in seen else f"its list has more than {most} pages"
                raise RegistryError(f"{ref}: {what}", cure="ask the operator of the registry")
            seen.add(path)
            page = await self._page(ref, path, accept)
            yield page
            path = self._next(ref, path, page.link)

    async def _page(self, ref: Reference, path: str, accept: str) -> Answer:
        """Return one page of a list; the one in memory where the registry says that it still holds."""
        known = self._memory.recall(ref, path)
        extra = {"if-none-match": known.etag} if known is not None else {}
        also = frozenset({int(HTTPStatus.NOT_MODIFIED)} if known is not None else ())
        reply = await self._at.ask(ref, path, accept=accept, limit=_MAX_PAGE, extra=extra, also=also)
        if known is not None and reply.status == HTTPStatus.NOT_MODIFIED:
            return known
        etag = reply.headers.get("etag", "")
        page = Answer(digest_of(reply.body), reply.content_type, reply.body, reply.headers.get("link", ""), etag)
        if etag.isascii() and etag.isprintable() and etag:
            self._memory.keep(ref, path, page)
        return page

    def _next(self, ref: Reference, path: str, link: str) -> str:
        """Return the path of the next page that a Link header (RFC 8288) names, or nothing."""
        target = next((found[1] for found in _LINK.finditer(link) if _NEXT.search(found[2])), None)
        if target is None:
            return ""
        there = self._at.path_of(ref, path, target)
        if there is None:
            raise RegistryError(
                f"{ref}: the next page of its list is said to be at {visible(clip(target, _SHOWN))}: not the same server",
                cure="ask the operator of the registry",
            )
        return there


def _said(reply: Response) -> str:
    """Return the digest that an answer's header claims, or an empty text."""
    said = reply.headers.get("docker-content-digest", "")
    return said if is_digest(said) else ""


def _distinct(ref: Reference, digest: str, listed: Iterable[Descriptor]) -> dict[str, Descriptor]:
    """Return each manifest of a list once, by its digest."""
    found: dict[str, Descriptor] = {}
    for each in listed:
        found.setdefault(each.digest, each)
        if len(found) > MAX_REFERRERS:
            raise RegistryError(f"{ref}: more than {MAX_REFERRERS} manifests refer to {digest}")
    return found


def _read(ref: Reference, what: str, kept: Answer) -> Manifest:
    try:
        return read_manifest(kept.digest, kept.content_type, kept.body)
    except FormatError as error:
        raise RegistryError(f"{ref}: {what} is not a manifest we can read: {error}") from error


def _tags(ref: Reference, body: bytes) -> list[str]:
    """Read one page of `{"name": …, "tags": [… or null]}`."""
    try:
        document = strictjson.parse(body).value
    except FormatError as error:
        raise RegistryError(f"{ref}: its list of tags is {error}") from error
    listed = document.get("tags", ()) if isinstance(document, dict) else ()
    if not isinstance(document, dict) or "tags" not in document or not isinstance(listed, list | None):
        raise RegistryError(
            f"{ref}: its list of tags is none: {visible(clip(body[:_SHOWN].decode('utf-8', 'replace'), _SHOWN))}"
        )
    for tag in listed or ():
        if not isinstance(tag, str) or not is_tag(tag):
            raise RegistryError(f"{ref}: it lists {visible(clip(str(tag), _SHOWN))}, which cannot be a tag")
    return [tag for tag in listed or () if isinstance(tag, str)]


def _checked_digest(ref: Reference, digest: str) -> None:
    if not is_digest(digest):
        raise RegistryError(f"{ref}: {visible(clip(digest, _SHOWN))} is not a digest")
