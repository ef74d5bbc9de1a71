"""A growing Merkle tree that keeps every level, so that roots and proofs cost a few look-ups at any size.

It holds the honest history of a log, in memory; `branch` begins another one. It never alters or forgets a leaf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import ProofError
from monitor.tlog.merkle import EMPTY_ROOT, fold, leaf_hash, node_hash
from monitor.tlog.proofs import consistency_proof, inclusion_proof, root_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Tree:
    """Leaves with the hashes of every perfect subtree above them: level 0 are the leaf hashes (RFC 6962 §2.1)."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Begin with `leaves`."""
        self._leaves: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]
        self._last_root = (0, EMPTY_ROOT)
        self.extend(leaves)

    def __len__(self) -> int:
        """Count the leaves."""
        return len(self._leaves)

    def append(self, leaf: bytes) -> int:
        """Add one leaf; its index."""
        return self.extend((leaf,)).start

    def extend(self, leaves: Iterable[bytes]) -> range:
        """Add leaves in order; their indexes. One hash a leaf and, over time, one a node."""
        start = len(self._leaves)
        self._leaves.extend(leaves)
        self._levels[0].extend(leaf_hash(leaf) for leaf in self._leaves[start:])
        level = 0
        while (below := self._levels[level]) and len(below) > 1:
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            nodes = self._levels[level]
            nodes.extend(node_hash(below[2 * i], below[2 * i + 1]) for i in range(len(nodes), len(below) // 2))
        return range(start, len(self._leaves))

    def leaf(self, index: int) -> bytes:
        """Return the bytes of one leaf. Raises ProofError beyond the end."""
        if not 0 <= index < len(self._leaves):
            raise ProofError(f"there is no leaf {index} in a tree of {len(self)}")
        return self._leaves[index]

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return the leaves [start, end), as far as they exist."""
        return self._leaves[start:end]

    def node(self, level: int, index: int) -> bytes:
        """Return the hash over the leaves [index << level, (index + 1) << level). ProofError until it is complete."""
        if not (0 <= level < len(self._levels) and 0 <= index < len(self._levels[level])):
            raise ProofError(f"node {index} of level {level} is not complete in a tree of {len(self)}")
        return self._levels[level][index]

    def nodes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        """Return the complete nodes [start, end) of a level, as far as they exist."""
        return self._levels[level][start:end] if level < len(self._levels) else ()

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` leaves, by default over all of them."""
        size = self._checked(len(self) if size is None else size)
        if size != self._last_root[0]:  # a page of entries asks for the same one many times, and it never changes
            self._last_root = size, fold([self.node(*node) for node in root_nodes(size)]) if size else EMPTY_ROOT
        return self._last_root[1]

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the inclusion proof of a leaf in the tree of the first `size` leaves (RFC 6962 §2.1.1)."""
        return inclusion_proof(index, self._checked(size), self.node)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the consistency proof between two sizes (RFC 6962 §2.1.2)."""
        return consistency_proof(first, self._checked(second), self.node)

    def branch(self, at: int) -> Tree:
        """Another tree with the first `at` leaves of this one."""
        return Tree(self._leaves[: self._checked(at)])

    def _checked(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise ProofError(f"a tree of {len(self)} leaves was never {size} leaves long")
        return size
