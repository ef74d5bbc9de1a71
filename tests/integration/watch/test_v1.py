"""Following the shards of a Rekor v1 server that tells the truth, and of one that lies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.testbed.ca import Claims
from monitor.trust import root as trust_root
from monitor.watch.fleet import Fleet
from monitor.watch.options import WatchOptions
from tests.opener import Opener, overrides_of

if TYPE_CHECKING:
    import pytest

    from monitor.testbed.world import World
    from tests.integration.watch.conftest import Watch

BRANCH = Claims(ref="refs/heads/main")


async def test_every_shard_is_read_and_proven(watch_v1: Watch, world: World) -> None:
    world.noise(45, "v1")
    world.sign("v1", claims=BRANCH)
    first = world.v1.origin()
    world.v1.rotate()
    world.noise(33, "v1")
    world.sign("v1", claims=BRANCH)

    await watch_v1.poll()

    assert (await watch_v1.cursor(first)).position == 46
    assert (await watch_v1.cursor(world.v1.origin())).position == 34
    places = {(f.log, f.index, f.global_index) for f in await watch_v1.found() if f.rule == "branch-ref"}
    assert {(first, 45, 45), (world.v1.origin(), 33, 79)} == places


async def test_a_shard_that_appears_while_watched_is_followed_from_its_first_leaf(
    watch_v1: Watch, world: World
) -> None:
    watch_v1 = replace(watch_v1, options=WatchOptions(start="tip"))
    world.noise(12, "v1")
    await watch_v1.poll()
    world.v1.rotate()
    world.sign("v1", claims=BRANCH)
    world.noise(5, "v1")

    await watch_v1.restarted().poll()

    assert {0} == {f.index for f in await watch_v1.found() if f.rule == "branch-ref"}


async def test_a_server_first_reached_after_watching_began_is_followed_from_its_tip_and_not_from_zero(
    watch_v1: Watch, world: World
) -> None:
    watch_v1 = replace(watch_v1, options=WatchOptions(start="tip"))
    world.noise(12, "v1")
    world.v1.rotate()
    world.noise(7, "v1")
    await world.v1.stop()
    assert await watch_v1.poll() == {}
    assert list(watch_v1.fleet.unreached) == [world.v1.hostname]

    await world.v1.start()
    await watch_v1.poll()

    assert [(await watch_v1.cursor(world.v1.origin(shard))).started_at for shard in world.v1.shards] == [12, 7]
    assert watch_v1.fleet.unreached == {}


async def test_following_from_the_tip_needs_one_proof_only(watch_v1: Watch, world: World) -> None:
    world.noise(77, "v1")
    watch_v1 = replace(watch_v1, options=WatchOptions(start="tip"))
    await watch_v1.poll()
    world.noise(9, "v1")
    await watch_v1.poll()

    cursor = await watch_v1.cursor(world.v1.origin())
    assert (cursor.position, cursor.started_at) == (86, 77)
    assert world.v1.active.tree.root(86) == cursor.range.root()


async def test_a_stop_within_a_stride_ends_it_at_once_and_keeps_what_was_read(watch_v1: Watch, world: World) -> None:
    world.noise(900, "v1")
    origin = world.v1.origin()
    watch_v1.fleet = Fleet(WatchOptions(start=0, logs=overrides_of(world)), Opener(watch_v1.client), watch_v1.tools)
    followers = await watch_v1.fleet.muster(trust_root.parse(world.trusted_root_json()))
    (follower,) = (each for each in followers if each.followed.origin == origin)

    def pages() -> int:
        return len(list(world.v1.seen("/api/v1/log/entries/retrieve")))

    passed = await follower.run_pass(lambda: pages() > 5)

    assert 10 <= passed.position < 900
    cursor = await watch_v1.cursor(origin)
    assert (cursor.position, cursor.range.root()) == (passed.position, world.v1.active.tree.root(passed.position))


async def test_an_entry_left_out_of_a_page_is_asked_for_singly(watch_v1: Watch, world: World) -> None:
    world.noise(30, "v1")
    index = world.sign("v1", claims=BRANCH)
    world.v1.omit(index)

    await watch_v1.poll()

    assert {index} == {f.index for f in await watch_v1.found() if f.rule == "branch-ref"}
    assert "entry-missing" not in await watch_v1.rules()


async def test_an_unobtainable_entry_is_a_hole_proven_by_its_neighbour_and_what_follows_is_read(
    watch_v1: Watch, world: World
) -> None:
    world.noise(20, "v1")
    hidden = world.sign("v1", claims=BRANCH)
    world.noise(10, "v1")
    later = world.sign("v1", claims=BRANCH)
    world.v1.omit(hidden, also_singly=True)

    await watch_v1.poll()

    assert world.v1.active.tree.root(32) == (await watch_v1.cursor(world.v1.origin())).range.root()
    assert {later} == {f.index for f in await watch_v1.found() if f.rule == "branch-ref"}
    assert "entry-missing" not in await watch_v1.rules()
    watch_v1.ahead += timedelta(minutes=11)
    await watch_v1.poll()
    assert {hidden} == {f.index for f in await watch_v1.found() if f.rule == "entry-missing"}

    world.v1.tell_the_truth()
    await watch_v1.poll()

    assert {hidden, later} == {f.index for f in await watch_v1.found() if f.rule == "branch-ref"}


async def test_a_missing_last_leaf_is_waited_for_and_told(watch_v1: Watch, world: World) -> None:
    world.noise(20, "v1")
    hidden = world.sign("v1", claims=BRANCH)
    world.v1.omit(hidden, also_singly=True)

    await watch_v1.poll()
    world.noise(11, "v1")
    watch_v1.ahead += timedelta(minutes=11)
    await watch_v1.poll()

    assert (await watch_v1.cursor(world.v1.origin())).position == 32
    assert "entry-missing" in await watch_v1.rules()


async def test_a_last_leaf_that_a_replica_has_only_minutes_later_accuses_nobody(watch_v1: Watch, world: World) -> None:
    world.noise(20, "v1")
    late = world.sign("v1", claims=BRANCH)
    world.v1.omit(late, also_singly=True)
    await watch_v1.poll()
    watch_v1.ahead += timedelta(minutes=9)
    await watch_v1.poll()

    world.v1.tell_the_truth()
    watch_v1.ahead += timedelta(minutes=20)
    await watch_v1.poll()

    assert {late} == {f.index for f in await watch_v1.found() if f.rule == "branch-ref"}
    assert "entry-missing" not in await watch_v1.rules()


async def test_a_shard_that_an_old_replica_shows_at_its_end_did_not_grow_afterwards(
    watch_v1: Watch, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.noise(25, "v1")
    await watch_v1.poll()
    world.noise(15, "v1")
    await watch_v1.poll()
    ended = world.v1.active
    world.v1.rotate()
    with monkeypatch.context() as old:
        old.setattr(world.v1, "shown_size", lambda shard: 25 if shard is ended else len(shard.tree))
        await watch_v1.poll()

    await watch_v1.poll()

    assert "log-grew-after-end" not in await watch_v1.rules()


async def test_an_altered_entry_is_log_rewritten(watch_v1: Watch, world: World) -> None:
    world.noise(40, "v1")
    world.v1.alter_leaf(13, b'{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}')

    await watch_v1.poll()

    assert (await watch_v1.cursor(world.v1.origin())).position == 40
    assert [(f.rule, f.index) for f in await watch_v1.found()] == [("log-rewritten", 13)]


async def test_a_fork_of_the_active_shard_is_found(watch_v1: Watch, world: World) -> None:
    world.noise(40, "v1")
    await watch_v1.poll()
    world.v1.fork(20)
    world.noise(10, "v1")

    await watch_v1.poll()

    assert await watch_v1.rules() == ["log-forked"]


async def test_an_old_replica_that_cannot_prove_what_was_signed_since_is_told_at_its_deadline(
    watch_v1: Watch, world: World
) -> None:
    world.noise(40, "v1")
    await watch_v1.poll()
    world.v1.serve_old(25)

    await watch_v1.poll()
    assert await watch_v1.found() == []
    watch_v1.ahead = timedelta(minutes=31)
    await watch_v1.poll()

    assert await watch_v1.rules() == ["consistency-unproven"]

    world.v1.tell_the_truth()
    await watch_v1.poll()
    assert (await watch_v1.cursor(world.v1.origin())).position == 40


async def test_a_shard_that_disappears_from_the_list_is_told_and_still_followed(watch_v1: Watch, world: World) -> None:
    world.noise(10, "v1")
    world.v1.rotate()
    world.noise(10, "v1")
    await watch_v1.poll()
    world.v1.hide_shard(world.v1.shards[0].tree_id)

    passes = await watch_v1.poll()

    assert "shard-list-changed" in await watch_v1.rules()
    assert world.v1.origin(world.v1.shards[0]) in passes
