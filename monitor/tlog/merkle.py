"""The Merkle tree of RFC 6962: leaf and node hashes, roots, and compact ranges of any run of leaves.

Pure arithmetic over SHA-256: it must never read a clock, a file or a socket, and it trusts nothing it was not handed.
`hash_leaves` and `tree_root` are the scan's hot path and keep no object per leaf beyond its hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from monitor.errors import FormatError, ProofError

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_SIZE: Final = 32
EMPTY_ROOT: Final[bytes] = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf), 32 bytes (RFC 6962 §2.1)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


def hash_leaves(data: bytes, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
    """Leaf hashes of the leaves `data[starts[i]:ends[i]]`, in order."""
    # A copied hasher costs half of a new one, and a view no copy of the leaf: this runs once for every leaf of a log.
    fresh = sha256(b"\x00").copy
    view = memoryview(data)
    hashes: list[bytes] = []
    for start, end in zip(starts, ends, strict=True):
        hasher = fresh()
        hasher.update(view[start:end])
        hashes.append(hasher.digest())
    return hashes


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1 over leaf hashes (or over node hashes of one level); of none it is `EMPTY_ROOT`.

    Level by level, an odd last node moving up unpaired: that is the RFC's split at the largest power of two.
    """
    if not hashes:
        return EMPTY_ROOT
    fresh = sha256(b"\x01").copy
    level = list(hashes)
    while len(level) > 1:
        above: list[bytes] = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            hasher = fresh()
            hasher.update(left + right)
            above.append(hasher.digest())
        if len(level) & 1:
            above.append(level[-1])
        level = above
    return level[0]


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root over at least one perfect subtree, shrinking from left to right: each is left sibling of all after it."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def perfect_subtrees(begin: int, end: int) -> tuple[tuple[int, int], ...]:
    """Cut the leaves [begin, end) into the fewest perfect subtrees, left to right.

    Each is (level, index), the leaves [index << level, (index + 1) << level). Raises ProofError unless
    0 <= begin <= end.
    """
    if not 0 <= begin <= end:
        raise ProofError(f"there is no range of leaves from {begin} to {end}")
    nodes: list[tuple[int, int]] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        nodes.append((level, begin >> level))
        begin += 1 << level
    return tuple(nodes)


def check_hash(value: bytes, what: str) -> None:
    """Raise ProofError unless `value` has the 32 bytes of a SHA-256."""
    if len(value) != HASH_SIZE:
        raise ProofError(f"{what} has {len(value)} bytes, a hash has {HASH_SIZE}")


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The leaves [begin, end) known by the hashes of their perfect subtrees alone (`perfect_subtrees`, left to right).

    Raises ProofError when the hashes are not as many, or not as long, as the range needs.
    """

    begin: int
    end: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse a range whose hashes cannot be its own."""
        needed = len(perfect_subtrees(self.begin, self.end))
        if len(self.hashes) != needed:
            raise ProofError(f"the range {self.begin} to {self.end} has {needed} subtrees, not {len(self.hashes)}")
        for value in self.hashes:
            check_hash(value, f"a subtree of the range {self.begin} to {self.end}")

    @classmethod
    def empty(cls, begin: int = 0) -> CompactRange:
        """Make the range that begins at leaf `begin` and holds none yet."""
        return cls(begin, begin, ())

    def append(self, leaf_hash: bytes) -> CompactRange:
        """Return the range with one more leaf, by its leaf hash."""
        return self._with([(0, self.end)], [leaf_hash], self.end + 1)

    def extend(self, hashes: Sequence[bytes]) -> CompactRange:
        """Return the range with more leaves, by their leaf hashes: aligned runs become one subtree before merging."""
        end = self.end + len(hashes)
        nodes = perfect_subtrees(self.end, end)
        roots: list[bytes] = []
        position = 0
        for level, _ in nodes:
            roots.append(tree_root(hashes[position : position + (1 << level)]))
            position += 1 << level
        return self._with(nodes, roots, end)

    def merge(self, right: CompactRange) -> CompactRange:
        """Join with the range right after this one. Raises ProofError when they do not touch."""
        if right.begin != self.end:
            raise ProofError(f"a range that begins at {right.begin} does not follow one that ends at {self.end}")
        return self._with(perfect_subtrees(right.begin, right.end), right.hashes, right.end)

    def root(self) -> bytes:
        """Root of the tree of the first `end` leaves. Raises ProofError unless the range begins at leaf 0."""
        if self.begin:
            raise ProofError(f"a range that begins at leaf {self.begin} has no tree root")
        return fold(self.hashes) if self.hashes else EMPTY_ROOT

    def encode(self) -> bytes:
        """Join the hashes, 32 bytes each; `begin` and `end` are kept beside them."""
        return b"".join(self.hashes)

    @classmethod
    def decode(cls, begin: int, end: int, data: bytes) -> CompactRange:
        """Read the range that `encode` wrote. Raises FormatError when `data` does not fit [begin, end)."""
        hashes = tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))
        try:
            return cls(begin, end, hashes)
        except ProofError as error:
            raise FormatError(f"{len(data)} bytes are no compact range of [{begin}, {end}): {error}") from error

    def _with(self, nodes: Sequence[tuple[int, int]], hashes: Sequence[bytes], end: int) -> CompactRange:
        # Two neighbours of one level, the left one even, are one perfect subtree: merged as they appear, what stays
        # on the stack is always the shortest cover of the range.
        stack = list(zip(perfect_subtrees(self.begin, self.end), self.hashes, strict=True))
        for node, value in zip(nodes, hashes, strict=True):
            (level, index), joined = node, value
            while index & 1 and stack and stack[-1][0] == (level, index - 1):
                joined = node_hash(stack.pop()[1], joined)
                level, index = level + 1, index >> 1
            stack.append(((level, index), joined))
        return CompactRange(self.begin, end, tuple(value for _, value in stack))
