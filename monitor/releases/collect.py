"""Fetches what lies beside one digest in its registry: referrers, and cosign's `.sig` and `.att` manifests.

Bounded, and told of what it already has. It decides nothing: a signature that cannot be had is handed on as such, never left out
in silence.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pybase64

from monitor.entries import strictjson
from monitor.errors import NotFoundError, OversizeError, RegistryError
from monitor.releases.bundles import (
    BUNDLE_TYPE,
    ENVELOPE_TYPE,
    MAX_BUNDLE,
    SIMPLE_SIGNING_TYPE,
    Attached,
    read_bundle,
    read_layer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping

    from monitor.releases.reference import Descriptor, Manifest, Reference
    from monitor.releases.registry import Registry

MAX_REFERRERS = 512
MAX_LAYERS = 256
_SUFFIXES = ("sig", "att")
_SHOWN = 256


@dataclass(frozen=True, slots=True)
class Fetched:
    """One signature as it lies in the registry, or why it could not be had.

    `source` names it among those beside the digest, the same in every pass.
    """

    source: str
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    blob: bytes = field(default=b"", repr=False)
    error: str = ""

    def read(self) -> Attached:
        """What it says. FormatError."""
        return read_layer(self.media_type, self.annotations, self.blob)

    def packed(self) -> bytes:
        """All of it as bytes to keep: a bundle as it is, a layer with the annotations that hold its signature."""
        if BUNDLE_TYPE.fullmatch(self.media_type):
            return self.blob
        blob = pybase64.b64encode(self.blob).decode()
        kept = {"annotations": dict(self.annotations), "blob": blob, "mediaType": self.media_type}
        return json.dumps(kept, sort_keys=True).encode()


def unpacked(data: bytes) -> Attached:
    """Read again what `Fetched.packed` made. FormatError."""
    whole = strictjson.parse(data)
    blob, annotations = whole.find("blob"), whole.find("annotations")
    if blob is None or annotations is None:
        return read_bundle(data)
    texts = {} if annotations.value == {} else annotations.value
    if not isinstance(texts, dict):
        annotations.refuse("not an object")
    return read_layer(whole.at("mediaType").text(), {key: str(text) for key, text in texts.items()}, blob.base64())


async def collect(registry: Registry, ref: Reference, digest: str, known: Collection[str]) -> tuple[Fetched, ...]:
    """Fetch every signature beside `digest` whose source is not in `known`.

    A registry that cannot be asked, or asks for patience, raises its FetchError; what is wrong with one signature is in its `error`.
    """
    found: list[Fetched] = []
    listed = await registry.referrers(ref, digest)
    for descriptor in listed[:MAX_REFERRERS]:
        # Indexes written by older clients carry another artifact type or none: only the manifest itself says what it is.
        if descriptor.digest not in known:
            found += [each async for each in _referrer(registry, ref, descriptor, known)]
    if len(listed) > MAX_REFERRERS:
        told = f"{len(listed)} manifests refer to {digest}; the first {MAX_REFERRERS} were read"
        found.append(Fetched(f"referrers of {digest}", "", error=told))
    for suffix in _SUFFIXES:
        tag = f"{digest.replace(':', '-')}.{suffix}"
        manifest = await registry.manifest(ref, tag)
        if manifest is not None:
            found += [each async for each in _layers(registry, ref, manifest, known)]
    return tuple(found)


async def _referrer(
    registry: Registry, ref: Reference, descriptor: Descriptor, known: Collection[str]
) -> AsyncIterator[Fetched]:
    try:
        manifest = await registry.manifest(ref, descriptor.digest)
    except (RegistryError, OversizeError) as error:
        yield Fetched(descriptor.digest, descriptor.artifact_type, error=str(error))
        return
    if manifest is None:
        yield Fetched(descriptor.digest, descriptor.artifact_type, error="the registry lists it and does not have it")
        return
    async for fetched in _layers(registry, ref, manifest, known):
        yield fetched


async def _layers(
    registry: Registry, ref: Reference, manifest: Manifest, known: Collection[str]
) -> AsyncIterator[Fetched]:
    signatures = [layer for layer in manifest.layers if _is_signature(layer)]
    for source, layer in _named(manifest, signatures[:MAX_LAYERS]):
        if source in known:
            continue
        if layer.size > MAX_BUNDLE:
            told = f"a signature of {layer.size} bytes; at most {MAX_BUNDLE} are fetched"
            yield Fetched(source, layer.media_type, error=told)
            continue
        try:
            blob = await registry.blob(ref, layer.digest, MAX_BUNDLE)
        except (RegistryError, NotFoundError, OversizeError) as error:
            yield Fetched(source, layer.media_type, error=str(error))
        else:
            yield Fetched(source, layer.media_type, layer.annotations, blob)
    if len(signatures) > MAX_LAYERS:
        told = f"{manifest.digest} holds {len(signatures)} signatures; the first {MAX_LAYERS} were read"
        yield Fetched(f"layers of {manifest.digest}", "", error=told)


def _is_signature(layer: Descriptor) -> bool:
    kind = layer.media_type
    return kind in {SIMPLE_SIGNING_TYPE, ENVELOPE_TYPE} or BUNDLE_TYPE.fullmatch(kind) is not None


def _named(manifest: Manifest, layers: Iterable[Descriptor]) -> Iterable[tuple[str, Descriptor]]:
    """Each layer with its source: a referrer's own digest, so that it need not be opened again; else digest and annotations.

    The manifest of a `.sig` grows with each signature, and all of them may be over the same blob.
    """
    for i, layer in enumerate(layers):
        if manifest.subject is not None and i == 0:
            yield manifest.digest, layer
        else:
            told = json.dumps([layer.digest, dict(layer.annotations)], sort_keys=True).encode()
            yield f"{layer.digest}#{hashlib.sha256(told).hexdigest()[:16]}", layer
