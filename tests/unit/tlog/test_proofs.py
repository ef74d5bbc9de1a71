"""Proofs made and verified against the recursive definitions of RFC 6962 §2.1, and every small lie refused."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.errors import ProofError
from monitor.tlog.merkle import EMPTY_ROOT, CompactRange, leaf_hash, node_hash, tree_root
from monitor.tlog.proofs import (
    consistency_nodes,
    consistency_proof,
    inclusion_nodes,
    inclusion_proof,
    range_before,
    root_from_inclusion,
    root_nodes,
    verify_consistency,
    verify_inclusion,
    verify_subtree,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 600
HASHES = [leaf_hash(b"leaf %d" % number) for number in range(LARGEST)]
SIZES = st.integers(1, LARGEST)
slow_machines_allowed = settings(deadline=None, max_examples=200)


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


@cache
def mth(begin: int, end: int) -> bytes:
    if end == begin:
        return EMPTY_ROOT
    if end - begin == 1:
        return HASHES[begin]
    middle = begin + split(end - begin)
    return node_hash(mth(begin, middle), mth(middle, end))


def path(index: int, begin: int, end: int) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if end - begin == 1:
        return []
    middle = begin + split(end - begin)
    if index < middle:
        return [*path(index, begin, middle), mth(middle, end)]
    return [*path(index, middle, end), mth(begin, middle)]


def subproof(first: int, begin: int, end: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2; `first` counts from the subtree's begin."""
    if first == end - begin:
        return [] if whole else [mth(begin, end)]
    half = split(end - begin)
    middle = begin + half
    if first <= half:
        return [*subproof(first, begin, middle, whole=whole), mth(middle, end)]
    return [*subproof(first - half, middle, end, whole=False), mth(begin, middle)]


def node(level: int, index: int) -> bytes:
    assert (index + 1) << level <= LARGEST, "a node outside of every tree was asked for"
    return mth(index << level, (index + 1) << level)


def lies(proof: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """Every proof that differs from this one by one bit, one node or one place."""
    for place, value in enumerate(proof):
        for bit in range(256):
            yield (*proof[:place], (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(32, "big"), *proof[place + 1 :])
        yield proof[:place] + proof[place + 1 :]
        yield (*proof[: place + 1], *proof[place:])
        yield (*proof[:place], value[:31], *proof[place + 1 :])
        yield (*proof[:place], value + b"\x00", *proof[place + 1 :])
        yield (*proof[:place], b"", *proof[place + 1 :])
        if place and proof[place - 1] != value:
            yield (*proof[: place - 1], value, proof[place - 1], *proof[place + 1 :])
    yield (*proof, HASHES[0])
    yield (HASHES[0], *proof)
    yield (*proof, mth(0, 4))


def test_every_inclusion_proof_of_every_small_tree_is_the_recursive_one_and_verifies() -> None:
    for size in range(1, 70):
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert list(proof) == path(index, 0, size)
            verify_inclusion(HASHES[index], index, size, proof, mth(0, size))


def test_every_consistency_proof_of_every_small_tree_is_the_recursive_one_and_verifies() -> None:
    for second in range(1, 70):
        for first in range(1, second + 1):
            proof = consistency_proof(first, second, node)
            assert list(proof) == subproof(first, 0, second, whole=True)
            verify_consistency(first, second, mth(0, first), mth(0, second), proof)


@slow_machines_allowed
@given(size=SIZES, data=st.data())
def test_inclusion_proofs_of_larger_trees_are_the_recursive_ones_and_verify(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, node)
    assert list(proof) == path(index, 0, size)
    assert root_from_inclusion(HASHES[index], index, size, proof) == mth(0, size)


@slow_machines_allowed
@given(second=SIZES, data=st.data())
def test_consistency_proofs_of_larger_trees_are_the_recursive_ones_and_verify(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(first, second, node)
    assert list(proof) == subproof(first, 0, second, whole=True)
    verify_consistency(first, second, mth(0, first), mth(0, second), proof)


@slow_machines_allowed
@given(second=st.integers(1, 2**62), data=st.data())
def test_the_nodes_named_are_the_nodes_used_and_lie_within_the_tree(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    for named, make in ((consistency_nodes, consistency_proof), (inclusion_nodes, inclusion_proof)):
        place = first if make is consistency_proof else first - 1
        used: list[tuple[int, int]] = []

        def note_down(level: int, index: int, used: list[tuple[int, int]] = used) -> bytes:
            used.append((level, index))
            return bytes(32)

        make(place, second, note_down)
        assert sorted(used) == sorted(named(place, second))
        assert all((index + 1) << level <= second for level, index in used)
        assert len(used) == len(set(used))


def test_the_nodes_of_a_root_fold_to_it() -> None:
    for size in (0, 1, 2, 3, 255, 256, 257, 599):
        hashes = tuple(node(level, index) for level, index in root_nodes(size))
        assert CompactRange(0, size, hashes).root() == tree_root(HASHES[:size])


@pytest.mark.parametrize(("index", "size"), [(0, 2), (0, 7), (6, 7), (4, 7), (5, 8), (8, 9), (10, 11), (12, 21)])
def test_no_lie_about_an_inclusion_proof_is_believed(index: int, size: int) -> None:
    proof = inclusion_proof(index, size, node)
    root = mth(0, size)
    for lie in lies(proof):
        with pytest.raises(ProofError):
            verify_inclusion(HASHES[index], index, size, lie, root)
    for other in range(25):
        if other != index:
            with pytest.raises(ProofError):
                verify_inclusion(HASHES[index], other, size, proof, root)
            with pytest.raises(ProofError):
                verify_inclusion(HASHES[other], index, size, proof, root)
    for bit in range(256):
        flipped = (int.from_bytes(root, "big") ^ (1 << bit)).to_bytes(32, "big")
        with pytest.raises(ProofError, match="leads to root"):
            verify_inclusion(HASHES[index], index, size, proof, flipped)


@slow_machines_allowed
@given(size=SIZES, other=SIZES, data=st.data())
def test_an_inclusion_proof_of_one_tree_is_refused_under_the_root_of_another(
    size: int, other: int, data: st.DataObject
) -> None:
    assume(size != other)
    index = data.draw(st.integers(0, min(size, other) - 1))
    with pytest.raises(ProofError):
        verify_inclusion(HASHES[index], index, size, path(index, 0, size), mth(0, other))
    with pytest.raises(ProofError):
        verify_inclusion(HASHES[index], index, other, path(index, 0, size), mth(0, other))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 4), (4, 4), (5, 4), (0, -1)])
def test_a_leaf_that_the_tree_does_not_have_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="no leaf"):
        inclusion_nodes(index, size)
    with pytest.raises(ProofError, match="no leaf"):
        root_from_inclusion(HASHES[0], index, size, ())


def test_a_leaf_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ProofError, match="leaf hash"):
        verify_inclusion(b"short", 0, 1, (), b"short")


def test_a_node_cannot_pass_as_a_leaf_of_the_smaller_tree() -> None:
    proof = inclusion_proof(0, 4, node)
    with pytest.raises(ProofError):
        verify_inclusion(mth(0, 2), 0, 4, proof[1:], mth(0, 4))


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 3), (3, 4), (3, 7), (4, 7), (6, 7), (6, 8), (7, 8), (8, 21)])
def test_no_lie_about_a_consistency_proof_is_believed(first: int, second: int) -> None:
    proof = consistency_proof(first, second, node)
    old, new = mth(0, first), mth(0, second)
    for lie in lies(proof):
        with pytest.raises(ProofError):
            verify_consistency(first, second, old, new, lie)
    with pytest.raises(ProofError):
        verify_consistency(first, second, old, new, ())
    with pytest.raises(ProofError):
        verify_consistency(second, first, new, old, proof)
    with pytest.raises(ProofError):
        verify_consistency(first, second, new, old, proof)
    for bit in range(256):
        for root_pair in ((old, new), (new, old)):
            flipped = (int.from_bytes(root_pair[0], "big") ^ (1 << bit)).to_bytes(32, "big")
            pair = (flipped, new) if root_pair[0] is old else (old, flipped)
            with pytest.raises(ProofError):
                verify_consistency(first, second, *pair, proof)


@slow_machines_allowed
@given(sizes=st.sets(SIZES, min_size=2, max_size=2), others=st.sets(SIZES, min_size=2, max_size=2))
def test_a_consistency_proof_is_refused_for_the_roots_of_other_sizes(sizes: set[int], others: set[int]) -> None:
    assume(sizes != others)
    first, second = sorted(sizes)
    before, after = sorted(others)
    proof = consistency_proof(first, second, node)
    with pytest.raises(ProofError):
        verify_consistency(first, second, mth(0, before), mth(0, after), proof)


def test_a_proof_of_another_length_than_the_sizes_demand_is_refused_even_where_its_roots_fit() -> None:
    with pytest.raises(ProofError, match="too short: 1 nodes"):
        verify_consistency(1, 4, mth(0, 1), mth(0, 2), consistency_proof(1, 2, node))
    with pytest.raises(ProofError, match="too long: 2 nodes"):
        verify_consistency(1, 2, mth(0, 1), mth(0, 4), consistency_proof(1, 4, node))
    with pytest.raises(ProofError, match="has 2 nodes, this one has 1"):
        verify_inclusion(HASHES[0], 0, 4, inclusion_proof(0, 2, node), mth(0, 2))
    with pytest.raises(ProofError, match="has 1 nodes, this one has 2"):
        verify_inclusion(HASHES[0], 0, 2, inclusion_proof(0, 4, node), mth(0, 4))


def test_bytes_moved_between_neighbouring_nodes_are_refused_by_their_length() -> None:
    first, *rest = consistency_proof(3, 7, node)
    for lie in ([first[:-1], *rest], [first, rest[0] + rest[1], b"", *rest[2:]], [b"", *rest]):
        with pytest.raises(ProofError, match="a node of the consistency proof from 3 to 7"):
            verify_consistency(3, 7, mth(0, 3), mth(0, 7), lie)
    with pytest.raises(ProofError, match="a node of the inclusion proof"):
        verify_inclusion(HASHES[0], 0, 4, [HASHES[1] + mth(2, 4), b""], mth(0, 4))


@pytest.mark.parametrize("second", [0, 1, 5])
def test_from_an_empty_tree_everything_follows_without_a_proof(second: int) -> None:
    assert consistency_nodes(0, second) == ()
    verify_consistency(0, second, EMPTY_ROOT, mth(0, second), ())
    with pytest.raises(ProofError, match="needs none"):
        verify_consistency(0, second, EMPTY_ROOT, mth(0, second), (HASHES[0],))
    with pytest.raises(ProofError, match="empty tree"):
        verify_consistency(0, second, HASHES[0], mth(0, second), ())


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    verify_consistency(5, 5, mth(0, 5), mth(0, 5), ())
    with pytest.raises(ProofError, match="two roots"):
        verify_consistency(5, 5, mth(0, 5), mth(0, 6), ())
    with pytest.raises(ProofError, match="needs none"):
        verify_consistency(5, 5, mth(0, 5), mth(0, 5), (HASHES[0],))
    with pytest.raises(ProofError, match=r"two roots|empty tree"):
        verify_consistency(0, 0, EMPTY_ROOT, HASHES[0], ())


@pytest.mark.parametrize(("first", "second"), [(3, 2), (-1, 2), (-2, -1)])
def test_sizes_that_shrink_or_are_negative_are_refused(first: int, second: int) -> None:
    with pytest.raises(ProofError, match="cannot follow"):
        consistency_nodes(first, second)
    with pytest.raises(ProofError, match="cannot follow"):
        verify_consistency(first, second, HASHES[0], HASHES[1], ())


def test_roots_that_are_no_hashes_are_refused() -> None:
    with pytest.raises(ProofError, match="root at 2"):
        verify_consistency(2, 2, b"", b"", ())


@slow_machines_allowed
@given(size=SIZES, data=st.data())
def test_the_left_hand_nodes_of_an_inclusion_proof_are_the_compact_range_before_it(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    before = range_before(index, size, inclusion_proof(index, size, node))
    assert before == CompactRange.empty().extend(HASHES[:index])
    assert before.extend(HASHES[index:size]).root() == mth(0, size)


def test_a_range_is_not_read_out_of_a_proof_of_the_wrong_shape() -> None:
    proof = inclusion_proof(4, 7, node)
    for lie in (proof[:-1], (*proof, HASHES[0]), (proof[0][:31], *proof[1:])):
        with pytest.raises(ProofError):
            range_before(4, 7, lie)
    with pytest.raises(ProofError):
        range_before(7, 7, proof)


@slow_machines_allowed
@given(size=SIZES, data=st.data())
def test_a_subtree_climbs_its_last_leafs_proof_to_the_root_of_its_own_tree_and_no_other_subtree_does(
    size: int, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    last = ((index + 1) << level) - 1
    proof, root = inclusion_proof(last, size, node), mth(0, size)

    verify_subtree(node(level, index), (level, index), size, proof, root)

    changed = data.draw(st.integers(index << level, last))
    leaves = [leaf_hash(b"another") if i == changed else HASHES[i] for i in range(index << level, last + 1)]
    with pytest.raises(ProofError, match="lead to root"):
        verify_subtree(tree_root(leaves), (level, index), size, proof, root)
    with pytest.raises(ProofError, match="lead to root"):
        verify_subtree(node(level, index), (level, index), size, proof, bytes(32))
    for place, value in enumerate(proof[level:], level):
        lie = (*proof[:place], bytes([value[0] ^ 1]) + value[1:], *proof[place + 1 :])
        with pytest.raises(ProofError, match="lead to root"):
            verify_subtree(node(level, index), (level, index), size, lie, root)
        with pytest.raises(ProofError, match="nodes"):
            verify_subtree(node(level, index), (level, index), size, proof[:place], root)


def test_a_subtree_that_the_tree_does_not_hold_whole_is_not_proven_in_it() -> None:
    with pytest.raises(ProofError, match="has no leaf 7"):
        verify_subtree(node(2, 1), (2, 1), 7, inclusion_proof(6, 7, node), mth(0, 7))
