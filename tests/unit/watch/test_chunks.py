"""What is to be read is cut at every border of a chunk, nothing twice and nothing left out; a chunk is believed only whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.entries.prefilter import Prefilter
from monitor.errors import FormatError
from monitor.model.log import Block, Coverage, FollowedLog, Gap, InclusionProof, LogState, Mode, Protocol, uncovered
from monitor.tlog.merkle import hash_leaves, tree_root
from monitor.watch import chunks
from monitor.watch.chunks import Piece, plan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

LOG = FollowedLog("log.example", Protocol.REKOR_V2, "https://log.example", Mode.COMPLETE, LogState.ACTIVE)
PREFILTER = Prefilter(["TruStacks"])

spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 90)), max_size=8)


@given(covered=spans, begin=st.integers(0, 300), length=st.integers(0, 300), level=st.integers(0, 7))
def test_what_is_planned_is_exactly_what_is_missing_and_no_piece_crosses_a_border(
    covered: list[tuple[int, int]], begin: int, length: int, level: int
) -> None:
    end = begin + length
    ranges = [Coverage(LOG.origin, first, first + count, 1000) for first, count in covered]
    known = {leaf for each in ranges for leaf in range(each.begin, each.end)}

    pieces = list(plan(uncovered(ranges, begin, end), level))

    assert [leaf for piece in pieces for leaf in range(piece.begin, piece.end)] == [
        leaf for leaf in range(begin, end) if leaf not in known
    ]
    for piece in pieces:
        assert piece.begin >> level == (piece.end - 1) >> level
        assert piece.whole == (len(piece) == 1 << level)
        if piece.whole:
            assert piece.node == (level, piece.begin // len(piece))


def test_ranges_are_cut_in_the_order_in_which_they_are_given() -> None:
    assert list(plan([(20, 25), (3, 9)], 2)) == [
        Piece(20, 24, 2),
        Piece(24, 25, 2),
        Piece(3, 4, 2),
        Piece(4, 8, 2),
        Piece(8, 9, 2),
    ]


class Given:
    """A log that gives the blocks and gaps it was made of."""

    origin = LOG.origin

    def __init__(self, *items: Block | Gap) -> None:
        self._items = items

    async def checkpoint(self, *, fresh: bool = False) -> bytes:
        raise FormatError(f"not asked for here {fresh}")

    async def consistency_proof(self, first: int, second: int, *, fresh: bool = False) -> tuple[bytes, ...]:
        raise FormatError(f"not asked for here {first, second, fresh}")

    async def inclusion_proof(self, index: int, size: int, *, fresh: bool = False) -> InclusionProof:
        raise FormatError(f"not asked for here {index, size, fresh}")

    async def blocks(
        self, start: int, end: int, size: int, *, fresh: bool = False
    ) -> AsyncGenerator[Block | Gap, None]:
        assert (start, end, size, fresh) == (4, 8, 100, False)
        for item in self._items:
            yield item


def block(start: int, leaves: Sequence[bytes]) -> Block:
    data = b"".join(leaves)
    ends = [sum(map(len, leaves[: i + 1])) for i in range(len(leaves))]
    return Block(start, data, [0, *ends[:-1]], ends)


async def test_a_chunk_is_its_root_and_what_of_it_may_concern_us() -> None:
    leaves = [b'{"apiVersion":"0.0.2","x"', b"TruStacks", b"b", b"trustacks"]
    first, second = block(4, leaves[:1]), block(5, leaves[1:])

    found = await chunks.read(Given(first, second), LOG, PREFILTER, Piece(4, 8, 2), 100)

    assert found is not None
    assert found.root == tree_root([h for b in (first, second) for h in hash_leaves(b.data, b.starts, b.ends)])
    assert {5, 7} <= {leaf.index for leaf in found.candidates}
    assert {leaf.index: leaf.data for leaf in found.candidates}[5] == b"TruStacks"


@pytest.mark.parametrize(
    "items",
    [
        (block(4, [b"a", b"b"]), Gap(6, 8, "not found")),
        (block(4, [b"a", b"b"]),),
        (block(4, [b"a", b"b"]), block(7, [b"d"])),
        (block(4, [b"a", b"b", b"c", b"d", b"e"]),),
    ],
    ids=["gap", "too short", "leaf left out", "too long"],
)
async def test_a_chunk_with_gaps_or_other_leaves_than_its_own_is_none(items: tuple[Block | Gap, ...]) -> None:
    assert await chunks.read(Given(*items), LOG, PREFILTER, Piece(4, 8, 2), 100) is None


async def test_a_chunk_that_holds_more_of_ours_than_is_handed_over_at_once_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_ = Given(block(4, [b"TruStacks"] * 4))
    monkeypatch.setattr(chunks, "MOST_CANDIDATES", 3)
    assert await chunks.read(given_, LOG, PREFILTER, Piece(4, 8, 2), 100) is None
    monkeypatch.setattr(chunks, "MOST_CANDIDATES", 4)
    assert await chunks.read(given_, LOG, PREFILTER, Piece(4, 8, 2), 100) is not None
    monkeypatch.setattr(chunks, "MOST_BYTES", 30)
    assert await chunks.read(given_, LOG, PREFILTER, Piece(4, 8, 2), 100) is None
