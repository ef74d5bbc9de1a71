"""What Slack's answers, and its silences, mean for a delivery: it failed, it never will do, or nobody knows.

Slack's own words are shown escaped and clipped; an exception's words never are, for they may hold a URL that is a secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp

from monitor.alerts.ports import OutcomeUnknownError
from monitor.errors import DeliveryError
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slack_sdk.errors import SlackApiError

_DEFAULT_WAIT = 30.0

_REFUSED = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_attachments",
        "msg_blocks_too_long",
        "msg_too_long",
        "invalid_arguments",
        "no_text",
        "too_many_attachments",
        "invalid_metadata_format",
        "metadata_too_large",
        "invalid_payload",
    }
)
"""Slack's word that this message, as it is, will never do."""
GONE = frozenset(
    {"thread_not_found", "message_not_found", "cant_update_message", "edit_window_closed", "cant_reply_to_message"}
)
"""Slack's word that the message we refer to cannot be changed or answered any more."""
_SILENT = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})
"""Slack's word that it does not know itself whether it took the message."""
_CURES: Mapping[str, str] = {
    "invalid_auth": "the bot token is wrong: take a new one from the app's page at https://api.slack.com/apps",
    "not_authed": "no bot token was given",
    "token_revoked": "the bot token was revoked: install the app again and set the new one",
    "token_expired": "the bot token has expired: install the app again and set the new one",
    "account_inactive": "the bot's account or workspace was deactivated",
    "channel_not_found": "check the channel in the settings; a private channel is found only once the bot is invited",
    "not_in_channel": "invite the bot into the channel (/invite), or give the app the scope chat:write.public",
    "is_archived": "the channel is archived: unarchive it or name another one in the settings",
    "missing_scope": "give the app the scopes chat:write and channels:history (groups:history for a private channel), and install it again",
    "no_service": "the incoming webhook was removed: make a new one",
    "no_team": "the incoming webhook's workspace is gone: make a new one",
    "channel_is_archived": "the webhook's channel is archived: make a webhook for another one",
}


class RefusedError(DeliveryError):
    """Slack will never take this message as it is. `error` is Slack's name for the reason."""

    def __init__(self, message: str, error: str, cure: str) -> None:
        super().__init__(message, cure=cure, permanent=True)
        self.error = error


def api_failure(method: str, error: SlackApiError, *, reading: bool) -> DeliveryError:
    """What the SDK's refusal means; where Slack says which block is to blame, so does the message."""
    response = error.response
    data = getattr(response, "data", None)
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
    word = str(data.get("error", "")) if isinstance(data, dict) else ""
    detail = data.get("errors") if isinstance(data, dict) else None
    tried = f"slack {method}"
    failure = answer_failure(tried, status, word, getattr(response, "headers", None) or {}, reading=reading)
    if detail and isinstance(failure, RefusedError):
        return RefusedError(f"{failure}: {clip(visible(json.dumps(detail)), 300)}", failure.error, failure.cure)
    return failure


def answer_failure(tried: str, status: int, word: str, headers: Mapping[str, Any], *, reading: bool) -> DeliveryError:
    """What an answer other than yes means. `reading` asked for nothing that could be done twice."""
    shown = clip(visible(word), 120) or "no reason"
    if status == 429 or word in {"ratelimited", "rate_limited"}:  # noqa: PLR2004 - HTTP's own number
        return DeliveryError(f"{tried}: too many messages", retry_after=_retry_after(headers))
    if (
        word in _REFUSED
        or word in GONE
        or (reading and word in {"missing_scope", "channel_not_found", "not_in_channel"})
    ):
        return RefusedError(f"{tried}: refused: {shown}", word, _CURES.get(word, ""))
    if not reading and (status >= 500 or not word or word in _SILENT):  # noqa: PLR2004 - HTTP's own number
        return OutcomeUnknownError(f"{tried}: HTTP {status}, {shown}", cure="see https://slack-status.com")
    return DeliveryError(f"{tried}: HTTP {status}, {shown}", cure=_CURES.get(word, ""))


def connection_failure(tried: str, error: Exception) -> DeliveryError:
    """What an exception means: before the request was sent it certainly failed, later nobody knows. Its words may hold the URL."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return DeliveryError(
            f"{tried}: cannot connect to {error.host}:{error.port}: {error.os_error.strerror or type(error).__name__}",
            cure=_NETWORK,
        )
    return OutcomeUnknownError(f"{tried}: it ended without an answer ({type(error).__name__})", cure=_NETWORK)


_NETWORK = "check this machine's network and proxy, and https://slack-status.com"


def _retry_after(headers: Mapping[str, Any]) -> float:
    for name, value in headers.items():
        if name.lower() == "retry-after":
            text = value[0] if isinstance(value, list) else str(value)
            return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else _DEFAULT_WAIT  # noqa: PLR2004 - a sane header
    return _DEFAULT_WAIT
