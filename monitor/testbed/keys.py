"""A log's key: how it signs a note, and how trusted_root.json names it.

Ed25519 is Rekor v2's (C2SP key ids), ECDSA P-256 is Rekor v1's (the id is the hash of the key). Private keys stay here.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.tlog.note import signature_line

_TYPE_ED25519: Final = b"\x01"
"""The signature type of Ed25519 in a C2SP key id."""


def spki_of(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """Return the public half as DER SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem_of(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """Return the public half as PEM, as Go writes it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key under the name that stands on its signature lines; `log_id` is the trusted root's 32-byte `keyId`."""

    name: str
    key: EllipticCurvePrivateKey | Ed25519PrivateKey = field(repr=False)
    log_id: bytes

    @classmethod
    def ed25519(cls, name: str, key: Ed25519PrivateKey | None = None) -> LogKey:
        """Return a Rekor v2 key: its id is SHA-256(name || 0x0A || 0x01 || key) (C2SP signed-note)."""
        key = key or Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls(name, key, sha256(name.encode() + b"\n" + _TYPE_ED25519 + raw).digest())

    @classmethod
    def ecdsa(cls, name: str, key: EllipticCurvePrivateKey | None = None) -> LogKey:
        """Return a Rekor v1 key: its id is SHA-256 of the DER SubjectPublicKeyInfo."""
        key = key or generate_private_key(SECP256R1())
        return cls(name, key, sha256(spki_of(key)).digest())

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand in front of a signature."""
        return self.log_id[:4]

    @property
    def spki(self) -> bytes:
        """The public key, DER."""
        return spki_of(self.key)

    @property
    def key_details(self) -> str:
        """The algorithm as trusted_root.json spells it."""
        return "PKIX_ED25519" if isinstance(self.key, Ed25519PrivateKey) else "PKIX_ECDSA_P256_SHA_256"

    def sign(self, data: bytes) -> bytes:
        """Return a signature: 64 raw bytes for Ed25519, DER for ECDSA with SHA-256."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(data)
        return self.key.sign(data, ECDSA(SHA256()))

    def note(self, text: bytes) -> bytes:
        """Return a signed note over `text`, which ends in a newline."""
        return text + b"\n" + signature_line(self.name, self.key_id, self.sign(text))

    def posing_as(self, other: LogKey) -> LogKey:
        """Return a key that signs under the name and id of another: its signatures look right and are bad."""
        return replace(self, name=other.name, log_id=other.log_id)


def text64(data: bytes) -> str:
    """Return standard base64, as text."""
    return b64encode(data).decode("ascii")
