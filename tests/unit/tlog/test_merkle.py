"""Roots and compact ranges against the recursive definition of RFC 6962 §2.1."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import FormatError, ProofError
from monitor.tlog.merkle import (
    EMPTY_ROOT,
    CompactRange,
    hash_leaves,
    leaf_hash,
    node_hash,
    perfect_subtrees,
    tree_root,
)

LARGEST = 600
HASHES = [leaf_hash(b"leaf %d" % number) for number in range(LARGEST)]
SIZES = st.integers(0, LARGEST)
BOUNDS = st.tuples(SIZES, SIZES, SIZES).map(sorted)
slow_machines_allowed = settings(deadline=None, max_examples=150)


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962's definition, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + mth(hashes[:split]) + mth(hashes[split:])).digest()


def compact(begin: int, end: int) -> CompactRange:
    return CompactRange(begin, end, tuple(mth(HASHES[i << n : (i + 1) << n]) for n, i in perfect_subtrees(begin, end)))


def test_hashes_are_those_of_the_rfc_with_their_prefixes() -> None:
    assert sha256(b"").digest() == EMPTY_ROOT
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert node_hash(HASHES[0], HASHES[1]) == sha256(b"\x01" + HASHES[0] + HASHES[1]).digest()


@pytest.mark.parametrize(
    ("size", "root"),
    [
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_roots_of_the_published_test_tree_are_met(size: int, root: str) -> None:
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in leaves[:size]]
    assert tree_root(hashes).hex() == root
    assert CompactRange.empty().extend(hashes).root().hex() == root


def test_every_root_up_to_600_leaves_is_the_recursive_one() -> None:
    for size in [*range(130), 255, 256, 257, 511, 512, 513, LARGEST]:
        assert tree_root(HASHES[:size]) == mth(HASHES[:size])


@given(leaves=st.lists(st.binary(max_size=40), max_size=20))
def test_leaves_hashed_in_one_run_are_the_leaves_hashed_alone(leaves: list[bytes]) -> None:
    ends = [sum(map(len, leaves[: number + 1])) for number in range(len(leaves))]
    starts = [end - len(leaf) for end, leaf in zip(ends, leaves, strict=True)]
    assert hash_leaves(b"".join(leaves), starts, ends) == [leaf_hash(leaf) for leaf in leaves]


def test_leaf_bounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        hash_leaves(b"abc", [0, 1], [1])


@given(begin=st.integers(0, 2**62), length=st.integers(0, 2**62))
def test_perfect_subtrees_cover_the_range_once_and_none_could_be_larger(begin: int, length: int) -> None:
    end = begin + length
    position = begin
    for level, index in perfect_subtrees(begin, end):
        assert index << level == position
        position = (index + 1) << level
        parent = (index >> 1) << (level + 1)
        assert parent < begin or parent + (2 << level) > end
    assert position == end


@pytest.mark.parametrize(("begin", "end"), [(-1, 3), (4, 3), (-2, -1)])
def test_ranges_that_cannot_be_are_refused(begin: int, end: int) -> None:
    with pytest.raises(ProofError):
        perfect_subtrees(begin, end)


@slow_machines_allowed
@given(bounds=BOUNDS)
def test_a_range_extended_or_merged_or_appended_is_the_range_computed_at_once(bounds: list[int]) -> None:
    begin, middle, end = bounds
    whole = compact(begin, end)
    left = compact(begin, middle)
    one_by_one = left
    for value in HASHES[middle:end]:
        one_by_one = one_by_one.append(value)
    assert left.extend(HASHES[middle:end]) == whole
    assert left.merge(compact(middle, end)) == whole
    assert one_by_one == whole


@slow_machines_allowed
@given(end=SIZES)
def test_a_range_from_leaf_zero_has_the_tree_root(end: int) -> None:
    assert compact(0, end).root() == mth(HASHES[:end])


@given(bounds=BOUNDS)
@slow_machines_allowed
def test_a_range_survives_being_kept(bounds: list[int]) -> None:
    begin, _, end = bounds
    whole = compact(begin, end)
    assert CompactRange.decode(begin, end, whole.encode()) == whole


def test_ranges_that_do_not_touch_are_not_merged() -> None:
    for begin, end in [(4, 8), (6, 8), (0, 5)]:
        with pytest.raises(ProofError, match="does not follow"):
            compact(0, 5).merge(compact(begin, end))


def test_a_range_in_the_middle_has_no_root() -> None:
    with pytest.raises(ProofError, match="no tree root"):
        compact(4, 8).root()


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_range_with_too_many_or_too_few_hashes_is_refused(count: int) -> None:
    with pytest.raises(ProofError, match="subtrees"):
        CompactRange(0, 8, tuple(HASHES[:count]))


def test_a_range_with_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ProofError, match="31 bytes"):
        CompactRange(0, 1, (HASHES[0][:31],))
    with pytest.raises(ProofError, match="33 bytes"):
        CompactRange.empty().append(HASHES[0] + b"\x00")


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), bytes(64)])
def test_kept_bytes_that_do_not_fit_the_range_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="no compact range"):
        CompactRange.decode(0, 4, data)
    with pytest.raises(FormatError, match="no compact range"):
        CompactRange.decode(3, 2, data)
