"""From the key material and the hash that stand in an entry to a signer and a digest. Trusts nothing; refuses by the place it stood at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.entries import certificate, keys
from monitor.entries.encoding import hex_bytes, pem_blocks
from monitor.errors import FormatError
from monitor.model.entry import DigestRole, LoggedDigest, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from monitor.entries.strictjson import Json
    from monitor.model.entry import Certificate

MAX_SIGNERS = 64

_MAX_ALGORITHM = 32
_V2_ALGORITHMS: Mapping[str, str] = {
    "SHA2_256": "sha256",
    "SHA2_384": "sha384",
    "SHA2_512": "sha512",
    "SHA3_256": "sha3-256",
    "SHA3_384": "sha3-384",
}
_PSS = "RSA_PSS"


@dataclass(frozen=True, slots=True)
class Key:
    """The key beside a signature: of a certificate, or bare. `others` stand beside it and have signed nothing that we know of."""

    spki: bytes
    certificate: Certificate | None = None
    others: tuple[Certificate, ...] = ()
    pss: bool = False

    def signer(self, signature: bytes, verifies: bool | None = None) -> Signer:  # noqa: FBT001 - three-valued, named by its field
        """The signer that this key is of."""
        return Signer(self.spki, self.certificate, signature, verifies)

    def signer_over(self, signature: bytes, digest: LoggedDigest) -> Signer:
        """The signer that this key is of, its signature held against the digest it was made over."""
        value = bytes.fromhex(digest.value)
        return self.signer(signature, keys.verifies(self.spki, signature, digest.algorithm, value, pss=self.pss))


NO_X509_KEY = Key(b"")
"""A PGP, minisign or SSH key: no certificate, and no key that we compare."""


def pem_key(place: Json) -> Key:
    """The key of a base64 PEM: its first block; certificates after it are others (Rekor reads no more than ten)."""
    try:
        blocks = pem_blocks(place.base64())
        label, content = blocks[0]
        if label == "CERTIFICATE":
            key = _certified(content)
        elif label in {"PUBLIC KEY", "RSA PUBLIC KEY"}:
            keys.load(content)
            key = Key(keys.canonical(content))
        else:
            raise FormatError(f"a PEM block {label} instead of a certificate or public key")  # noqa: TRY301 - told with its place
    except FormatError as error:
        place.refuse(str(error))
    others = tuple(certificate.read_or_keep(content) for label, content in blocks[1:] if label == "CERTIFICATE")
    return Key(key.spki, key.certificate, others)


def verifier_key(place: Json) -> Key:
    """The key of a Rekor v2 verifier: one DER certificate or one DER public key, and how it signs."""
    wrapped, bare = place.find("x509Certificate"), place.find("publicKey")
    if (wrapped is None) == (bare is None):
        place.refuse("not one certificate or public key")
    raw = (wrapped or bare or place).at("rawBytes")
    content = raw.base64()
    details = place.find("keyDetails")
    pss = details is not None and _PSS in details.text()
    try:
        if wrapped is not None:
            key = _certified(content)
            return Key(key.spki, key.certificate, pss=pss)
        keys.load(content)
        return Key(keys.canonical(content), pss=pss)
    except FormatError as error:
        raw.refuse(str(error))


def _certified(der: bytes) -> Key:
    read = certificate.read(der)
    return Key(certificate.spki(der), read)


def each_signer(
    places: Iterable[Json], read: Callable[[Json], tuple[Key, bytes]]
) -> tuple[tuple[Signer, ...], tuple[Certificate, ...]]:
    """The signers of an entry that has several, and the certificates beside them.

    One that cannot be read must not hide the others: it is kept without a name. FormatError when none can be read.
    """
    signers: list[Signer] = []
    others: list[Certificate] = []
    failures: list[FormatError] = []
    for place in places:
        try:
            key, signature = read(place)
        except FormatError as error:
            failures.append(error)
            signers.append(NO_X509_KEY.signer(b""))
        else:
            signers.append(key.signer(signature))
            others += key.others
    if len(failures) == len(signers):
        raise failures[0]
    return tuple(signers), tuple(others)


def hex_digest(place: Json, role: DigestRole) -> LoggedDigest:
    """A v1 hash: `{"algorithm": "sha256", "value": hex}`."""
    algorithm = place.at("algorithm").text().lower()
    value = place.at("value")
    try:
        return _digest(algorithm, hex_bytes(value.text()), role)
    except FormatError as error:
        value.refuse(str(error))


def raw_digest(place: Json, role: DigestRole) -> LoggedDigest:
    """A v2 hash: `{"algorithm": "SHA2_256", "digest": base64}`."""
    name = place.at("algorithm").text()
    value = place.at("digest")
    try:
        return _digest(_V2_ALGORITHMS.get(name, name.lower()), value.base64(), role)
    except FormatError as error:
        value.refuse(str(error))


def _digest(algorithm: str, value: bytes, role: DigestRole) -> LoggedDigest:
    if not algorithm.isascii() or not algorithm.isprintable() or not 0 < len(algorithm) <= _MAX_ALGORITHM:
        raise FormatError("a hash algorithm of no name")
    size = keys.DIGEST_SIZES.get(algorithm)
    if not value or (size is not None and len(value) != size):
        raise FormatError(f"{len(value)} bytes are no {algorithm} hash")
    return LoggedDigest(algorithm, value.hex(), role)
