"""A Merkle tree of any size whose leaves repeat with a period of 2^k, but for those that were planted.

Every perfect subtree of height k or more that holds nothing planted has one hash a height: roots and proofs cost a few
hashes at a hundred million leaves, and a planted leaf costs its own path. The tree has no size: who asks says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from monitor.errors import ProofError
from monitor.testbed.tree import Tree
from monitor.tlog.merkle import EMPTY_ROOT, fold, leaf_hash, node_hash, perfect_subtrees
from monitor.tlog.proofs import consistency_proof, root_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEIGHT: Final = 48
"""Leaves are numbered below 2^48: more than any log will have."""
_BLOCK: Final = 6
"""Leaves of one block of 2^6 share the upper part of their proofs."""


class PeriodicTree:
    """The tree whose leaf i is `leaves[i % len(leaves)]`, but for planted ones."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Hash one period, a power of two of leaves. Raises ProofError for any other number of them."""
        self.period = len(leaves)
        if self.period == 0 or self.period & (self.period - 1):
            raise ProofError(f"a period of {self.period} leaves is no power of two")
        self.height = self.period.bit_length() - 1
        self._once = Tree(leaves)
        self._levels = [tuple(self._once.nodes(level, 0, self.period)) for level in range(self.height + 1)]
        for level in range(self.height, MAX_HEIGHT):
            below = self._levels[level][0]
            self._levels.append((node_hash(below, below),))
        self.planted: dict[int, bytes] = {}
        """Index → leaf, of every leaf that departs from the period."""
        self._departed: list[dict[int, bytes | None]] = [{} for _ in range(MAX_HEIGHT + 1)]
        """For each level the nodes above a planted leaf, and their hashes as far as they were asked for."""
        self._hex = [tuple(node.hex() for node in nodes) for nodes in self._levels]
        self._last_root = (0, EMPTY_ROOT)
        self._last_paths: tuple[int, list[tuple[int, int, list[str]]]] = (0, [])
        self._last_block: tuple[tuple[int, int], list[str]] = ((0, 0), [])

    def plant(self, index: int, leaf: bytes) -> None:
        """Put a leaf in the place of the periodic one. Whoever saw a root over it before, sees history rewritten."""
        if not 0 <= index < 1 << MAX_HEIGHT:
            raise ProofError(f"there is no leaf {index}: a periodic tree ends at {1 << MAX_HEIGHT}")
        self.planted[index] = leaf
        self._departed[0][index] = leaf_hash(leaf)
        for level in range(1, MAX_HEIGHT + 1):
            self._departed[level][index >> level] = None
        self._last_root, self._last_paths, self._last_block = (0, EMPTY_ROOT), (0, []), ((0, 0), [])

    def leaf(self, index: int) -> bytes:
        """Return the bytes of one leaf."""
        planted = self.planted.get(index)
        return self.periodic(index % self.period) if planted is None else planted

    def periodic(self, residue: int) -> bytes:
        """Return the bytes of the leaf at `residue` in every period, where nothing was planted."""
        return self._once.leaf(residue)

    def periodic_hash(self, residue: int) -> bytes:
        """Return the leaf hash at `residue` in every period, where nothing was planted."""
        return self._levels[0][residue]

    def node(self, level: int, index: int) -> bytes:
        """Return the hash over the leaves [index << level, (index + 1) << level)."""
        departed = self._departed[level]
        if index not in departed:
            nodes = self._levels[level]
            return nodes[index % len(nodes)]
        known = departed[index]
        if known is None:
            known = departed[index] = node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))
        return known

    def root(self, size: int) -> bytes:
        """Return the root over the first `size` leaves."""
        if size != self._last_root[0]:
            self._last_root = size, fold([self.node(*node) for node in root_nodes(size)]) if size else EMPTY_ROOT
        return self._last_root[1]

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the consistency proof between two sizes (RFC 6962 §2.1.2)."""
        return consistency_proof(first, second, self.node)

    def inclusion_hex(self, index: int, size: int) -> list[str]:
        """Return the inclusion proof of a leaf in the tree of the first `size` leaves (RFC 6962 §2.1.1), in hex.

        The leaf stands in one of the perfect subtrees that the tree is made of from left to right: its siblings up to
        that subtree's root, then all subtrees on the right as one hash, then those on the left, the nearest first.
        """
        if not 0 <= index < size:
            raise ProofError(f"a tree of {size} leaves has no leaf {index}")
        if size != self._last_paths[0]:
            self._last_paths = size, self._paths_above(size)
        height, above = next((height, above) for end, height, above in self._last_paths[1] if index < end)
        if height <= _BLOCK:
            return self._siblings(0, index, height) + above
        block = size, index >> _BLOCK
        if block != self._last_block[0]:  # the entries of a page nearly always share all but a few siblings
            self._last_block = block, self._siblings(_BLOCK, index >> _BLOCK, height) + above
        return self._siblings(0, index, _BLOCK) + self._last_block[1]

    def _siblings(self, level: int, place: int, height: int) -> list[str]:
        """List the siblings of a node and of those above it, from `level` up to below `height`."""
        path = []
        while level < height:
            sibling = place ^ 1
            if sibling in self._departed[level]:
                path.append(self.node(level, sibling).hex())
            else:
                names = self._hex[level]
                path.append(names[sibling % len(names)])
            level, place = level + 1, place >> 1
        return path

    def _paths_above(self, size: int) -> list[tuple[int, int, list[str]]]:
        """For each perfect subtree of the tree of `size` leaves: its end, its height, the proof from its root on."""
        subtrees = perfect_subtrees(0, size)
        hashes = [self.node(level, index) for level, index in subtrees]
        found = []
        for place, (level, index) in enumerate(subtrees):
            right = [fold(hashes[place + 1 :])] if place + 1 < len(hashes) else []
            above = [node.hex() for node in (*right, *reversed(hashes[:place]))]
            found.append(((index + 1) << level, level, above))
        return found
