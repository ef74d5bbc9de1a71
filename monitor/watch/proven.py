"""Inclusion proofs that are believed: verified, and under a checkpoint that counts and is held against all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import ProofError
from monitor.tlog.merkle import CompactRange
from monitor.tlog.proofs import range_before, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.model.log import InclusionProof
    from monitor.tlog.checkpoint import Checkpoint
    from monitor.watch.ports import Log

    Linker = Callable[[bytes], Awaitable[Checkpoint]]

_BODY = 3
"""The lines of a checkpoint that say what it is of: origin, size, root."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A verified inclusion proof and the signed checkpoint it proves to."""

    proof: InclusionProof
    under: Checkpoint

    @property
    def before(self) -> CompactRange:
        """The compact range [0, index): the left-hand nodes of the proof (DESIGN section 5, starting anywhere)."""
        return range_before(self.proof.index, self.proof.size, self.proof.hashes)

    @property
    def through(self) -> CompactRange:
        """The compact range [0, index + 1)."""
        return self.before.append(self.proof.leaf_hash)


async def inclusion(log: Log, index: int, target: Checkpoint, link: Linker, *, fresh: bool = False) -> Proven:
    """Leaf `index` proven under `target`, or under the checkpoint that the reply brings once `link` has joined it to ours.

    Raises ProofError when the reply proves something else, or nothing.
    """
    return await proven_by(await log.inclusion_proof(index, target.size, fresh=fresh), index, target, link, log.origin)


async def proven_by(proof: InclusionProof, index: int, target: Checkpoint, link: Linker, origin: str) -> Proven:
    """A proof of leaf `index` that came from somewhere, verified as `inclusion` does. Raises ProofError."""
    under = target if proof.note is None else await _under(proof.note, target, link)
    if proof.index != index or proof.size != under.size:
        raise ProofError(
            f"asked {origin} for a proof of leaf {index} under size {under.size}, "
            f"got one of leaf {proof.index} under size {proof.size}"
        )
    verify_inclusion(proof.leaf_hash, index, under.size, proof.hashes, under.root)
    return Proven(proof, under)


async def _under(raw: bytes, target: Checkpoint, link: Linker) -> Checkpoint:
    """What a proof proves to. A note that names the target's own log, size and root adds nothing to it: v1 signs one anew each time."""
    same = raw.split(b"\n")[:_BODY] == target.raw.split(b"\n")[:_BODY]
    return target if same else await link(raw)


async def range_at(log: Log, size: int, under: Checkpoint, link: Linker, *, fresh: bool = False) -> CompactRange:
    """The compact range [0, size) of the tree under `under`, read out of leaf size − 1's inclusion proof."""
    if size == 0:
        return CompactRange.empty()
    return (await inclusion(log, size - 1, under, link, fresh=fresh)).through
