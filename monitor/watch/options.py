"""What an operator can say about following."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from monitor.model.log import Mode, Protocol


@dataclass(frozen=True, slots=True)
class LogOverride:
    """What the settings say of one log of the trusted root.

    `origin` is a Rekor v2 origin, a Rekor v1 host name, or of a certificate log its id in hex or its URL without the scheme.
    """

    origin: str
    read_url: str | None = None
    mode: Mode | None = None
    start: Literal["tip"] | int | None = None
    protocol: Protocol | None = None
    ignore: bool = False
    """Not followed at all: shown as not watched."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How logs are followed. `start` is where a log first met at the first start begins: `tip`, or an index of each log."""

    words: tuple[str, ...] = ("TruStacks",)
    start: Literal["tip"] | int = "tip"
    poll_interval: timedelta = timedelta(seconds=30)
    ended_interval: timedelta = timedelta(hours=1)
    v1_requests_per_second: float = 20.0
    v2_in_flight: int = 8
    v1_in_flight: int = 16
    ct_requests_per_second: float = 10.0
    ct_in_flight: int = 4
    pass_time: timedelta = timedelta(seconds=60)
    """A pass over a log ends after this time at the latest, between strides."""
    search_branches: tuple[str, ...] = ("main",)
    """Branches on which Rekor v1's index is asked for signatures of the publishing workflows, besides every release tag."""
    backfill_workers: int = 0
    """At most so many processes read history; 0: as many as the machine has cores."""
    logs: tuple[LogOverride, ...] = ()

    def override(self, *names: str) -> LogOverride | None:
        """The settings' word on a log of any of these names, if any."""
        return next((o for o in self.logs if o.origin in names), None)
