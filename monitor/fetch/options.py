"""The bounds of every request, a whole answer, and when another attempt is of use. Nothing here asks anybody."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXCERPT = 120
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Bounds of every request. Times are in seconds; `timeout` is for one whole attempt, body included."""

    timeout: float = 30.0
    connect_timeout: float = 10.0
    max_connections: int = 32
    attempts: int = 4
    backoff: float = 0.5
    """The longest wait before the second attempt; it doubles with each further one."""
    max_backoff: float = 8.0
    max_retry_after: float = 60.0
    """A server that asks for a longer wait than this ends the attempts: the caller comes back with its next pass."""
    user_agent: str = "trustacks-monitor"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer with status 200, or another that was asked for. Header names are in lower case; `body` is decoded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, or an empty text."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def excerpt(self) -> str:
        """What came back in one short printable line, for messages."""
        return came_back(self.content_type, self.body)


class Gate(Protocol):
    """What a caller puts around its attempts to keep a rate, and to learn how the server takes it."""

    async def enter(self) -> float:
        """Wait until the next attempt may start, and give it a ticket. May raise FetchError instead of waiting long."""

    def leave(self, ticket: float, error: BaseException | None) -> None:
        """Take the ticket back when the attempt is over: served when `error` is None, else what it failed with."""


def retry_delay(error: FetchError, attempt: int, options: FetchOptions, spread: float) -> float | None:
    """Tell how many seconds to wait after failed attempt `attempt` (from 1), or None when another is of no use.

    `spread` in [0, 1] places the wait between half and all of the exponential backoff. A server's own Retry-After is a
    lower bound.
    """
    if isinstance(error, OversizeError | NotFoundError):
        return None
    if error.status is not None and error.status not in _LATER and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    wait = min(options.backoff * 2.0 ** min(attempt - 1, 16), options.max_backoff) * (0.5 + spread / 2)
    if isinstance(error, RateLimitedError):
        if error.retry_after > options.max_retry_after:
            return None
        wait = max(wait, error.retry_after)
    return wait


def came_back(content_type: str, body: bytes) -> str:
    """Return what came back in one short printable line."""
    kind = printable(content_type) or "no content type"
    if not body:
        return f"({kind}, empty)"
    return f"({kind}) {printable(body[:_EXCERPT].decode('utf-8', 'replace').strip())}"


def printable(text: str) -> str:
    """Return at most the excerpt's length of a foreign text, in printable ASCII."""
    return text[:_EXCERPT].encode("unicode_escape").decode("ascii")
