"""A leaf's inclusion proof made from its neighbour's: both hold the same path to the root, each the other's hash.

Pure. It tells the hash of a leaf whose bytes the log does not give, or gives wrongly; the result is as unverified as what
it was made from.
"""

from __future__ import annotations

from monitor.errors import FormatError, ProofError
from monitor.model.log import InclusionProof
from monitor.tlog.proofs import inclusion_ranges, root_from_inclusion


def neighbour(index: int, size: int) -> int | None:
    """The leaf whose proof at `size` holds the hash of leaf `index`; None for the only leaf of a tree.

    ProofError when the tree has no leaf `index`.
    """
    ranges = inclusion_ranges(index, size)
    return ranges[0][1] - 1 if ranges else None


def from_neighbour(index: int, theirs: InclusionProof) -> InclusionProof:
    """Make leaf `index`'s proof from that of its neighbour. FormatError when theirs is not of the length that it must have."""
    ranges = inclusion_ranges(theirs.index, theirs.size)
    place = ranges.index((index, index + 1))
    if len(theirs.hashes) != len(ranges):
        raise FormatError(
            f"the inclusion proof of leaf {theirs.index} in {theirs.size} has {len(ranges)} nodes, this one has {len(theirs.hashes)}"
        )
    begin, end = inclusion_ranges(index, theirs.size)[0]
    try:  # where the last leaf stands alone, what it is joined to is more than one leaf
        joined = root_from_inclusion(theirs.leaf_hash, theirs.index - begin, end - begin, theirs.hashes[:place])
    except ProofError as error:
        raise FormatError(str(error)) from error
    return InclusionProof(theirs.hashes[place], index, theirs.size, (joined, *theirs.hashes[place + 1 :]))
