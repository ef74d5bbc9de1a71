"""C2SP signed-note: splits a note into text and signature lines, and verifies the lines of the keys we know.

Strict about bytes, lenient about strangers: lines by unknown keys are passed over, a known key's line that does not
verify refuses the whole note. It must never decide which keys are to be known; Ed25519, ECDSA P-256 with SHA-256, the
timestamped Ed25519 of C2SP tlog-cosignature and the tree heads of RFC 6962 logs are what it can verify.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from monitor.errors import BadSignatureError, FormatError, UnknownKeyError
from monitor.tlog import treehead

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NOTE_SIZE: Final = 64 * 1024
MAX_SIGNATURES: Final = 64
KEY_ID_SIZE: Final = 4
_RAW_KEY_SIZE: Final = 32
_TIMESTAMP_SIZE: Final = 8
_MAX_TIMESTAMP: Final = 253_402_300_799  # 9999-12-31T23:59:59Z: beyond it no datetime can be made
_SEPARATOR: Final = "\n\n"
_LINE_START: Final = "\u2014 "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NOT_IN_NAME: Final = re.compile(r"[\s+\x00-\x1f\ud800-\udfff]")
_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")


class KeyAlgorithm(Enum):
    """How a key signs a note, with the type byte that C2SP assigns to it."""

    ED25519 = 0x01
    ECDSA_P256 = 0x02
    COSIGNATURE_ED25519 = 0x04
    RFC6962_TREE_HEAD = 0x05


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: key name, 4-byte key id, and the bytes after the id (a cosignature's timestamp included)."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note: `text` is what was signed (it ends in a newline), `raw` the whole as it was received."""

    text: bytes
    signatures: tuple[NoteSignature, ...]
    raw: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Split a signed note; nothing is verified.

        Raises FormatError for more than 64 KiB or 64 signatures, invalid UTF-8, a control character but newline
        (carriage returns too), text without one blank line before the signatures, and a malformed signature line.
        """
        if len(raw) > MAX_NOTE_SIZE:
            raise FormatError(f"signed note of {len(raw)} bytes: at most {MAX_NOTE_SIZE} are read")
        try:
            whole = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(f"signed note is not UTF-8 at byte {error.start}") from None
        control = _CONTROL.search(whole)
        if control:
            raise FormatError(f"signed note holds control character U+{ord(control.group()):04X}")
        # The last blank line separates: one further up belongs to the text.
        text, separator, block = whole.rpartition(_SEPARATOR)
        if not separator or not text or text.endswith("\n"):
            raise FormatError("signed note has no text followed by one blank line")
        if not block.endswith("\n"):
            raise FormatError("signed note does not end in a signature line and a newline")
        lines = block[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise FormatError(f"signed note of {len(lines)} signatures: at most {MAX_SIGNATURES} are read")
        signatures = tuple(_signature(line, number) for number, line in enumerate(lines, 1))
        return cls(f"{text}\n".encode(), signatures, raw)


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key that signature lines are verified with, found by name and 4-byte key id together.

    `public` is the raw 32 bytes of an Ed25519 key and the DER SubjectPublicKeyInfo of an ECDSA key.
    """

    name: str
    key_id: bytes
    algorithm: KeyAlgorithm
    public: bytes = field(repr=False)
    _key: Ed25519PublicKey | EllipticCurvePublicKey = field(repr=False, compare=False)

    @classmethod
    def from_spki(cls, name: str, spki_der: bytes, key_id: bytes | None = None) -> NoteKey:
        """Key from a DER SubjectPublicKeyInfo; a given `key_id` (a trusted root states one) wins over the computed one.

        Computed: Ed25519 by C2SP signed-note, ECDSA the first four bytes of the SPKI's SHA-256. Raises FormatError for
        another algorithm or curve, bytes that are no key, a bad name, and a key id that is not 4 bytes.
        """
        _checked_name(name)
        if key_id is not None and len(key_id) != KEY_ID_SIZE:
            raise FormatError(f"key id of {name!r} has {len(key_id)} bytes, not {KEY_ID_SIZE}")
        try:
            key = load_der_public_key(spki_der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise FormatError(f"public key of {name!r} cannot be read: {error}") from error
        if isinstance(key, Ed25519PublicKey):
            public = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            computed = _c2sp_key_id(name, KeyAlgorithm.ED25519, public)
            return cls(name, key_id or computed, KeyAlgorithm.ED25519, public, key)
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            computed = sha256(spki_der).digest()[:KEY_ID_SIZE]
            return cls(name, key_id or computed, KeyAlgorithm.ECDSA_P256, spki_der, key)
        raise FormatError(f"public key of {name!r} is neither Ed25519 nor ECDSA P-256")

    @classmethod
    def tree_head(cls, name: str, spki_der: bytes) -> NoteKey:
        """Key of an RFC 6962 log, whose tree heads stand in notes as C2SP static-ct-api has it.

        Its id is made of the name and of the log's id (SHA-256 of the SPKI). Raises FormatError as `from_spki`.
        """
        key = cls.from_spki(name, spki_der)
        if key.algorithm is not KeyAlgorithm.ECDSA_P256:
            raise FormatError(f"public key of {name!r} is not ECDSA P-256: its tree heads cannot be verified")
        algorithm = KeyAlgorithm.RFC6962_TREE_HEAD
        return cls(name, _c2sp_key_id(name, algorithm, sha256(spki_der).digest()), algorithm, spki_der, key._key)  # noqa: SLF001 - its own class

    @classmethod
    def cosigner(cls, name: str, raw: bytes) -> NoteKey:
        """Key of a witness (C2SP tlog-cosignature) from its 32 raw bytes. Raises FormatError for others."""
        return cls._ed25519(name, KeyAlgorithm.COSIGNATURE_ED25519, raw)

    @classmethod
    def from_vkey(cls, text: str) -> NoteKey:
        """Key from a verifier key line, `name+8 hex digits+base64(type byte || key)`.

        Raises FormatError when it is malformed, of a type that cannot be verified, or its id is not the key's own.
        """
        match = _VKEY.fullmatch(text)
        if not match:
            raise FormatError(f"{text[:200]!r} is no verifier key: name+key id+base64 is")
        name, key_id, encoded = match.groups()
        data = canonical_base64(encoded, f"verifier key of {name!r}")
        try:
            algorithm = KeyAlgorithm(data[0])
        except ValueError:
            algorithm = KeyAlgorithm.RFC6962_TREE_HEAD
        if algorithm is KeyAlgorithm.RFC6962_TREE_HEAD:  # those logs publish no verifier keys
            raise FormatError(f"verifier key of {name!r} has the unknown type {data[0]:#04x}")
        is_ecdsa = algorithm is KeyAlgorithm.ECDSA_P256
        key = cls.from_spki(name, data[1:]) if is_ecdsa else cls._ed25519(name, algorithm, data[1:])
        if key.algorithm is not algorithm or key.key_id.hex() != key_id:
            raise FormatError(f"verifier key of {name!r} states key id {key_id}, its key's is {key.key_id.hex()}")
        return key

    @classmethod
    def _ed25519(cls, name: str, algorithm: KeyAlgorithm, raw: bytes) -> NoteKey:
        _checked_name(name)
        if len(raw) != _RAW_KEY_SIZE:
            raise FormatError(f"Ed25519 key of {name!r} has {len(raw)} bytes, not {_RAW_KEY_SIZE}")
        key = Ed25519PublicKey.from_public_bytes(raw)
        return cls(name, _c2sp_key_id(name, algorithm, raw), algorithm, raw, key)

    def timestamp(self, text: bytes, signature: bytes) -> int | None:
        """Verify one line's signature over a note's text: the Unix time (s) of a cosignature or tree head, None for the others.

        Raises BadSignatureError.
        """
        try:
            if isinstance(self._key, EllipticCurvePublicKey):
                if self.algorithm is KeyAlgorithm.RFC6962_TREE_HEAD:
                    head = treehead.unpack(self.name, text, signature)
                    self._key.verify(head.signature, head.signed, ECDSA(SHA256()))
                    return head.timestamp // 1000
                self._key.verify(signature, text, ECDSA(SHA256()))
            elif self.algorithm is KeyAlgorithm.ED25519:
                self._key.verify(signature, text)
            else:
                time = int.from_bytes(signature[:_TIMESTAMP_SIZE], "big")
                self._key.verify(signature[_TIMESTAMP_SIZE:], b"cosignature/v1\ntime %d\n%s" % (time, text))
                if time > _MAX_TIMESTAMP:
                    raise BadSignatureError(f"the cosignature by {self.name!r} states the impossible time {time}")
                return time
        except InvalidSignature:
            raise BadSignatureError(
                f"the signature by {self.name!r} (key id {self.key_id.hex()}) does not verify over the note"
            ) from None
        return None


@dataclass(frozen=True, slots=True)
class Verified:
    """A key whose signature on a note verified; `timestamp` is a cosignature's or tree head's Unix time in seconds, else None."""

    key: NoteKey
    timestamp: int | None


def verify(note: Note, keys: Iterable[NoteKey]) -> tuple[Verified, ...]:
    """Who of `keys` signed the note, each once (of several cosignatures the latest), in the order of its lines.

    Lines whose (name, key id) nobody of `keys` has are passed over. Raises BadSignatureError when one that somebody has
    does not verify, UnknownKeyError when there is none.
    """
    known: dict[tuple[str, bytes], list[NoteKey]] = {}
    for key in keys:
        known.setdefault((key.name, key.key_id), []).append(key)
    found: dict[NoteKey, Verified] = {}
    for line in note.signatures:
        candidates = known.get((line.name, line.key_id))
        if candidates is None:
            continue
        verified = _verified_by(candidates, note.text, line)
        before = found.get(verified.key)
        if before is None or (before.timestamp or 0) < (verified.timestamp or 0):
            found[verified.key] = verified
    if not found:
        seen = ", ".join(f"{line.name!r} {line.key_id.hex()}" for line in note.signatures[:4])
        raise UnknownKeyError(f"the note is signed by no key we know, but by {seen}")
    return tuple(found.values())


def canonical_base64(text: str, what: str) -> bytes:
    """Bytes of standard base64 that has exactly one spelling. Raises FormatError, naming `what`, for any other."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise FormatError(f"{what} is not base64") from None
    if not data or b64encode(data).decode() != text:
        raise FormatError(f"{what} is empty or not canonical base64")
    return data


def signature_line(name: str, key_id: bytes, signature: bytes) -> bytes:
    """Return the line that adds a signature to a note: em dash, name, base64 of key id and signature, newline."""
    return f"{_LINE_START}{_checked_name(name)} {b64encode(key_id + signature).decode()}\n".encode()


def _verified_by(candidates: Iterable[NoteKey], text: bytes, line: NoteSignature) -> Verified:
    # Two keys may share a name and, by design of a 4-byte id, the id too: the line is good if one of them made it.
    failure: BadSignatureError | None = None
    for key in candidates:
        try:
            return Verified(key, key.timestamp(text, line.signature))
        except BadSignatureError as error:
            failure = error
    raise failure or BadSignatureError(f"no key of {line.name!r} was given")


def _signature(line: str, number: int) -> NoteSignature:
    if not line.startswith(_LINE_START):
        raise FormatError(f"signature line {number} does not begin with an em dash and a space")
    name, space, encoded = line.removeprefix(_LINE_START).partition(" ")
    if not space:
        raise FormatError(f"signature line {number} has no signature after its name")
    data = canonical_base64(encoded, f"signature line {number}")
    if len(data) <= KEY_ID_SIZE:
        raise FormatError(f"signature line {number} holds a key id and no signature")
    return NoteSignature(_checked_name(name), data[:KEY_ID_SIZE], data[KEY_ID_SIZE:])


def _checked_name(name: str) -> str:
    if not name or _NOT_IN_NAME.search(name):
        raise FormatError(f"key name {name[:200]!r} is empty or holds a space, a plus sign or no text")
    return name


def _c2sp_key_id(name: str, algorithm: KeyAlgorithm, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([algorithm.value]) + public).digest()[:KEY_ID_SIZE]
