"""Proven hashes of what is missing: where in a neighbour's proof they stand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.model.log import Gap
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import inclusion_proof, inclusion_ranges
from monitor.watch.gaps import missing_subtrees

_LEAVES = [leaf_hash(b"%d" % i) for i in range(130)]


def _node(level: int, index: int) -> bytes:
    return tree_root(_LEAVES[index << level : (index + 1) << level])


@given(st.integers(1, 130).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_each_hash_of_a_proof_is_the_root_of_the_range_named_for_it(place: tuple[int, int]) -> None:
    size, index = place
    proof = inclusion_proof(index, size, _node)
    assert [tree_root(_LEAVES[begin:end]) for begin, end in inclusion_ranges(index, size)] == list(proof)


@given(
    st.integers(2, 130),
    st.lists(st.tuples(st.integers(0, 129), st.integers(1, 20)), min_size=1, max_size=4),
)
def test_missing_subtrees_cover_exactly_the_gaps(size: int, spans: list[tuple[int, int]]) -> None:
    gaps = [Gap(start, min(start + length, size), "") for start, length in spans if start < size]
    missing = {i for gap in gaps for i in range(gap.start, gap.end)}
    if len(missing) == size:
        return
    covered = [i for begin, end, _, _ in missing_subtrees(size, gaps) for i in range(begin, end)]
    assert sorted(missing) == sorted(set(covered))


@given(st.integers(2, 130), st.integers(0, 129), st.integers(1, 20))
def test_the_sibling_of_a_missing_subtree_holds_a_leaf_that_is_there(size: int, start: int, length: int) -> None:
    gaps = [Gap(start, min(start + length, size), "")] if start < size else []
    for begin, end, beside_begin, beside_end in missing_subtrees(size, gaps):
        there = [i for i in range(beside_begin, beside_end) if not gaps[0].start <= i < gaps[0].end]
        if len(gaps[0]) < size:
            assert there
            assert (begin, end) in inclusion_ranges(there[0], size)
