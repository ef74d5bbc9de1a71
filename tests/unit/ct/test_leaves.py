from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from monitor.ct.beside import from_neighbour, neighbour
from monitor.ct.leaves import TreeLeaf, cut_tile, pieces
from monitor.model.log import Block, Gap, InclusionProof
from monitor.testbed.ct_entry import Submission
from monitor.tlog.merkle import tree_root
from monitor.tlog.proofs import inclusion_proof, verify_inclusion

bodies = st.binary(max_size=300)
submissions = st.builds(
    Submission,
    timestamp=st.integers(0, 2**64 - 1),
    signed=bodies,
    chain=st.lists(bodies, max_size=3).map(tuple),
    issuer_key_hash=st.sampled_from([b"", bytes(range(32))]),
    precertificate=bodies,
)
HASHES = [struct.pack(">32s", b"%d" % number) for number in range(70)]


def tile_leaf(submission: Submission, extensions: bytes) -> bytes:
    return submission.leaf(extensions)[2:] + submission.tile_extra()


def as_in_pages(submission: Submission, extensions: bytes) -> TreeLeaf:
    """What an RFC 6962 log would have served, without its chain."""
    bare = Submission(
        submission.timestamp, submission.signed, (), submission.issuer_key_hash, submission.precertificate
    )
    return TreeLeaf(submission.leaf(extensions), bare.extra_data())


@given(st.lists(st.tuples(submissions, bodies), max_size=12))
def test_a_tile_is_cut_into_the_leaves_that_an_rfc6962_log_would_serve(held: list[tuple[Submission, bytes]]) -> None:
    cut = cut_tile(b"".join(tile_leaf(*item) for item in held), len(held))
    assert cut.leaves == [as_in_pages(*item) for item in held]
    assert not cut.problem


@given(st.lists(st.tuples(submissions, bodies), min_size=1, max_size=4), st.data())
def test_a_tile_that_breaks_off_gives_the_leaves_before_and_says_where(
    held: list[tuple[Submission, bytes]], data: st.DataObject
) -> None:
    parts = [tile_leaf(*item) for item in held]
    whole = b"".join(parts)
    kept = data.draw(st.integers(0, len(whole) - 1))
    cut = cut_tile(whole[:kept], len(held))
    complete = sum(len(b"".join(parts[: at + 1])) <= kept for at in range(len(parts)))
    assert cut.leaves == [as_in_pages(*item) for item in held[:complete]]
    assert f"leaf {complete} of {len(held)}" in cut.problem
    assert "breaks off" in cut.problem


@given(st.tuples(submissions, bodies), st.binary(min_size=1, max_size=40))
def test_bytes_after_the_last_leaf_are_told(held: tuple[Submission, bytes], more: bytes) -> None:
    cut = cut_tile(tile_leaf(*held) + more, 1)
    assert cut.leaves == [as_in_pages(*held)]
    assert f"{len(more)} bytes after" in cut.problem


@given(st.binary(max_size=2000), st.integers(0, 256))
def test_any_bytes_at_all_are_cut_or_told_of(data: bytes, width: int) -> None:
    cut = cut_tile(data, width)
    assert len(cut.leaves) == width or cut.problem
    assert all(leaf.leaf[2:] in data for leaf in cut.leaves)


def test_an_entry_of_an_unknown_type_ends_what_can_be_told() -> None:
    known = Submission(1, b"certificate", ())
    unknown = bytearray(tile_leaf(known, b""))
    unknown[9] = 2
    cut = cut_tile(tile_leaf(known, b"") + bytes(unknown) + tile_leaf(known, b""), 3)
    assert len(cut.leaves) == 1
    assert "leaf 1 of 3" in cut.problem
    assert "of type 2" in cut.problem


@given(st.integers(0, 40), st.integers(0, 30), st.sets(st.integers(0, 70)))
def test_the_pieces_of_a_range_are_in_order_and_leave_nothing_out(start: int, length: int, held: set[int]) -> None:
    wanted = range(start, start + length)
    found = {index: TreeLeaf(b"%d" % index, b"extra %d" % index) for index in wanted if index in held}
    missing = {index: "even" if index % 4 < 2 else "odd" for index in wanted if index not in held}
    at = start
    for piece in pieces(wanted, found, missing):
        assert piece.start == at
        at = piece.end
        for offset in range(len(piece)):
            index = piece.start + offset
            if isinstance(piece, Gap):
                assert missing[index] == piece.reason
            else:
                assert isinstance(piece, Block)
                assert TreeLeaf(piece.leaf(offset), piece.extras[offset]) == found[index]
    assert at == wanted.stop


@given(st.integers(2, len(HASHES)), st.data())
def test_a_neighbours_proof_holds_that_of_a_leaf_at_every_size(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))

    def node(level: int, at: int) -> bytes:
        return tree_root(HASHES[at << level : (at + 1) << level])

    beside = neighbour(index, size)
    assert beside is not None
    assert beside != index
    theirs = InclusionProof(HASHES[beside], beside, size, inclusion_proof(beside, size, node))
    made = from_neighbour(index, theirs)
    assert made == InclusionProof(HASHES[index], index, size, inclusion_proof(index, size, node))
    verify_inclusion(HASHES[index], index, size, made.hashes, tree_root(HASHES[:size]))


def test_the_only_leaf_has_no_neighbour() -> None:
    assert neighbour(0, 1) is None
