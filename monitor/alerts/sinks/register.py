"""Which sinks there are: the one place that knows them all. It opens what the settings name, and says what that cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.alerts.routing import Route
from monitor.alerts.sinks.console import ConsoleSink
from monitor.alerts.sinks.slack import SlackBot, SlackWebhook
from monitor.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from monitor.alerts.ports import Sink
    from monitor.alerts.sinks.slack import SlackOptions


def open_sinks(slack: SlackOptions, console: Console) -> tuple[Sink, ...]:
    """The sinks that the settings call for: Slack by token, else by webhook, else the console alone."""
    if slack.token:
        return (SlackBot(slack),)
    if slack.webhook:
        return (SlackWebhook(slack),)
    return (ConsoleSink(console),)


def routes(sinks: Sequence[Sink], at_least: Mapping[str, Severity] | None = None) -> tuple[Route, ...]:
    """A route for each sink, in their order; `at_least` narrows by the sink's name."""
    return tuple(Route(sink.name, (at_least or {}).get(sink.name, Severity.LOW)) for sink in sinks)


def shortcomings(sinks: Sequence[Sink]) -> tuple[str, ...]:
    """What the chosen sinks cannot do, a sentence each, for the start and for a check of the settings."""
    said: list[str] = []
    for sink in sinks:
        if sink.name == ConsoleSink.name:
            said.append("No Slack token or webhook is set: alerts are printed on the console, and nowhere else.")
        elif not sink.threads:
            said.append(
                f"{sink.name}: an incoming webhook has no threads and no edits: every event is a message of its own, "
                "and one whose sending was interrupted may arrive twice."
            )
    return tuple(said)
