from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor.alerts import handling
from monitor.alerts.message import Message, Paragraph, Section
from monitor.alerts.ports import OutcomeUnknownError
from monitor.alerts.sinks import slack_blocks
from monitor.alerts.sinks.slack import SlackBot, SlackOptions, SlackWebhook
from monitor.errors import DeliveryError
from monitor.model.finding import Severity
from monitor.testbed.slack import Slack
from tests.unit.alerts.examples import NOW, RUN, of_source, signed, stranger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.alerts.desk import Desk

TOKEN = "xoxb-testbed"  # noqa: S105 - opens the testbed's Slack, which opens nothing
HELLO = Message("Hello", Severity.LOW, (Section("", (Paragraph("World"),)),))
HOSTILE = "<!channel> <https://evil.test|x> \u202e\n\x1b[31m" + "A" * 10_000


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with Slack(token=TOKEN, rate_limited=False) as server:
        yield server


def options(slack: Slack, **changes: Any) -> SlackOptions:  # noqa: ANN401 - any setting
    given = SlackOptions(token=TOKEN, channel="C0SECURITY", api=slack.base_url, mention="S0SECURITY", timeout=5)
    return replace(given, **changes)


def bot(slack: Slack, **changes: Any) -> SlackBot:  # noqa: ANN401 - any setting
    return SlackBot(options(slack, **changes))


def webhook(slack: Slack) -> SlackWebhook:
    return SlackWebhook(SlackOptions(webhook=slack.webhook_url, mention="here", timeout=5))


async def say(sink: SlackBot | SlackWebhook, **changes: Any) -> str | None:  # noqa: ANN401 - any argument
    how = {"thread": None, "broadcast": False, "marker": "1.1", "repeat": False, **changes}
    return await sink.send(HELLO, **how)


async def test_an_incident_is_one_post_its_events_are_in_its_thread_and_a_new_signature_is_broadcast(
    desk: Desk, slack: Slack
) -> None:
    desk.route(bot(slack))
    await desk.tell(signed("branch-ref", number=1))
    await desk.tell(signed("unusual-build", number=1))
    await desk.tell(signed("branch-ref", number=2))
    first, event, signature = slack.messages
    assert first.thread_ts is None
    assert "<!subteam^S0SECURITY>" in first.words()
    assert (event.thread_ts, event.broadcast) == (first.ts, False)
    assert (signature.thread_ts, signature.broadcast) == (first.ts, True)
    assert "subteam" not in event.words()


async def test_a_state_is_an_edit_of_the_first_message(desk: Desk, slack: Slack) -> None:
    desk.route(bot(slack))
    await desk.tell(signed())
    await handling.resolve(desk.store, 1, "ada", "a drill", desk.now)
    await desk.drain()
    first, reply = slack.messages
    assert len(first.edits) == 1
    assert "resolved" in first.words()
    assert "subteam" not in first.words()
    assert reply.thread_ts == first.ts


async def test_what_arrived_without_an_answer_is_found_by_its_marker(desk: Desk, slack: Slack) -> None:
    sink = bot(slack)
    desk.route(sink)
    real = sink.send

    async def lost(message: Message, **how: Any) -> str | None:  # noqa: ANN401 - passed on as it came
        await real(message, **how)
        raise OutcomeUnknownError("the answer was lost")

    sink.send = lost  # type: ignore[method-assign]  # its answers get lost
    desk.now = slack_now()
    for number in (1, 2):
        await desk.tell(signed(number=number))
        desk.wait(minutes=2)
        sink.send = real  # type: ignore[method-assign]  # and no longer
        await desk.drain()
        sink.send = lost  # type: ignore[method-assign]  # and again, now in a thread
    assert len(slack.messages) == 2
    assert not any("(repeat)" in message.words() for message in slack.messages)
    assert [d.message_id for d in await desk.deliveries()] == [f"C0SECURITY/{m.ts}" for m in slack.messages]


def slack_now() -> datetime:
    """The real clock, by which Slack stamps messages."""
    return datetime.now(UTC)


async def test_a_marker_is_found_on_any_page_and_another_programs_never_is(slack: Slack) -> None:
    sink = bot(slack)
    for number in range(250):
        await say(sink, marker=f"{number}.1")
    since = slack_now() - timedelta(minutes=5)
    assert await sink.find("3.1", thread=None, since=since) == f"C0SECURITY/{slack.messages[3].ts}"
    assert await sink.find("999.1", thread=None, since=since) is None
    assert await sink.find("3.1", thread=None, since=since + timedelta(hours=1)) is None


async def test_slack_down_for_an_hour_everything_arrives_the_worst_first_each_thread_in_order(
    desk: Desk, slack: Slack
) -> None:
    desk.route(bot(slack))
    await desk.tell(signed("late-signature", number=99, run=f"{RUN}9"))
    await slack.down("refuse")
    for number, rule in enumerate(("unusual-build", "identity-casing", "branch-ref")):
        await desk.tell(signed(rule, number=number, run=f"{RUN}{number}"))
        await desk.tell(signed("unusual-build", number=50 + number, run=f"{RUN}9"))
        desk.wait(minutes=20)
    await slack.up()
    await desk.drain()
    posts = [m for m in slack.messages if m.thread_ts is None][1:]
    assert ["CRITICAL" in posts[0].words(), "HIGH" in posts[1].words(), "LOW" in posts[2].words()] == [True] * 3
    assert len(slack.messages) == 5


async def test_too_many_messages_wait_as_long_as_slack_says(desk: Desk, slack: Slack) -> None:
    answer = b'{"ok":false,"error":"ratelimited"}'
    slack.reply(status=429, body=answer, content_type="application/json", headers={"Retry-After": "37"}, times=1)
    desk.route(bot(slack))
    await desk.tell(signed())
    (waiting,) = await desk.deliveries()
    assert waiting.next_attempt == desk.now + timedelta(seconds=37)
    assert not waiting.unknown_outcome
    desk.wait(seconds=37)
    assert await desk.deliver() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": "xoxb-wrong"}, "invalid_auth"),
        ({"channel": "C0NOWHERE"}, "channel_not_found"),
        ({"channel": "C0ELSEWHERE"}, "not_in_channel"),
    ],
)
async def test_settings_that_slack_refuses_delay_and_say_the_cure(
    slack: Slack, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(DeliveryError, match=words) as caught:
        await say(bot(slack, **changes))
    assert not caught.value.permanent
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert caught.value.cure
    assert "xoxb" not in str(caught.value)


@pytest.mark.parametrize("how", ["error", "html", "empty", "text", "list"])
async def test_an_answer_that_is_none_leaves_the_outcome_unknown_or_failed_but_never_told(
    slack: Slack, how: str
) -> None:
    replies: dict[str, tuple[int, bytes, str]] = {
        "error": (500, b"<html>500</html>", "text/html"),
        "html": (200, b"<html>hello</html>", "text/html"),
        "empty": (200, b"", "application/json"),
        "text": (200, b"ok", "text/plain"),
        "list": (200, b"[]", "application/json"),
    }
    status, body, kind = replies[how]
    slack.reply(status=status, body=body, content_type=kind)
    with pytest.raises(DeliveryError) as caught:
        await say(bot(slack))
    assert not caught.value.permanent


async def test_a_refused_connection_certainly_failed_and_a_silent_one_is_unknown(slack: Slack) -> None:
    sink = bot(slack, timeout=1)
    await slack.down("hang")
    with pytest.raises(OutcomeUnknownError):
        await say(sink)
    slack.heal()
    await slack.down("refuse")
    with pytest.raises(DeliveryError) as caught:
        await say(sink)
    assert not isinstance(caught.value, OutcomeUnknownError)


async def test_blocks_that_slack_refuses_are_sent_as_plain_text(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_blocks, "MAX_BLOCKS", 500)
    long = Message("Long", Severity.HIGH, tuple(Section(f"S{n}", (Paragraph("x"),)) for n in range(80)))
    for sink in (bot(slack), webhook(slack)):
        await sink.send(long, thread=None, broadcast=False, marker="1.1", repeat=False)
    assert [message.blocks for message in slack.messages] == [(), ()]
    assert all("HIGH · Long" in message.text for message in slack.messages)
    assert slack.messages[0].metadata is not None


async def test_what_is_refused_as_plain_text_too_is_refused_for_good(slack: Slack) -> None:
    slack.reply(status=200, body=b'{"ok":false,"error":"invalid_blocks"}', content_type="application/json")
    with pytest.raises(DeliveryError, match="invalid_blocks") as caught:
        await say(bot(slack))
    assert caught.value.permanent
    assert len(slack.requests) == 2


async def test_a_thread_that_is_gone_does_not_keep_the_message_from_being_told(slack: Slack) -> None:
    assert await say(bot(slack), thread="C0SECURITY/1.000001", broadcast=True)
    (message,) = slack.messages
    assert message.thread_ts is None


async def test_an_edit_of_a_message_that_is_gone_is_refused_for_good(slack: Slack) -> None:
    with pytest.raises(DeliveryError) as caught:
        await bot(slack).edit("C0SECURITY/1.000001", HELLO)
    assert caught.value.permanent


async def test_nothing_is_unfurled_and_nothing_is_retried_by_the_sdk(slack: Slack) -> None:
    slack.reply(status=500, body=b"{}", content_type="application/json", times=1)
    with suppress(DeliveryError):
        await say(bot(slack))
    assert len(slack.requests) == 1


async def test_hostile_names_reach_slack_as_text(desk: Desk, slack: Slack) -> None:
    desk.route(bot(slack))
    await desk.tell(*(signed(number=n, identity=HOSTILE, summary=f"{n} {HOSTILE}", run=HOSTILE) for n in range(200)))
    (message,) = slack.messages
    assert "<!channel>" not in message.words()
    assert "<https://evil" not in message.words()
    assert "\u202e" not in message.words()


async def test_a_webhook_posts_everything_as_messages_and_cannot_look(desk: Desk, slack: Slack) -> None:
    desk.route(webhook(slack))
    await desk.tell(signed("branch-ref", number=1), stranger(5))
    await desk.tell(signed("branch-ref", number=2), of_source())
    assert len(slack.messages) == 4
    assert all(m.thread_ts is None and m.metadata is None for m in slack.messages)
    assert "<!here>" in slack.messages[0].words()
    assert await webhook(slack).find("1.1", thread=None, since=NOW) is None


async def test_a_webhook_that_is_gone_says_so_without_its_secret(slack: Slack) -> None:
    url = slack.webhook_url.replace("testbed", "s3cr3t")
    with pytest.raises(DeliveryError, match="no_service") as caught:
        await say(SlackWebhook(SlackOptions(webhook=url)))
    assert "s3cr3t" not in f"{caught.value} {caught.value.cure}"
    await slack.stop()
    with pytest.raises(DeliveryError) as caught:
        await say(SlackWebhook(SlackOptions(webhook=url)))
    assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__}"


async def test_the_tokens_characters_are_in_no_error_whatever_slack_echoes(slack: Slack) -> None:
    slack.reply(
        status=200,
        body=b'{"ok":false,"error":"<!channel>\\u202e' + b"x" * 5000 + b'"}',
        content_type="application/json",
    )
    with pytest.raises(DeliveryError) as caught:
        await say(bot(slack))
    assert len(str(caught.value)) < 300
    assert "\u202e" not in str(caught.value)
    assert TOKEN not in str(caught.value)
