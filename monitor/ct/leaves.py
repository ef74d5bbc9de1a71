"""The leaves of a certificate log as bytes: cut out of static-ct-api data tiles and made those of RFC 6962 again, put in blocks.

Pure arithmetic. A leaf is read only as far as its end must be found; what stands in it is for others to read, and whether it
is in the log for others to prove.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from monitor.errors import FormatError
from monitor.model.log import Block, Gap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TREE_LEAF: Final = b"\x00\x00"
"""version v1, leaf_type timestamped_entry: what a MerkleTreeLeaf has before its TimestampedEntry."""
_NO_CHAIN: Final = b"\x00\x00\x00"
_TIMESTAMP: Final = 8
_KEY_HASH: Final = 32
_X509: Final = 0
_PRECERT: Final = 1


@dataclass(frozen=True, slots=True)
class TreeLeaf:
    """A MerkleTreeLeaf (RFC 6962 §3.4), which is hashed into the tree, and the `extra_data` (§4.6) beside it, which is not."""

    leaf: bytes = field(repr=False)
    extra: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """The leaves that a data tile's bytes begin with, and what is wrong with the tile, or nothing."""

    leaves: Sequence[TreeLeaf]
    problem: str = ""


def cut_tile(data: bytes, width: int) -> Cut:
    """Cut a data tile that should hold `width` leaves into those whose end can be told, in order.

    Their `extra_data` has an empty chain: a tile names the issuers by their hashes only.
    """
    leaves: list[TreeLeaf] = []
    position = 0
    for number in range(width):
        try:
            leaf, position = _leaf(data, position)
        except FormatError as error:
            return Cut(leaves, f"leaf {number} of {width} in a data tile of {len(data)} bytes {error}")
        leaves.append(leaf)
    left = len(data) - position
    return Cut(leaves, f"a data tile has {left} bytes after its {width} leaves" if left else "")


def pieces(wanted: range, found: Mapping[int, TreeLeaf], missing: Mapping[int, str]) -> list[Block | Gap]:
    """Make blocks of the leaves of `wanted` that were found, in order, and gaps of those that are `missing` for a reason."""
    made: list[Block | Gap] = []
    run: list[TreeLeaf] = []
    for index in wanted:
        if index in found:
            run.append(found[index])
            continue
        if run:
            made.append(_block(index - len(run), run))
            run = []
        last = made[-1] if made else None
        if isinstance(last, Gap) and last.end == index and last.reason == missing[index]:
            made[-1] = Gap(last.start, index + 1, last.reason)
        else:
            made.append(Gap(index, index + 1, missing[index]))
    if run:
        made.append(_block(wanted.stop - len(run), run))
    return made


def _block(start: int, leaves: Sequence[TreeLeaf]) -> Block:
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for each in leaves:
        starts.append(position)
        position += len(each.leaf)
        ends.append(position)
    data = b"".join(each.leaf for each in leaves)
    return Block(start, data, starts, ends, extras=tuple(each.extra for each in leaves))


def _leaf(data: bytes, start: int) -> tuple[TreeLeaf, int]:
    """Read the TileLeaf at `start`: it, and where the next one begins. FormatError when it has no end."""
    kind, position = _number(data, start + _TIMESTAMP, 2)
    if kind == _PRECERT:
        position += _KEY_HASH
    elif kind != _X509:
        raise FormatError(f"is of type {kind}, neither certificate nor precertificate")
    _, position = _vector(data, position, 3)
    _, end = _vector(data, position, 2)
    extra, position = _NO_CHAIN, end
    if kind == _PRECERT:
        precertificate, position = _vector(data, end, 3)
        extra = precertificate + _NO_CHAIN
    _, position = _vector(data, position, 2)
    return TreeLeaf(_TREE_LEAF + data[start:end], extra), position


def _vector(data: bytes, start: int, prefix: int) -> tuple[bytes, int]:
    """Read a TLS vector, its length in front, and where it ends."""
    length, position = _number(data, start, prefix)
    end = position + length
    if end > len(data):
        raise FormatError("breaks off")
    return data[start:end], end


def _number(data: bytes, start: int, size: int) -> tuple[int, int]:
    end = start + size
    if end > len(data):
        raise FormatError("breaks off")
    return int.from_bytes(data[start:end], "big"), end
