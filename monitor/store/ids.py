"""The numeric ids of our repository and its owner that a person pinned. Settings that name ids outrank them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from monitor.store import meta

if TYPE_CHECKING:
    from monitor.store.connect import Tx

_KEY = "pinned-ids"


@dataclass(frozen=True, slots=True)
class PinnedIds:
    """GitHub's ids, and who pinned them when and why. `at` is RFC 3339."""

    repository_id: str
    owner_id: str
    author: str
    reason: str
    at: str


async def pinned(tx: Tx) -> PinnedIds | None:
    """What was pinned last; None when nothing ever was."""
    kept = await meta.get(tx, _KEY)
    return PinnedIds(**json.loads(kept)) if kept else None


async def pin(tx: Tx, ids: PinnedIds) -> None:
    """Pin ids in place of those pinned before."""
    await meta.set(tx, _KEY, json.dumps(asdict(ids)))
