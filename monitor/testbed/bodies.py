"""Log entries as cosign 3.1.2 and the servers leave them: canonical JSON (RFC 8785), signed for real.

Pure. What is signed with a certificate is exactly what a verifier would check; nothing here knows a log or a clock.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from monitor.errors import FormatError
from monitor.testbed.keys import pem_of, spki_of, text64

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.x509 import Certificate

IN_TOTO: Final = "application/vnd.in-toto+json"
SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
DIGEST_HEX: Final = 64


def canonical(value: object) -> bytes:
    """RFC 8785 JSON, for what entries hold: ASCII keys, strings and whole numbers."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_bytes(digest: str) -> bytes:
    """Return the 32 bytes of `sha256:<hex>`. Raises FormatError for anything else."""
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != DIGEST_HEX:
        raise FormatError(f"{digest!r} is not sha256:<64 hex digits>")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise FormatError(f"{digest!r} is not sha256:<64 hex digits>") from None


def statement(digest: str) -> bytes:
    """Return the in-toto statement of `cosign sign` (3.0.5 to 3.1.2), spaced as the official Linux binary spaces it."""
    value = digest_bytes(digest).hex()
    return (
        f'{{"_type":"https://in-toto.io/Statement/v1", '
        f'"subject":[{{"digest":{{"sha256":"{value}"}}, "annotations":{{}}}}], '
        f'"predicateType":"{SIGN_PREDICATE}", "predicate":{{}}}}'
    ).encode()


def attestation(digests: Mapping[str, str], predicate_type: str, predicate: object = None) -> bytes:
    """Return the in-toto statement of an attestation over `digests` (name → "sha256:…"), as `cosign attest` writes it."""
    subjects = [{"name": name, "digest": {"sha256": digest_bytes(each).hex()}} for name, each in digests.items()]
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": predicate_type,
            "subject": subjects,
            "predicate": predicate if predicate is not None else {},
        },
        separators=(",", ":"),
    ).encode()


def simple_signing(digest: str, reference: str) -> bytes:
    """Return the payload of `cosign sign --new-bundle-format=false`, as Go's encoding/json writes it."""
    payload = {
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def pae(payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """Return the bytes that a DSSE envelope's signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def hashedrekord_v2(key: EllipticCurvePrivateKey, certificate: Certificate | None, digest: bytes) -> bytes:
    """Return a hashedrekord 0.0.2: a signature over a 32-byte digest, by a certificate or by the bare key."""
    signature = key.sign(digest, ECDSA(Prehashed(SHA256())))
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", **_verifier_v2(key, certificate)}
    data = {"algorithm": "SHA2_256", "digest": text64(digest)}
    record = {"data": data, "signature": {"content": text64(signature), "verifier": verifier}}
    return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}})


def dsse_v2(key: EllipticCurvePrivateKey, certificate: Certificate | None, payload: bytes) -> bytes:
    """Return a dsse 0.0.2, which servers took until 2.2.1 and which the public log holds in its past."""
    signature = key.sign(pae(payload), ECDSA(SHA256()))
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", **_verifier_v2(key, certificate)}
    record = {
        "payloadHash": {"algorithm": "SHA2_256", "digest": text64(sha256(payload).digest())},
        "signatures": [{"content": text64(signature), "verifier": verifier}],
    }
    return canonical({"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": record}})


def hashedrekord_v1(key: EllipticCurvePrivateKey, certificate: Certificate | None, digest: bytes) -> bytes:
    """Return a hashedrekord 0.0.1: the same, with a PEM inside base64 inside JSON."""
    signature = key.sign(digest, ECDSA(Prehashed(SHA256())))
    record = {
        "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
        "signature": {"content": text64(signature), "publicKey": {"content": text64(_pem(key, certificate))}},
    }
    return canonical({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": record})


def dsse_v1(key: EllipticCurvePrivateKey, certificate: Certificate | None, payload: bytes) -> bytes:
    """Return a dsse 0.0.1: hashes of a payload and of its envelope; neither is in the log."""
    signature = text64(key.sign(pae(payload), ECDSA(SHA256())))
    envelope = {"payload": text64(payload), "payloadType": IN_TOTO, "signatures": [{"sig": signature}]}
    envelope_hash = sha256(json.dumps(envelope, separators=(",", ":")).encode()).hexdigest()
    record = {
        "envelopeHash": {"algorithm": "sha256", "value": envelope_hash},
        "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hexdigest()},
        "signatures": [{"signature": signature, "verifier": text64(_pem(key, certificate))}],
    }
    return canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": record})


def _verifier_v2(key: EllipticCurvePrivateKey, certificate: Certificate | None) -> dict[str, dict[str, str]]:
    if certificate is None:
        return {"publicKey": {"rawBytes": text64(spki_of(key))}}
    return {"x509Certificate": {"rawBytes": text64(certificate.public_bytes(Encoding.DER))}}


def _pem(key: EllipticCurvePrivateKey, certificate: Certificate | None) -> bytes:
    return pem_of(key) if certificate is None else certificate.public_bytes(Encoding.PEM)


def foreign_v1(text: str) -> bytes:
    """Return a v1 body that concerns no one: a stranger's bare key over the hash of `text`."""
    return hashedrekord_v1(_stranger(), None, sha256(text.encode()).digest())


def foreign_v2(text: str) -> bytes:
    """Return a v2 body that concerns no one: a stranger's bare key over the hash of `text`."""
    return hashedrekord_v2(_stranger(), None, sha256(text.encode()).digest())


@cache
def _stranger() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())
