from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.alerts import handling
from monitor.errors import MonitorError
from monitor.model.filters import IncidentFilter, Page
from monitor.model.incident import DeliveryKind, IncidentState
from monitor.store import findings, incidents
from tests.unit.alerts.examples import V2, of_log, of_source, signed, stranger

if TYPE_CHECKING:
    from monitor.model.finding import Finding
    from tests.integration.alerts.desk import Desk


async def test_who_acknowledged_and_why_is_kept_and_told_in_the_thread(any_desk: Desk) -> None:
    await any_desk.tell(signed())
    after = await handling.acknowledge(any_desk.store, 1, "ada", "looking at the run", any_desk.now)
    assert after.state is IncidentState.ACKNOWLEDGED
    assert ("ada", "acknowledged") in await any_desk.events()
    await any_desk.deliver()
    reply = any_desk.memory.posts[-1]
    assert reply.thread == "C1/1.0"
    assert not reply.broadcast
    assert "Acknowledged by ada" in str(reply.message.sections)
    assert "looking at the run" in str(reply.message.sections)


async def test_a_resolved_incident_never_reopens(desk: Desk) -> None:
    await desk.tell(signed())
    resolved = await handling.resolve(desk.store, 1, "ada", "a drill", desk.now)
    assert (resolved.state, resolved.resolved_at) == (IncidentState.RESOLVED, desk.now)
    for act in (handling.acknowledge, handling.resolve):
        with pytest.raises(MonitorError, match="it is resolved"):
            await act(desk.store, 1, "bob", "again", desk.now)


async def test_an_incident_that_is_not_there_is_said_so(desk: Desk) -> None:
    with pytest.raises(MonitorError, match="incident 7: there is none"):
        await handling.resolve(desk.store, 7, "ada", "", desk.now)


async def test_recovery_resolves_the_sources_incident_and_says_so_in_its_thread(any_desk: Desk) -> None:
    await any_desk.tell(of_source())
    any_desk.wait(minutes=9)
    closed = await handling.recover(any_desk.store, "log-unreachable", V2, any_desk.options, any_desk.now)
    assert closed is not None
    assert closed.state is IncidentState.RESOLVED
    await any_desk.drain()
    reply = any_desk.memory.posts[-1]
    assert reply.thread == "C1/1.0"
    assert "Recovered by monitor" in str(reply.message.sections)
    assert any_desk.memory.changed[-1][1].state is IncidentState.RESOLVED


async def test_recovering_twice_tells_once(desk: Desk) -> None:
    await desk.tell(of_source())
    assert await handling.recover(desk.store, "log-unreachable", V2, desk.options, desk.now) is not None
    assert await handling.recover(desk.store, "log-unreachable", V2, desk.options, desk.now) is None
    await desk.drain()
    assert len(desk.memory.posts) == 2


async def test_an_incident_with_two_troubles_is_resolved_when_both_are_over(desk: Desk) -> None:
    await desk.tell(of_source("log-unreachable"), of_source("falling-behind"))
    first = await handling.recover(desk.store, "log-unreachable", V2, desk.options, desk.now)
    assert first is not None
    assert first.state is IncidentState.OPEN
    again = await handling.recover(desk.store, "log-unreachable", V2, desk.options, desk.now)
    assert again is not None
    assert [d.kind for d in await desk.deliveries()].count(DeliveryKind.EVENT) == 1
    second = await handling.recover(desk.store, "falling-behind", V2, desk.options, desk.now)
    assert second is not None
    assert second.state is IncidentState.RESOLVED


async def test_a_recovery_before_anybody_was_told_is_told_with_the_trouble(desk: Desk) -> None:
    await desk.put(of_source())
    closed = await handling.recover(desk.store, "log-unreachable", V2, desk.options, desk.now)
    assert closed is not None
    assert closed.state is IncidentState.RESOLVED
    await desk.drain()
    assert "A log does not answer" in desk.titles()[0]
    assert any("recovered" in title for title in desk.titles()[1:])


async def test_a_trouble_that_returns_is_a_new_incident_linked_to_the_last(desk: Desk) -> None:
    await desk.tell(of_source())
    await handling.recover(desk.store, "log-unreachable", V2, desk.options, desk.now)
    desk.wait(hours=1)
    _, again = await desk.gather(of_source(since="2026-11-23T03:50:00Z"))
    assert again.previous_id == 1


async def test_recovery_touches_neither_another_source_nor_the_logs_integrity(desk: Desk) -> None:
    await desk.tell(of_source(source="a"), of_source(source="a@b"), of_log(log="a"))
    await handling.recover(desk.store, "log-unreachable", "a", desk.options, desk.now)
    states = {each.key: each.state for each in await desk.incidents()}
    assert states == {"source:a": IncidentState.RESOLVED, "source:a@b": IncidentState.OPEN, "log:a": IncidentState.OPEN}


async def test_a_recovery_of_what_never_failed_is_nothing(desk: Desk) -> None:
    assert await handling.recover(desk.store, "log-unreachable", "nowhere", desk.options, desk.now) is None


async def test_what_waits_for_company_goes_before_the_resolution(desk: Desk) -> None:
    await desk.tell(stranger(1))
    await desk.gather(stranger(2))
    await handling.resolve(desk.store, 1, "ada", "seen", desk.now)
    await desk.deliver()
    assert [post.message.title.split(" ")[0] for post in desk.memory.posts] == ["#1", "New", "#1"]


async def test_incidents_are_listed_by_key_and_narrowed(any_desk: Desk) -> None:
    await any_desk.gather(signed("unusual-build"), of_log(), of_source(), stranger(9))
    await handling.resolve(any_desk.store, 1, "ada", "", any_desk.now)
    async with any_desk.store.read() as tx:
        first = await incidents.list_incidents(tx, IncidentFilter(), Page(limit=2))
        rest = await incidents.list_incidents(tx, IncidentFilter(), Page(limit=9, after=first[-1].id))
        opened = await incidents.list_incidents(tx, IncidentFilter(state="open"), Page())
        bad = await incidents.list_incidents(tx, IncidentFilter(severity="medium"), Page())
    assert [each.id for each in (*first, *rest)] == [1, 2, 3, 4]
    assert [each.id for each in opened] == [2, 3, 4]
    assert {each.key for each in bad} == {f"log:{V2}", f"source:{V2}"}


async def test_an_incident_of_which_no_finding_holds_any_more_is_resolved_and_told_so(any_desk: Desk) -> None:
    first, second = signed(), signed(rule="unexpected-digest")
    await any_desk.tell(first, second)
    await _withdraw(any_desk, first)
    assert await handling.close_explained(any_desk.store, any_desk.now) == 0

    await _withdraw(any_desk, second)
    assert await handling.close_explained(any_desk.store, any_desk.now) == 1
    assert await handling.close_explained(any_desk.store, any_desk.now) == 0

    assert (await any_desk.incident()).state is IncidentState.RESOLVED
    await any_desk.drain()
    assert "none of its findings holds any more" in str([post.message.sections for post in any_desk.memory.posts])


async def _withdraw(desk: Desk, finding: Finding) -> None:
    async with desk.store.write() as tx:
        await findings.withdraw(tx, finding.rule, finding.subject, desk.now)
