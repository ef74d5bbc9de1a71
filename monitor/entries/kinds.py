"""What the leaves of each entry kind say. One decoder is registered by (kind, apiVersion, protocol).

A decoder returns signers and digest as the body states them; it believes nothing but whether a key verifies a signature over a digest.
The kinds are those of Rekor's `pkg/types` (v1) and of rekor-tiles' protobuf in canonical JSON (v2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.entries import keys, timestamps
from monitor.entries.encoding import base64_bytes, pem_blocks
from monitor.entries.signers import (
    MAX_SIGNERS,
    NO_X509_KEY,
    Key,
    each_signer,
    hex_digest,
    pem_key,
    raw_digest,
    verifier_key,
)
from monitor.errors import FormatError
from monitor.model.entry import DigestRole, LoggedDigest, Signer
from monitor.model.log import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.entries.strictjson import Json
    from monitor.model.entry import Certificate

    Decoder = Callable[[Json], "Body"]

ARTIFACT, PAYLOAD = DigestRole.ARTIFACT, DigestRole.PAYLOAD


@dataclass(frozen=True, slots=True)
class Body:
    """What a decoder found in an entry's `spec`."""

    signers: tuple[Signer, ...]
    digest: LoggedDigest | None
    others: tuple[Certificate, ...] = ()


_DECODERS: dict[tuple[str, str, Protocol], Decoder] = {}


def decoder(kind: str, api_version: str, protocol: Protocol) -> Decoder | None:
    """The decoder of a kind, or None for one that is unknown."""
    return _DECODERS.get((kind, api_version, protocol))


def known() -> tuple[tuple[str, str, Protocol], ...]:
    """Every (kind, apiVersion, protocol) that can be decoded."""
    return tuple(_DECODERS)


def _register(kind: str, api_version: str, protocol: Protocol = Protocol.REKOR_V1) -> Callable[[Decoder], Decoder]:
    def register(found: Decoder) -> Decoder:
        _DECODERS[kind, api_version, protocol] = found
        return found

    return register


@_register("hashedrekord", "0.0.1")
def _hashedrekord(spec: Json) -> Body:
    digest = hex_digest(spec.at("data", "hash"), ARTIFACT)
    key = pem_key(spec.at("signature", "publicKey", "content"))
    return Body((key.signer_over(spec.at("signature", "content").base64(), digest),), digest, key.others)


@_register("hashedrekord", "0.0.2", Protocol.REKOR_V2)
def _hashedrekord_v2(spec: Json) -> Body:
    entry = _only(spec, "hashedRekordV002")
    digest = raw_digest(entry.at("data"), ARTIFACT)
    key = verifier_key(entry.at("signature", "verifier"))
    return Body((key.signer_over(entry.at("signature", "content").base64(), digest),), digest)


@_register("dsse", "0.0.1")
def _dsse(spec: Json) -> Body:
    def read(place: Json) -> tuple[Key, bytes]:
        return pem_key(place.at("verifier")), place.at("signature").base64()

    signers, others = each_signer(spec.at("signatures").items(MAX_SIGNERS), read)
    return Body(signers, hex_digest(spec.at("payloadHash"), PAYLOAD), others)


@_register("dsse", "0.0.2", Protocol.REKOR_V2)
def _dsse_v2(spec: Json) -> Body:
    def read(place: Json) -> tuple[Key, bytes]:
        return verifier_key(place.at("verifier")), place.at("content").base64()

    entry = _only(spec, "dsseV002")
    signers, others = each_signer(entry.at("signatures").items(MAX_SIGNERS), read)
    return Body(signers, raw_digest(entry.at("payloadHash"), PAYLOAD), others)


@_register("intoto", "0.0.1")
def _intoto(spec: Json) -> Body:
    key = pem_key(spec.at("publicKey"))
    return Body((key.signer(b""),), _payload_hash(spec.at("content")), key.others)


@_register("intoto", "0.0.2")
def _intoto_envelope(spec: Json) -> Body:
    def read(place: Json) -> tuple[Key, bytes]:
        return pem_key(place.at("publicKey")), _twice_base64(place.at("sig"))

    content = spec.at("content")
    signers, others = each_signer(content.at("envelope", "signatures").items(MAX_SIGNERS), read)
    return Body(signers, _payload_hash(content), others)


@_register("rekord", "0.0.1")
def _rekord(spec: Json) -> Body:
    x509 = spec.at("signature", "format").text() == "x509"
    key = pem_key(spec.at("signature", "publicKey", "content")) if x509 else NO_X509_KEY
    signature = spec.at("signature", "content").base64()
    return Body((key.signer(signature),), hex_digest(spec.at("data", "hash"), ARTIFACT), key.others)


@_register("cose", "0.0.1")
def _cose(spec: Json) -> Body:
    key = pem_key(spec.at("publicKey"))
    return Body((key.signer(b""),), hex_digest(spec.at("data", "payloadHash"), PAYLOAD), key.others)


@_register("alpine", "0.0.1")
def _alpine(spec: Json) -> Body:
    key = pem_key(spec.at("publicKey", "content"))
    return Body((key.signer(b""),), hex_digest(spec.at("package", "hash"), ARTIFACT), key.others)


@_register("jar", "0.0.1")
def _jar(spec: Json) -> Body:
    key = pem_key(spec.at("signature", "publicKey", "content"))
    signature = spec.at("signature", "content").base64()
    return Body((key.signer(signature),), hex_digest(spec.at("archive", "hash"), ARTIFACT), key.others)


@_register("rpm", "0.0.1")
def _rpm(spec: Json) -> Body:
    spec.at("publicKey", "content").base64()
    return Body((NO_X509_KEY.signer(b""),), hex_digest(spec.at("package", "hash"), ARTIFACT))


@_register("helm", "0.0.1")
def _helm(spec: Json) -> Body:
    spec.at("publicKey", "content").base64()
    return Body((NO_X509_KEY.signer(b""),), hex_digest(spec.at("chart", "hash"), ARTIFACT))


@_register("rfc3161", "0.0.1")
def _rfc3161(spec: Json) -> Body:
    place = spec.at("tsr", "content")
    response = place.base64()
    try:
        digest, others = timestamps.read(response)
    except FormatError as error:
        place.refuse(str(error))
    return Body((), digest, others)


@_register("tuf", "0.0.1")
def _tuf(spec: Json) -> Body:
    listed = spec.at("root", "content", "signed", "keys")
    found = (_tuf_key(key) for key in listed.values())
    return Body(tuple(key.signer(b"") for key in found), None)


def _tuf_key(place: Json) -> Key:
    """A key of a TUF root: PEM, or the hexadecimal of an Ed25519 key. Any other is a key we do not compare."""
    public = place.find("keyval")
    text = public.find("public") if public is not None else None
    if text is None:
        return NO_X509_KEY
    try:
        label, content = pem_blocks(text.text().encode())[0]
        return Key(keys.canonical(content)) if label == "PUBLIC KEY" else NO_X509_KEY
    except FormatError:
        return Key(keys.ed25519_spki(text.text()) or b"")


def _payload_hash(content: Json) -> LoggedDigest | None:
    payload = content.find("payloadHash")
    return hex_digest(payload, PAYLOAD) if payload is not None else None


def _twice_base64(place: Json) -> bytes:
    """A signature as intoto 0.0.2 keeps it: the envelope's base64 text in base64 again, or, by some clients, only once."""
    once = place.base64()
    try:
        return base64_bytes(once.decode("ascii"))
    except (FormatError, UnicodeDecodeError):
        return once


def _only(spec: Json, key: str) -> Json:
    """The one member of a protobuf oneof."""
    if isinstance(spec.value, dict) and len(spec.value) > 1:
        spec.refuse("more than one kind of entry")
    return spec.at(key)
