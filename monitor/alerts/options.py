"""The settings of this room: who is told, whom to call, and how patient the outbox is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.alerts.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AlertOptions:
    """What `gather` and `deliver` need to know besides the store and the sinks.

    `routes` name the sinks in the order in which a message that lost its sink looks for another. `publishing` are the file names
    of the publishing workflows, two of whose runs may be one act.
    """

    routes: tuple[Route, ...] = (Route("console"),)
    publishing: tuple[str, ...] = ("publish-images.yml", "publish-policy.yml")
    security_contact: str = ""
    links: Mapping[str, str] | None = None
    """Pages for whoever is on call (label → URL): a runbook, a dashboard."""
    unpinned: bool = False
    """Whether the ids of our repository and its owner are still to be pinned."""
    command: str = "trustacks-monitor"
    """How the reader starts this program, for the commands that messages name."""
    quiet_interval: timedelta = timedelta(hours=1)
    """How long new findings of a quiet incident (baseline, strangers) are gathered before the thread is told."""
    batch: int = 500
    """Findings gathered, and deliveries attempted a sink, in one pass."""
    attempt_timeout: float = 20.0
    """Seconds that a sink has for one attempt."""
    backoff_first: timedelta = timedelta(seconds=2)
    backoff_most: timedelta = timedelta(minutes=1)
    wait_most: timedelta = timedelta(hours=1)
    """The longest Retry-After that is obeyed."""
