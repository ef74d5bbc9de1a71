"""With an old backlog the newest comes first; what was passed over is told until it is read, the newest of it first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.store import health
from monitor.testbed.ca import Claims
from monitor.watch.backfill import Hands, close_gaps
from monitor.watch.fleet import Fleet
from monitor.watch.newest import skipped
from tests.opener import Opener

if TYPE_CHECKING:
    from monitor.testbed.world import World
    from tests.integration.watch.conftest import Watch

BRANCH = Claims(ref="refs/heads/main")


def without_time(watch: Watch) -> Watch:
    """Passes end before they have read anything."""
    watch.tools = replace(watch.tools, pass_time=0.0)
    watch.fleet = Fleet(watch.options, Opener(watch.client), watch.tools)
    return watch


def hands(watch: Watch) -> Hands:
    return Hands(watch.store, lambda _: None, watch.options.words)


async def behind(watch: Watch) -> str | None:
    async with watch.store.read() as tx:
        found = [each for each in await health.conditions(tx) if each.rule == "falling-behind"]
    return found[0].error if found and not found[0].good_passes else None


async def gaps(watch: Watch, world: World) -> list[tuple[int, int]]:
    cursor = await watch.cursor(world.v2.origin)
    async with watch.store.read() as tx:
        return await skipped(tx, cursor)


async def test_history_from_an_index_waits_for_what_is_signed_now(watch: Watch, world: World) -> None:
    old = world.sign(claims=BRANCH)
    world.noise(600)
    await without_time(watch).poll()
    assert (await watch.cursor(world.v2.origin)).position == 601
    assert world.v2.tree.root(601) == (await watch.cursor(world.v2.origin)).range.root()
    assert await watch.found() == []

    new = world.sign(claims=replace(BRANCH, run="17000000099"))
    watch = watch.restarted()
    passed = (await watch.poll())[world.v2.origin]

    assert (passed.position, passed.behind, passed.skipped) == (602, 0, 601)
    assert {new} == {f.index for f in await watch.found() if f.rule == "branch-ref"}
    assert "601 leaves from 0 on were passed over" in (await behind(watch) or "")

    progress = await close_gaps(watch.fleet.follower(world.v2.origin), hands(watch), lambda: False)

    assert progress is not None
    assert (progress.leaves, progress.entries, progress.done) == (601, 1, True)
    assert {old, new} == {f.index for f in await watch.found() if f.rule == "branch-ref"}
    assert (await watch.poll())[world.v2.origin].skipped == 0
    assert await behind(watch) is None
    assert await gaps(watch, world) == []


async def test_a_backlog_is_read_in_order_until_it_is_older_than_its_deadline(watch: Watch, world: World) -> None:
    world.noise(40)
    await watch.poll()
    world.noise(300)
    watch = without_time(watch)

    watch.ahead = timedelta(minutes=59)
    passed = (await watch.poll())[world.v2.origin]
    assert (passed.position, passed.behind, passed.skipped) == (40, 300, 0)
    assert "proven up to 40 of 340" in (await behind(watch) or "")

    watch.ahead = timedelta(minutes=61)
    passed = (await watch.poll())[world.v2.origin]
    assert (passed.position, passed.behind, passed.skipped) == (340, 0, 300)
    assert "300 leaves from 40 on" in (await behind(watch) or "")


async def test_what_was_passed_over_is_not_called_read_when_the_log_does_not_answer(watch: Watch, world: World) -> None:
    world.noise(300)
    await without_time(watch).poll()
    follower = watch.fleet.follower(world.v2.origin)
    assert await gaps(watch, world) == [(0, 300)]
    assert follower.reached is None

    world.v2.reply(status=503, path_prefix="/api/v2/checkpoint")
    assert (await watch.poll())[world.v2.origin].error
    assert follower.reached is None

    world.v2.heal()
    await close_gaps(follower, hands(watch), lambda: False)
    await watch.poll()
    assert follower.reached is not None


async def test_the_newest_of_several_gaps_is_read_first(watch: Watch, world: World) -> None:
    world.noise(40)
    await watch.poll()
    for turn in range(1, 3):
        world.noise(300)
        watch = without_time(watch.restarted())
        watch.ahead = turn * timedelta(hours=2)
        await watch.poll()
        world.noise(10)
        watch = watch.restarted()
        await watch.poll()
    assert await gaps(watch, world) == [(350, 650), (40, 340)]

    asked = len(world.v2.requests)

    def once_the_older_is_asked_for() -> bool:
        return any("/entries/000" in request.path for request in world.v2.requests[asked:])

    await close_gaps(watch.fleet.follower(world.v2.origin), hands(watch), once_the_older_is_asked_for)

    assert await gaps(watch, world) == [(256, 340)]


async def test_what_the_ceiling_allows_goes_to_following_first(watch_v1: Watch, world: World) -> None:
    world.noise(60, "v1")
    watch = without_time(watch_v1)
    await watch.poll()
    follower = watch.fleet.follower(world.v1.origin())
    follower.reading = True
    assert await close_gaps(follower, hands(watch), lambda: False) is None

    follower.reading = False
    progress = await close_gaps(follower, hands(watch), lambda: False)

    assert progress is not None
    assert progress.leaves == 60
