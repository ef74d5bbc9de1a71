"""A message as the testbed's Slack keeps it and as the Web API words it. Only data: it is checked before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Fields = Mapping[str, object]

BOT: Final = "U0TESTBED"
"""The user who posts."""


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """A message as it stands now; `edits` are the states it had before, oldest first."""

    channel: str
    ts: str
    text: str
    blocks: tuple[Fields, ...] = ()
    attachments: tuple[Fields, ...] = ()
    thread_ts: str | None = None
    broadcast: bool = False
    metadata: Fields | None = None
    webhook: bool = False
    edits: tuple[SlackMessage, ...] = ()

    @property
    def is_reply(self) -> bool:
        """Whether it stands in another message's thread."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    def words(self) -> str:
        """Return every text of the message, its blocks' and attachments' included, a line each."""
        return "\n".join([self.text, *_texts(self.blocks), *_texts(self.attachments)])

    def shown(self, *, metadata: bool) -> dict[str, object]:
        """Return the message as the API words it."""
        parts: dict[str, object] = {
            "type": "message",
            "user": BOT,
            "bot_id": "B0TESTBED",
            "ts": self.ts,
            "text": self.text,
        }
        if self.broadcast:
            parts["subtype"] = "thread_broadcast"
        parts |= {"blocks": list(self.blocks)} if self.blocks else {}
        parts |= {"attachments": list(self.attachments)} if self.attachments else {}
        parts |= {"thread_ts": self.thread_ts} if self.thread_ts else {}
        parts |= {"metadata": self.metadata} if metadata and self.metadata else {}
        return parts


def _texts(value: object) -> Iterator[str]:
    """Yield every string under a key `text`, depth first."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name == "text" and isinstance(part, str):
                yield part
            else:
                yield from _texts(part)
