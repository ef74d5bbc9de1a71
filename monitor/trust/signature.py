"""Signatures by the logs' keys: over raw bytes, and Rekor v1's signed entry timestamp, the promise to include an entry."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from monitor.trust.outcome import HELD, Outcome, failed, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from monitor.model.log import Promise
    from monitor.trust.root import TrustedLog

_KEPT = 64
_CURVE_HASHES: dict[int, hashes.HashAlgorithm] = {384: hashes.SHA384(), 521: hashes.SHA512()}


@lru_cache(maxsize=_KEPT)
def _loaded(spki: bytes) -> PublicKeyTypes:
    return serialization.load_der_public_key(spki)


def verifies(spki: bytes, signature: bytes, signed: bytes, hashed: hashes.HashAlgorithm | None = None) -> bool:
    """Whether a trusted key signed `signed`; `hashed` is the hash where it is not the one usual for the key."""
    key = _loaded(spki)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            usual = _CURVE_HASHES.get(key.key_size, hashes.SHA256())
            key.verify(signature, signed, ec.ECDSA(hashed or usual))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hashed or hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def entry_timestamp(promise: Promise, data: bytes, logs: Iterable[TrustedLog]) -> Outcome:
    """Check the signed entry timestamp of the entry whose body is `data` (Rekor's openapi.yaml: a signature over canonical JSON)."""
    known = [log for log in logs if log.log_id == promise.log_id]
    if not known:
        return unknown(f"the log that promised the entry is not in the trusted root ({promise.log_id.hex()[:16]})")
    signed = entry_timestamp_bytes(promise, data)
    signer = next((log for log in known if verifies(log.spki, promise.signed_entry_timestamp, signed)), None)
    if signer is None:
        return failed("the log's signed entry timestamp does not verify")
    if not signer.window.holds(promise.integrated_time):
        return failed("the log's key was not in force at the entry's integrated time")
    return HELD


def entry_timestamp_bytes(promise: Promise, data: bytes) -> bytes:
    """What Rekor v1 signs: four fields as RFC 8785 canonical JSON."""
    fields = {
        "body": base64.b64encode(data).decode(),
        "integratedTime": int(promise.integrated_time.timestamp()),
        "logID": promise.log_id.hex(),
        "logIndex": promise.global_index,
    }
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
