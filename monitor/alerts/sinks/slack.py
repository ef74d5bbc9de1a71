"""Tells Slack, as a bot (posts, threads, edits, a marker to find a message by) or through an incoming webhook, which can only post.

It retries nothing: the outbox does. Token and webhook URL never get into a log or an error.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from monitor.alerts.sinks import slack_blocks
from monitor.alerts.sinks.slack_errors import GONE, RefusedError, answer_failure, api_failure, connection_failure
from monitor.errors import DeliveryError, SettingsError
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from slack_sdk.web.async_slack_response import AsyncSlackResponse

    from monitor.alerts.message import Message
    from monitor.alerts.sinks.slack_blocks import Rendered

MARKER = "trustacks_monitor_delivery"
SCOPES: Mapping[str, str] = {
    "auth.test": "",
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
}
"""The Web API methods that are called, and the bot scope that each needs (none: any token may). The manifest asks for these scopes."""
PRIVATE: Mapping[str, str] = {"channels:history": "groups:history"}
"""What a scope for public channels is called for private ones."""
_MESSAGE_ID = re.compile(r"([A-Z0-9]{2,40})/([0-9]{1,20}\.[0-9]{1,12})")
CONVERSATION = re.compile(r"[CGD][A-Z0-9]{2,40}")
"""A channel by its id."""
_FIND_PAGES = 10
_FIND_PAGE = 200


@dataclass(frozen=True, slots=True)
class SlackOptions:
    """How Slack is reached. A bot token and a channel, or an incoming webhook; the token wins where both are given.

    `mention` is whom critical messages call: a user group's id (`S…`), `here`, `channel`, or nobody.
    """

    token: str = field(default="", repr=False)
    channel: str = ""
    webhook: str = field(default="", repr=False)
    mention: str = ""
    api: str = "https://slack.com/api/"
    timeout: int = 15
    """Seconds for one request."""

    def __post_init__(self) -> None:
        if self.token and not self.channel:
            raise SettingsError("slack: a token without a channel", cure="name the channel, best by its id (C…)")
        if self.token and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise SettingsError(
                "slack: the token holds characters that no token has", cure="set it anew, without spaces"
            )
        if self.mention and not slack_blocks.mention(self.mention):
            raise SettingsError(
                f"slack: mention {self.mention!r} is nobody", cure="give a user group's id (S…), `here` or `channel`"
            )
        for name, url in (("webhook", self.webhook), ("api", self.api)):
            if url and (urlsplit(url).scheme not in {"https", "http"} or not urlsplit(url).hostname):
                raise SettingsError(f"slack: {name} is no URL", cure="give an address that begins https://")


class SlackBot:
    """A sink over the Web API. A message's id is its channel's id and its timestamp: `C0123/1712345678.000100`."""

    name = "slack"
    edits = True
    threads = True

    def __init__(self, options: SlackOptions) -> None:
        self._options = options
        self._client = AsyncWebClient(
            token=options.token,
            base_url=options.api.rstrip("/") + "/",
            timeout=options.timeout,
            retry_handlers=[],
            logger=_quiet_logger(),
        )

    def __repr__(self) -> str:
        return f"SlackBot(channel={self._options.channel!r})"

    async def send(
        self, message: Message, *, thread: str | None, broadcast: bool, marker: str, repeat: bool
    ) -> str | None:
        """Post the message; as plain text where Slack refuses its blocks, as a post of its own where the thread is gone."""
        channel, parent = _place(thread) if thread is not None else (self._options.channel, None)
        group = self._options.mention
        rendered = slack_blocks.render(message, group=group, repeat=repeat, reply=parent is not None)
        common: dict[str, Any] = {
            "channel": channel,
            "thread_ts": parent,
            "reply_broadcast": broadcast if parent is not None else None,
            "metadata": {"event_type": MARKER, "event_payload": {"marker": marker}},
            "unfurl_links": False,
            "unfurl_media": False,
        }
        try:
            answer = await self.call("chat.postMessage", {**common, **_content(rendered)})
        except RefusedError as refusal:
            if refusal.error in GONE and parent is not None:
                return await self.send(message, thread=None, broadcast=False, marker=marker, repeat=repeat)
            text = slack_blocks.plain(message, group=group, repeat=repeat)
            answer = await self.call("chat.postMessage", {**common, "text": text, "mrkdwn": True})
        return f"{answer.get('channel')}/{answer.get('ts')}"

    async def edit(self, message_id: str, message: Message) -> None:
        """Replace the message, by plain text where Slack refuses its blocks."""
        channel, ts = _place(message_id)
        rendered = slack_blocks.render(message, group=self._options.mention)
        common = {"channel": channel, "ts": ts}
        try:
            await self.call("chat.update", {**common, **_content(rendered)})
        except RefusedError as refusal:
            if refusal.error in GONE:
                raise
            text = slack_blocks.plain(message, group=self._options.mention)
            await self.call("chat.update", {**common, "text": text, "blocks": []})

    async def find(self, marker: str, *, thread: str | None, since: datetime) -> str | None:
        """Look through what was posted since for our marker. None also where the app may not read the channel."""
        channel, parent = _place(thread) if thread is not None else (self._options.channel, None)
        method = "conversations.replies" if parent is not None else "conversations.history"
        wanted: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{since.timestamp():.6f}",
            "include_all_metadata": "1",
            "limit": str(_FIND_PAGE),
        }
        if parent is not None:
            wanted["ts"] = parent
        elif not CONVERSATION.fullmatch(channel):
            return None  # history is asked by id, and a name can be another channel's tomorrow
        for _ in range(_FIND_PAGES):
            try:
                answer = await self.call(method, wanted)
            except RefusedError:
                return None
            for each in answer.get("messages") or ():
                metadata = each.get("metadata") or {}
                if metadata.get("event_type") == MARKER and metadata.get("event_payload", {}).get("marker") == marker:
                    return f"{channel}/{each.get('ts')}"
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            wanted["cursor"] = cursor
        return None

    async def call(self, method: str, arguments: Mapping[str, Any]) -> AsyncSlackResponse:
        """Ask Slack, by a method of `SCOPES`. Its reading methods take no JSON. DeliveryError."""
        reading = method.startswith("conversations.")
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            if reading:
                return await self._client.api_call(method, http_verb="GET", params=given)
            return await self._client.api_call(method, json=given)
        except SlackApiError as error:
            raise api_failure(method, error, reading=reading) from None
        except Exception as error:  # noqa: BLE001 - the SDK lets through whatever aiohttp and a foreign answer raise
            raise connection_failure(f"slack {method}", error) from None


class SlackWebhook:
    """A sink over an incoming webhook: no ids, so no threads, no edits, and no looking for what may have arrived."""

    name = "slack-webhook"
    edits = False
    threads = False

    def __init__(self, options: SlackOptions) -> None:
        self._options = options
        self._client = AsyncWebhookClient(
            options.webhook, timeout=options.timeout, retry_handlers=[], logger=_quiet_logger()
        )

    def __repr__(self) -> str:
        return "SlackWebhook()"

    async def send(
        self,
        message: Message,
        *,
        thread: str | None,  # noqa: ARG002 - a webhook has no threads
        broadcast: bool,  # noqa: ARG002 - all it posts is for the channel
        marker: str,  # noqa: ARG002 - it cannot be read
        repeat: bool,
    ) -> str | None:
        """Post the message; as plain text where Slack refuses its blocks."""
        group = self._options.mention
        try:
            await self._post(_content(slack_blocks.render(message, group=group, repeat=repeat)))
        except RefusedError:
            await self._post({"text": slack_blocks.plain(message, group=group, repeat=repeat)})
        return None

    async def edit(self, message_id: str, message: Message) -> None:
        """Refuse: a webhook changes nothing."""
        raise DeliveryError(f"changing {message.title!r} ({message_id}): a webhook cannot", permanent=True)

    async def find(self, marker: str, *, thread: str | None, since: datetime) -> str | None:  # noqa: ARG002 - it reads nothing
        """Know nothing: a webhook reads nothing."""
        return None

    async def _post(self, content: Mapping[str, Any]) -> None:
        try:
            answer = await self._client.send_dict({**content, "unfurl_links": False, "unfurl_media": False})
        except Exception as error:  # noqa: BLE001 - as above
            raise connection_failure("slack incoming webhook", error) from None
        if answer.status_code == 200 and answer.body.strip() == "ok":  # noqa: PLR2004 - HTTP's own number
            return
        word = answer.body.strip() if answer.status_code != 200 else ""  # noqa: PLR2004 - HTTP's own number
        raise answer_failure("slack incoming webhook", answer.status_code, word, answer.headers, reading=False)


def _content(rendered: Rendered) -> dict[str, Any]:
    return {"text": rendered.text, "blocks": list(rendered.blocks)}


def _place(message_id: str) -> tuple[str, str]:
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise RefusedError(f"slack: {clip(visible(message_id), 80)!r} is no message of ours", "message_not_found", "")
    return match[1], match[2]


def _quiet_logger() -> logging.Logger:
    """A logger for the SDK that never reaches its debugging, which prints URLs and bodies."""
    logger = logging.getLogger("monitor.alerts.slack_sdk")
    logger.setLevel(logging.WARNING)
    return logger
