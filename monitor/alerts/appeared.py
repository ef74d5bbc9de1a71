"""Tells, in the thread of an alarm about an unknown digest, that a tag came to show that digest afterwards.

It closes nothing: whoever runs the workflow can push tags too. What was told is kept among the acts of the incident, so that it is
told once for each tag and digest, whatever ends the program in between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.alerts import tell
from monitor.alerts.incidents import US
from monitor.model.incident import IncidentState
from monitor.store import exposure, incidents

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.engine import Store, Tx
    from monitor.store.exposure import LateTag

APPEARED = "tag seen after the alarm"
ALARM = "unexpected-digest"
_AT_ONCE = 20
"""Tags told in one message; the rest in the next."""


async def gather(store: Store, now: datetime) -> int:
    """Queue the telling of every tag that is not told yet, an incident a transaction; how many tags."""
    async with store.read() as tx:
        waiting: dict[int, dict[str, None]] = {}
        for late in await exposure.late_tags(tx, ALARM):
            waiting.setdefault(late.incident_id, {})[_words(late)] = None
        told = {each: await _told(tx, each) for each in waiting}
    return sum(
        [
            await _tell(store, incident_id, [each for each in words if each not in told[incident_id]], now)
            for incident_id, words in waiting.items()
            if not words.keys() <= told[incident_id]
        ]
    )


async def _tell(store: Store, incident_id: int, waiting: list[str], now: datetime) -> int:
    async with store.write() as tx:
        found = await incidents.get(tx, incident_id)
        if found is None or found.state is IncidentState.RESOLVED:
            return 0
        after = replace(found, updated_at=now)
        await incidents.save(tx, found, after)  # first of all: whoever else would tell it waits here, and sees it told
        told = await _told(tx, incident_id)
        new = [each for each in waiting if each not in told][:_AT_ONCE]
        for each in new:
            await incidents.add_event(tx, incident_id, US, APPEARED, each, now)
        if new:
            await tell.notice(tx, after, now)
    return len(new)


def _words(late: LateTag) -> str:
    """The same for the same tag and digest, however often it comes and goes."""
    seen = late.seen
    return f"{seen.artifact}:{seen.tag} shows {seen.digest}; only an approval or a person closes this"


async def _told(tx: Tx, incident_id: int) -> set[str]:
    return {each.detail for each in await incidents.events(tx, incident_id) if each.what == APPEARED}
