"""Following a Rekor v2 log that tells the truth, and one that lies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor.model.filters import Page
from monitor.model.log import CheckpointSource, CheckpointStatus, Mode, StoredCheckpoint
from monitor.store import health, logs
from monitor.testbed.ca import Claims
from monitor.tlog.checkpoint import Checkpoint
from monitor.watch.options import WatchOptions

if TYPE_CHECKING:
    from monitor.testbed.world import World
    from tests.integration.watch.conftest import Watch

BRANCH = Claims(ref="refs/heads/main")


async def test_of_many_leaves_exactly_ours_are_kept_and_the_root_is_recomputed(watch: Watch, world: World) -> None:
    world.noise(3_000)
    ours = [world.sign(claims=BRANCH), world.sign()]
    world.noise(2_000)
    ours.append(world.sign(claims=replace(BRANCH, org="trustacks")))

    passed = (await watch.poll())[world.v2.origin]

    cursor = await watch.cursor(world.v2.origin)
    assert (world.v2.size, 0, 3) == (cursor.position, passed.behind, passed.entries)
    assert world.v2.tree.root(world.v2.size) == cursor.range.root()
    assert sorted(ours) == sorted({f.index for f in await watch.found() if f.index is not None} | {ours[1]})
    assert "branch-ref" in await watch.rules()
    assert "identity-casing" in await watch.rules()


async def test_a_pass_over_a_log_that_has_not_grown_changes_nothing(watch: Watch, world: World) -> None:
    world.sign(claims=BRANCH)
    await watch.poll()
    before = await watch.found()

    await watch.restarted().poll()

    assert before == await watch.found()


async def test_following_from_the_tip_sees_what_comes_afterwards_only(watch: Watch, world: World) -> None:
    world.sign(claims=BRANCH)
    world.noise(300)
    watch = replace(watch, options=WatchOptions(start="tip"))
    await watch.poll()
    assert await watch.found() == []

    index = world.sign(claims=BRANCH)
    await watch.poll()

    assert {index} == {finding.index for finding in await watch.found()}
    assert world.v2.tree.root(world.v2.size) == (await watch.cursor(world.v2.origin)).range.root()


@pytest.mark.parametrize("start", [1, 255, 256, 257, 300])
async def test_following_starts_at_any_index_with_the_range_read_out_of_a_proof(
    watch: Watch, world: World, start: int
) -> None:
    world.noise(300)
    watch = replace(watch, options=WatchOptions(start=start))

    await watch.poll()

    cursor = await watch.cursor(world.v2.origin)
    assert (300, start) == (cursor.position, cursor.started_at)
    assert world.v2.tree.root(300) == cursor.range.root()


async def test_one_altered_byte_is_log_rewritten_and_what_follows_is_still_read(watch: Watch, world: World) -> None:
    world.noise(300)
    ours = world.sign(claims=BRANCH)
    world.v2.alter_leaf(7, b'{"apiVersion":"0.0.2"}')

    await watch.poll()

    found = await watch.found()
    assert [f.rule for f in found if f.index == 7] == ["log-rewritten"]
    assert ours in {f.index for f in found}
    assert world.v2.tree.root(world.v2.size) == (await watch.cursor(world.v2.origin)).range.root()


async def test_an_altered_leaf_of_ours_is_judged_as_served_and_marked_as_not_in_the_tree(
    watch: Watch, world: World
) -> None:
    index = world.sign()
    altered = world.sign(claims=BRANCH, publish=False)
    world.v2.alter_leaf(index, world.signed[-1].body)
    world.v2.publish(altered)

    await watch.poll()

    assert {"log-rewritten", "branch-ref"} <= set(await watch.rules())


async def test_a_difference_that_is_gone_when_read_again_is_a_counted_retry(watch: Watch, world: World) -> None:
    world.noise(10)
    index = world.sign(claims=BRANCH)
    world.v2.alter_leaf(index, b"{}", times=1)

    await watch.poll()

    assert await watch.counters(world.v2.origin) == {"retries": 1}
    assert {"branch-ref"} <= set(await watch.rules())
    assert "log-rewritten" not in await watch.rules()


async def test_a_missing_bundle_is_a_hole_and_is_filled_when_it_comes_back(watch: Watch, world: World) -> None:
    world.noise(100)
    ours = world.sign(claims=BRANCH)
    world.noise(400)
    later = world.sign(claims=BRANCH)
    world.v2.hide_bundle(0)

    await watch.poll()

    assert world.v2.size == (await watch.cursor(world.v2.origin)).position
    assert "entry-missing" not in await watch.rules()
    watch.ahead += timedelta(minutes=11)
    await watch.poll()
    assert "entry-missing" in await watch.rules()
    assert {later} == {f.index for f in await watch.found() if f.rule == "branch-ref"}

    world.v2.tell_the_truth()
    for _ in range(40):
        await watch.poll()

    assert {ours, later} == {f.index for f in await watch.found() if f.rule == "branch-ref"}
    async with watch.store.read() as tx:
        assert await logs.holes(tx, world.v2.origin, 1000) == []


async def test_an_unreadable_leaf_is_quarantined_and_passed(watch: Watch, world: World) -> None:
    world.add("v2", b"\x01not an entry")
    world.add("v2", b'{"kind":"hashedrekord","TruStacks":')
    ours = world.sign(claims=BRANCH)

    await watch.poll()

    found = await watch.found()
    assert {(0, "low"), (1, "medium")} == {(f.index, f.severity) for f in found if f.rule == "entry-quarantined"}
    assert ours in {f.index for f in found}


async def test_an_unknown_kind_is_quarantined_by_name(watch: Watch, world: World) -> None:
    world.add("v2", b'{"apiVersion":"9.9.9","kind":"novelty","spec":{}}')

    await watch.poll()

    (finding,) = await watch.found()
    assert finding.rule == "entry-quarantined"
    assert "novelty" in finding.summary + "".join(fact.seen for fact in finding.facts)


async def test_another_root_at_the_same_size_is_a_fork_with_both_notes_kept(watch: Watch, world: World) -> None:
    world.noise(50)
    await watch.poll()
    world.v2.fork(20)

    await watch.poll()
    await watch.poll()

    assert await watch.rules() == ["log-forked"]
    async with watch.store.read() as tx:
        (conflict,) = await logs.conflicts(tx, world.v2.origin, Page())
    notes = dict(conflict.conflict.evidence)
    assert notes["ours"] != notes["theirs"]


async def test_a_larger_checkpoint_of_another_history_is_a_fork_and_nothing_of_it_is_read(
    watch: Watch, world: World
) -> None:
    world.noise(50)
    await watch.poll()
    world.noise(30)
    world.sign(claims=BRANCH)
    world.v2.fork(20)

    await watch.poll()

    assert await watch.rules() == ["log-forked"]
    assert (await watch.cursor(world.v2.origin)).position == 50


async def test_a_smaller_checkpoint_of_another_history_is_a_fork(watch: Watch, world: World) -> None:
    world.noise(80)
    await watch.poll()
    honest = world.v2.tree
    world.v2.fork(20)
    forked = world.v2.publish(60)
    world.v2.tell_the_truth()
    assert honest.root(80) == world.v2.tree.root(80)
    world.v2.serve_checkpoint(forked)

    await watch.poll()

    assert await watch.rules() == ["log-forked"]


async def test_a_fork_that_no_proof_was_asked_for_is_found_while_scanning(watch: Watch, world: World) -> None:
    world.noise(80)
    await watch.poll()
    world.noise(60)
    world.v2.fork(90)
    met = Checkpoint.parse(world.v2.publish(100))
    world.v2.tell_the_truth()
    await watch.fleet.follower(world.v2.origin)._keeper.poll()
    now = watch.now()
    believed = StoredCheckpoint(
        met.origin, met.size, met.root, met.raw, CheckpointSource.BUNDLE, CheckpointStatus.CONSISTENT, now, now
    )
    async with watch.store.write() as tx:
        await logs.add_checkpoint(tx, believed)

    await watch.poll()

    assert await watch.rules() == ["log-forked"]
    assert (await watch.cursor(world.v2.origin)).position == 140


async def test_an_old_checkpoint_is_an_old_replica_until_its_deadline(watch: Watch, world: World) -> None:
    world.noise(50)
    world.v2.publish()
    world.noise(50)
    await watch.poll()
    world.v2.serve_old(50)

    await watch.poll()
    assert await watch.found() == []
    watch.ahead = timedelta(minutes=31)
    await watch.poll()

    assert await watch.rules() == ["log-rolled-back"]
    assert (await watch.cursor(world.v2.origin)).position == 100


async def test_a_key_that_is_not_in_the_trusted_root_is_log_key_unknown_after_its_deadline(
    watch: Watch, world: World
) -> None:
    world.noise(10)
    await watch.poll()
    world.v2.sign_with(Ed25519PrivateKey.generate())
    world.noise(10)

    await watch.poll()
    assert await watch.found() == []
    watch.ahead = timedelta(minutes=16)
    await watch.poll()

    assert await watch.rules() == ["log-key-unknown"]
    assert (await watch.cursor(world.v2.origin)).position == 10


async def test_a_bad_signature_under_the_logs_own_key_is_checkpoint_invalid_at_once(watch: Watch, world: World) -> None:
    world.noise(10)
    await watch.poll()
    world.v2.sign_with(Ed25519PrivateKey.generate(), keep_key_id=True)
    world.noise(10)

    await watch.poll()
    await watch.poll()

    assert await watch.rules() == ["checkpoint-invalid"]
    assert (await watch.cursor(world.v2.origin)).position == 10


@pytest.mark.parametrize("trouble", ["html", "429", "500", "empty", "dropped", "down"])
async def test_a_log_out_of_reach_is_retried_quietly_until_its_deadline(
    watch: Watch, world: World, trouble: str
) -> None:
    world.noise(10)
    await watch.poll()
    match trouble:
        case "html":
            world.v2.reply(status=200, body=b"<html>maintenance</html>", content_type="text/html")
        case "429":
            world.v2.reply(status=429, headers={"Retry-After": "0"})
        case "500":
            world.v2.reply(status=500)
        case "empty":
            world.v2.reply(status=200, body=b"")
        case "dropped":
            world.v2.drop()
        case "down":
            await world.v2.stop()

    await watch.poll()
    assert await watch.found() == []
    watch.ahead = timedelta(minutes=16)
    await watch.poll()

    (finding,) = await watch.found()
    assert finding.rule == "log-unreachable"
    assert (await watch.cursor(world.v2.origin)).position == 10


async def test_trouble_in_the_middle_of_a_pass_keeps_what_was_proven_and_goes_on_afterwards(
    watch: Watch, world: World
) -> None:
    world.noise(6_000)
    world.v2.reply(status=503, path_prefix="/api/v2/tile/entries/012")

    await watch.poll()
    stopped = (await watch.cursor(world.v2.origin)).position
    assert 0 < stopped <= 12 * 256
    world.v2.heal()
    await watch.poll()

    assert world.v2.tree.root(6_000) == (await watch.cursor(world.v2.origin)).range.root()


async def test_tiles_that_do_not_lead_to_the_signed_root_move_nothing(watch: Watch, world: World) -> None:
    world.noise(300)
    await watch.poll()
    world.noise(300)
    world.v2.alter_tile(0, 1, bytes(32 * 256))

    await watch.poll()
    watch.ahead = timedelta(minutes=31)
    await watch.poll()

    assert (await watch.cursor(world.v2.origin)).position == 300
    assert "consistency-unproven" in await watch.rules()


async def test_growth_after_the_end_is_told(watch: Watch, world: World) -> None:
    world.noise(10)
    world.v2.freeze()
    await watch.poll()
    world.v2.append(b"{}")
    world.v2.publish()

    await watch.poll()

    assert "log-grew-after-end" in await watch.rules()


async def test_after_a_rotation_the_old_log_is_read_to_its_end_and_the_new_one_from_its_first_leaf(
    watch: Watch, world: World
) -> None:
    watch = replace(watch, options=WatchOptions(start="tip"))
    world.noise(10)
    await watch.poll()
    old = world.v2
    last = world.sign(claims=BRANCH)
    await world.rotate_v2()
    first = world.sign(claims=BRANCH)

    await watch.poll()

    places = {(f.log, f.index) for f in await watch.found() if f.rule == "branch-ref"}
    assert {(old.origin, last), (world.v2.origin, first)} == places


async def test_a_trouble_that_is_over_recovers_though_the_log_no_longer_grows(watch: Watch, world: World) -> None:
    world.noise(300)
    await watch.poll()
    world.noise(300)
    world.v2.alter_tile(0, 1, bytes(32 * 256))
    await watch.poll()
    world.v2.tell_the_truth()

    await watch.poll()
    await watch.poll()
    watch.ahead = timedelta(minutes=31)

    assert await watch.rules() == []
    async with watch.store.read() as tx:
        unproven = [c for c in await health.conditions(tx) if c.rule == "consistency-unproven" and c.failing_since]
    assert [c.good_passes for c in unproven] == [2]


async def test_a_start_beyond_the_head_is_refused_by_name_until_the_log_has_come_there(
    watch: Watch, world: World
) -> None:
    world.noise(5)
    watch = replace(watch, options=WatchOptions(start=8))

    passed = (await watch.poll())[world.v2.origin]

    assert passed.error is not None
    assert "from leaf 8" in passed.error
    async with watch.store.read() as tx:
        assert await logs.cursor(tx, world.v2.origin) is None
    world.noise(5)
    assert (await watch.poll())[world.v2.origin].error is None
    assert (await watch.cursor(world.v2.origin)).started_at == 8


async def test_a_mode_that_a_log_cannot_run_is_told_and_it_is_followed_all_the_same(watch: Watch, world: World) -> None:
    world.sign(claims=BRANCH)
    watch.modes = {world.v2.origin: Mode.SEARCH}

    passed = (await watch.poll())[world.v2.origin]

    assert passed.entries == 1
    assert "is none that" in watch.fleet.unreached[f"settings:{world.v2.origin}"]
    watch.ahead = timedelta(hours=1)
    await watch.poll()
    assert await watch.rules() == ["branch-ref", "not-as-configured"]
    watch.modes = {}
    await watch.poll()
    assert f"settings:{world.v2.origin}" not in watch.fleet.unreached
