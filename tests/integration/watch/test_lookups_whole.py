"""When it is said of a certificate that everything was read in which its entry could stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.model.log import Mode, uncovered
from monitor.model.lookup import LookupState
from monitor.testbed.bodies import hashedrekord_v1
from monitor.trust import root as trust_root
from tests.integration.watch.searched import BRANCH, INDEX, PAGES

if TYPE_CHECKING:
    from tests.integration.watch.searched import Hunt


async def test_a_certificate_that_signed_nothing_is_looked_for_everywhere_and_said_to_be(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    hunt.issue()
    await hunt.look_up()
    assert (await hunt.lookups())[0].read_at is None

    assert await hunt.read_at_last() == [True]

    assert await hunt.states() == [LookupState.OPEN]
    (read,) = await hunt.covered()
    assert (read.begin, read.end) == (0, 100)
    asked = hunt.asked(PAGES), hunt.asked(INDEX)
    await hunt.look_up()
    assert (hunt.asked(PAGES), hunt.asked(INDEX)) == asked


async def test_a_log_that_is_only_searched_is_never_said_to_be_read(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.SEARCH)
    hunt.world.noise(100, "v1")
    hunt.issue()
    index = hunt.world.sign("v1", claims=replace(BRANCH, run="1"))
    await hunt.look_up()
    assert await hunt.indexes_stored() == [index]
    assert await hunt.read_at_last() == [False, False]
    assert await hunt.covered() == []


async def test_a_log_that_is_read_completely_is_asked_nothing_and_waited_for(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.COMPLETE)
    hunt.world.noise(100, "v1")
    hunt.issue()
    await hunt.look_up()
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]
    assert await hunt.read_at_last() == [True]
    assert hunt.asked(INDEX) == 0


async def test_another_log_that_is_behind_is_waited_for(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    hunt.issue()
    await hunt.look_up()
    hunt.clock.move(minutes=14)
    await hunt.fleet.muster(trust_root.parse(hunt.world.trusted_root_json()))
    for follower in hunt.server.shards:
        await follower.run_pass(lambda: False)
    await hunt.looking.run_pass(lambda: False)
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]

    await hunt.look_up()
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]


async def test_a_v1_server_that_was_never_reached_is_not_passed_over(hunt: Hunt) -> None:
    await hunt.world.v1.stop()
    hunt.issue()
    await hunt.look_up()
    assert await hunt.read_at_last() == [False]
    await hunt.world.v1.start()
    assert await hunt.read_at_last() == [True]


async def test_a_log_of_signatures_that_is_left_out_is_not_said_to_be_read(hunt: Hunt) -> None:
    hunt.world.noise(10, "v1")
    v2 = hunt.world.v2.origin
    hunt.fleet._options = replace(
        hunt.options, logs=tuple(replace(log, ignore=log.ignore or log.origin == v2) for log in hunt.options.logs)
    )
    hunt.issue()
    await hunt.look_up()
    assert await hunt.read_at_last() == [False]


async def test_a_log_of_signatures_of_an_unknown_kind_is_not_said_to_be_read(hunt: Hunt) -> None:
    hunt.world.noise(10, "v1")
    hunt.issue()
    await hunt.poll()
    hunt.clock.move(minutes=14)
    await hunt.poll()
    root = replace(trust_root.parse(hunt.world.trusted_root_json()), skipped=("tlogs[9].publicKey is of another kind",))
    await hunt.fleet.muster(root)
    await hunt.looking.run_pass(lambda: False)
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]


async def test_what_a_certificate_of_a_whole_year_may_have_signed_is_never_said_to_be_read(hunt: Hunt) -> None:
    hunt.say()
    key = generate_private_key(SECP256R1())
    hunt.world.ca.issue(key.public_key(), BRANCH, minutes=60 * 24 * 365)
    hunt.world.noise(100, "v1")
    hunt.clock.move(minutes=70)
    hunt.world.noise(300, "v1")
    assert await hunt.read_at_last() == [False]
    (read,) = await hunt.covered()
    assert read.end <= 100 + 64
    assert uncovered([read], 0, 100) == []
    assert timedelta(days=364) < (await hunt.lookups())[0].not_after - hunt.clock()


async def test_a_log_that_keeps_an_entry_of_those_minutes_back_is_never_said_to_be_read(hunt: Hunt) -> None:
    hunt.say()
    hunt.issue()
    hunt.world.noise(30, "v1")
    hidden = hunt.world.sign("v1", claims=replace(BRANCH, run="1"))
    hunt.world.noise(30, "v1")
    hunt.world.v1.omit(hidden, also_singly=True)
    assert await hunt.read_at_last() == [False, False]

    hunt.world.v1.tell_the_truth()
    await hunt.look_up()
    await hunt.look_up()
    assert await hunt.indexes_stored() == [hidden]
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True, True]


async def test_what_a_late_replica_shows_only_after_all_was_read_is_read_too(hunt: Hunt) -> None:
    hunt.say()
    hunt.world.noise(30, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    index = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    hunt.world.v1.serve_old(30)
    assert await hunt.read_at_last() == [True]

    hunt.world.v1.tell_the_truth()
    hunt.say()
    hunt.world.v1.omit(index, also_singly=True)
    hunt.world.noise(5, "v1")
    await hunt.look_up()
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]

    hunt.world.v1.tell_the_truth()
    hunt.say()
    await hunt.look_up()
    assert await hunt.indexes_stored() == [index]
    assert await hunt.states() == [LookupState.FOUND]


async def test_a_log_that_is_read_completely_from_today_on_was_not_read_before(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.SEARCH, tip=True)
    hunt.world.noise(10, "v1")
    await hunt.look_up()
    hunt.clock.move(seconds=5)
    hunt.issue()
    hunt.clock.move(seconds=5)
    hunt.world.noise(50, "v1")
    await hunt.look_up()
    assert await hunt.read_at_last() == [False]

    hunt = replace(hunt, mode=Mode.COMPLETE)
    for _ in range(2):
        hunt.clock.move(minutes=5)
        await hunt.look_up()
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]

    await hunt.server.shards[-1].span(10, 60, lambda: False)
    await hunt.look_up()
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]


async def test_a_server_that_ended_before_a_certificate_began_need_not_answer(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    await hunt.poll()
    hunt.world.end_v1()
    hunt.clock.move(minutes=5)
    hunt.issue()
    await hunt.poll()
    await hunt.world.v1.stop()
    hunt.clock.move(minutes=14)
    root = trust_root.parse(hunt.world.trusted_root_json())
    for follower in await hunt.fleet.muster(root):
        await follower.run_pass(lambda: False)

    searched = await hunt.looking.run_pass(lambda: False)

    assert searched.errors == ()
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]
