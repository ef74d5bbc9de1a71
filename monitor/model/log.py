"""A log as we follow it: its leaves in blocks, its gaps, what it promises beside a leaf, and where it contradicts itself.

Nothing here is proven by being of a type: `watch` proves, these classes only carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.tlog.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from monitor.tlog.merkle import CompactRange


class Protocol(StrEnum):
    """How a log is asked, and how its leaves are encoded."""

    REKOR_V1 = "rekor-v1"
    REKOR_V2 = "rekor-v2"
    RFC6962 = "rfc6962"
    """A certificate transparency log with the interface of RFC 6962 §4."""
    STATIC_CT = "static-ct"
    """The same log as tiles (C2SP static-ct-api)."""

    @property
    def certificates(self) -> bool:
        """Whether the log's leaves are certificates (RFC 6962 §3.4), not signatures."""
        return self in {Protocol.RFC6962, Protocol.STATIC_CT}


class Mode(StrEnum):
    """How much of a log is read."""

    COMPLETE = "complete"
    CERTIFICATES = "certificates"
    """Rekor v1: what the certificate logs lead to, and what its index finds (DESIGN section 5)."""
    SEARCH = "search"
    """Rekor v1: what its index finds; such a log is not watched."""


MODES: Mapping[Protocol, frozenset[Mode]] = {
    Protocol.REKOR_V1: frozenset(Mode),
    Protocol.REKOR_V2: frozenset({Mode.COMPLETE}),
    Protocol.RFC6962: frozenset({Mode.COMPLETE}),
    Protocol.STATIC_CT: frozenset({Mode.COMPLETE}),
}
"""The modes that a log of each protocol can be followed in."""


class LogState(StrEnum):
    """Whether a log is expected to grow."""

    ACTIVE = "active"
    ENDED = "ended"
    LEFT = "left"
    """The settings leave it out now: what was kept of it stays, and nothing is said of what it holds."""


_ID = re.compile(r"[0-9a-f]{64}")


def title(origin: str, url: str) -> str:
    """What people call a log: its origin, but of one that is named by its id alone the address, and how the id begins."""
    return f"{_bare(url)} ({origin[:8]}…)" if _ID.fullmatch(origin) else origin


def titled(text: str, titles: Mapping[str, str]) -> str:
    """A text of ours with the ids of logs, as they are keys of `titles`, exchanged for what people call those logs."""
    return _ID.sub(lambda found: titles.get(found[0], found[0]), text)


def _bare(url: str) -> str:
    return url.partition("://")[2].rstrip("/")


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """A log that we follow. `origin` names it everywhere; `url` is where it is read."""

    origin: str
    protocol: Protocol
    url: str
    mode: Mode
    state: LogState
    tree_id: str | None = None
    """Rekor v1 only: the shard's tree, in decimal."""
    offset: int = 0
    """Rekor v1 only: the global index of the shard's first leaf, as the server's shard list has it (a hint)."""

    @property
    def title(self) -> str:
        """What people call it."""
        return title(self.origin, self.url)

    def is_called(self, name: str) -> bool:
        """Whether a person may mean it by `name`: its origin, a Rekor v1 server's host, a certificate log's address."""
        if self.protocol is Protocol.REKOR_V1 and self.origin.partition(" - ")[0] == name:
            return True
        return self.origin == name or (self.protocol.certificates and _bare(self.url) == name.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Promise:
    """What Rekor v1 says beside a leaf. Only `signed_entry_timestamp` covers it, never the tree."""

    log_id: bytes
    integrated_time: datetime
    global_index: int
    uuid: str
    signed_entry_timestamp: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The exact bytes that are hashed into the tree, at their index in their own log."""

    log: str
    protocol: Protocol
    index: int
    data: bytes = field(repr=False)
    promise: Promise | None = None
    extra: bytes = field(default=b"", repr=False)
    """What a certificate log serves beside a leaf, proven by nothing: RFC 6962 §4.6 `extra_data`."""

    @property
    def hash(self) -> bytes:
        """The RFC 6962 leaf hash."""
        return leaf_hash(self.data)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive leaves as one run of bytes: leaf `i` of the block is `data[starts[i]:ends[i]]`, of the log `start + i`."""

    start: int
    data: bytes = field(repr=False)
    starts: Sequence[int] = field(repr=False)
    ends: Sequence[int] = field(repr=False)
    promises: Sequence[Promise] = field(default=(), repr=False)
    extras: Sequence[bytes] = field(default=(), repr=False)
    """Of a certificate log, each leaf's `extra_data`."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def end(self) -> int:
        """The index after the block's last leaf."""
        return self.start + len(self.ends)

    def leaf(self, offset: int) -> bytes:
        """The bytes of the leaf `offset` places into the block."""
        return self.data[self.starts[offset] : self.ends[offset]]

    def taken(self, log: str, protocol: Protocol, offset: int) -> Leaf:
        """That leaf by itself, with what came beside it."""
        promise = self.promises[offset] if self.promises else None
        extra = self.extras[offset] if self.extras else b""
        return Leaf(log, protocol, self.start + offset, self.leaf(offset), promise, extra)


@dataclass(frozen=True, slots=True)
class Gap:
    """Leaves [start, end) whose bytes the log did not give, or gave in a form that cannot be cut into leaves.

    `served` are the bytes it gave in the place of one leaf, that are not the leaf it names itself (Rekor v1).
    """

    start: int
    end: int
    reason: str
    served: bytes = field(default=b"", repr=False)

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """An unverified claim that `leaf_hash` stands at `index` of the tree of `size` leaves.

    `note` is the raw checkpoint it comes with (Rekor v1), or None where it was computed for the size asked (Rekor v2).
    """

    leaf_hash: bytes
    index: int
    size: int
    hashes: tuple[bytes, ...] = field(repr=False)
    note: bytes | None = field(default=None, repr=False)


class CheckpointSource(StrEnum):
    """Where a checkpoint was met."""

    POLL = "poll"
    PROOF = "proof"
    BUNDLE = "bundle"


class CheckpointStatus(StrEnum):
    """How a stored checkpoint stands to the others of its log."""

    SEEN = "seen"
    """Signed, not yet proven consistent."""
    CONSISTENT = "consistent"
    CONFLICTING = "conflicting"


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed (log, size, root) that we keep for ever."""

    log: str
    size: int
    root: bytes
    note: bytes = field(repr=False)
    source: CheckpointSource
    status: CheckpointStatus
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a log is proven: `range` covers [0, position) and its root was compared with a signed one.

    `started_at` is the index at which following began: coverage begins there. The range always begins at leaf 0.
    """

    log: str
    position: int
    range: CompactRange
    started_at: int

    def __post_init__(self) -> None:
        if self.range.begin != 0 or self.range.end != self.position:
            raise ValueError(f"cursor of {self.log}: range [{self.range.begin}, {self.range.end}) at {self.position}")


class ConflictKind(StrEnum):
    """A way in which a log contradicts its own signature, or what it said before."""

    FORKED = "forked"
    REWRITTEN = "rewritten"
    INVALID_CHECKPOINT = "invalid-checkpoint"
    MISSING = "missing"
    GREW_AFTER_END = "grew-after-end"
    ROLLED_BACK = "rolled-back"
    UNPROVEN = "unproven"
    SHARDS_CHANGED = "shards-changed"
    BUNDLE_MISMATCH = "bundle-mismatch"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Evidence of one contradiction, kept for ever (P9).

    `key` tells one contradiction of a log from another of the same kind, so that meeting it again adds nothing.
    `evidence` maps a name (`ours`, `theirs`, `proof`, `leaf`, …) to raw bytes.
    """

    kind: ConflictKind
    log: str
    key: str
    summary: str
    index: int | None = None
    evidence: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Hole:
    """Leaves [begin, end) whose bytes cannot be had. `hash` is proven: a leaf hash, or the root of a perfect subtree."""

    log: str
    begin: int
    end: int
    hash: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class QuarantinedLeaf:
    """A leaf that is proven and cannot be read. `ours` says that it bears our name."""

    log: str
    index: int
    leaf_hash: bytes
    reason: str
    data: bytes = field(repr=False)
    ours: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """Leaves [begin, end) proven under a checkpoint of `size`."""

    log: str
    begin: int
    end: int
    size: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What a log has at an index, under its checkpoint of `size`, which counts and is held against every stored one.

    `leaf` is None where the log has none there: the index lies past its end, or the log, asked twice past caches, denies an entry
    that it signed for.
    """

    size: int
    leaf: bytes | None = field(repr=False)


def uncovered(covered: Iterable[Coverage], begin: int, end: int) -> list[tuple[int, int]]:
    """What of [begin, end) none of the ranges holds, in order, as (begin, end)."""
    missing = []
    at = begin
    for each in sorted(covered, key=lambda part: part.begin):
        if each.end <= at:
            continue
        if each.begin >= end:
            break
        if each.begin > at:
            missing.append((at, each.begin))
        at = max(at, each.end)
    if at < end:
        missing.append((at, end))
    return missing
