"""Which sinks a severity goes to, and whom it wakes. Nothing goes nowhere: what no route takes, all take."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.model.finding import Severity


@dataclass(frozen=True, slots=True)
class Route:
    """A sink by name, and the least severity it is told."""

    sink: str
    at_least: Severity = Severity.LOW


def sinks_for(severity: Severity, routes: tuple[Route, ...]) -> tuple[str, ...]:
    """The names of the sinks that are told of an incident of this severity, in the order of the routes."""
    chosen = tuple(route.sink for route in routes if severity >= route.at_least)
    return chosen or tuple(route.sink for route in routes)


def pages(severity: Severity, *, history: bool) -> bool:
    """Whether a new post mentions the group on call: critical ones do, what was signed before watching began never does."""
    return severity is Severity.CRITICAL and not history
