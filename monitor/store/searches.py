"""How each Rekor v1 server's index was last seen to stand the test: kept so that `status` can say what would not be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.model.search import IndexState
from monitor.model.text import parse_rfc3339, rfc3339
from monitor.store import meta

if TYPE_CHECKING:
    from monitor.store.connect import Tx

_KEY = "index:"
_HONOURED = "honoured"


async def index_state(tx: Tx, host: str) -> IndexState | None:
    """Return how the index of a server stood its last test, None before the first; `host` as in the origins of its shards."""
    kept = await meta.get(tx, f"{_KEY}{host}")
    if kept is None:
        return None
    moment, _, reason = kept.partition(" ")
    honoured = reason == _HONOURED
    return IndexState(honoured, "" if honoured else reason, parse_rfc3339(moment))


async def set_index_state(tx: Tx, host: str, state: IndexState) -> None:
    """Keep how the index of a server stood its test."""
    await meta.set(tx, f"{_KEY}{host}", f"{rfc3339(state.at)} {_HONOURED if state.honoured else state.reason}")
