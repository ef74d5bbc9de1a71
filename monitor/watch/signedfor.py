"""For how long a log has signed for a leaf: what it signed for only now, a replica of it may not have yet, and that is no lie."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.store import logs

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.engine import Tx

PATIENCE = timedelta(minutes=10)
"""How long a leaf has been signed for before its log must give it."""


async def long_signed_for(tx: Tx, log: str, index: int, size: int, now: datetime) -> bool:
    """Whether leaf `index` stands below a size, up to `size`, that the log was seen to sign so long ago."""
    signed = await logs.next_size(tx, log, index, size)
    return signed is not None and now - signed.first_seen >= PATIENCE
