"""What people do to incidents, and what recovery does in their stead: acknowledge, resolve, recover. Every act is kept with who and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.alerts import incidents as gathering
from monitor.alerts import tell
from monitor.alerts.incidents import RECOVERED, US
from monitor.errors import MonitorError
from monitor.model.incident import IncidentState
from monitor.store import findings, incidents

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.alerts.options import AlertOptions
    from monitor.model.incident import Incident
    from monitor.store.engine import Store, Tx

ACKNOWLEDGED = "acknowledged"
RESOLVED = "resolved"
EXPLAINED = "judged again by what is known now, none of its findings holds any more"
_A_PASS = 100


async def acknowledge(store: Store, incident_id: int, who: str, why: str, now: datetime) -> Incident:
    """Somebody has taken the incident up. MonitorError when there is none or it is resolved; again by another adds their name."""
    async with store.write() as tx:
        before = await _unresolved(tx, incident_id, "acknowledge")
        after = replace(before, state=IncidentState.ACKNOWLEDGED, updated_at=now)
        await _act(tx, before, after, who, ACKNOWLEDGED, why, now)
        return after


async def resolve(store: Store, incident_id: int, who: str, why: str, now: datetime) -> Incident:
    """Somebody has closed the incident for good: what recurs is a new one. MonitorError when there is none or it is resolved."""
    async with store.write() as tx:
        before = await _unresolved(tx, incident_id, "resolve")
        after = replace(before, state=IncidentState.RESOLVED, updated_at=now, resolved_at=now)
        await _act(tx, before, after, who, RESOLVED, why, now)
        return after


async def close_explained(store: Store, now: datetime) -> int:
    """Resolve, and tell so, the incidents of which a later judgement holds no finding any more. Returns how many."""
    async with store.write() as tx:
        over = await incidents.explained(tx, _A_PASS)
        for before in over:
            after = replace(before, state=IncidentState.RESOLVED, updated_at=now, resolved_at=now)
            await _act(tx, before, after, US, RESOLVED, EXPLAINED, now)
    return len(over)


async def recover(store: Store, rule: str, source: str, options: AlertOptions, now: datetime) -> Incident | None:
    """A source's trouble of kind `rule` is over: tell so, and resolve its incident once nothing in it is still wrong.

    A trouble that nobody was told of yet is given its incident first, so that it is told, and told to be over. Safe to repeat.
    Returns the incident, or None when there is none open.
    """
    async with store.write() as tx:
        prefix = f"source:{rule}:{source}"
        waiting = await findings.unassigned(tx, limit=options.batch)
        mine = [each for each in waiting if each.finding.rule == rule]
        await gathering.place(
            tx, [each.id for each in mine if each.finding.subject.rpartition("@")[0] == prefix], options, now
        )
        before = await incidents.unresolved(tx, f"source:{source}")
        if before is None:
            return None
        over = {event.detail for event in await incidents.events(tx, before.id) if event.what == RECOVERED}
        troubles = await incidents.subjects(tx, before.id)
        ended = [each for each in troubles if each.rpartition("@")[0] == prefix and each not in over]
        for subject in ended:
            await incidents.add_event(tx, before.id, US, RECOVERED, subject, now)
        left = [each for each in troubles if each not in over and each not in ended]
        if not ended and left:
            return before
        after = replace(before, updated_at=now)
        if not left:
            after = replace(after, state=IncidentState.RESOLVED, resolved_at=now)
        await incidents.save(tx, before, after)
        await tell.notice(tx, after, now)
        return after


async def _unresolved(tx: Tx, incident_id: int, verb: str) -> Incident:
    found = await incidents.get(tx, incident_id)
    if found is None:
        raise MonitorError(
            f"cannot {verb} incident {incident_id}: there is none", cure="`incidents list` shows those there are"
        )
    if found.state is IncidentState.RESOLVED:
        raise MonitorError(
            f"cannot {verb} incident {incident_id}: it is resolved",
            cure="nothing: a recurrence is a new incident, linked to it",
        )
    return found


async def _act(tx: Tx, before: Incident, after: Incident, who: str, what: str, why: str, now: datetime) -> None:
    await incidents.save(tx, before, after)
    await incidents.add_event(tx, after.id, who, what, why, now)
    await tell.notice(tx, after, now)
