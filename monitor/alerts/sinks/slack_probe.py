"""Tries Slack without posting: the token, its scopes against those that the sink's methods need, and the channel.

A webhook can only post, and a post is an alert: its form alone is looked at. Neither token nor webhook gets into a check.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.alerts.sinks import slack_manifest
from monitor.alerts.sinks.slack import CONVERSATION, PRIVATE, SlackBot
from monitor.alerts.sinks.slack_errors import RefusedError
from monitor.errors import DeliveryError
from monitor.model.check import Check, failed, not_set, ok, refused, skipped
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slack_sdk.web.async_slack_response import AsyncSlackResponse

    from monitor.alerts.sinks.slack import SlackOptions

_TOKEN, _SCOPES, _CHANNEL, _WEBHOOK = "Slack token", "Slack scopes", "Slack channel", "Slack webhook"
_GRANTED = "x-oauth-scopes"
_HOOK = re.compile(r"/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+")
_HOOK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_APPS = "https://api.slack.com/apps"
_LATER = "try again in a minute; see https://slack-status.com when it lasts"
_SHOWN = 80


async def probe(options: SlackOptions) -> tuple[Check, ...]:
    """What the settings give the sink to work with, tried: a bot token, else a webhook's form, else that nothing is set."""
    if options.token:
        return await _bot(options)
    if options.webhook:
        return (_webhook(options.webhook),)
    return (
        not_set(
            "Slack",
            "no bot token and no webhook: alerts are printed on the console, and nowhere else",
            "make an app from `trustacks-monitor slack manifest`, set TRUSTACKS_MONITOR_SLACK_TOKEN and slack.channel",
        ),
    )


async def _bot(options: SlackOptions) -> tuple[Check, ...]:
    bot = SlackBot(options)
    try:
        answer = await bot.call("auth.test", {})
    except DeliveryError as error:
        why = "it takes a token that works"
        return refused(_TOKEN, error, _LATER), skipped(_SCOPES, why), skipped(_CHANNEL, why)
    user = _word(answer.get("user")) or "the bot"
    token = ok(_TOKEN, f"auth.test: it is @{user} of the workspace {_word(answer.get('team')) or 'that it is for'}")
    return token, _scopes(answer), await _channel(bot, options.channel, user)


def _word(value: object) -> str:
    return clip(visible(value), _SHOWN) if isinstance(value, str) else ""


def _scopes(answer: AsyncSlackResponse) -> Check:
    said = _header(answer.headers, _GRANTED)
    granted = {scope.strip() for scope in said.split(",") if scope.strip()}
    if not granted:
        return skipped(_SCOPES, f"Slack's answer names none ({_GRANTED})")
    either = set(PRIVATE.values())
    missing = [
        f"{scope} (or {PRIVATE[scope]}, for a private channel)" if scope in PRIVATE else scope
        for scope in slack_manifest.scopes()
        if scope not in granted and PRIVATE.get(scope) not in granted
    ]
    shown = ", ".join(_word(scope) for scope in sorted(granted))
    if missing:
        lacks = " and ".join(missing)
        cure = f"add {lacks} under OAuth & Permissions at {_APPS} (or paste `slack manifest` there), then install the app again"
        return failed(_SCOPES, f"the token has {shown}; it lacks {lacks}", cure)
    spare = ", ".join(_word(scope) for scope in sorted(granted - set(slack_manifest.scopes()) - either))
    return ok(_SCOPES, f"{shown}{f'; not needed, and better taken away: {spare}' if spare else ''}")


def _header(headers: Mapping[str, object], wanted: str) -> str:
    for name, value in headers.items():
        if name.lower() == wanted:
            return str(value[0] if isinstance(value, list) and value else value)
    return ""


async def _channel(bot: SlackBot, channel: str, user: str) -> Check:
    """Whether the bot is in the channel and may read it, which is how a message of unknown outcome is looked for."""
    if not CONVERSATION.fullmatch(channel):
        return failed(
            _CHANNEL,
            f"{channel} is a name, and Slack shows a channel's history by its id alone: a message whose sending was "
            "interrupted could not be looked for",
            "set slack.channel to the channel's id (C…): it stands at the end of the channel's details in Slack",
        )
    try:
        await bot.call("conversations.history", {"channel": channel, "limit": "1"})
    except RefusedError as error:
        return failed(_CHANNEL, f"{channel}: {error}", _CURES.get(error.error, error.cure).format(user=user))
    except DeliveryError as error:
        return refused(_CHANNEL, error, _LATER)
    return ok(_CHANNEL, f"{channel}: @{user} is a member and may read it (only `notify test` proves that it may post)")


_CURES: Mapping[str, str] = {
    "not_in_channel": "invite the bot: write /invite @{user} in the channel",
    "channel_not_found": "correct slack.channel; a private channel is found only once the bot is in it: write /invite @{user} there",
    "missing_scope": "the scope for a public channel is channels:history, for a private one groups:history "
    f"(`slack manifest --private`): add it under OAuth & Permissions at {_APPS}, then install the app again",
}


def _webhook(url: str) -> Check:
    parts = urlsplit(url)
    if parts.hostname in _HOOK_HOSTS and (parts.scheme != "https" or not _HOOK.fullmatch(parts.path)):
        return failed(
            _WEBHOOK,
            f"it is at {parts.hostname}, and not of the form https://{parts.hostname}/services/T…/B…/…",
            f"copy the URL again from Incoming Webhooks, on the app's page at {_APPS}",
        )
    where = parts.hostname if parts.hostname in _HOOK_HOSTS else f"{parts.hostname}, which is not Slack's own host"
    return ok(_WEBHOOK, f"it has a webhook's form, at {where}; only posting proves more (`notify test`)")
