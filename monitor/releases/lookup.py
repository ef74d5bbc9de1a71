"""The port through which one leaf is fetched out of a log that is not read whole, proven, by the index that a signature cites."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from monitor.model.log import FollowedLog


@dataclass(frozen=True, slots=True)
class Looked:
    """What a log has at an index, under its checkpoint of `size`, which counts and is held against every stored one.

    `leaf` is None where the log has none there: the index lies past its end, or the log, asked twice past caches, denies an entry
    that it signed for.
    """

    size: int
    leaf: bytes | None = field(repr=False)


class Lookup(Protocol):
    """Fetches single leaves. One implementation over the logs that are followed, one in tests."""

    async def cited(self, log: FollowedLog, index: int) -> Looked:
        """Return what stands at `index` of `log`'s own tree, its bytes proven by an inclusion proof under that checkpoint.

        FetchError, FormatError or ProofError where that cannot be told now: it is asked again in a later pass, and accuses nobody.
        """
