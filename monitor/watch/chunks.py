"""Cuts what is to be read into chunks that prove themselves, and reads one: pure but for the log that it reads.

A chunk is a perfect subtree, so that its root climbs one inclusion proof to a signed root and needs none of its neighbours. What is
read here is believed by nobody until that is done (`watch.follow`).
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.model.log import Gap
from monitor.tlog.merkle import CompactRange, hash_leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.entries.prefilter import Prefilter
    from monitor.model.log import FollowedLog, Leaf
    from monitor.tlog.proofs import Node
    from monitor.watch.ports import Log

LEVEL = 16
"""A chunk of a tile log is 65,536 leaves: the tile of level 1 that proves it holds nothing else, and about 100 MB of bundles pass."""
PAGED_LEVEL = 11
"""Of a log that is read in pages: 205 requests of ten to Rekor v1."""
MOST_CANDIDATES = 10_000
MOST_BYTES = 16 << 20
"""What of a chunk may concern us and is still handed over whole; a chunk with more is read in strides."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Leaves [begin, end) to read, which do not cross a border between chunks of 2^`level` leaves."""

    begin: int
    end: int
    level: int

    @property
    def whole(self) -> bool:
        """Whether it is all of a chunk."""
        return self.end - self.begin == 1 << self.level

    @property
    def node(self) -> Node:
        """Where a whole chunk stands in the tree."""
        return self.level, self.begin >> self.level

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """A whole chunk as it was read: the root over its leaves, and those of them that may concern us."""

    piece: Piece
    root: bytes
    candidates: tuple[Leaf, ...] = field(repr=False)


def plan(missing: Iterable[tuple[int, int]], level: int) -> Iterator[Piece]:
    """Cut ranges of leaves at every multiple of 2^`level`, in their order."""
    for begin, end in missing:
        at = begin
        while at < end:
            stop = min(((at >> level) + 1) << level, end)
            yield Piece(at, stop, level)
            at = stop


async def read(log: Log, followed: FollowedLog, prefilter: Prefilter, piece: Piece, size: int) -> ReadChunk | None:
    """Read a whole chunk of the log at `size`; None when it has gaps, or holds more of ours than is handed over at once.

    Raises FetchError and FormatError when the log cannot be read.
    """
    known = CompactRange.empty(piece.begin)
    candidates: list[Leaf] = []
    volume = 0
    async with aclosing(log.blocks(piece.begin, piece.end, size)) as items:
        async for item in items:
            if isinstance(item, Gap) or item.start != known.end or item.end > piece.end:
                return None
            known = known.extend(hash_leaves(item.data, item.starts, item.ends))
            for offset in prefilter.candidates(item, followed.protocol):
                candidates.append(item.taken(followed.origin, followed.protocol, offset))
                volume += len(candidates[-1].data)
            if len(candidates) > MOST_CANDIDATES or volume > MOST_BYTES:
                return None
    if known.end != piece.end or len(known.hashes) != 1:
        return None
    return ReadChunk(piece, known.hashes[0], tuple(candidates))
