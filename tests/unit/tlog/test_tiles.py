"""Tile paths, widths and nodes of C2SP tlog-tiles, and entry bundles whole, broken and wrapped."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.errors import FormatError, ProofError
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import consistency_nodes, inclusion_nodes, root_nodes
from monitor.tlog.tiles import (
    TileCoordinates,
    bundle_path,
    node_from_tile,
    recover_bundle,
    split_bundle,
    split_tile,
    tile_of,
    tile_path,
    tile_width,
)

LEAVES = st.lists(st.binary(max_size=300), max_size=30)
slow_machines_allowed = settings(deadline=None, max_examples=150)


def bundle(leaves: list[bytes]) -> bytes:
    """The bundle as an old tile log wrote it: lengths cut to 16 bits."""
    return b"".join((len(leaf) & 0xFFFF).to_bytes(2, "big") + leaf for leaf in leaves)


def cut(data: bytes, bounds: tuple[list[int], list[int]]) -> list[bytes]:
    return [data[start:end] for start, end in zip(*bounds, strict=True)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (tile_path(0, 0), "tile/0/000"),
        (tile_path(0, 999), "tile/0/999"),
        (tile_path(1, 1000), "tile/1/x001/000"),
        (tile_path(0, 1234067), "tile/0/x001/x234/067"),
        (tile_path(0, 1234067, 12), "tile/0/x001/x234/067.p/12"),
        (tile_path(63, 5, 1), "tile/63/005.p/1"),
        (bundle_path(5035492 >> 8), "tile/entries/x019/669"),
        (bundle_path(1, 201), "tile/entries/001.p/201"),
        (bundle_path(10**9), "tile/entries/x001/x000/x000/000"),
    ],
)
def test_paths_are_spelled_as_tlog_tiles_spells_them(path: str, expected: str) -> None:
    assert path == expected


def test_tiles_that_cannot_be_have_no_path() -> None:
    for level, index, width in [(-1, 0, 256), (64, 0, 256), (0, -1, 256), (0, 0, 0), (0, 0, 257), (0, 0, -1)]:
        with pytest.raises(FormatError, match="there is no tile"):
            tile_path(level, index, width)
    with pytest.raises(FormatError, match="there is no tile"):
        bundle_path(0, 0)


@given(size=st.integers(0, 2**62), level=st.integers(0, 7))
def test_the_tiles_of_a_level_hold_its_hashes_without_a_gap(size: int, level: int) -> None:
    hashes = size // 256**level
    last = hashes // 256
    assert tile_width(level, last, size) == hashes % 256
    assert tile_width(level, last + 1, size) == 0
    if last:
        assert tile_width(level, last - 1, size) == 256


def test_a_tile_before_the_first_does_not_exist() -> None:
    assert tile_width(0, -1, 1000) == 0
    assert tile_width(-1, 0, 1000) == 0


@slow_machines_allowed
@given(size=st.integers(1, 70_000), data=st.data())
def test_every_node_a_proof_needs_is_in_a_tile_that_exists(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    for node in (*inclusion_nodes(index, size), *consistency_nodes(index + 1, size), *root_nodes(size)):
        tile = tile_of(node, size)
        level, number = node
        first = (number << level) // 256**tile.level
        last = (((number + 1) << level) - 1) // 256**tile.level
        assert tile.width == tile_width(tile.level, tile.index, size) > 0
        assert tile.index * 256 <= first <= last < tile.index * 256 + tile.width
        assert tile.path == tile_path(tile.level, tile.index, tile.width)


@pytest.mark.parametrize("node", [(0, 600), (8, 2), (9, 1), (10, 0), (-1, 0), (0, -1), (70, 0)])
def test_a_node_outside_of_the_tree_is_in_no_tile(node: tuple[int, int]) -> None:
    with pytest.raises(ProofError, match="no perfect subtree"):
        tile_of(node, 600)


def test_nodes_out_of_tiles_are_the_nodes_of_the_tree() -> None:
    size = 600
    hashes = [leaf_hash(b"leaf %d" % number) for number in range(size)]
    for level in range(10):
        for index in range(size >> level):
            tile = tile_of((level, index), size)
            span = 256**tile.level
            numbers = range(tile.index * 256, tile.index * 256 + tile.width)
            tile_hashes = [tree_root(hashes[number * span : (number + 1) * span]) for number in numbers]
            expected = tree_root(hashes[index << level : (index + 1) << level])
            assert node_from_tile((level, index), tile_hashes) == expected
    assert tile_of((8, 1), size) == TileCoordinates(1, 0, 2)


def test_a_tile_that_ends_before_the_node_is_refused() -> None:
    with pytest.raises(ProofError, match="does not hold"):
        node_from_tile((2, 1), [bytes(32)] * 7)


def test_a_tile_of_another_length_is_refused() -> None:
    assert split_tile(bytes(31) + b"\x01" + bytes(32), 2) == (bytes(31) + b"\x01", bytes(32))
    for length in (0, 63, 65, 96):
        with pytest.raises(FormatError, match="a tile of 2 hashes"):
            split_tile(bytes(length), 2)


@given(leaves=LEAVES)
def test_a_bundle_splits_into_the_leaves_it_was_made_of(leaves: list[bytes]) -> None:
    data = bundle(leaves)
    assert cut(data, split_bundle(data, len(leaves))) == leaves


@given(leaves=LEAVES, data=st.data())
def test_a_truncated_bundle_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    assume(leaves)
    whole = bundle(leaves)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(FormatError, match=rf"ends within leaf \d+ of {len(leaves)}"):
        split_bundle(whole[:length], len(leaves))


@given(leaves=LEAVES, trailing=st.binary(min_size=1, max_size=5))
def test_bytes_after_the_last_leaf_are_refused(leaves: list[bytes], trailing: bytes) -> None:
    with pytest.raises(FormatError, match=f"has {len(trailing)} bytes after"):
        split_bundle(bundle(leaves) + trailing, len(leaves))


def test_a_bundle_of_more_or_fewer_leaves_is_refused() -> None:
    data = bundle([b"one", b"two"])
    with pytest.raises(FormatError, match="ends within leaf 2 of 3"):
        split_bundle(data, 3)
    with pytest.raises(FormatError, match="5 bytes after its 1 leaves"):
        split_bundle(data, 1)


def test_the_leaf_that_overruns_the_bundle_is_named() -> None:
    with pytest.raises(FormatError, match="ends within leaf 1 of 2"):
        split_bundle(b"\x00\x01a\xff\xffbc", 2)
    with pytest.raises(FormatError, match="ends within leaf 1 of 4"):
        split_bundle(b"\x00\x01a\xff\xffbc", 4)


@given(data=st.binary(max_size=200), width=st.integers(0, 10))
def test_any_bytes_split_exactly_or_are_refused(data: bytes, width: int) -> None:
    try:
        leaves = cut(data, split_bundle(data, width))
    except FormatError:
        return
    assert len(leaves) == width
    assert bundle(leaves) == data


@pytest.mark.parametrize(
    "sizes",
    [(65_535,), (65_536,), (65_537, 3), (3, 65_536, 3), (200_000, 5, 131_072), (5, 4_000_000), (0, 70_000, 0, 0)],
)
def test_leaves_whose_length_wrapped_are_recovered_by_their_proven_hashes(sizes: tuple[int, ...]) -> None:
    leaves = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    data = bundle(leaves)
    assert cut(data, recover_bundle(data, [leaf_hash(leaf) for leaf in leaves])) == leaves


@given(leaves=LEAVES)
def test_recovery_of_a_sound_bundle_is_its_split(leaves: list[bytes]) -> None:
    data = bundle(leaves)
    assert recover_bundle(data, [leaf_hash(leaf) for leaf in leaves]) == split_bundle(data, len(leaves))


def test_recovery_names_the_leaf_that_fits_no_length() -> None:
    leaves = [b"one", b"two" * 30_000, b"three"]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    altered = bundle([leaves[0], b"tWo" + leaves[1][3:], leaves[2]])
    with pytest.raises(FormatError, match="leaf 1 of an entry bundle"):
        recover_bundle(altered, hashes)
    with pytest.raises(FormatError, match="leaf 2 of an entry bundle"):
        recover_bundle(bundle(leaves)[:-1], hashes)
    with pytest.raises(FormatError, match="leaf 2 of an entry bundle"):
        recover_bundle(bundle(leaves[:2]), hashes)
    with pytest.raises(FormatError, match="leaf 2 of an entry bundle"):
        recover_bundle(bundle(leaves[:2]) + b"\x00", [*hashes[:2], leaf_hash(b"")])
    with pytest.raises(FormatError, match="7 bytes after its 2 leaves"):
        recover_bundle(bundle(leaves), hashes[:2])
