"""How raw strings, times and digests are shown. Each edge escapes for itself; what all of them need first stands here."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

_SHOWN = 12


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, to the second, or as exactly as its fraction needs."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    moment = moment.astimezone(UTC)
    exactness = "seconds" if not moment.microsecond else "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=exactness).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """The moment that an RFC 3339 text names, in UTC. ValueError when it names none or has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def visible(text: str) -> str:
    """The text with every control, format (bidi) and unassigned character shown as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == " " or unicodedata.category(c)[0] in "LMNPS" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - widths of escapes


def number(count: int, one: str, many: str = "") -> str:
    """`1 entry`, `2 entries`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def short_digest(digest: str) -> str:
    """`sha256:` and the first twelve digits: enough to recognise, not to verify."""
    algorithm, colon, value = digest.partition(":")
    return f"{algorithm}:{value[:_SHOWN]}…" if colon and len(value) > _SHOWN else digest


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, the cut shown by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
