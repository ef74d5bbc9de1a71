"""What a log signed for and does not give is told once, by one finding a leaf; and once more, in the thread, when it gives it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.alerts import appeared, incidents
from monitor.alerts.options import AlertOptions
from monitor.model.filters import IncidentFilter, Page
from monitor.store import incidents as kept
from monitor.testbed.ca import Claims

if TYPE_CHECKING:
    from monitor.testbed.world import World
    from tests.integration.watch.conftest import Watch

BRANCH = Claims(ref="refs/heads/main")
SIGNED_LONG_AGO = timedelta(minutes=11)


async def of_leaf(watch: Watch, index: int) -> list[str]:
    return [each.rule for each in await watch.found() if each.index == index]


async def came(watch: Watch) -> list[str]:
    """Gather incidents and what appeared since, twice; all that was told of entries seen after an alarm."""
    for _ in range(2):
        await incidents.gather(watch.store, AlertOptions(), watch.now())
        await appeared.gather(watch.store, watch.now())
    async with watch.store.read() as tx:
        every = await kept.list_incidents(tx, IncidentFilter(), Page())
        events = [event for each in every for event in await kept.events(tx, each.id)]
    return [event.detail for event in events if event.what == appeared.ENTRY]


async def test_leaves_without_a_proof_that_become_holes_are_told_once_and_once_more_when_they_are_given(
    watch_v1: Watch, world: World
) -> None:
    world.noise(20, "v1")
    hidden = world.sign("v1", claims=BRANCH)
    world.noise(2, "v1")
    for index in range(hidden, world.v1.size):  # three at the end: no proof of another leaf holds their hashes
        world.v1.omit(index, also_singly=True)
    await watch_v1.poll()
    watch_v1.ahead += SIGNED_LONG_AGO
    await watch_v1.poll()
    assert (await watch_v1.cursor(world.v1.origin())).position == hidden
    assert await of_leaf(watch_v1, hidden) == ["entry-missing"]
    assert await came(watch_v1) == []
    world.noise(20, "v1")  # now there is one: following goes on
    for _ in range(3):
        await watch_v1.poll()
        watch_v1.ahead += SIGNED_LONG_AGO
    assert (await watch_v1.cursor(world.v1.origin())).position == world.v1.size
    assert await of_leaf(watch_v1, hidden) == ["entry-missing"]
    assert await of_leaf(watch_v1, hidden + 2) == ["entry-missing"]
    assert await came(watch_v1) == []
    world.v1.tell_the_truth()
    await watch_v1.poll()
    await watch_v1.poll()
    assert sorted(await of_leaf(watch_v1, hidden)) == ["branch-ref", "entry-missing"]
    given = f"entries {hidden} to {hidden + 2} are all in {world.v1.origin()} by now; only a person closes this"
    assert await came(watch_v1) == [given]


async def test_a_hole_that_is_told_and_given_is_told_once_each_though_it_is_a_hole_again_in_between(
    watch_v1: Watch, world: World
) -> None:
    hidden = world.sign("v1", claims=BRANCH)
    world.noise(20, "v1")
    world.v1.omit(hidden, also_singly=True)
    for _ in range(3):
        await watch_v1.poll()
        watch_v1.ahead += SIGNED_LONG_AGO
    assert await of_leaf(watch_v1, hidden) == ["entry-missing"]
    world.v1.tell_the_truth()
    await watch_v1.poll()
    assert len(await came(watch_v1)) == 1
    world.v1.omit(hidden, also_singly=True)
    await watch_v1.poll()
    world.v1.tell_the_truth()
    await watch_v1.poll()
    assert len(await came(watch_v1)) == 1
    assert sorted(await of_leaf(watch_v1, hidden)) == ["branch-ref", "entry-missing"]


async def test_a_hole_that_is_given_before_it_was_told_tells_nothing(watch_v1: Watch, world: World) -> None:
    hidden = world.sign("v1", claims=BRANCH)
    world.noise(20, "v1")
    world.v1.omit(hidden, also_singly=True)
    await watch_v1.poll()
    watch_v1.ahead += timedelta(minutes=9)
    await watch_v1.poll()
    assert await of_leaf(watch_v1, hidden) == []
    world.v1.tell_the_truth()
    watch_v1.ahead += SIGNED_LONG_AGO
    await watch_v1.poll()
    await watch_v1.poll()
    assert await of_leaf(watch_v1, hidden) == ["branch-ref"]
    assert await came(watch_v1) == []


async def test_a_leaf_that_is_served_otherwise_for_long_is_rewritten_and_not_missing_too(
    watch: Watch, world: World
) -> None:
    world.noise(300)
    world.v2.alter_leaf(7, b'{"apiVersion":"0.0.2"}')
    for _ in range(3):
        await watch.poll()
        watch.ahead += SIGNED_LONG_AGO
    assert await of_leaf(watch, 7) == ["log-rewritten"]
    world.v2.tell_the_truth()
    await watch.poll()
    assert await of_leaf(watch, 7) == ["log-rewritten"]
    assert await came(watch) == []
