"""C2SP tlog-tiles: paths and widths of hash tiles and entry bundles, the nodes a tile holds, and a bundle's leaves.

Pure arithmetic and strict splitting; it must never believe a tile or a bundle: what it returns is proven by others.
`split_bundle` is the scan's hot path and makes no object per leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from monitor.errors import FormatError, ProofError
from monitor.tlog.merkle import HASH_SIZE, tree_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.tlog.proofs import Node

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 256
MAX_LEVEL: Final = 63
_PREFIX_SIZE: Final = 2
_PREFIX_WRAP: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TileCoordinates:
    """One hash tile: `width` hashes of tree level `8 * level`, from number `256 * index` on."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where a log serves it, below its base URL."""
        return tile_path(self.level, self.index, self.width)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a hash tile, `tile/0/x001/x234/067.p/12`. Raises FormatError for a tile that cannot be."""
    if not 0 <= level <= MAX_LEVEL:
        raise FormatError(f"there is no tile level {level}")
    return f"tile/{level}/{_number(index, width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """Path of an entry bundle, `tile/entries/x001/x234/067.p/12`. Raises FormatError for one that cannot be."""
    return f"tile/entries/{_number(index, width)}"


def data_path(index: int, width: int = TILE_WIDTH) -> str:
    """Path of a data tile of C2SP static-ct-api, `tile/data/x001/x234/067.p/12`. Raises FormatError for one that cannot be."""
    return f"tile/data/{_number(index, width)}"


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) has in the tree of `size` leaves: 256 full, 0 when it does not exist.

    At level 0 it is the width of entry bundle or data tile `index` too.
    """
    if level < 0 or index < 0:
        return 0
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - index * TILE_WIDTH))


def tile_of(node: Node, size: int) -> TileCoordinates:
    """Name the tile from which the perfect subtree `node` of the tree of `size` leaves is read or computed.

    Raises ProofError when that tree has no such perfect subtree.
    """
    level, index = node
    if level < 0 or not 0 <= index < size >> level:
        raise ProofError(f"a tree of {size} leaves has no perfect subtree {index} at level {level}")
    tile_level, height = divmod(level, TILE_HEIGHT)
    tile_index = index << height >> TILE_HEIGHT
    return TileCoordinates(tile_level, tile_index, tile_width(tile_level, tile_index, size))


def node_from_tile(node: Node, tile_hashes: Sequence[bytes]) -> bytes:
    """Hash of the perfect subtree `node` out of the hashes of the tile that `tile_of` names.

    Raises ProofError when the tile ends before the subtree does.
    """
    level, index = node
    span = 1 << level % TILE_HEIGHT
    start = index * span % TILE_WIDTH
    if start + span > len(tile_hashes):
        raise ProofError(f"a tile of {len(tile_hashes)} hashes does not hold subtree {index} of level {level}")
    return tree_root(tile_hashes[start : start + span])


def split_tile(data: bytes, width: int) -> tuple[bytes, ...]:
    """Cut a tile's bytes into its `width` hashes. Raises FormatError unless they are exactly `width` * 32 bytes."""
    if len(data) != width * HASH_SIZE:
        raise FormatError(f"a tile of {width} hashes has {width * HASH_SIZE} bytes, this one has {len(data)}")
    return tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))


def split_bundle(data: bytes, width: int) -> tuple[list[int], list[int]]:
    """Find starts and ends in `data` of a bundle's `width` leaves, each `uint16 big-endian length || leaf`.

    Raises FormatError when a leaf overruns the bundle, bytes trail, or leaves are missing.
    """
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    try:
        for _ in range(width):
            start = position + 2
            # An overrun is not tested for at every leaf: it makes the next prefix, or the sum below, fail.
            position = start + (data[position] << 8 | data[position + 1])
            starts.append(start)
            ends.append(position)
    except IndexError:
        raise FormatError(
            f"entry bundle of {len(data)} bytes ends within leaf {_first_outside(ends, len(data))} of {width}"
        ) from None
    if position > len(data):
        raise FormatError(
            f"entry bundle of {len(data)} bytes ends within leaf {_first_outside(ends, len(data))} of {width}"
        )
    if position != len(data):
        raise FormatError(f"entry bundle has {len(data) - position} bytes after its {width} leaves")
    return starts, ends


def recover_bundle(data: bytes, hashes: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """Find starts and ends of a bundle's leaves, lengths decided by their proven leaf hashes (the tile of level 0).

    Old tile logs wrote leaves over 65,535 bytes with their length cut to 16 bits: the true one is the prefix plus a
    multiple of 65,536. Raises FormatError, naming the leaf, when no length fits its hash, and when bytes trail.
    """
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for number, wanted in enumerate(hashes):
        start = position + _PREFIX_SIZE
        position = _true_end(data, start, wanted, number)
        starts.append(start)
        ends.append(position)
    if position != len(data):
        raise FormatError(f"entry bundle has {len(data) - position} bytes after its {len(hashes)} leaves")
    return starts, ends


def _true_end(data: bytes, start: int, wanted: bytes, number: int) -> int:
    end = start + int.from_bytes(data[start - _PREFIX_SIZE : start], "big")
    hasher = sha256(b"\x00" + data[start:end])  # each longer try goes on where the last one ended: linear, not square
    while end <= len(data):
        if hasher.digest() == wanted:
            return end
        hasher.update(data[end : end + _PREFIX_WRAP])
        end += _PREFIX_WRAP
    raise FormatError(f"leaf {number} of an entry bundle of {len(data)} bytes fits its proven hash at no length")


def _first_outside(ends: Sequence[int], size: int) -> int:
    return next((number for number, end in enumerate(ends) if end > size), len(ends))


def _number(index: int, width: int) -> str:
    if index < 0 or not 1 <= width <= TILE_WIDTH:
        raise FormatError(f"there is no tile {index} of width {width}")
    rest, last = divmod(index, 1000)
    text = f"{last:03d}"
    while rest:
        rest, group = divmod(rest, 1000)
        text = f"x{group:03d}/{text}"
    return text if width == TILE_WIDTH else f"{text}.p/{width}"
