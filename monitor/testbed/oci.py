"""OCI documents as cosign 3.1.2 and build tools write them: images, indexes, artifacts, and what lies beside them.

Pure: from facts to compact JSON. Nothing here is checked against the specification, so that a test may break it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
EMPTY_CONFIG: Final = "application/vnd.oci.empty.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"

Document = dict[str, object]
Listed = dict[str, Any]
"""A document read back: of what was pushed, nothing is sure."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest or blob that lies in a repository."""

    digest: str
    size: int
    media_type: str
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def descriptor(self) -> Document:
        """Return how a manifest names it."""
        found: Document = {"mediaType": self.media_type, "size": self.size, "digest": self.digest}
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return found | ({"artifactType": self.artifact_type} if self.artifact_type else {})


def compact(value: object) -> bytes:
    """Return JSON as Go writes it to a registry."""
    return json.dumps(value, separators=(",", ":")).encode()


def read(data: bytes) -> Listed:
    """Return a manifest read back; nothing in it where it is no JSON object."""
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` of some bytes."""
    return f"sha256:{sha256(data).hexdigest()}"


def manifest(
    config: Pushed,
    layers: Iterable[Pushed],
    *,
    media_type: str = OCI_MANIFEST,
    artifact_type: str = "",
    subject: Pushed | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Document:
    """Return the manifest of an image or an artifact."""
    found: Document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    if annotations:
        found["annotations"] = dict(annotations)
    if subject is not None:
        found["subject"] = {"mediaType": subject.media_type, "size": subject.size, "digest": subject.digest}
    return found | ({"artifactType": artifact_type} if artifact_type else {})


def index(manifests: Iterable[Document], media_type: str = OCI_INDEX) -> Document:
    """Return an index of descriptors."""
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": list(manifests)}


def image_config(architecture: str, layer: str) -> bytes:
    """Return the configuration of an image with one layer."""
    rootfs = {"type": "layers", "diff_ids": [layer]}
    return compact({"architecture": architecture, "os": "linux", "rootfs": rootfs, "config": {}})
