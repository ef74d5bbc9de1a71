"""The JSON replies of RFC 6962 §4, read strictly into our own types: tree heads, entries, proofs.

Pure. A reply that lacks a part, or has one of another shape or beyond its bound, is a FormatError that says which. Whether
what it says is in the log is for others to prove.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NoReturn

import orjson
import pybase64

from monitor.ct.leaves import TreeLeaf
from monitor.errors import FormatError
from monitor.tlog.merkle import HASH_SIZE

_MAX_HASHES: Final = 64
_MAX_COUNT: Final = 2**63 - 1
_MAX_SIGNATURE: Final = 1024
"""Many times a DigitallySigned struct over any curve."""


@dataclass(frozen=True, slots=True)
class SignedTreeHead:
    """What get-sth says; `timestamp` in milliseconds, `signature` the DigitallySigned struct. Verified by nobody yet."""

    size: int
    timestamp: int
    root: bytes
    signature: bytes = field(repr=False)


def load(body: bytes) -> object:
    """Parse a reply. FormatError when it is not JSON."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error}") from error
    return value


def tree_head(reply: object) -> SignedTreeHead:
    """Read the reply of get-sth (§4.3)."""
    head = _dict(reply, "the tree head")
    signature = _base64(head, "tree_head_signature")
    if len(signature) > _MAX_SIGNATURE:
        raise FormatError(f"tree_head_signature has {len(signature)} bytes: at most {_MAX_SIGNATURE} are read")
    root = _base64(head, "sha256_root_hash")
    if len(root) != HASH_SIZE:
        raise FormatError(f"sha256_root_hash has {len(root)} bytes")
    return SignedTreeHead(_count(head, "tree_size"), _count(head, "timestamp"), root, signature)


def consistency_hashes(reply: object) -> tuple[bytes, ...]:
    """Read the reply of get-sth-consistency (§4.4)."""
    return _hashes(_dict(reply, "the proof"), "consistency")


def place_and_path(reply: object) -> tuple[int, tuple[bytes, ...]]:
    """Read the reply of get-proof-by-hash (§4.5): where the leaf stands, and its audit path."""
    proof = _dict(reply, "the proof")
    return _count(proof, "leaf_index"), _hashes(proof, "audit_path")


def entry_and_path(reply: object) -> tuple[TreeLeaf, tuple[bytes, ...]]:
    """Read the reply of get-entry-and-proof (§4.8)."""
    proof = _dict(reply, "the proof")
    return entry(proof, alone=True), _hashes(proof, "audit_path")


def entries(reply: object) -> list[object]:
    """Read the list in a reply of get-entries (§4.6); each is for `entry` to read."""
    listed = _dict(reply, "the page").get("entries")
    return listed if isinstance(listed, list) else _wrong("entries", listed)


def entry(value: object, *, alone: bool = False) -> TreeLeaf:
    """Read one entry. Asked for `alone` it may have unreadable extra data, which then is empty: its leaf is worth more."""
    record = _dict(value, "an entry")
    leaf = _base64(record, "leaf_input")
    try:
        return TreeLeaf(leaf, _base64(record, "extra_data"))
    except FormatError:
        if not alone:
            raise
        return TreeLeaf(leaf, b"")


def _hashes(record: dict[str, object], name: str) -> tuple[bytes, ...]:
    value = record.get(name)
    if not isinstance(value, list):
        # Go writes an empty list that was never made as null.
        return () if value is None and name in record else _wrong(name, value)
    if len(value) > _MAX_HASHES:
        raise FormatError(f"a proof of {len(value)} hashes: no tree needs more than {_MAX_HASHES}")
    hashes = tuple(_decoded(item, name) for item in value)
    if any(len(item) != HASH_SIZE for item in hashes):
        raise FormatError(f"{name} holds what is no hash")
    return hashes


def _dict(value: object, what: str) -> dict[str, object]:
    return value if isinstance(value, dict) else _wrong(what, value)


def _count(record: dict[str, object], name: str) -> int:
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT:
        return value
    return _wrong(name, value)


def _base64(record: dict[str, object], name: str) -> bytes:
    return _decoded(record.get(name), name)


def _decoded(value: object, name: str) -> bytes:
    if not isinstance(value, str):
        return _wrong(name, value)
    try:
        return pybase64.b64decode(value.encode("ascii"), validate=True)
    except ValueError as error:
        raise FormatError(f"{name} is not base64") from error


def _wrong(name: str, value: object) -> NoReturn:
    shown = "missing" if value is None else f"a {type(value).__name__}, {str(value)[:40]!r}"
    raise FormatError(f"{name} is {shown}")
