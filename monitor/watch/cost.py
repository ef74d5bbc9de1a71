"""What it costs to read a log that is read in pages, said before it begins. Estimates from public logs, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.log import Mode, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.watch.options import WatchOptions

_V1_PAGE = 10
_CT_PAGE = 1000
"""Where the server gives as many (`monitor.ct.pages`); of one that gives fewer it is too low."""
_BYTES_A_LEAF = 6_000
"""As the public logs serve them, JSON and base64 included: entries of Rekor v1, certificates with their chains."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests, bytes, and the requests a second that are allowed."""

    requests: int
    volume: int
    ceiling: float

    @property
    def seconds(self) -> float:
        """How long it takes at the ceiling."""
        return self.requests / self.ceiling


def of_leaves(protocol: Protocol, leaves: int, options: WatchOptions) -> Cost | None:
    """The cost of so many leaves of a log that is read in pages; None for one that is read in tiles, which has no ceiling."""
    if protocol is Protocol.REKOR_V1:
        return Cost(-(-leaves // _V1_PAGE), leaves * _BYTES_A_LEAF, options.v1_requests_per_second)
    if protocol is Protocol.RFC6962:
        return Cost(-(-leaves // _CT_PAGE), leaves * _BYTES_A_LEAF, options.ct_requests_per_second)
    return None


def of_following(host: str, options: WatchOptions) -> str:
    """What it costs to follow a Rekor v1 server completely, in a sentence."""
    return (
        f"{host} is read complete, ten entries a request: the public server takes 14 to 23 requests a second and about 90 GB a day, "
        f"for ever; the ceiling is {options.v1_requests_per_second:g} requests a second now, and below its growth the monitor falls behind"
    )


def complete_v1(logs: Iterable[tuple[str, Protocol, Mode]], options: WatchOptions) -> list[str]:
    """The cost of each Rekor v1 server that is read completely, in sentences; logs as (origin or host, protocol, mode)."""
    hosts = {
        origin.partition(" - ")[0]: None
        for origin, protocol, mode in logs
        if protocol is Protocol.REKOR_V1 and mode is Mode.COMPLETE
    }
    return [of_following(host, options) for host in hosts]
