"""A Slack for tests: the Web API methods that a bot needs and one incoming webhook, with Slack's limits enforced.

It keeps every message in order, so that a test can say what was told, when, and in which thread. It sends nothing
anywhere, and it is stricter than Slack only in this: what Slack would quietly cut or mend is refused.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from aiohttp import web

from monitor.testbed.server import LoopbackServer, json_reply
from monitor.testbed.slack_limits import refusal
from monitor.testbed.slack_message import BOT, SlackMessage
from monitor.testbed.slack_scopes import GRANTED, lacking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.testbed.slack_message import Fields

MICROSECONDS: Final = 1_000_000
DOWN_SECONDS: Final = 3600.0
PAGE: Final = 100
TEAM: Final = "T0TESTBED"


@dataclass(slots=True)
class Channel:
    """A channel by id and name, whether the bot was invited, and whether only members can see it."""

    id: str
    name: str
    joined: bool = True
    private: bool = False
    last_post: float = field(default=float("-inf"), repr=False)


class _NotOkError(Exception):
    """An answer with `ok: false`."""

    def __init__(self, error: str, details: tuple[str, ...] = ()) -> None:
        """Name Slack's error; `details` say which block broke which limit."""
        super().__init__(error)
        self.error = error
        self.details = details


class Slack(LoopbackServer):
    """One workspace. `base_url` is what `slack_sdk` takes; `webhook_url` is an incoming webhook to the first channel."""

    def __init__(self, *, token: str = "xoxb-testbed", rate_limited: bool = True) -> None:  # noqa: S107  opens nothing
        """Begin with the channels #security-alerts (joined) and #elsewhere (not joined)."""
        super().__init__()
        self.token = token
        self.rate_limited = rate_limited
        """Whether a second message to a channel within a second is answered with 429."""
        self.scopes: str | None = GRANTED
        """What the token may do, as every answer says it in a header; None: it is not said, and everything may be done."""
        self.channels = [Channel("C0SECURITY", "security-alerts"), Channel("C0ELSEWHERE", "elsewhere", joined=False)]
        self._messages: list[SlackMessage] = []
        self._last_ts = 0

    @property
    def base_url(self) -> str:
        """The Web API's address, with the trailing slash that `slack_sdk` wants."""
        return f"{self.url}/api/"

    @property
    def webhook_url(self) -> str:
        """The incoming webhook's address."""
        return f"{self.url}/services/{TEAM}/B0TESTBED/testbed"

    @property
    def messages(self) -> list[SlackMessage]:
        """Every message in the order of posting, as it stands now."""
        return list(self._messages)

    def thread(self, ts: str) -> list[SlackMessage]:
        """Return a message and the replies to it, in order."""
        return [message for message in self._messages if ts in (message.ts, message.thread_ts)]

    async def down(self, how: Literal["refuse", "error", "hang"] = "error") -> None:
        """Stop serving: refuse connections, answer 500, or accept requests and say nothing."""
        match how:
            case "refuse":
                await self.stop()
            case "error":
                self.reply(status=500, body=b"<html>500</html>")
            case "hang":
                self.hang(DOWN_SECONDS)

    async def up(self) -> None:
        """Serve again, at the same address."""
        self.heal()
        await self.start()

    # routes

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the API methods, by GET or POST, and the webhook."""
        methods: dict[str, Callable[[Fields], dict[str, object]]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
        }
        for name, method in methods.items():
            router.add_route("*", f"/api/{name}", self._api(method))
        router.add_route("*", "/api/{method}", self._api(_unknown_method))
        router.add_post("/services/{team}/{app}/{secret}", self._webhook)

    def _api(
        self, method: Callable[[Fields], dict[str, object]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Check the token and its scopes, run a method, and answer as Slack does: 200 with `ok`, or 429."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                fields = await _fields(request)
                self._authenticate(request, fields)
                self._permit(request, fields)
                said = {} if self.scopes is None else {"X-OAuth-Scopes": self.scopes}
                return json_reply({"ok": True, **method(fields)}, headers=said)
            except _NotOkError as problem:
                answer: dict[str, object] = {"ok": False, "error": problem.error}
                if problem.error == "ratelimited":
                    return json_reply(answer, status=429, headers={"Retry-After": "1"})
                if problem.details:
                    answer |= {"errors": problem.details, "response_metadata": {"messages": problem.details}}
                return json_reply(answer)

        return handle

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        """Take a message without an answer to hold on to: plain text "ok", no timestamp, no threads."""
        if request.path != f"/services/{TEAM}/B0TESTBED/testbed":
            return web.Response(status=404, text="no_service")
        try:
            fields = await _fields(request)
            self._add({**fields, "channel": self.channels[0].id, "metadata": None, "thread_ts": None}, webhook=True)
        except _NotOkError as problem:
            if problem.error == "ratelimited":
                return web.Response(status=429, text="rate_limited", headers={"Retry-After": "1"})
            return web.Response(status=400, text=problem.error)
        return web.Response(text="ok")

    def _authenticate(self, request: web.Request, fields: Fields) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or str(fields.get("token", ""))
        if not given:
            raise _NotOkError("not_authed")
        if given != self.token:
            raise _NotOkError("invalid_auth")

    def _permit(self, request: web.Request, fields: Fields) -> None:
        name = str(fields.get("channel", "")).removeprefix("#")
        private = any(each.private for each in self.channels if name in (each.id, each.name))
        if lacking(request.path.rpartition("/")[2], self.scopes, private=private):
            raise _NotOkError("missing_scope")

    # methods

    def _auth_test(self, _fields: Fields) -> dict[str, object]:
        return {"url": f"{self.url}/", "team": "testbed", "user": "monitor", "team_id": TEAM, "user_id": BOT}

    def _post(self, fields: Fields) -> dict[str, object]:
        message = self._add(fields)
        return {"channel": message.channel, "ts": message.ts, "message": message.shown(metadata=True)}

    def _update(self, fields: Fields) -> dict[str, object]:
        channel = self._channel(fields)
        place = self._find(channel, str(fields.get("ts", "")), "message_not_found")
        old = self._messages[place]
        if old.webhook:
            raise _NotOkError("cant_update_message")
        text, blocks, attachments, metadata = _content(fields)
        new = SlackMessage(
            channel=old.channel,
            ts=old.ts,
            text=text,
            blocks=blocks,
            attachments=attachments,
            thread_ts=old.thread_ts,
            broadcast=old.broadcast,
            metadata=old.metadata if metadata is None else metadata,
            edits=(*old.edits, old),
        )
        self._messages[place] = new
        return {"channel": new.channel, "ts": new.ts, "text": new.text, "message": new.shown(metadata=True)}

    def _history(self, fields: Fields) -> dict[str, object]:
        channel = self._channel(fields)
        shown = [m for m in self._messages if m.channel == channel.id and (m.broadcast or not m.is_reply)]
        return self._page(list(reversed(shown)), fields)

    def _replies(self, fields: Fields) -> dict[str, object]:
        channel = self._channel(fields)
        place = self._find(channel, str(fields.get("ts", "")), "thread_not_found")
        return self._page(self.thread(self._messages[place].ts), fields)

    def _page(self, messages: list[SlackMessage], fields: Fields) -> dict[str, object]:
        """Cut what was asked for to its times and to one page."""
        oldest, latest = float(str(fields.get("oldest") or 0)), float(str(fields.get("latest") or "inf"))
        inclusive, metadata = _truth(fields.get("inclusive")), _truth(fields.get("include_all_metadata"))
        within = [
            message
            for message in messages
            if oldest < float(message.ts) < latest or (inclusive and float(message.ts) in (oldest, latest))
        ]
        start, limit = int(str(fields.get("cursor") or 0)), int(str(fields.get("limit") or PAGE))
        end = start + limit
        more = end < len(within)
        return {
            "messages": [message.shown(metadata=metadata) for message in within[start:end]],
            "has_more": more,
            "response_metadata": {"next_cursor": str(end) if more else ""},
        }

    def _add(self, fields: Fields, *, webhook: bool = False) -> SlackMessage:
        """Check a new message against every limit, and keep it."""
        channel = self._channel(fields)
        text, blocks, attachments, metadata = _content(fields)
        thread_ts = str(fields["thread_ts"]) if fields.get("thread_ts") else None
        if thread_ts is not None:
            self._find(channel, thread_ts, "thread_not_found")
        moment = time.monotonic()
        if self.rate_limited and moment - channel.last_post < 1:
            raise _NotOkError("ratelimited")
        channel.last_post = moment
        self._last_ts = max(self._last_ts + 1, int(time.time() * MICROSECONDS))
        message = SlackMessage(
            channel=channel.id,
            ts=f"{self._last_ts // MICROSECONDS}.{self._last_ts % MICROSECONDS:06d}",
            text=text,
            blocks=blocks,
            attachments=attachments,
            thread_ts=thread_ts,
            broadcast=thread_ts is not None and _truth(fields.get("reply_broadcast")),
            metadata=metadata,
            webhook=webhook,
        )
        self._messages.append(message)
        return message

    def _channel(self, fields: Fields) -> Channel:
        name = str(fields.get("channel", "")).removeprefix("#")
        for channel in self.channels:
            if name in (channel.id, channel.name):
                if not channel.joined:
                    raise _NotOkError("channel_not_found" if channel.private else "not_in_channel")
                return channel
        raise _NotOkError("channel_not_found")

    def _find(self, channel: Channel, ts: str, error: str) -> int:
        for place, message in enumerate(self._messages):
            if message.ts == ts and message.channel == channel.id:
                return place
        raise _NotOkError(error)


def _unknown_method(_fields: Fields) -> dict[str, object]:
    raise _NotOkError("unknown_method")


async def _fields(request: web.Request) -> Fields:
    """Return a request's arguments: a query, a form whose rich fields are JSON, or JSON."""
    fields: dict[str, object] = dict(request.query)
    if request.method == "GET":
        return fields
    if request.content_type == "application/json":
        try:
            value = json.loads(await request.text())
        except ValueError:
            raise _NotOkError("invalid_json") from None
        if not isinstance(value, dict):
            raise _NotOkError("json_not_object")
        return fields | value
    for name, value in (await request.post()).items():
        fields[name] = value
        if name in ("blocks", "attachments", "metadata") and isinstance(value, str):
            try:
                fields[name] = json.loads(value)
            except ValueError:
                raise _NotOkError(f"invalid_{name}") from None
    return fields


def _content(fields: Fields) -> tuple[str, tuple[Fields, ...], tuple[Fields, ...], Fields | None]:
    """Return text, blocks, attachments and metadata, all within Slack's limits."""
    text = fields.get("text") or ""
    blocks, attachments, metadata = fields.get("blocks") or [], fields.get("attachments") or [], fields.get("metadata")
    problem = refusal(text, blocks, attachments, metadata)
    if problem is not None:
        raise _NotOkError(*problem)
    return str(text), _objects(blocks), _objects(attachments), metadata if isinstance(metadata, dict) else None


def _objects(values: object) -> tuple[Fields, ...]:
    return tuple(value for value in values if isinstance(value, dict)) if isinstance(values, list) else ()


def _truth(value: object) -> bool:
    return value is True or str(value).lower() in ("1", "true")
