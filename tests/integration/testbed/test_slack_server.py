from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from monitor.testbed.slack import Channel, Slack
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHANNEL = "#security-alerts"


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with Slack(rate_limited=False) as server:
        yield server


@pytest.fixture
def client(slack: Slack) -> AsyncWebClient:
    return AsyncWebClient(token=slack.token, base_url=slack.base_url, retry_handlers=[])


async def error_of(client: AsyncWebClient, **message: Any) -> str:  # noqa: ANN401  any message at all
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(**{"channel": CHANNEL, "text": "fallback", **message})
    return str(caught.value.response["error"])


def section(text: str = "x") -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def button(**parts: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": "Acknowledge"}, **parts}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


async def test_a_message_its_thread_and_a_broadcast_are_kept_in_order(slack: Slack, client: AsyncWebClient) -> None:
    first = await client.chat_postMessage(channel=CHANNEL, text="one", blocks=[section("*details*")])
    ts = first["ts"]
    await client.chat_postMessage(channel=CHANNEL, text="two", thread_ts=ts)
    await client.chat_postMessage(channel=CHANNEL, text="three", thread_ts=ts, reply_broadcast=True)
    assert [message.text for message in slack.messages] == ["one", "two", "three"]
    assert [message.broadcast for message in slack.messages] == [False, False, True]
    assert slack.messages[0].words() == "one\n*details*"
    assert len(slack.thread(ts)) == 3
    history = await client.conversations_history(channel=first["channel"])
    assert [message["text"] for message in history["messages"]] == ["three", "one"]
    assert sorted(message.ts for message in slack.messages) == [message.ts for message in slack.messages]


async def test_metadata_comes_back_in_history_and_replies_when_asked_for(client: AsyncWebClient) -> None:
    mark = {"event_type": "delivery", "event_payload": {"id": "7"}}
    parent = await client.chat_postMessage(channel=CHANNEL, text="parent")
    await client.chat_postMessage(channel=CHANNEL, text="child", thread_ts=parent["ts"], metadata=mark)
    await client.chat_postMessage(channel=CHANNEL, text="later", metadata=mark)
    channel = parent["channel"]
    history = await client.conversations_history(channel=channel, include_all_metadata=True)
    assert [message["text"] for message in history["messages"]] == ["later", "parent"]
    assert mark == history["messages"][0]["metadata"]
    plain = await client.conversations_history(channel=channel)
    assert "metadata" not in plain["messages"][0]
    replies = await client.conversations_replies(channel=channel, ts=parent["ts"], include_all_metadata=True)
    assert [None, mark] == [message.get("metadata") for message in replies["messages"]]


async def test_history_is_paged_and_cut_to_times(client: AsyncWebClient) -> None:
    stamps = [(await client.chat_postMessage(channel=CHANNEL, text=str(n)))["ts"] for n in range(5)]
    page = await client.conversations_history(channel="C0SECURITY", limit=2)
    assert [message["text"] for message in page["messages"]] == ["4", "3"]
    cursor = page["response_metadata"]["next_cursor"]
    page = await client.conversations_history(channel="C0SECURITY", limit=2, cursor=cursor)
    assert [message["text"] for message in page["messages"]] == ["2", "1"]
    late = await client.conversations_history(channel="C0SECURITY", oldest=stamps[3])
    assert [message["text"] for message in late["messages"]] == ["4"]
    late = await client.conversations_history(channel="C0SECURITY", oldest=stamps[3], inclusive=True)
    assert [message["text"] for message in late["messages"]] == ["4", "3"]


async def test_an_edit_changes_the_message_and_remembers_what_it_was(slack: Slack, client: AsyncWebClient) -> None:
    mark = {"event_type": "delivery", "event_payload": {"id": "7"}}
    posted = await client.chat_postMessage(channel=CHANNEL, text="firing", metadata=mark)
    await client.chat_update(channel=posted["channel"], ts=posted["ts"], text="resolved")
    [message] = slack.messages
    assert ("resolved", mark) == (message.text, message.metadata)
    assert [old.text for old in message.edits] == ["firing"]
    other = {"event_type": "delivery", "event_payload": {"id": "8"}}
    await client.chat_update(channel=posted["channel"], ts=posted["ts"], text="again", metadata=other)
    assert slack.messages[0].metadata == other
    with pytest.raises(SlackApiError, match="message_not_found"):
        await client.chat_update(channel=posted["channel"], ts="1.0", text="x")


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        ([section()] * 51, "invalid_blocks"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "invalid_blocks"),
        ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "invalid_blocks"),
        ([section("x" * 3001)], "invalid_blocks"),
        ([section("")], "invalid_blocks"),
        ([{"type": "section"}], "invalid_blocks"),
        ([{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}], "invalid_blocks"),
        ([{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}], "invalid_blocks"),
        ([{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}], "invalid_blocks"),
        ([actions(*[button()] * 26)], "invalid_blocks"),
        ([actions(button(value="x" * 2001))], "invalid_blocks"),
        ([actions(button(action_id="x" * 256))], "invalid_blocks"),
        ([actions({"type": "button", "text": {"type": "plain_text", "text": "x" * 76}})], "invalid_blocks"),
        ([{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}], "invalid_blocks"),
        ([{"type": "poem"}], "invalid_blocks"),
        ([section("x" * 2900)] * 5, "msg_blocks_too_long"),
    ],
)
async def test_blocks_over_a_limit_are_refused(client: AsyncWebClient, blocks: list[object], error: str) -> None:
    assert error == await error_of(client, blocks=blocks)


async def test_the_limits_hold_inside_attachments_too(client: AsyncWebClient) -> None:
    coloured = {"color": "#a30200", "fallback": "x", "blocks": [section("x" * 3001)]}
    assert await error_of(client, attachments=[coloured]) == "invalid_attachments"
    many = [{"color": "#a30200", "fallback": "x", "blocks": [section()] * 26}] * 2
    assert await error_of(client, attachments=many) == "invalid_blocks"


async def test_blocks_at_every_limit_are_taken(client: AsyncWebClient) -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "h" * 150}},
        section("s" * 3000),
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "f" * 500}] * 10},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "c"}] * 10},
        actions(*[button(action_id="a" * 255, value="v" * 2000, url="https://github.com")] * 25),
        *[{"type": "divider"}] * 45,
    ]
    assert (await client.chat_postMessage(channel=CHANNEL, text="t" * 40_000, blocks=blocks))["ok"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"channel": "#nowhere"}, "channel_not_found"),
        ({"channel": "C0ELSEWHERE"}, "not_in_channel"),
        ({"thread_ts": "1.000001"}, "thread_not_found"),
        ({"metadata": {"event_type": "", "event_payload": {}}}, "invalid_metadata_format"),
    ],
)
async def test_a_message_that_slack_would_refuse_is_refused(
    slack: Slack, client: AsyncWebClient, message: dict[str, Any], error: str
) -> None:
    assert error == await error_of(client, **message)
    assert slack.messages == []


@pytest.mark.parametrize(("token", "error"), [("xoxb-wrong", "invalid_auth"), ("", "not_authed")])
async def test_a_wrong_or_missing_token_is_refused(slack: Slack, token: str, error: str) -> None:
    with pytest.raises(SlackApiError, match=error):
        await AsyncWebClient(token=token, base_url=slack.base_url).auth_test()


async def test_the_right_token_is_told_whose_it_is(client: AsyncWebClient) -> None:
    assert (await client.auth_test())["team"] == "testbed"


async def test_a_second_message_within_a_second_is_asked_to_wait(slack: Slack, client: AsyncWebClient) -> None:
    slack.rate_limited = True
    await client.chat_postMessage(channel=CHANNEL, text="one")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=CHANNEL, text="two")
    response = caught.value.response
    assert (response.status_code, response.headers["Retry-After"], response["error"]) == (429, "1", "ratelimited")
    assert [message.text for message in slack.messages] == ["one"]


async def test_a_webhook_posts_without_threads_or_timestamps(slack: Slack, client: AsyncWebClient) -> None:
    webhook = AsyncWebhookClient(slack.webhook_url, retry_handlers=[])
    reply = await webhook.send(text="told", blocks=[section("block")])
    assert (reply.status_code, reply.body) == (200, "ok")
    [message] = slack.messages
    assert (message.webhook, message.thread_ts, message.text) == (True, None, "told")
    refused = await webhook.send(text="told", blocks=[section("x" * 3001)])
    assert (refused.status_code, refused.body) == (400, "invalid_blocks")
    slack.rate_limited = True
    await webhook.send(text="again")
    assert (await webhook.send(text="and again")).status_code == 429
    with pytest.raises(SlackApiError, match="cant_update_message"):
        await client.chat_update(channel=CHANNEL, ts=message.ts, text="edited")
    wrong = AsyncWebhookClient(f"{slack.url}/services/T/B/guess", retry_handlers=[])
    assert (await wrong.send(text="x")).status_code == 404


async def test_a_lost_reply_hides_a_message_that_was_posted(slack: Slack) -> None:
    slack.lose_reply(times=1)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {slack.token}"}) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(f"{slack.base_url}chat.postMessage", json={"channel": CHANNEL, "text": "told?"})
    assert [message.text for message in slack.messages] == ["told?"]


async def test_slack_can_be_down_in_three_ways_and_comes_back_with_its_messages(slack: Slack) -> None:
    ask = f"{slack.base_url}chat.postMessage"
    told = {"channel": CHANNEL, "text": "x"}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {slack.token}"}, timeout=PATIENCE) as http:
        await http.post(ask, json=told)
        await slack.down("error")
        assert (await http.post(ask, json=told)).status_code == 500
        await slack.up()
        await slack.down("hang")
        with pytest.raises(httpx.ReadTimeout):
            await http.post(ask, json=told, timeout=httpx.Timeout(PATIENCE, read=0.2))
        await slack.up()
        await slack.down("refuse")
        with pytest.raises(httpx.ConnectError):
            await http.post(ask, json=told)
        await slack.up()
        assert (await http.post(ask, json=told)).json()["ok"]
    assert len(slack.messages) == 2


async def test_a_message_without_anything_to_show_is_refused(slack: Slack) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {slack.token}"}) as http:
        reply = await http.post(f"{slack.base_url}chat.postMessage", json={"channel": CHANNEL, "blocks": []})
    assert reply.json() == {"ok": False, "error": "no_text"}


async def test_an_unknown_method_and_broken_json_are_named(slack: Slack) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {slack.token}"}) as http:
        assert (await http.post(f"{slack.base_url}chat.whisper")).json()["error"] == "unknown_method"
        broken = await http.post(
            f"{slack.base_url}chat.postMessage", content=b"{", headers={"Content-Type": "application/json"}
        )
        assert broken.json()["error"] == "invalid_json"


async def test_the_tokens_scopes_are_in_every_answer_and_bound_what_it_may_do(
    slack: Slack, client: AsyncWebClient
) -> None:
    answer = await client.auth_test()
    assert answer.headers["x-oauth-scopes"] == "chat:write,channels:history"
    slack.scopes = "channels:history"
    assert await error_of(client) == "missing_scope"
    await client.conversations_history(channel="C0SECURITY")
    slack.channels.append(Channel("C0PRIVATE", "private", private=True))
    with pytest.raises(SlackApiError, match="missing_scope"):
        await client.conversations_history(channel="C0PRIVATE")
    slack.scopes = "groups:history"
    await client.conversations_history(channel="C0PRIVATE")
    slack.channels[-1].joined = False
    with pytest.raises(SlackApiError, match="channel_not_found"):
        await client.conversations_history(channel="C0PRIVATE")
