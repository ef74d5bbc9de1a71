"""A Fulcio of our own, byte by byte: it can issue what the real one never would, and what no library would build."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FULCIO = "1.3.6.1.4.1.57264.1"
SAN = "2.5.29.17"
EKU = "2.5.29.37"
BASIC_CONSTRAINTS = "2.5.29.19"
SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"
POISON = "1.3.6.1.4.1.11129.2.4.3"
CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
WORKFLOW = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml@refs/tags/v0.1.2"
ISSUER = "https://token.actions.githubusercontent.com"

Extension = tuple[str, bytes]


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*contents: bytes) -> bytes:
    return tlv(0x30, *contents)


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(septets))
    return tlv(0x06, bytes(content))


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def name(common_name: str) -> bytes:
    return sequence(tlv(0x31, sequence(oid("2.5.4.3"), utf8(common_name)))) if common_name else sequence()


def time(moment: datetime) -> bytes:
    return tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


def uri(text: str) -> bytes:
    return tlv(0x86, text.encode())


def san(*names: bytes) -> Extension:
    return SAN, sequence(*names)


def raw_claim(number: int, text: str) -> Extension:
    return f"{FULCIO}.{number}", text.encode()


def claim(number: int, text: str) -> Extension:
    return f"{FULCIO}.{number}", utf8(text)


def usage(*purposes: str) -> Extension:
    return EKU, sequence(*(oid(purpose) for purpose in purposes))


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


USUAL: tuple[Extension, ...] = (usage(CODE_SIGNING), san(uri(WORKFLOW)), raw_claim(1, ISSUER), claim(8, ISSUER))


@dataclass(frozen=True)
class Wish:
    """What a certificate shall look like."""

    extensions: tuple[Extension, ...] = USUAL
    serial: bytes = bytes.fromhex("11223344556677889900")
    not_before: datetime = NOW
    lifetime: timedelta = timedelta(minutes=10)
    stamped: datetime | None = NOW + timedelta(milliseconds=137)
    after_list: bytes = b""


def certificate(issuer: bytes, subject: bytes, key: bytes, wish: Wish, signer: ec.EllipticCurvePrivateKey) -> bytes:
    algorithm = sequence(oid("1.2.840.10045.4.3.3"))
    tbs = to_be_signed(issuer, subject, key, wish, algorithm)
    signature = signer.sign(tbs, ec.ECDSA(hashes.SHA384()))
    return sequence(tbs, algorithm, tlv(0x03, b"\x00", signature))


def to_be_signed(issuer: bytes, subject: bytes, key: bytes, wish: Wish, algorithm: bytes) -> bytes:
    listed = b"".join(sequence(oid(dotted), tlv(0x04, value)) for dotted, value in wish.extensions)
    validity = sequence(time(wish.not_before), time(wish.not_before + wish.lifetime))
    extensions = tlv(0xA3, sequence(listed))
    return sequence(
        tlv(0xA0, b"\x02\x01\x02"), tlv(0x02, wish.serial), algorithm, issuer, validity, subject, key, extensions
    )


@dataclass
class Fulcio:
    """A root, an intermediate that issues, and a CT log."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))
    issuing_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    expires: datetime = datetime(2036, 1, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        ca = (BASIC_CONSTRAINTS, sequence(b"\x01\x01\xff"))
        wish = Wish((ca,), not_before=begin, lifetime=self.expires - begin)
        root, issuing = name("sigstore"), name("sigstore-intermediate")
        self.root = certificate(root, root, spki(self.root_key), wish, self.root_key)
        self.issuing = certificate(root, issuing, spki(self.issuing_key), wish, self.root_key)

    def issue(self, wish: Wish, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
        holder = key or ec.generate_private_key(ec.SECP256R1())
        parts = (name("sigstore-intermediate"), name(""), spki(holder))
        if wish.stamped is not None:
            algorithm = sequence(oid("1.2.840.10045.4.3.3"))
            stamp = self.stamp(to_be_signed(*parts, wish, algorithm), wish.stamped)
            listed = len(stamp).to_bytes(2, "big") + stamp
            listed = len(listed).to_bytes(2, "big") + listed + wish.after_list
            wish = replace(wish, extensions=(*wish.extensions, (SCT_LIST, tlv(0x04, listed))))
        return certificate(*parts, wish, self.issuing_key)

    def logged(
        self, wish: Wish, moment: datetime | None = None, key: ec.EllipticCurvePrivateKey | None = None
    ) -> tuple[bytes, bytes]:
        """The leaf that a certificate log makes of the precertificate, by default 137 ms after it begins, and its extra data."""
        parts = (name("sigstore-intermediate"), name(""), spki(key or ec.generate_private_key(ec.SECP256R1())))
        tbs = to_be_signed(*parts, wish, sequence(oid("1.2.840.10045.4.3.3")))
        poisoned = replace(wish, extensions=(*wish.extensions, (POISON, b"\x05\x00")))
        key_hash = hashlib.sha256(spki(self.issuing_key)).digest()
        return (
            merkle_leaf(tbs, moment or wish.not_before + timedelta(milliseconds=137), key_hash),
            chained(certificate(*parts, poisoned, self.issuing_key), self.issuing, self.root),
        )

    def stamp(self, precertificate: bytes, moment: datetime) -> bytes:
        """A serialised signed certificate timestamp (RFC 6962 §3.2)."""
        milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        when = milliseconds.to_bytes(8, "big")
        issuer = hashlib.sha256(spki(self.issuing_key)).digest()
        size = len(precertificate).to_bytes(3, "big")
        signed = b"\x00\x00" + when + b"\x00\x01" + issuer + size + precertificate + b"\x00\x00"
        signature = self.ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        log = hashlib.sha256(spki(self.ct_key)).digest()
        return b"\x00" + log + when + b"\x00\x00\x04\x03" + len(signature).to_bytes(2, "big") + signature

    def trusted_root(self, **windows: dict[str, str]) -> dict[str, Any]:
        """As JSON; `windows` replaces the validFor of `log`, `ca` or `ct`."""
        start = {"start": "2026-01-01T00:00:00Z"}
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_logged("https://rekor.example", spki(self.log_key), windows.get("log", start))],
            "certificateAuthorities": [
                {
                    "uri": "https://fulcio.example",
                    "certChain": {"certificates": [{"rawBytes": b64(der)} for der in (self.issuing, self.root)]},
                    "validFor": windows.get("ca", start),
                }
            ],
            "ctlogs": [_logged("https://ct.example", spki(self.ct_key), windows.get("ct", start))],
        }


def sized(content: bytes, width: int = 3) -> bytes:
    """A TLS vector."""
    return len(content).to_bytes(width, "big") + content


def merkle_leaf(content: bytes, moment: datetime, key_hash: bytes | None = None, extensions: bytes = b"") -> bytes:
    """RFC 6962 §3.4 MerkleTreeLeaf of a certificate, or with its issuer's key hash of a TBSCertificate."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    kind = b"\x00\x00" if key_hash is None else b"\x00\x01" + key_hash
    return b"\x00\x00" + milliseconds.to_bytes(8, "big") + kind + sized(content) + sized(extensions, 2)


def chained(precertificate: bytes, *chain: bytes) -> bytes:
    """RFC 6962 §4.6 PrecertChainEntry."""
    return sized(precertificate) + sized(b"".join(sized(each) for each in chain))


def _logged(url: str, key: bytes, window: dict[str, str]) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "publicKey": {"rawBytes": b64(key), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": window},
        "logId": {"keyId": b64(hashlib.sha256(key).digest())},
    }


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def as_bytes(root: dict[str, Any]) -> bytes:
    return json.dumps(root).encode()
