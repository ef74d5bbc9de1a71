"""Tells, in the thread of an alarm, that what it missed came to be there afterwards: a tag that shows the unknown digest, a log's entry.

It closes nothing: whoever runs the workflow can push tags too, and a log that kept an entry back did so. What was told is kept among
the acts of the incident, so that it is told once, whatever ends the program in between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.alerts import tell
from monitor.alerts.incidents import US
from monitor.model.incident import IncidentState
from monitor.store import incidents, late

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.engine import Store, Tx
    from monitor.store.late import LateEntries, LateTag

TAG = "tag seen after the alarm"
ENTRY = "entry seen after the alarm"
APPEARED = (TAG, ENTRY)
_AT_ONCE = 20
"""Told in one message; the rest in the next."""


async def gather(store: Store, now: datetime) -> int:
    """Queue the telling of all that is not told yet, an incident a transaction; how much."""
    waiting: dict[int, dict[tuple[str, str], None]] = {}
    async with store.read() as tx:
        for tag in await late.late_tags(tx, "unexpected-digest"):
            waiting.setdefault(tag.incident_id, {})[TAG, _tag(tag)] = None
        for each in await late.late_entries(tx, "entry-missing"):
            waiting.setdefault(each.incident_id, {})[ENTRY, _entries(each)] = None
        told = {incident_id: await _told(tx, incident_id) for incident_id in waiting}
    return sum(
        [
            await _tell(store, incident_id, [each for each in words if each not in told[incident_id]], now)
            for incident_id, words in waiting.items()
            if not words.keys() <= told[incident_id]
        ]
    )


async def _tell(store: Store, incident_id: int, waiting: list[tuple[str, str]], now: datetime) -> int:
    async with store.write() as tx:
        found = await incidents.get(tx, incident_id)
        if found is None or found.state is IncidentState.RESOLVED:
            return 0
        after = replace(found, updated_at=now)
        await incidents.save(tx, found, after)  # first of all: whoever else would tell it waits here, and sees it told
        told = await _told(tx, incident_id)
        new = [each for each in waiting if each not in told][:_AT_ONCE]
        for what, words in new:
            await incidents.add_event(tx, incident_id, US, what, words, now)
        if new:
            await tell.notice(tx, after, now)
    return len(new)


def _tag(found: LateTag) -> str:
    """The same for the same tag and digest, however often it comes and goes."""
    seen = found.seen
    return f"{seen.artifact}:{seen.tag} shows {seen.digest}; only an approval or a person closes this"


def _entries(found: LateEntries) -> str:
    alone = found.end - found.begin == 1
    what = f"entry {found.begin} is" if alone else f"entries {found.begin} to {found.end - 1} are all"
    return f"{what} in {found.log} by now; only a person closes this"


async def _told(tx: Tx, incident_id: int) -> set[tuple[str, str]]:
    return {(each.what, each.detail) for each in await incidents.events(tx, incident_id) if each.what in APPEARED}
