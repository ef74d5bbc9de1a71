"""Certificates as a certificate transparency log keeps and signs them: leaves, chains, timestamps, tree heads.

Pure TLS encodings of RFC 6962 §3 and of C2SP static-ct-api. Nothing here knows a key, a tree or a clock, and nothing is
checked: what a log takes is the log's business.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.x509 import Certificate

ECDSA_SHA256: Final = b"\x04\x03"
"""TLS's names of the hash and of the signature, in front of every signature."""
STAMP_AT: Final = 2
"""Where in a leaf its timestamp stands, after version and leaf type."""
STAMP_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry as a log hands it out: the MerkleTreeLeaf, which is hashed, and what goes with it unhashed.

    `extra` is the `extra_data` of get-entries or, in a data tile, what follows the TimestampedEntry.
    """

    leaf_input: bytes = field(repr=False)
    extra: bytes = field(repr=False)

    def restamped(self, later: int) -> LogEntry:
        """Return the same entry, stamped so many milliseconds later: another leaf about the same certificate."""
        at, end = STAMP_AT, STAMP_AT + STAMP_SIZE
        stamp = (int.from_bytes(self.leaf_input[at:end], "big") + later).to_bytes(STAMP_SIZE, "big")
        return LogEntry(self.leaf_input[:at] + stamp + self.leaf_input[end:], self.extra)


@dataclass(frozen=True, slots=True)
class Submission:
    """A certificate handed to a log. `timestamp` is in milliseconds; `chain` the issuers, DER, the nearest first.

    Of a precertificate `signed` is the TBSCertificate without poison and `precertificate` the whole; of a final certificate
    `signed` is the certificate itself and the other two fields are empty.
    """

    timestamp: int
    signed: bytes = field(repr=False)
    chain: tuple[bytes, ...] = field(repr=False)
    issuer_key_hash: bytes = b""
    precertificate: bytes = field(default=b"", repr=False)

    @classmethod
    def of_certificate(cls, certificate: Certificate, chain: Iterable[Certificate], timestamp: int) -> Submission:
        """Return a final certificate's submission (RFC 6962 §3.1, x509_entry)."""
        return cls(timestamp, _der(certificate), tuple(_der(issuer) for issuer in chain))

    @classmethod
    def of_precertificate(
        cls, precertificate: Certificate, tbs: bytes, chain: Iterable[Certificate], timestamp: int
    ) -> Submission:
        """Return a precertificate's submission; `tbs` is its TBSCertificate without poison, `chain` begins with its issuer."""
        issuers = tuple(chain)
        key_hash = key_hash_of(issuers[0])
        return cls(timestamp, tbs, tuple(_der(issuer) for issuer in issuers), key_hash, _der(precertificate))

    def leaf(self, extensions: bytes) -> bytes:
        """Return the MerkleTreeLeaf (§3.4), which is, byte for byte, what an SCT signs too (§3.2)."""
        kind = b"\x00\x01" + self.issuer_key_hash if self.issuer_key_hash else b"\x00\x00"
        return b"\0\0" + struct.pack(">Q", self.timestamp) + kind + sized24(self.signed) + sized16(extensions)

    def extra_data(self) -> bytes:
        """Return the `extra_data` of get-entries (§4.6): a PrecertChainEntry, or the chain of a final certificate."""
        return self._pre() + sized24(b"".join(sized24(issuer) for issuer in self.chain))

    def tile_extra(self) -> bytes:
        """Return what follows the TimestampedEntry in a TileLeaf (static-ct-api): precertificate, issuers' fingerprints."""
        return self._pre() + sized16(b"".join(sha256(issuer).digest() for issuer in self.chain))

    def _pre(self) -> bytes:
        return sized24(self.precertificate) if self.issuer_key_hash else b""


def certificate_timestamp(log_id: bytes, timestamp: int, extensions: bytes, signature: bytes) -> bytes:
    """Return a SignedCertificateTimestamp (§3.2), version 1."""
    return b"\0" + log_id + struct.pack(">Q", timestamp) + sized16(extensions) + digitally_signed(signature)


def leaf_index_extension(index: int) -> bytes:
    """Return the CtExtensions of static-ct-api: one `leaf_index` of 40 bits."""
    return b"\0" + sized16(index.to_bytes(5, "big"))


def tree_head_signed(timestamp: int, size: int, root: bytes) -> bytes:
    """Return the bytes that a tree head's signature covers (§3.5)."""
    return b"\x00\x01" + struct.pack(">QQ", timestamp, size) + root


def digitally_signed(signature: bytes) -> bytes:
    """Return an ECDSA SHA-256 signature with its algorithm and length in front (RFC 5246 §4.7)."""
    return ECDSA_SHA256 + sized16(signature)


def key_hash_of(issuer: Certificate) -> bytes:
    """Return the SHA-256 of an issuer's SubjectPublicKeyInfo, which precertificate leaves name it by."""
    return sha256(issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def sized16(data: bytes) -> bytes:
    """TLS encoding of a vector with a two-byte length."""
    return struct.pack(">H", len(data)) + data


def sized24(data: bytes) -> bytes:
    """TLS encoding of a vector with a three-byte length."""
    return len(data).to_bytes(3, "big") + data


def _der(certificate: Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
