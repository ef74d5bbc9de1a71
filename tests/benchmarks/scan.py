"""The scan step of Rekor v2 on one core, beside SHA-256 of the same bytes: split, leaf hashes, the tile's root, the prefilter."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from monitor.entries.prefilter import Prefilter
from monitor.model.log import Block, Protocol
from monitor.tlog.merkle import hash_leaves, tree_root
from monitor.tlog.tiles import split_bundle
from tests.benchmarks import made
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    Bundles = list[tuple[bytes, int]]

_ROUNDS = 12
_PIECE = 8
"""Bundles measured at once."""
_SCAN = "scan step: all of these"


def rows(size: int) -> list[Row]:
    """Measure every part on `size` leaves, the parts taking turns.

    Piece by piece, the best of several rounds, and the sum of these: what else the machine does disturbs single pieces.
    """
    bundles = list(made.blocks(size))
    volume = sum(len(data) for data, _ in bundles)
    prefilter = Prefilter(("TruStacks",))
    best: dict[str, float] = {}
    for at in range(0, len(bundles), _PIECE):
        for name, seconds in _measured(_parts(bundles[at : at + _PIECE], prefilter)).items():
            best[name] = best.get(name, 0.0) + seconds
    floor = next(iter(best.values()))
    shape = f"{size} leaves of {volume // size} bytes"
    return [
        Row(f"v2 {name}", size / seconds, f"{seconds / floor:.2f} × SHA-256", "≤ 3 × SHA-256" * (name == _SCAN), shape)
        for name, seconds in best.items()
    ]


def _parts(bundles: Bundles, prefilter: Prefilter) -> dict[str, Callable[[], object]]:
    split = [Block(0, data, *split_bundle(data, width)) for data, width in bundles]
    return {
        "SHA-256 of the same bytes, one call a bundle": lambda: [hashlib.sha256(data).digest() for data, _ in bundles],
        "split": lambda: [split_bundle(data, width) for data, width in bundles],
        "leaf hashes": lambda: [hash_leaves(block.data, block.starts, block.ends) for block in split],
        "tile roots": _roots_of(split),
        "prefilter": lambda: [prefilter.candidates(block, Protocol.REKOR_V2) for block in split],
        _SCAN: lambda: _scan(bundles, prefilter),
    }


def _measured(parts: dict[str, Callable[[], object]]) -> dict[str, float]:
    best = dict.fromkeys(parts, float("inf"))
    for _ in range(_ROUNDS):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _roots_of(split: list[Block]) -> Callable[[], object]:
    hashed = [hash_leaves(block.data, block.starts, block.ends) for block in split]
    return lambda: [tree_root(hashes) for hashes in hashed]


def _scan(bundles: Bundles, prefilter: Prefilter) -> None:
    """What following does with every bundle that arrives."""
    for data, width in bundles:
        block = Block(0, data, *split_bundle(data, width))
        tree_root(hash_leaves(block.data, block.starts, block.ends))
        prefilter.candidates(block, Protocol.REKOR_V2)
