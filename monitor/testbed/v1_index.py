"""The keys under which Rekor v1 finds an entry again: subject names, digests and keys, as its index stores them.

Best effort as in the real server: what a body does not show cannot be found, and an unreadable body is not indexed.
"""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def index_keys(body: bytes) -> frozenset[str]:
    """Return an entry's keys, in lower case; only the first certificate of a PEM counts."""
    try:
        entry = json.loads(body)
        return frozenset(key.lower() for key in _keys(entry["kind"], entry["spec"]))
    except (ValueError, KeyError, TypeError):
        return frozenset()


def query_keys(query: Mapping[str, object]) -> list[str]:
    """Return what a search asks for, as the index spells it; fields that the server does not know are passed over."""
    keys = [value.lower() for name in ("email", "subject") if isinstance(value := query.get(name), str)]
    if isinstance(value := query.get("hash"), str):
        keys.append(value.lower() if ":" in value else f"{_ALGORITHMS[len(value)]}:{value.lower()}")
    match query.get("publicKey"):
        case {"content": str(content)}:
            keys.append(sha256(_canonical_pem(b64decode(content))).hexdigest())
    return keys


_ALGORITHMS = {40: "sha1", 64: "sha256", 128: "sha512"}


def _keys(kind: str, spec: Mapping[str, object]) -> Iterator[str]:
    match kind, spec:
        case "hashedrekord", {
            "data": {"hash": {"value": str(digest)}},
            "signature": {"publicKey": {"content": str(pem)}},
        }:
            yield f"sha256:{digest}"
            yield from _pem_keys(b64decode(pem), prefix="")
        case "dsse", {"payloadHash": {"value": str(payload)}, "envelopeHash": {"value": str(envelope)}}:
            yield from (f"sha256:{payload}", f"sha256:{envelope}")
            match spec.get("signatures"):
                case [{"verifier": str(pem)}, *_]:
                    yield from _pem_keys(b64decode(pem), prefix="sha256:")


def _pem_keys(pem: bytes, *, prefix: str) -> Iterator[str]:
    yield prefix + sha256(_canonical_pem(pem)).hexdigest()
    if b"BEGIN CERTIFICATE" not in pem:
        return
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from (name.value for name in names if isinstance(name.value, str))


def _canonical_pem(pem: bytes) -> bytes:
    return pem.strip() + b"\n"
