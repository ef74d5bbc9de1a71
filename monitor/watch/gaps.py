"""Hashes of leaves whose bytes cannot be had, proven all the same.

A log that keeps its hashes (v2: level 0) proves such a leaf by itself. Where the proof comes only with the bytes (v1), a neighbour's
proof holds it: the siblings on the path of any leaf cover the rest of the tree, so a missing subtree's root stands in the proof of
every leaf of its sibling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import FormatError, NotFoundError
from monitor.model.log import Gap, Hole
from monitor.tlog.proofs import inclusion_ranges
from monitor.watch.proven import inclusion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.tlog.checkpoint import Checkpoint
    from monitor.watch.ports import Log
    from monitor.watch.proven import Linker


@dataclass(frozen=True, slots=True)
class Filled:
    """Proven holes, in order, and the first index that could not be proven (None: all were)."""

    holes: tuple[Hole, ...]
    stuck_at: int | None = None


def missing_subtrees(size: int, gaps: Sequence[Gap]) -> Iterator[tuple[int, int, int, int]]:
    """Each maximal subtree of the tree of `size` that is wholly missing, with its sibling: (begin, end, sibling begin, end)."""

    def walk(begin: int, end: int, beside: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
        if not any(gap.start < end and begin < gap.end for gap in gaps):
            return
        if any(gap.start <= begin and end <= gap.end for gap in gaps):
            yield begin, end, *beside
            return
        middle = begin + (1 << ((end - begin - 1).bit_length() - 1))
        yield from walk(begin, middle, (middle, end))
        yield from walk(middle, end, (begin, middle))

    return walk(0, size, (0, 0))


async def fill(log: Log, gaps: Sequence[Gap], target: Checkpoint, link: Linker) -> Filled:
    """Prove the hashes of all gaps, by the leaves' own proofs or by their neighbours'. Raises ProofError and FetchError."""
    holes: list[Hole] = []
    gaps = _merged(gaps)
    for gap in gaps:
        try:
            for index in range(gap.start, gap.end):
                proven = await inclusion(log, index, target, link)
                holes.append(Hole(log.origin, index, index + 1, proven.proof.leaf_hash, gap.reason))
        except (NotFoundError, FormatError):
            return await _by_neighbours(log, gaps, target, link)
    return Filled(tuple(holes))


async def _by_neighbours(log: Log, gaps: Sequence[Gap], target: Checkpoint, link: Linker) -> Filled:
    holes: list[Hole] = []
    for begin, end, beside_begin, beside_end in missing_subtrees(target.size, gaps):
        neighbour = next(
            (i for i in range(beside_begin, beside_end) if not any(g.start <= i < g.end for g in gaps)), None
        )
        length = end - begin
        if neighbour is None or length & (length - 1):  # only a perfect subtree joins a compact range
            return Filled(tuple(holes), stuck_at=begin)
        proven = await inclusion(log, neighbour, target, link)
        try:
            place = inclusion_ranges(neighbour, proven.under.size).index((begin, end))
        except ValueError:  # the tree has grown into another shape here: the next pass asks under its new size
            return Filled(tuple(holes), stuck_at=begin)
        reason = next(gap.reason for gap in gaps if gap.start <= begin < gap.end)
        holes.append(Hole(log.origin, begin, end, proven.proof.hashes[place], reason))
    return Filled(tuple(holes))


def _merged(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    merged: list[Gap] = []
    for gap in sorted(gaps, key=lambda g: g.start):
        if merged and merged[-1].end == gap.start:
            merged[-1] = Gap(merged[-1].start, gap.end, merged[-1].reason)
        else:
            merged.append(gap)
    return tuple(merged)
