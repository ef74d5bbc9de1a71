"""Rekor v1's JSON replies, read strictly into our own types: the shard list, entries, proofs.

Pure. A reply must name the tree it comes from, its index there and its leaf; one that does not, or lacks a part, is a
FormatError that says which. Whether what it names is in the log is for others to prove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson

from monitor.errors import FormatError
from monitor.model.log import InclusionProof, Promise
from monitor.reading import fields
from monitor.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    Record = tuple[str, dict[str, object]]
    """A UUID and what is said of its entry."""

_UUID: Final = re.compile(r"[0-9a-f]{80}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TREE_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
_TREE_DIGITS: Final = 16
_MAX_HASHES: Final = 64
_MAX_COUNT: Final = 2**63 - 1
_MAX_TIME: Final = 253_402_300_799  # 9999-12-31T23:59:59Z: beyond it no datetime can be made


class OtherBodyError(FormatError):
    """A record's body is not the leaf that its UUID names; `body` is what was served in its place."""

    def __init__(self, body: bytes) -> None:
        super().__init__("its body is not the leaf that its UUID names")
        self.body = body


@dataclass(frozen=True, slots=True)
class ShardHead:
    """One shard as `GET /api/v1/log` lists it: all of it a hint, but for what the note's signature covers."""

    origin: str
    tree_id: str
    size: int
    note: bytes = field(repr=False)
    active: bool


@dataclass(frozen=True, slots=True)
class ShardName:
    """What a reply must name to be of this shard: its origin, and its tree's id as the prefix of every UUID."""

    origin: str
    prefix: str

    @classmethod
    def of(cls, origin: str, tree_id: str) -> ShardName:
        """Name a shard by its decimal tree id. FormatError for one that is no number below 2**63."""
        if not _TREE_ID.fullmatch(tree_id) or int(tree_id) > _MAX_COUNT:
            raise FormatError(f"tree id {tree_id[:40]!r} of {origin[:80]!r} is no decimal number below 2**63")
        return cls(origin, f"{int(tree_id):0{_TREE_DIGITS}x}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf of a shard as a reply has it. `index` is its place in the shard, `promise.global_index` over all."""

    index: int
    body: bytes = field(repr=False)
    promise: Promise


def shard_heads(reply: object) -> tuple[ShardHead, ...]:
    """Read the shard list: the inactive shards as listed, oldest first, then the active one. FormatError."""
    info = fields.record(reply, "the log info")
    inactive = info.get("inactiveShards")
    if inactive is not None and not isinstance(inactive, list):
        fields.wrong("inactiveShards", inactive)
    heads = [_head(shard, active=False) for shard in inactive or ()]
    heads.append(_head(info, active=True))
    if len({head.tree_id for head in heads}) != len(heads):
        raise FormatError("the log info lists one tree twice")
    return tuple(heads)


def consistency_hashes(reply: object) -> tuple[bytes, ...]:
    """Read a consistency proof. Its `rootHash` is the server's newest, whatever was asked: it is not looked at."""
    return _hashes(fields.record(reply, "the proof").get("hashes"))


def records(reply: object) -> Iterator[Record]:
    """Yield every (UUID, record) of one map of entries, or of a page of such maps. FormatError for other shapes."""
    for page in reply if isinstance(reply, list) else [reply]:
        for uuid, record in fields.record(page, "an entry's map").items():
            yield uuid, fields.record(record, f"entry {uuid[:80]}")


def listed(reply: object) -> list[Record]:
    """Return the records of a page; maps of another shape are left out, as if the log had left their entries out."""
    found: list[Record] = []
    for item in reply if isinstance(reply, list) else ():
        try:
            found.extend(records(item))
        except FormatError:
            continue
    return found


def entry(uuid: str, record: dict[str, object], shard: ShardName) -> Entry:
    """Read one record that must be of this shard. FormatError names what is missing or contradicts itself."""
    proof = _proof(record)
    index = fields.count(proof, "logIndex")
    if not _UUID.fullmatch(uuid):
        raise FormatError(f"UUID {uuid[:100]!r} is not 80 hexadecimal digits")
    if not uuid.startswith(shard.prefix):
        raise FormatError(f"its UUID is of tree {int(uuid[:_TREE_DIGITS], 16)}, not of {shard.origin!r}")
    if not fields.text(proof, "checkpoint").startswith(f"{shard.origin}\n"):
        raise FormatError(f"the checkpoint in its proof is not of {shard.origin!r}")
    body = fields.base64(record.get("body"), "body")
    if leaf_hash(body).hex() != uuid[_TREE_DIGITS:]:
        raise OtherBodyError(body)
    return Entry(index, body, _promise(uuid, record))


def inclusion(found: Entry, record: dict[str, object]) -> InclusionProof:
    """Read the inclusion proof beside an entry that `entry` has read; its size and note are the server's own newest."""
    proof = _proof(record)
    note = fields.text(proof, "checkpoint").encode()
    size = fields.count(proof, "treeSize")
    return InclusionProof(leaf_hash(found.body), found.index, size, _hashes(proof.get("hashes")), note)


def offset_of(record: dict[str, object]) -> int | None:
    """Where this record's shard begins by what the record says of itself, or None when it does not say."""
    try:
        return fields.count(record, "logIndex") - fields.count(_proof(record), "logIndex")
    except FormatError:
        return None


def load(body: bytes) -> object:
    """Parse a reply. FormatError when it is not JSON."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error}") from error
    return value


def _head(value: object, *, active: bool) -> ShardHead:
    shard = fields.record(value, "a shard")
    tree_id = fields.text(shard, "treeID")
    note = fields.text(shard, "signedTreeHead")
    origin, newline, _ = note.partition("\n")
    if not newline or not origin.endswith(f" - {tree_id}"):
        raise FormatError(f"the signed tree head listed for tree {tree_id[:40]!r} is of {origin[:80]!r}")
    ShardName.of(origin, tree_id)
    return ShardHead(origin, tree_id, fields.count(shard, "treeSize"), note.encode(), active)


def _promise(uuid: str, record: dict[str, object]) -> Promise:
    log_id = fields.text(record, "logID")
    if not _HASH.fullmatch(log_id):
        fields.wrong("logID", log_id)
    seconds = fields.count(record, "integratedTime")
    if seconds > _MAX_TIME:
        fields.wrong("integratedTime", seconds)
    verification = fields.record(record.get("verification"), "verification")
    return Promise(
        log_id=bytes.fromhex(log_id),
        integrated_time=datetime.fromtimestamp(seconds, UTC),
        global_index=fields.count(record, "logIndex"),
        uuid=uuid,
        signed_entry_timestamp=fields.base64(verification.get("signedEntryTimestamp"), "signedEntryTimestamp"),
    )


def _proof(record: dict[str, object]) -> dict[str, object]:
    verification = fields.record(record.get("verification"), "verification")
    return fields.record(verification.get("inclusionProof"), "inclusionProof")


def _hashes(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        # Go writes an empty list that was never made as null.
        return () if value is None else fields.wrong("hashes", value)
    if len(value) > _MAX_HASHES:
        raise FormatError(f"a proof of {len(value)} hashes: no tree needs more than {_MAX_HASHES}")
    return tuple(bytes.fromhex(item) if _is_hash(item) else fields.wrong("hashes", item) for item in value)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None
