"""What cosign leaves beside an artifact, for an entry that is in a log: a Sigstore bundle 0.3, or annotations of a layer.

Pure: it words what the logs say and adds nothing. A bundle made here verifies with the reference implementation.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from monitor.testbed.bodies import IN_TOTO
from monitor.testbed.keys import text64

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.x509 import Certificate

    from monitor.testbed.rekor_v2 import RekorV2

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

Json = dict[str, object]


def signature_of(body: bytes) -> str:
    """Return the (first) signature of a leaf of any kind that the testbed makes, in base64."""
    spec = json.loads(body)["spec"]
    for holder in ("hashedRekordV002", "dsseV002"):
        spec = spec.get(holder, spec)
    first = spec["signatures"][0] if "signatures" in spec else spec["signature"]
    return str(first.get("signature") or first["content"])


def entry_v1(entry: Mapping[str, object]) -> Json:
    """Word an entry of Rekor v1's REST interface (a map with one key) as a bundle's transparency log entry."""
    (record,) = json.loads(json.dumps(entry)).values()
    verification = record["verification"]
    proof, body = verification["inclusionProof"], json.loads(b64decode(record["body"]))
    return {
        "logIndex": str(record["logIndex"]),
        "logId": {"keyId": text64(bytes.fromhex(record["logID"]))},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": str(record["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": verification["signedEntryTimestamp"]},
        "inclusionProof": _proof(
            proof["logIndex"],
            proof["treeSize"],
            bytes.fromhex(proof["rootHash"]),
            [bytes.fromhex(node) for node in proof["hashes"]],
            proof["checkpoint"],
        ),
        "canonicalizedBody": record["body"],
    }


def entry_v2(log: RekorV2, index: int) -> Json:
    """Word a leaf of a v2 log, with its proof to the newest published checkpoint, as a transparency log entry."""
    body, size = log.tree.leaf(index), log.published_size
    read = json.loads(body)
    return {
        "logIndex": str(index),
        "logId": {"keyId": text64(log.key_id)},
        "kindVersion": {"kind": read["kind"], "version": read["apiVersion"]},
        "inclusionProof": _proof(
            index, size, log.tree.root(size), log.tree.inclusion(index, size), log.checkpoint_bytes.decode()
        ),
        "canonicalizedBody": text64(body),
    }


def envelope(payload: bytes, signature: str) -> Json:
    """Return a DSSE envelope around an in-toto statement."""
    return {"payload": text64(payload), "payloadType": IN_TOTO, "signatures": [{"sig": signature}]}


def sigstore_bundle(
    certificate: Certificate, entry: Json | None, content: Json, timestamps: Iterable[bytes] = ()
) -> bytes:
    """Return a bundle over a DSSE envelope; RFC 3161 replies are DER. Without an entry it cites no log."""
    material = {
        "certificate": {"rawBytes": text64(certificate.public_bytes(Encoding.DER))},
        "tlogEntries": [] if entry is None else [entry],
        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": text64(each)} for each in timestamps]},
    }
    bundle = {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": content}
    return json.dumps(bundle, separators=(", ", ":")).encode()


def layer_annotations(
    signature: str, certificate: Certificate | None, chain: Sequence[Certificate], entry: Mapping[str, object] | None
) -> dict[str, str]:
    """Return the annotations of a layer of `.sig` or `.att`; `entry` is Rekor v1's, and v2 leaves none."""
    found = {"dev.cosignproject.cosign/signature": signature}
    if entry is not None:
        (record,) = json.loads(json.dumps(entry)).values()
        promised = {name: record[name] for name in ("body", "integratedTime", "logIndex", "logID")}
        cited = {"SignedEntryTimestamp": record["verification"]["signedEntryTimestamp"], "Payload": promised}
        found["dev.sigstore.cosign/bundle"] = json.dumps(cited, separators=(",", ":"))
    if certificate is not None:
        found["dev.sigstore.cosign/certificate"] = certificate.public_bytes(Encoding.PEM).decode()
        found["dev.sigstore.cosign/chain"] = "".join(each.public_bytes(Encoding.PEM).decode() for each in chain)
    return found


def _proof(index: int, size: int, root: bytes, hashes: Iterable[bytes], checkpoint: str) -> Json:
    return {
        "logIndex": str(index),
        "rootHash": text64(root),
        "treeSize": str(size),
        "hashes": [text64(node) for node in hashes],
        "checkpoint": {"envelope": checkpoint},
    }
