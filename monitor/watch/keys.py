"""Which checkpoint counts: the log's own origin, signed by the log's key from the trusted root, within the key's window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import BadSignatureError, FormatError, UnknownKeyError
from monitor.tlog import note
from monitor.tlog.checkpoint import Checkpoint

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.tlog.note import NoteKey


@dataclass(frozen=True, slots=True)
class LogKey:
    """A log's key and the time from which it may sign. `ends` is when the trusted root says that the log ended."""

    key: NoteKey
    starts: datetime
    ends: datetime | None = None


def counted(raw: bytes, origin: str, keys: tuple[LogKey, ...], now: datetime) -> Checkpoint:
    """The checkpoint in `raw`, if it counts as `origin`'s.

    Raises FormatError when it is no checkpoint or another log's, UnknownKeyError when no key of ours signed it, BadSignatureError when
    one of ours is named and its signature does not verify.
    """
    checkpoint = Checkpoint.parse(raw)
    if checkpoint.origin != origin:
        raise FormatError(
            f"asked {origin} for its checkpoint, got one of {checkpoint.origin!r}",
            cure="check the log's read_url in the settings",
        )
    begun = [key.key for key in keys if key.starts <= now]
    if not begun:
        raise UnknownKeyError(
            f"no key of {origin} in the trusted root is valid yet",
            cure="wait for the key's window to begin, or refresh the trusted root",
        )
    note.verify(checkpoint.note, begun)
    return checkpoint


__all__ = ["BadSignatureError", "LogKey", "counted"]
