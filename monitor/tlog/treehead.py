"""RFC 6962 §3.5 signed tree heads inside signed notes, as C2SP static-ct-api writes them: one form for every log's word.

A tree head and its note hold the same (time, size, root, signature), so the note is kept and verified in its place. Nothing
is verified here; the text that a tree head's signature does not cover is refused, never passed over.
"""

from __future__ import annotations

import re
import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Final

from monitor.errors import BadSignatureError, FormatError

MAX_TIMESTAMP: Final = 253_402_300_799_999
"""Milliseconds; 9999-12-31T23:59:59.999Z: beyond it no datetime can be made."""
_TREE_HASH: Final = b"\x00\x01"
"""version v1, signature_type tree_hash."""
_ECDSA_SHA256: Final = b"\x04\x03"
_TEXT: Final = re.compile(rb"[^\n]+\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")
_ROOT: Final = 32
_FIXED: Final = 12
"""Timestamp, algorithms and length before the signature itself."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a signature line of this form says: milliseconds since 1970, the bytes that were signed, the DER signature over them."""

    timestamp: int
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def signed_bytes(timestamp: int, size: int, root: bytes) -> bytes:
    """The TreeHeadSignature struct that a log signs: `timestamp` in milliseconds."""
    return _TREE_HASH + struct.pack(">QQ", timestamp, size) + root


def unpack(name: str, text: bytes, signature: bytes) -> TreeHead:
    """Read a signature line's bytes (after the key id) over the note's `text`. BadSignatureError when they cannot be of this form."""
    fields = _TEXT.fullmatch(text)
    if fields is None:
        raise BadSignatureError(
            f"the note of {name!r} holds more than origin, size and root, which its signature does not cover"
        )
    size, root = int(fields[1]), b64decode(fields[2])
    if len(signature) < _FIXED:
        raise BadSignatureError(f"the tree head of {name!r} breaks off after {len(signature)} bytes")
    (timestamp,) = struct.unpack_from(">Q", signature)
    (length,) = struct.unpack_from(">H", signature, 10)
    if signature[8:10] != _ECDSA_SHA256 or _FIXED + length != len(signature) or timestamp > MAX_TIMESTAMP:
        raise BadSignatureError(
            f"the tree head of {name!r} is not signed with ECDSA and SHA-256, or not at a possible time"
        )
    return TreeHead(timestamp, signed_bytes(timestamp, size, root), signature[_FIXED:])


def note(origin: str, key_id: bytes, timestamp: int, size: int, root: bytes, signature: bytes) -> bytes:
    """Return the signed note of a tree head; `signature` is its DigitallySigned struct, `timestamp` in milliseconds.

    `key_id` is the first four bytes that `NoteKey.tree_head` computes. FormatError for values that no tree head has.
    """
    if not 0 <= size < 2**63 or len(root) != _ROOT or not 0 <= timestamp <= MAX_TIMESTAMP or not signature:
        raise FormatError(f"no tree head has size {size}, time {timestamp} and a root of {len(root)} bytes")
    body = b64encode(key_id + struct.pack(">Q", timestamp) + signature).decode()
    text = f"{origin}\n{size}\n{b64encode(root).decode()}\n"
    return f"{text}\n\u2014 {origin} {body}\n".encode()
