"""What following a log needs of a server, whichever protocol it speaks. Nothing that comes through here is believed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from monitor.model.log import Block, Gap, InclusionProof


class Log(Protocol):
    """One log's bytes; `fresh` asks on a new connection, past all caches.

    Every method raises FetchError when the server cannot be asked, FormatError when it answers nonsense.
    """

    @property
    def origin(self) -> str:
        """The log's name."""

    async def checkpoint(self, *, fresh: bool = False) -> bytes:
        """The newest signed note."""

    async def consistency_proof(self, first: int, second: int, *, fresh: bool = False) -> tuple[bytes, ...]:
        """An unverified proof between two sizes, 1 <= first < second <= a published size."""

    async def inclusion_proof(self, index: int, size: int, *, fresh: bool = False) -> InclusionProof:
        """An unverified proof of leaf `index`, in the tree of `size` or in the one whose note it brings."""

    def blocks(self, start: int, end: int, size: int, *, fresh: bool = False) -> AsyncGenerator[Block | Gap, None]:
        """Leaves [start, end) of a log of `size` leaves, in order and without overlap; what cannot be had as gaps.

        To be read under `contextlib.aclosing`: what is in flight ends with it.
        """
