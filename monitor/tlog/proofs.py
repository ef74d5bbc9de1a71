"""Inclusion and consistency proofs of RFC 6962 and RFC 9162: which nodes they need, made from them, and verified.

A proof is foreign until it was verified here; nothing in this file may accept one that is longer, shorter or shaped
otherwise than the two sizes demand. Where nodes come from is the caller's business: they arrive through a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hmac import compare_digest

from monitor.errors import ProofError
from monitor.tlog.merkle import EMPTY_ROOT, CompactRange, check_hash, fold, node_hash, perfect_subtrees

Node = tuple[int, int]
"""(level, index): the perfect subtree over the leaves [index << level, (index + 1) << level)."""

NodeHashes = Callable[[int, int], bytes]
"""Gives the hash of the perfect subtree (level, index)."""


def root_nodes(size: int) -> tuple[Node, ...]:
    """Name the perfect subtrees whose hashes give the root of the tree of `size` leaves."""
    return perfect_subtrees(0, size)


def inclusion_nodes(index: int, size: int) -> tuple[Node, ...]:
    """Every perfect subtree needed to make leaf `index`'s inclusion proof in the tree of `size` leaves.

    Raises ProofError when the tree has no such leaf.
    """
    return _nodes(inclusion_ranges(index, size))


def inclusion_proof(index: int, size: int, node: NodeHashes) -> tuple[bytes, ...]:
    """Inclusion proof of leaf `index` at `size` (RFC 6962 §2.1.1), leaf's sibling first, of the hashes `node` gives.

    Raises ProofError when the tree has no such leaf.
    """
    return _proof(inclusion_ranges(index, size), node)


def consistency_nodes(first: int, second: int) -> tuple[Node, ...]:
    """Every perfect subtree needed to make the consistency proof from `first` to `second` leaves.

    None when `first` is 0 or equals `second`. Raises ProofError unless 0 <= first <= second.
    """
    return _nodes(_consistency_ranges(first, second))


def consistency_proof(first: int, second: int, node: NodeHashes) -> tuple[bytes, ...]:
    """Consistency proof from `first` to `second` leaves (RFC 6962 §2.1.2), of the hashes `node` gives.

    Empty when `first` is 0 or equals `second`. Raises ProofError unless 0 <= first <= second.
    """
    return _proof(_consistency_ranges(first, second), node)


def root_from_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Root that an inclusion proof leads to (RFC 9162 §2.1.3.2); the caller compares it with a signed one.

    Raises ProofError when the tree has no such leaf or the proof's length is not the one that index and size demand.
    """
    check_hash(leaf_hash, "the leaf hash")
    root = leaf_hash
    for value, is_left in zip(proof, _sides(index, size, proof), strict=True):
        root = node_hash(value, root) if is_left else node_hash(root, value)
    return root


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless `proof` shows leaf `index` in the tree of `size` leaves with this root (RFC 9162)."""
    found = root_from_inclusion(leaf_hash, index, size, proof)
    if not compare_digest(found, root):
        raise ProofError(
            f"the inclusion proof of leaf {index} in {size} leads to root {found.hex()}, not to {root.hex()}"
        )


def verify_subtree(subtree: bytes, node: Node, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless the perfect subtree `node` of the tree of `size` leaves with this root has the root `subtree`.

    `proof` is the inclusion proof of the subtree's last leaf: its nodes below the subtree's level lie within the subtree, and from that
    level on it is the subtree's own (RFC 9162 §2.1.3.2, begun there).
    """
    check_hash(subtree, "the subtree's root")
    level, index = node
    last = ((index + 1) << level) - 1
    found = subtree
    for value, is_left in list(zip(proof, _sides(last, size, proof), strict=True))[level:]:
        found = node_hash(value, found) if is_left else node_hash(found, value)
    if not compare_digest(found, root):
        raise ProofError(
            f"the leaves [{index << level}, {last + 1}) of {size} lead to root {found.hex()}, not to {root.hex()}"
        )


def range_before(index: int, size: int, proof: Sequence[bytes]) -> CompactRange:
    """Read the compact range of the leaves [0, index) out of leaf `index`'s inclusion proof at `size`.

    They are the proof's left-hand nodes. The caller has verified the proof against a signed root: here only its shape
    is checked (ProofError).
    """
    left = [value for value, is_left in zip(proof, _sides(index, size, proof), strict=True) if is_left]
    return CompactRange(0, index, tuple(reversed(left)))


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ProofError unless `proof` shows that the tree of `second` leaves begins with that of `first`.

    RFC 9162 §2.1.4.2. Equal sizes need equal roots and no proof. From 0 leaves everything follows without one, but the
    root of 0 leaves is `EMPTY_ROOT` and no other.

    A proof binds roots, not sizes (that from 2 to 4 leaves has the shape of that from 1 to 2): take each size and its
    root from one signed checkpoint.
    """
    if not 0 <= first <= second:
        raise ProofError(f"a tree of {second} leaves cannot follow one of {first}")
    check_hash(first_root, f"the root at {first}")
    check_hash(second_root, f"the root at {second}")
    for size, root in ((first, first_root), (second, second_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise ProofError(f"the root of an empty tree is {EMPTY_ROOT.hex()}, not {root.hex()}")
    between = f"the consistency proof from {first} to {second}"
    if first in (0, second):
        if proof:
            raise ProofError(f"{between} has {len(proof)} nodes and needs none")
        if first == second and first_root != second_root:
            raise ProofError(f"two roots for {first} leaves: {first_root.hex()} and {second_root.hex()}")
        return
    old, new = _consistency_roots(first, second, first_root, proof, between)
    if old != first_root:
        raise ProofError(f"{between} leads to old root {old.hex()}, not to {first_root.hex()}")
    if new != second_root:
        raise ProofError(f"{between} leads to new root {new.hex()}, not to {second_root.hex()}")


def _consistency_roots(
    first: int, second: int, first_root: bytes, proof: Sequence[bytes], between: str
) -> tuple[bytes, bytes]:
    for value in proof:
        check_hash(value, f"a node of {between}")
    # RFC 9162 calls them fn and sn: the places of the two trees' last leaves, moving up level by level.
    old_last, new_last = first - 1, second - 1
    while old_last & 1:
        old_last, new_last = old_last >> 1, new_last >> 1
    # Only when the old tree is itself one perfect subtree does the proof leave its root out.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not proof:
        raise ProofError(f"{between} is empty")
    old = new = path[0]
    for value in path[1:]:
        if new_last == 0:
            raise ProofError(f"{between} is too long: {len(proof)} nodes")
        if old_last & 1 or old_last == new_last:
            old, new = node_hash(value, old), node_hash(value, new)
            while not old_last & 1 and old_last:
                old_last, new_last = old_last >> 1, new_last >> 1
        else:
            new = node_hash(new, value)
        old_last, new_last = old_last >> 1, new_last >> 1
    if new_last:
        raise ProofError(f"{between} is too short: {len(proof)} nodes")
    return old, new


def _sides(index: int, size: int, proof: Sequence[bytes]) -> list[bool]:
    """For each node of an inclusion proof whether it stands on the left; ProofError when the shape is wrong."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    sides: list[bool] = []
    place, last = index, size - 1
    while last:
        if place & 1 or place == last:
            # On the right edge, levels where the node has no sibling are not in the proof.
            while not place & 1:
                place, last = place >> 1, last >> 1
            sides.append(True)
        else:
            sides.append(False)
        place, last = place >> 1, last >> 1
    if len(proof) != len(sides):
        raise ProofError(
            f"the inclusion proof of leaf {index} in {size} has {len(sides)} nodes, this one has {len(proof)}"
        )
    for value in proof:
        check_hash(value, f"a node of the inclusion proof of leaf {index} in {size}")
    return sides


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """List the sibling subtrees [begin, end) on the way from leaf to root, the leaf's own first (RFC 6962 PATH)."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    ranges: list[tuple[int, int]] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    ranges.reverse()
    return ranges


def _consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """List the subtrees [begin, end) of the proof, in its order (RFC 6962 SUBPROOF)."""
    if not 0 <= first <= second:
        raise ProofError(f"a tree of {second} leaves cannot follow one of {first}")
    if first == 0:
        return []
    ranges: list[tuple[int, int]] = []
    begin, end = 0, second
    while first != end:
        middle = begin + _split(end - begin)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    if begin:  # the old tree is not one whole subtree from leaf 0: the verifier needs its last part by name
        ranges.append((begin, end))
    ranges.reverse()
    return ranges


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _nodes(ranges: Sequence[tuple[int, int]]) -> tuple[Node, ...]:
    return tuple(node for begin, end in ranges for node in perfect_subtrees(begin, end))


def _proof(ranges: Sequence[tuple[int, int]], node: NodeHashes) -> tuple[bytes, ...]:
    return tuple(fold([node(level, index) for level, index in perfect_subtrees(begin, end)]) for begin, end in ranges)
