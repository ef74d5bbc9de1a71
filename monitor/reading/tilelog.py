"""What every log served as tiles has alike: its name, its checkpoint, and proofs made of its hash tiles. How its leaves lie differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.model.log import InclusionProof
    from monitor.reading.tiles import TileProofs, TileServer


class TileLog:
    """One log named `origin`; whoever knows the form of its leaves adds `blocks`. Nothing is verified here."""

    def __init__(self, origin: str, server: TileServer, proofs: TileProofs) -> None:
        """Ask nothing yet."""
        self._origin = origin
        self._server = server
        self._proofs = proofs

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return self._origin

    async def checkpoint(self, *, fresh: bool = False) -> bytes:
        """Return the newest signed note, raw. FetchError; FormatError when it is no note."""
        return await self._server.checkpoint(fresh=fresh)

    async def consistency_proof(self, first: int, second: int, *, fresh: bool = False) -> tuple[bytes, ...]:
        """Make an unverified RFC 6962 consistency proof from the tiles of the tree of `second` leaves.

        `fresh` reads them past all caches, ours included. FetchError; FormatError for tiles of a wrong length;
        ProofError unless 0 <= first <= second.
        """
        return await self._proofs.consistency(first, second, fresh=fresh)

    async def inclusion_proof(self, index: int, size: int, *, fresh: bool = False) -> InclusionProof:
        """Make an unverified proof of leaf `index` from the tiles of the tree of `size` leaves, its leaf hash too.

        FetchError; FormatError for tiles of a wrong length; ProofError when that tree has no such leaf.
        """
        return await self._proofs.inclusion(index, size, fresh=fresh)
