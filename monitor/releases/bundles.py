"""Signatures that lie beside an artifact, as bytes: Sigstore bundles, and the layers of cosign's `.sig` and `.att` manifests.

Pure, strict and without trust: it says what was signed, by which certificate, and which log entries are cited. It must never take
where something was found, or what it cites, for what it says.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.entries import certificate, payloads, strictjson
from monitor.entries.encoding import base64_bytes, hex_bytes
from monitor.entries.strictjson import Json
from monitor.errors import FormatError
from monitor.model.log import InclusionProof, Promise
from monitor.releases import statement
from monitor.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.model.entry import Certificate
    from monitor.releases.statement import Statement

MAX_BUNDLE = 8 * 1024 * 1024

BUNDLE_TYPE = re.compile(
    r"application/vnd\.dev\.sigstore\.bundle(?:\+json;version=0\.[123]|\.v0\.[3-9](?:\.[0-9]+)?\+json)"
)
SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"

SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_REKOR_BUNDLE = "dev.sigstore.cosign/bundle"

_MAX_ENTRIES = 8
_MAX_SIGNATURES = 8
_MAX_CHAIN = 10
_MAX_HASHES = 64
_MAX_NUMBER = 2**63
_SHA256_NAMES = frozenset({"SHA2_256", "SHA256"})
_SHA256_SIZE = 32


class Kind(StrEnum):
    """The three forms in which a signature lies beside an artifact."""

    BUNDLE = "bundle"
    SIG = "sig"
    ATT = "att"


@dataclass(frozen=True, slots=True)
class Cited:
    """A log entry that a signature claims for itself; nothing of it is verified.

    `index` is Rekor v1's global index, on v2 the leaf's; `proof.index` is the leaf's place in its own tree.
    """

    log_id: bytes
    index: int
    body: bytes = field(repr=False)
    promise: Promise | None
    proof: InclusionProof | None
    root: bytes = b""
    """The root that the proof claims to lead to."""

    @property
    def leaf_hash(self) -> bytes:
        """The RFC 6962 leaf hash of the entry."""
        return leaf_hash(self.body)


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed: a payload, alone or in a DSSE envelope of `payload_type`, or a message known by its SHA-256 alone."""

    payload: bytes = field(default=b"", repr=False)
    payload_type: bytes | None = None
    digest: bytes | None = None

    @property
    def message(self) -> bytes | None:
        """The bytes that the signature is over; None where only their digest is known."""
        if self.digest is not None:
            return None
        return self.payload if self.payload_type is None else payloads.pae(self.payload_type, self.payload)

    @property
    def hashes(self) -> tuple[str, ...]:
        """Every hash (64 hex digits) under which a log may show it, recomputed: of an envelope the payload's, then its encoding's."""
        if self.message is None:
            return (self.digest.hex(),) if self.digest else ()
        found = [self.payload] if self.payload_type is None else [self.payload, self.message]
        return tuple(hashlib.sha256(each).hexdigest() for each in found)


@dataclass(frozen=True, slots=True)
class Attached:
    """One signature beside an artifact, read. `statement` is None where the payload says nothing that counts; `obscure` says why."""

    kind: Kind
    data: bytes = field(repr=False)
    signed: Signed
    signatures: tuple[bytes, ...] = field(repr=False)
    certificate: Certificate | None
    entries: tuple[Cited, ...]
    statement: Statement | None
    obscure: str = ""

    @property
    def cited(self) -> Cited | None:
        """The first log entry it cites."""
        return self.entries[0] if self.entries else None


def read_bundle(data: bytes) -> Attached:
    """Read a Sigstore bundle of at most 8 MiB (protobuf-specs `sigstore_bundle.proto`, 0.1 to 0.3) in JSON. FormatError."""
    whole = _json(data, "bundle")
    media_type = whole.at("mediaType")
    if not BUNDLE_TYPE.fullmatch(media_type.text()):
        media_type.refuse("not a Sigstore bundle's")
    material = whole.at("verificationMaterial")
    envelope, message = whole.find("dsseEnvelope"), whole.find("messageSignature")
    if (envelope is None) == (message is None):
        whole.refuse("not one envelope or message signature")
    signed, signatures = _envelope(envelope, 1) if envelope is not None else _message(whole.at("messageSignature"))
    told, obscure = _told(signed)
    listed = material.find("tlogEntries")
    places = listed.items(_MAX_ENTRIES) if listed is not None and listed.value != [] else []
    return Attached(
        Kind.BUNDLE,
        data,
        signed,
        signatures,
        _signer(material),
        tuple(_cited(place) for place in places),
        told,
        obscure,
    )


def read_layer(media_type: str, annotations: Mapping[str, str], blob: bytes) -> Attached:
    """Read one layer of a signature's manifest by its media type: a bundle, a `.sig` payload or an `.att` envelope. FormatError."""
    if BUNDLE_TYPE.fullmatch(media_type):
        return read_bundle(blob)
    if media_type not in {SIMPLE_SIGNING_TYPE, ENVELOPE_TYPE}:
        raise FormatError("a layer that is no signature by its media type")
    pem, cited = annotations.get(_CERTIFICATE), annotations.get(_REKOR_BUNDLE)
    signer = certificate.read_pem(pem.encode())[0] if pem else None
    entries = (_legacy_cited(_json(cited.encode(), "cosign bundle")),) if cited else ()
    if media_type == ENVELOPE_TYPE:
        signed, signatures = _envelope(_json(blob, "envelope"), _MAX_SIGNATURES)
        told, obscure = _told(signed)
        return Attached(Kind.ATT, blob, signed, signatures, signer, entries, told, obscure)
    if len(blob) > MAX_BUNDLE:
        raise FormatError(f"a payload of {len(blob)} bytes; at most {MAX_BUNDLE} are read")
    signed, signature = Signed(blob), base64_bytes(annotations.get(SIGNATURE, ""))
    told, obscure = _told(signed)
    return Attached(Kind.SIG, blob, signed, (signature,), signer, entries, told, obscure)


def _json(data: bytes, name: str) -> Json:
    if len(data) > MAX_BUNDLE:
        raise FormatError(f"{name}: {len(data)} bytes; at most {MAX_BUNDLE} are read")
    return Json(strictjson.parse(data).value, name)


def _told(signed: Signed) -> tuple[Statement | None, str]:
    if signed.digest is not None:
        return statement.Statement((f"sha256:{signed.digest.hex()}",), ""), ""
    try:
        if signed.payload_type is None:
            return statement.read_simple_signing(signed.payload), ""
        if signed.payload_type != payloads.STATEMENT_TYPE:
            raise FormatError("the envelope does not hold an in-toto statement")  # noqa: TRY301 - told as all that a payload may be
        return statement.read(signed.payload), ""
    except FormatError as error:
        return None, str(error)


def _message(place: Json) -> tuple[Signed, tuple[bytes, ...]]:
    digest = place.at("messageDigest")
    algorithm, value = digest.at("algorithm"), digest.at("digest").base64()
    if algorithm.text() not in _SHA256_NAMES or len(value) != _SHA256_SIZE:
        digest.refuse("not a SHA-256")
    return Signed(digest=value), (place.at("signature").base64(),)


def _envelope(place: Json, most: int) -> tuple[Signed, tuple[bytes, ...]]:
    payload_type = place.at("payloadType")
    signatures = tuple(each.at("sig").base64() for each in place.at("signatures").items(most))
    if any(not signature for signature in signatures):
        place.refuse("an empty signature")
    return Signed(place.at("payload").base64(), payload_type.text().encode()), signatures


def _signer(material: Json) -> Certificate | None:
    single, chain, key = (material.find(name) for name in ("certificate", "x509CertificateChain", "publicKey"))
    if sum(each is not None for each in (single, chain, key)) != 1:
        material.refuse("not one certificate, certificate chain or public key")
    if chain is not None:
        single = chain.at("certificates").items(_MAX_CHAIN)[0]
    if single is None:
        return None
    raw = single.at("rawBytes")
    try:
        return certificate.read(raw.base64())
    except FormatError as error:
        raw.refuse(str(error))


def _cited(place: Json) -> Cited:
    """A TransparencyLogEntry (protobuf-specs `sigstore_rekor.proto`)."""
    index, body = _or_zero(place.find("logIndex")), place.at("canonicalizedBody").base64()
    log_id = place.at("logId", "keyId").base64()
    promised = place.find("inclusionPromise")
    promise = None
    if promised is not None:
        signature = promised.at("signedEntryTimestamp").base64()
        promise = Promise(log_id, _time(place.at("integratedTime")), index, "", signature)
    proof = place.find("inclusionProof")
    if proof is None:
        return Cited(log_id, index, body, promise, None)
    return Cited(log_id, index, body, promise, _proof(proof, body), proof.at("rootHash").base64())


def _proof(place: Json, body: bytes) -> InclusionProof:
    listed = place.find("hashes")
    nodes = listed.items(_MAX_HASHES) if listed is not None and listed.value != [] else []
    checkpoint = place.find("checkpoint")
    return InclusionProof(
        leaf_hash(body),
        _or_zero(place.find("logIndex")),
        _number(place.at("treeSize")),
        tuple(node.base64() for node in nodes),
        checkpoint.at("envelope").text().encode() if checkpoint is not None else None,
    )


def _legacy_cited(whole: Json) -> Cited:
    """The annotation that cosign keeps of Rekor v1's reply: a promise without a proof."""
    payload = whole.at("Payload")
    index, place = _number(payload.at("logIndex")), payload.at("logID")
    try:
        log_id = hex_bytes(place.text())
    except FormatError as error:
        place.refuse(str(error))
    signature = whole.at("SignedEntryTimestamp").base64()
    promise = Promise(log_id, _time(payload.at("integratedTime")), index, "", signature)
    return Cited(log_id, index, payload.at("body").base64(), promise, None)


def _number(place: Json) -> int:
    """A 64-bit number, which protobuf's JSON writes as a string."""
    value = place.value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(_MAX_NUMBER)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_NUMBER:
        place.refuse("not a number below 2**63")
    return value


def _or_zero(place: Json | None) -> int:
    """A number that protobuf's JSON leaves out where it is zero: of the first entry of a log."""
    return 0 if place is None else _number(place)


def _time(place: Json) -> datetime:
    try:
        return datetime.fromtimestamp(_number(place), UTC)
    except (ValueError, OverflowError, OSError):
        place.refuse("not a time")
