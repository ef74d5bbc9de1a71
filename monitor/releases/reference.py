"""OCI names and documents: which repository, what a descriptor points to, what a manifest or index lists.

Strict about what the image and distribution specifications (1.1) say of the fields we read, silent about the others. It asks
nobody, and believes no digest that it has not computed.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from monitor.entries import strictjson
from monitor.errors import FormatError, SettingsError
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS: Final = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
"""What we read. A registry answers 404 for a manifest whose type is not in Accept, so all of them are always asked for."""

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_MAX_NAME = 255
_MAX_LISTED = 10_000
_MAX_ANNOTATIONS = 1000
_SCHEMA_VERSION = 2
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository: its registry's host, with the port where it has one, and its name there."""

    host: str
    repository: str

    @staticmethod
    def parse(text: str) -> Reference:
        """Read `ghcr.io/trustacks/runner`. SettingsError: no host, an impossible name, a tag or a digest at its end."""
        host, slash, repository = text.partition("/")
        host = host.lower()
        if not slash or not _HOST.fullmatch(host) or not (set(host) & set(".:") or host == "localhost"):
            raise SettingsError(
                f"{visible(clip(text, _SHOWN))}: does not begin with a registry's host",
                cure="write the host in front, as in ghcr.io/trustacks/runner",
            )
        if len(repository) > _MAX_NAME or not _NAME.fullmatch(repository):
            raise SettingsError(
                f"{visible(clip(text, _SHOWN))}: not the name of a repository",
                cure="write host and lower-case path only, without a tag or digest, as in ghcr.io/trustacks/runner",
            )
        return Reference(host, repository)

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of another blob or manifest: unproven until its bytes are read. `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, artifact or index whose bytes hash to `digest`. An index has `manifests`, the others `layers`."""

    digest: str
    media_type: str
    artifact_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests."""
        return self.media_type in INDEXES


def host_name(host: str) -> str:
    """Return a host without its port; an empty text where it is no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host, with or without a port, is this machine."""
    name = host_name(host)
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_digest(text: str) -> bool:
    """Tell whether a text is a digest in an algorithm that the image specification registers."""
    return _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """Return the digest of `data` in the algorithm of the digest `like`."""
    algorithm = "sha512" if like.startswith("sha512:") else "sha256"
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=True).hexdigest()}"


def read_manifest(digest: str, content_type: str, body: bytes) -> Manifest:
    """Read a manifest whose bytes were found to hash to `digest`, served as `content_type`.

    FormatError: not a manifest of a kind in MANIFESTS, or one that two readers could take for different things.
    """
    document = _object(strictjson.parse(body).value, "manifest")
    if document.get("schemaVersion") != _SCHEMA_VERSION:
        raise FormatError("a manifest whose schemaVersion is not 2")
    media_type = _media_type(document, content_type)
    index = media_type in INDEXES
    for foreign in ("layers", "config") if index else ("manifests",):
        if document.get(foreign) is not None:
            raise FormatError(f"{media_type} with {foreign}: it can be read as a manifest and as an index")
    config, subject = document.get("config"), document.get("subject")
    return Manifest(
        digest,
        media_type,
        _text(document, "artifactType"),
        None if config is None else _descriptor(config, "config"),
        () if index else _descriptors(document, "layers"),
        _descriptors(document, "manifests") if index else (),
        None if subject is None else _descriptor(subject, "subject"),
        _annotations(document, "manifest"),
        body,
    )


def _media_type(document: Mapping[str, object], content_type: str) -> str:
    """Return the one media type that body and header agree on (CVE-2021-41190 is a manifest with two)."""
    own = _text(document, "mediaType")
    if own and content_type in MANIFESTS and own != content_type:
        raise FormatError(f"a manifest of type {visible(own)} served as {content_type}")
    media_type = own or content_type
    if media_type not in MANIFESTS:
        raise FormatError(
            f"a manifest of type {visible(clip(media_type, _SHOWN)) or 'unknown'}, which is not read here"
        )
    return media_type


def _descriptors(document: Mapping[str, object], name: str) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) > _MAX_LISTED:
        raise FormatError(f"{name}: not an array of at most {_MAX_LISTED} descriptors")
    return tuple(_descriptor(value, f"{name}[{i}]") for i, value in enumerate(values))


def _descriptor(value: object, where: str) -> Descriptor:
    fields = _object(value, where)
    media_type, digest, size = fields.get("mediaType"), fields.get("digest"), fields.get("size")
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        raise FormatError(f"{where}: no media type")
    if not isinstance(digest, str) or not is_digest(digest):
        raise FormatError(f"{where}: no digest in sha256 or sha512")
    if type(size) is not int or not 0 <= size < 1 << 63:
        raise FormatError(f"{where}: no size")
    return Descriptor(media_type, digest, size, _text(fields, "artifactType"), _annotations(fields, where))


def _annotations(fields: Mapping[str, object], where: str) -> Mapping[str, str]:
    value = fields.get("annotations")
    if value is None:
        return {}
    found = _object(value, f"{where}: annotations")
    if len(found) > _MAX_ANNOTATIONS:
        raise FormatError(f"{where}: more than {_MAX_ANNOTATIONS} annotations")
    texts = {key: text for key, text in found.items() if isinstance(text, str)}
    if len(texts) != len(found):
        raise FormatError(f"{where}: an annotation that is not a string")
    return texts


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FormatError(f"{where}: not an object")
    return value


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{name}: not a string")
    return value or ""
