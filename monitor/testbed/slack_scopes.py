"""Which scope each Web API method needs, and whether a token has it. Pure."""

from __future__ import annotations

from typing import Final

GRANTED: Final = "chat:write,channels:history"
"""What a token may do that was made as the monitor asks."""
_NEEDED: Final = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
}


def lacking(method: str, granted: str | None, *, private: bool) -> str:
    """Return the scope that a token lacks for a method, in a `private` channel or a public one; an empty text for none.

    `granted` are the token's scopes as the header has them; None is a token that may do everything.
    """
    needed = _NEEDED.get(method, "")
    if private:
        needed = needed.replace("channels:", "groups:")
    return "" if granted is None or not needed or needed in granted.split(",") else needed
