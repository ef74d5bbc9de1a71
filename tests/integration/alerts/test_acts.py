"""What people do to releases is told once, with who and why, whichever process they did it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.alerts import acts, handling
from monitor.alerts.message import Paragraph
from monitor.model.incident import IncidentState
from monitor.store import findings, releases
from tests.unit.alerts.examples import signed

if TYPE_CHECKING:
    from tests.integration.alerts.desk import Desk


async def act(desk: Desk, what: str = "approved", version: str = "0.1.2") -> None:
    async with desk.store.write() as tx:
        await releases.record(tx, version, "Ada", what, "released today", desk.now)


def words(desk: Desk) -> list[str]:
    return [
        item.text
        for post in desk.memory.posts
        for section in post.message.sections
        for item in section.items
        if isinstance(item, Paragraph)
    ]


@pytest.mark.parametrize("what", acts.ACTS)
async def test_an_act_is_told_once_with_who_and_why_and_leaves_nothing_open(any_desk: Desk, what: str) -> None:
    await act(any_desk, what)
    assert await acts.gather(any_desk.store, any_desk.options, any_desk.now) == 1
    assert await acts.gather(any_desk.store, any_desk.options, any_desk.now) == 0
    assert await any_desk.deliver() == 1
    assert any_desk.titles() == [f"#1 Release 0.1.2 {what}"]
    assert any(f"{what.capitalize()} by Ada at" in text and "released today" in text for text in words(any_desk))
    (incident,) = await any_desk.incidents()
    assert incident.state is IncidentState.RESOLVED


async def test_an_act_on_a_release_with_an_open_incident_is_told_in_its_thread(desk: Desk) -> None:
    await desk.tell(signed("new-release", subject="release:0.1.2:new", version="0.1.2", event=None, run=None))
    desk.wait(minutes=5)
    await act(desk)
    await acts.gather(desk.store, desk.options, desk.now)
    await desk.deliver()
    assert len(await desk.incidents()) == 1
    assert any("Approved by Ada" in text for text in words(desk))


async def test_an_approval_is_told_as_one_although_it_closes_the_incident_before_it_is_told(desk: Desk) -> None:
    new = signed("new-release", subject="release:0.1.2:new", version="0.1.2", event=None, run=None)
    await desk.tell(new)
    desk.wait(minutes=5)
    await act(desk)
    desk.wait(seconds=30)
    await acts.gather(desk.store, desk.options, desk.now)
    desk.wait(seconds=1)
    async with desk.store.write() as tx:
        await findings.withdraw(tx, "new-release", new.subject, desk.now)
    await handling.close_explained(desk.store, desk.now)
    await desk.deliver()
    assert [title.partition(":")[0] for title in desk.titles()] == ["#1 A new release", "#1 approved", "#1 resolved"]
    told = words(desk)
    assert sum("Approved by Ada" in text and "released today" in text for text in told) == 1


async def test_what_the_settings_list_is_told_to_nobody(desk: Desk) -> None:
    await act(desk, "listed in the settings")
    assert await acts.gather(desk.store, desk.options, desk.now) == 0


async def test_acts_on_several_releases_are_told_apart(desk: Desk) -> None:
    await act(desk, version="0.1.2")
    await act(desk, version="0.1.3")
    await acts.gather(desk.store, desk.options, desk.now)
    await desk.deliver()
    assert len(desk.titles()) == 2
