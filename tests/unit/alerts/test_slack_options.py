from __future__ import annotations

import io

import pytest
from rich.console import Console

from monitor.alerts.routing import Route
from monitor.alerts.sinks.register import open_sinks, routes, shortcomings
from monitor.alerts.sinks.slack import SlackBot, SlackOptions, SlackWebhook
from monitor.errors import SettingsError
from monitor.model.finding import Severity

CONSOLE = Console(file=io.StringIO())
TOKEN, SECRET = "xoxb-1", "xoxb-s3cr3t"
WEBHOOK = "https://hooks.slack.test/services/T1/B1/s3cr3t"


async def test_a_token_makes_a_bot_a_webhook_a_webhook_and_nothing_the_console() -> None:
    assert [s.name for s in open_sinks(SlackOptions(token=TOKEN, channel="C1", webhook=WEBHOOK), CONSOLE)] == ["slack"]
    assert [s.name for s in open_sinks(SlackOptions(webhook=WEBHOOK), CONSOLE)] == ["slack-webhook"]
    assert [s.name for s in open_sinks(SlackOptions(channel="C1"), CONSOLE)] == ["console"]


async def test_what_the_sinks_cannot_do_is_said() -> None:
    (webhook,) = shortcomings(open_sinks(SlackOptions(webhook=WEBHOOK), CONSOLE))
    assert "no threads and no edits" in webhook
    (console,) = shortcomings(open_sinks(SlackOptions(), CONSOLE))
    assert "No Slack token" in console
    assert shortcomings(open_sinks(SlackOptions(token=TOKEN, channel="C1"), CONSOLE)) == ()


async def test_each_sink_has_a_route_in_its_order() -> None:
    assert routes(open_sinks(SlackOptions(), CONSOLE), {"console": Severity.HIGH}) == (Route("console", Severity.HIGH),)


async def test_secrets_never_stand_in_a_repr() -> None:
    options = SlackOptions(token=SECRET, channel="C1", webhook=WEBHOOK)
    for shown in (repr(options), repr(SlackBot(options)), repr(SlackWebhook(options))):
        assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "xoxb-1"},
        {"token": "xoxb 1", "channel": "C1"},
        {"token": "xoxb-1\n", "channel": "C1"},
        {"mention": "@security"},
        {"webhook": "hooks.slack.test/services"},
        {"api": "file:///etc/passwd"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused_without_showing_a_secret(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        SlackOptions(**wrong)  # type: ignore[arg-type]  # the test's own table
    assert "xoxb" not in str(caught.value)
