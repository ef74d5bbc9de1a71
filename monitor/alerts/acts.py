"""Tells what people did to releases: every approval, import and withdrawal, with who and why.

An act without an incident is the queue, so that one done by another process, or before a kill, is told too. It joins the release's
open incident, or makes one that asks nothing of anybody and is resolved at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.alerts import tell
from monitor.model.finding import Category, Severity
from monitor.model.incident import IncidentState
from monitor.store import incidents, releases

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.alerts.options import AlertOptions
    from monitor.store.engine import Store, Tx
    from monitor.store.releases import ReleaseWord

ACTS = ("approved", "corrected", "imported as approved", "imported as claimed", "withdrawn")
"""What is told; what the settings list is not."""


async def gather(store: Store, options: AlertOptions, now: datetime) -> int:
    """Queue the telling of every act that has no incident yet, each in a transaction of its own; how many."""
    async with store.read() as tx:
        waiting = await releases.untold(tx, ACTS, options.batch)
    for word in waiting:
        async with store.write() as tx:
            await _place(tx, word, options, now)
    return len(waiting)


async def _place(tx: Tx, word: ReleaseWord, options: AlertOptions, now: datetime) -> None:
    key = f"release:{word.version}"
    found = await incidents.unresolved(tx, key)
    if found is not None:
        await releases.told(tx, word.id, found.id)
        await tell.notice(tx, found, now)
        return
    title = f"Release {word.version} {word.what}"
    new = await incidents.create(tx, key=key, severity=Severity.LOW, category=Category.RELEASE, title=title, now=now)
    await releases.told(tx, word.id, new.id)
    over = replace(new, state=IncidentState.RESOLVED, resolved_at=now)
    await incidents.save(tx, new, over)
    await tell.opened(tx, over, options, now)
