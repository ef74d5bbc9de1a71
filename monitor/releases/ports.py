"""The port through which one leaf is fetched out of a log that is not read whole, proven, by the index that a signature cites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from monitor.model.log import FollowedLog, Looked


class Leaves(Protocol):
    """Fetches single leaves. One implementation over the logs that are followed, one in tests."""

    async def cited(self, log: FollowedLog, index: int) -> Looked:
        """Return what stands at `index` of `log`'s own tree, its bytes proven by an inclusion proof under that checkpoint.

        FetchError, FormatError or ProofError where that cannot be told now: it is asked again in a later pass, and accuses nobody.
        """
