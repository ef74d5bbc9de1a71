"""The JSON replies of RFC 6962 §4, read strictly into our own types: tree heads, entries, proofs.

Pure. A reply that lacks a part, or has one of another shape or beyond its bound, is a FormatError that says which. Whether
what it says is in the log is for others to prove.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import orjson

from monitor.ct.leaves import TreeLeaf
from monitor.errors import FormatError
from monitor.reading import fields
from monitor.tlog.merkle import HASH_SIZE

_MAX_HASHES: Final = 64
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
    head = fields.record(reply, "the tree head")
    signature = fields.base64(head.get("tree_head_signature"), "tree_head_signature")
    if len(signature) > _MAX_SIGNATURE:
        raise FormatError(f"tree_head_signature has {len(signature)} bytes: at most {_MAX_SIGNATURE} are read")
    root = fields.base64(head.get("sha256_root_hash"), "sha256_root_hash")
    if len(root) != HASH_SIZE:
        raise FormatError(f"sha256_root_hash has {len(root)} bytes")
    return SignedTreeHead(fields.count(head, "tree_size"), fields.count(head, "timestamp"), root, signature)


def consistency_hashes(reply: object) -> tuple[bytes, ...]:
    """Read the reply of get-sth-consistency (§4.4)."""
    return _hashes(fields.record(reply, "the proof"), "consistency")


def place_and_path(reply: object) -> tuple[int, tuple[bytes, ...]]:
    """Read the reply of get-proof-by-hash (§4.5): where the leaf stands, and its audit path."""
    proof = fields.record(reply, "the proof")
    return fields.count(proof, "leaf_index"), _hashes(proof, "audit_path")


def entry_and_path(reply: object) -> tuple[TreeLeaf, tuple[bytes, ...]]:
    """Read the reply of get-entry-and-proof (§4.8)."""
    proof = fields.record(reply, "the proof")
    return entry(proof, alone=True), _hashes(proof, "audit_path")


def entries(reply: object) -> list[object]:
    """Read the list in a reply of get-entries (§4.6); each is for `entry` to read."""
    listed = fields.record(reply, "the page").get("entries")
    return listed if isinstance(listed, list) else fields.wrong("entries", listed)


def entry(value: object, *, alone: bool = False) -> TreeLeaf:
    """Read one entry. Asked for `alone` it may have unreadable extra data, which then is empty: its leaf is worth more."""
    record = fields.record(value, "an entry")
    leaf = fields.base64(record.get("leaf_input"), "leaf_input")
    try:
        return TreeLeaf(leaf, fields.base64(record.get("extra_data"), "extra_data"))
    except FormatError:
        if not alone:
            raise
        return TreeLeaf(leaf, b"")


def _hashes(record: dict[str, object], name: str) -> tuple[bytes, ...]:
    value = record.get(name)
    if not isinstance(value, list):
        # Go writes an empty list that was never made as null.
        return () if value is None and name in record else fields.wrong(name, value)
    if len(value) > _MAX_HASHES:
        raise FormatError(f"a proof of {len(value)} hashes: no tree needs more than {_MAX_HASHES}")
    hashes = tuple(fields.base64(item, name) for item in value)
    if any(len(item) != HASH_SIZE for item in hashes):
        raise FormatError(f"{name} holds what is no hash")
    return hashes
