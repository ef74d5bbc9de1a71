"""What became of the certificates of ours that certificate logs show: the last line of a coverage statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.model.lookup import LookupState
from monitor.store import lookups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.store.engine import Tx

_WORDS: Mapping[LookupState, str] = {
    LookupState.FOUND: "with their signature",
    LookupState.OPEN: "whose signature is looked for",
    LookupState.EXCUSED: "that signed nothing public in a run that signed otherwise",
    LookupState.UNLOGGED: "that signed nothing public",
}
"""In the order in which they are told; a state of which there is none is left out."""


async def statement(tx: Tx) -> str | None:
    """How many certificates of ours there are, and how many of them are in which state; None where there is none."""
    counted = await lookups.counts(tx)
    told = [f"{counted[state]} {words}" for state, words in _WORDS.items() if counted.get(state)]
    return f"{sum(counted.values())} of ours: {', '.join(told)}" if told else None
