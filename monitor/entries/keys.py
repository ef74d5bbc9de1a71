"""Public keys of signers: read, named in one way, and held against a signature over a digest. Trusts no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from monitor.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

DIGEST_SIZES: Mapping[str, int] = {
    "sha1": 20,
    "sha224": 28,
    "sha256": 32,
    "sha384": 48,
    "sha512": 64,
    "sha3-256": 32,
    "sha3-384": 48,
    "sha3-512": 64,
}
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-384": hashes.SHA3_384(),
    "sha3-512": hashes.SHA3_512(),
}


def load(spki: bytes) -> PublicKeyTypes | None:
    """The public key of a DER SubjectPublicKeyInfo (or PKCS #1 RSAPublicKey), or None for a kind we cannot use. FormatError: not a key."""
    try:
        return serialization.load_der_public_key(spki)
    except UnsupportedAlgorithm:
        return None
    except (ValueError, TypeError) as error:
        raise FormatError(f"not a public key: {error}") from None


def canonical(spki: bytes) -> bytes:
    """The key's DER SubjectPublicKeyInfo in its one usual form, so that one key has one id; the bytes given where we cannot read it."""
    try:
        key = load(spki)
    except FormatError:
        return spki
    return spki if key is None else spki_of(key)


def spki_of(key: PublicKeyTypes) -> bytes:
    """The DER SubjectPublicKeyInfo of a key."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def core(spki: bytes) -> bytes:
    """The bytes that no encoding of this key can do without: an EC point's x, an RSA modulus, an Ed25519 key. Else the SPKI."""
    try:
        key = load(spki)
    except FormatError:
        return spki
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_numbers().x.to_bytes((key.key_size + 7) // 8, "big")
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_numbers().n.to_bytes((key.key_size + 7) // 8, "big")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    return spki


def verifies(spki: bytes, signature: bytes, algorithm: str, digest: bytes, *, pss: bool = False) -> bool | None:
    """Whether the key's `signature` over `digest` holds. None where it cannot be told: Ed25519ph, ML-DSA, an unknown hash or key."""
    hashed = _HASHES.get(algorithm)
    if hashed is None:
        return None
    try:
        key = load(spki)
        prehashed = utils.Prehashed(hashed)
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(prehashed))
        elif isinstance(key, rsa.RSAPublicKey):
            scheme = padding.PSS(padding.MGF1(hashed), padding.PSS.AUTO) if pss else padding.PKCS1v15()
            key.verify(signature, digest, scheme, prehashed)
        else:
            return None
    except InvalidSignature:
        return False
    except (FormatError, UnsupportedAlgorithm, ValueError):
        return None
    return True


def ed25519_spki(text: str) -> bytes | None:
    """The SPKI of an Ed25519 key written in hexadecimal, or None when the text is none."""
    try:
        return spki_of(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)))
    except ValueError:
        return None
