"""Looking for the entries of our certificates in Rekor v1: by its index, and where that is of no use, in their ten minutes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from monitor.entries.payloads import predicted
from monitor.model.log import Coverage, Mode, uncovered
from monitor.model.lookup import LookupState
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.store import health, logs, releases
from monitor.testbed.bodies import hashedrekord_v1
from monitor.testbed.ca import Claims
from monitor.trust import root as trust_root
from monitor.watch.certificates import MARGIN
from tests.integration.watch.searched import INDEX, PAGES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography.x509 import Certificate

    from monitor.testbed.world import World
    from tests.integration.watch.searched import Hunt

BRANCH = Claims(ref="refs/heads/feature")
"""A ref that no search knows beforehand: only its certificate leads to it."""
RETRIEVE = f"{PAGES}/retrieve"


def say(world: World, uuids: Sequence[str] = ()) -> None:
    """Let the index answer this to everything; a server that does not know subjects answers nothing at all."""
    world.v1.reply(body=json.dumps(list(uuids)).encode(), content_type="application/json", path_prefix=INDEX)


def issue(hunt: Hunt, claims: Claims = BRANCH) -> Certificate:
    """A certificate of ours that signs nothing."""
    return hunt.world.ca.issue(generate_private_key(SECP256R1()).public_key(), claims)


async def covered(hunt: Hunt) -> list[Coverage]:
    async with hunt.store.read() as tx:
        return await logs.coverage(tx, hunt.world.v1.origin())


async def states(hunt: Hunt) -> list[LookupState]:
    return [lookup.state for lookup in await hunt.lookups()]


async def minutes(hunt: Hunt) -> list[tuple[datetime, datetime]]:
    """The stretch of time in which the entry of each certificate is looked for."""
    await hunt.poll()
    return [(each.not_before - MARGIN, each.not_after + MARGIN) for each in await hunt.lookups()]


async def read_at_last(hunt: Hunt) -> list[bool]:
    """Pass after the certificates are over: whether all was read in which each one's entry could stand."""
    hunt.clock.move(minutes=14)
    await hunt.look_up()
    return [lookup.read_at is not None for lookup in await hunt.lookups()]


async def test_the_entry_is_found_by_subject_at_once_and_nothing_is_read(hunt: Hunt) -> None:
    hunt.world.noise(300, "v1")
    index = hunt.world.sign("v1", claims=BRANCH)

    searched = await hunt.look_up()

    assert (await hunt.stored())[0].digest
    assert await hunt.indexes_stored() == [index]
    assert searched.entries == 1
    assert searched.findings >= 1
    assert await states(hunt) == [LookupState.FOUND]
    assert await covered(hunt) == []


async def test_an_entry_that_is_not_there_yet_is_asked_for_again_at_each_pass(hunt: Hunt) -> None:
    hunt.world.noise(300, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    await hunt.look_up()
    await hunt.look_up()
    assert await states(hunt) == [LookupState.OPEN]

    index = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    await hunt.look_up()

    assert await hunt.indexes_stored() == [index]
    assert (await hunt.lookups())[0].searched_at is not None
    assert await covered(hunt) == []


async def test_what_a_found_certificate_signs_later_is_found_too(hunt: Hunt) -> None:
    hunt.world.noise(50, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    first = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    await hunt.look_up()
    assert await states(hunt) == [LookupState.FOUND]

    second = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes([1] * 32)))
    hunt.clock.move(minutes=3)
    await hunt.look_up()

    assert await hunt.indexes_stored() == [first, second]


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"[]"), (404, b""), (500, b"no"), (501, b"no"), (200, b"<html>sorry</html>")]
)
async def test_with_an_index_that_is_of_no_use_the_minutes_are_read_at_once(
    hunt: Hunt, status: int, body: bytes
) -> None:
    hunt.world.v1.reply(status=status, body=body, content_type="application/json", path_prefix=INDEX)
    hunt.world.noise(300, "v1")
    hunt.clock.move(minutes=60)
    hunt.world.noise(100, "v1")
    index = hunt.world.sign("v1", claims=BRANCH)
    hunt.world.noise(100, "v1")

    await hunt.look_up()

    assert await hunt.indexes_stored() == [index]
    assert (await hunt.stored())[0].digest
    (read,) = await covered(hunt)
    assert 300 - 64 <= read.begin <= 300
    assert read.end == 501


async def test_reading_goes_on_while_the_certificate_is_valid_and_what_it_signs_second_is_found(hunt: Hunt) -> None:
    say(hunt.world)
    hunt.world.noise(30, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    first = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    await hunt.look_up()
    assert await states(hunt) == [LookupState.FOUND]
    hunt.clock.move(minutes=4)
    hunt.world.noise(50, "v1")
    second = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes([1] * 32)))
    await hunt.look_up()
    assert await hunt.indexes_stored() == [first, second]
    assert (await hunt.lookups())[0].read_at is None

    hunt.world.noise(50, "v1")
    assert await read_at_last(hunt) == [True]
    asked = hunt.asked(PAGES)
    await hunt.look_up()
    assert hunt.asked(PAGES) == asked


async def test_an_entry_that_the_index_lost_is_found_when_its_certificate_is_over(hunt: Hunt) -> None:
    hunt.world.noise(300, "v1")
    index = hunt.world.sign("v1", claims=BRANCH)
    hunt.world.noise(100, "v1")
    shard = hunt.world.v1.active
    assert shard.indexed()[index]
    shard.keys[index] = frozenset()  # it was never written into the index
    await hunt.look_up()
    hunt.clock.move(minutes=11)
    await hunt.look_up()
    assert await hunt.stored() == []
    assert await covered(hunt) == []

    hunt.clock.move(minutes=2)
    await hunt.look_up()

    assert await hunt.indexes_stored() == [index]
    assert await states(hunt) == [LookupState.FOUND]


async def test_a_certificate_that_signed_nothing_is_looked_for_everywhere_and_said_to_be(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    issue(hunt)
    await hunt.look_up()
    assert (await hunt.lookups())[0].read_at is None

    assert await read_at_last(hunt) == [True]

    assert await states(hunt) == [LookupState.OPEN]
    (read,) = await covered(hunt)
    assert (read.begin, read.end) == (0, 100)
    asked = hunt.asked(PAGES), hunt.asked(INDEX)
    await hunt.look_up()
    assert (hunt.asked(PAGES), hunt.asked(INDEX)) == asked


async def test_overlapping_minutes_are_read_once(hunt: Hunt) -> None:
    say(hunt.world)
    hunt.world.noise(500, "v1")
    hunt.clock.move(minutes=60)
    for _ in range(4):
        issue(hunt)
        hunt.clock.move(minutes=2)
        hunt.world.noise(500, "v1")
    await hunt.poll()
    before = hunt.asked(RETRIEVE)
    for _ in range(2):
        hunt.clock.move(minutes=12)
        await hunt.look_up()

    assert all(lookup.read_at for lookup in await hunt.lookups())
    (read,) = await covered(hunt)
    pages = -(-(read.end - read.begin) // 10)
    assert read.end - read.begin >= 2000
    assert hunt.asked(RETRIEVE) - before <= pages + 60  # the borders' samples and the control's page besides


async def test_a_stop_between_strides_loses_and_repeats_nothing(hunt: Hunt) -> None:
    say(hunt.world)
    issue(hunt)
    hunt.world.noise(1500, "v1")
    hunt.clock.move(minutes=14)
    await hunt.poll()
    for follower in hunt.server.shards:
        follower._stride = 256
    asked = hunt.asked(RETRIEVE)

    searched = await hunt.looking.run_pass(lambda: hunt.asked(RETRIEVE) > asked + 20)
    (first,) = await covered(hunt)
    assert 0 < first.end < 1500
    assert not searched.more
    before = hunt.asked(RETRIEVE)

    again = hunt.restarted()
    await again.look_up()

    assert [(each.begin, each.end) for each in await covered(hunt)] == [(0, 1500)]
    assert hunt.asked(RETRIEVE) - before <= (1500 - first.end) // 10 + 20
    assert [lookup.read_at is not None for lookup in await again.lookups()] == [True]


async def test_a_pass_ends_at_its_time_and_asks_to_be_begun_again(hunt: Hunt) -> None:
    say(hunt.world)
    issue(hunt)
    hunt.world.noise(1500, "v1")
    hunt.clock.move(minutes=14)
    hunt = replace(hunt, pass_time=0.2)
    passes = 0
    while (await hunt.look_up()).more:
        passes += 1
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]
    assert [(each.begin, each.end) for each in await covered(hunt)] == [(0, 1500)]


async def test_entries_of_strangers_in_those_minutes_are_never_stored(hunt: Hunt) -> None:
    say(hunt.world)
    issue(hunt)
    hunt.world.noise(200, "v1")
    hunt.world.sign("v1", claims=Claims(org="TruStacks-evil"))
    hunt.world.sign("v1", bare_key=True)
    assert await read_at_last(hunt) == [True]
    assert await hunt.stored() == []


async def test_an_index_that_names_strangers_costs_each_of_them_once(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    issue(hunt)
    await hunt.look_up()
    say(hunt.world, [hunt.world.v1.active.uuid(index) for index in range(40)])
    await hunt.look_up()
    asked = hunt.asked(PAGES)

    for _ in range(3):
        await hunt.look_up()

    assert await hunt.stored() == []
    assert hunt.asked(PAGES) == asked
    assert await states(hunt) == [LookupState.OPEN]


async def test_a_server_that_knows_hashes_and_no_subjects_finds_it_by_what_the_release_may_sign(
    hunt: Hunt, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = f"sha256:{'5a' * 32}"
    async with hunt.store.write() as tx:
        expected = ExpectedDigest("0.1.2", "control-plane", digest, DigestKind.TAG, Authority.APPROVED)
        known = predicted(digest, hunt.policy.references_of("control-plane"))
        await releases.add_digests(tx, [expected], known, hunt.clock())
    hunt.world.noise(300, "v1")
    index = hunt.world.sign("v1", digest, Claims())
    honest = hunt.world.v1.search

    def old(keys: Sequence[str], *, every: bool) -> list[str]:
        return honest([key for key in keys if key.startswith("sha256:")], every=every)

    monkeypatch.setattr(hunt.world.v1, "search", old)
    looked = await hunt.look_up()

    assert looked.entries == 1
    assert await hunt.indexes_stored() == [index]
    assert 5 <= hunt.asked(INDEX) <= 20


async def test_history_is_asked_for_and_its_minutes_are_not_read(hunt: Hunt) -> None:
    say(hunt.world)
    hunt.world.noise(100, "v1")
    issue(hunt)
    hunt = replace(hunt, watch_from=hunt.clock() + timedelta(days=7))
    await hunt.look_up()
    assert await read_at_last(hunt) == [False]
    assert await covered(hunt) == []
    assert (await hunt.lookups())[0].searched_at is not None
    asked = hunt.asked(INDEX)
    await hunt.look_up()
    assert hunt.asked(INDEX) == asked
    hunt.world.v1.heal()
    hunt.clock.move(hours=25)
    key = generate_private_key(SECP256R1())
    index = hunt.world.v1.append(hashedrekord_v1(key, hunt.world.ca.issue(key.public_key(), BRANCH), bytes(32)))
    await hunt.look_up()
    assert await hunt.indexes_stored() == [index]


async def test_a_log_that_is_only_searched_is_never_said_to_be_read(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.SEARCH)
    hunt.world.noise(100, "v1")
    issue(hunt)
    index = hunt.world.sign("v1", claims=replace(BRANCH, run="1"))
    await hunt.look_up()
    assert await hunt.indexes_stored() == [index]
    assert await read_at_last(hunt) == [False, False]
    assert await covered(hunt) == []


async def test_a_log_that_is_read_completely_is_asked_nothing_and_waited_for(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.COMPLETE)
    hunt.world.noise(100, "v1")
    issue(hunt)
    await hunt.look_up()
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]
    assert await read_at_last(hunt) == [True]
    assert hunt.asked(INDEX) == 0


async def test_another_log_that_is_behind_is_waited_for(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    issue(hunt)
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
    issue(hunt)
    await hunt.look_up()
    assert await read_at_last(hunt) == [False]
    await hunt.world.v1.start()
    assert await read_at_last(hunt) == [True]


async def test_a_log_of_signatures_that_is_left_out_is_not_said_to_be_read(hunt: Hunt) -> None:
    hunt.world.noise(10, "v1")
    v2 = hunt.world.v2.origin
    hunt.fleet._options = replace(
        hunt.options, logs=tuple(replace(log, ignore=log.ignore or log.origin == v2) for log in hunt.options.logs)
    )
    issue(hunt)
    await hunt.look_up()
    assert await read_at_last(hunt) == [False]


async def test_a_log_of_signatures_of_an_unknown_kind_is_not_said_to_be_read(hunt: Hunt) -> None:
    hunt.world.noise(10, "v1")
    issue(hunt)
    await hunt.poll()
    hunt.clock.move(minutes=14)
    await hunt.poll()
    root = replace(trust_root.parse(hunt.world.trusted_root_json()), skipped=("tlogs[9].publicKey is of another kind",))
    await hunt.fleet.muster(root)
    await hunt.looking.run_pass(lambda: False)
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]


async def test_a_place_that_cannot_be_read_is_told_and_the_rest_is_read(hunt: Hunt) -> None:
    say(hunt.world)
    issue(hunt)
    hunt.world.noise(100, "v1")
    hunt.clock.move(minutes=14)
    await hunt.poll()
    hunt.world.v1.reply(status=503, path_prefix=RETRIEVE)
    searched = await hunt.looking.run_pass(lambda: False)
    assert "503" in dict(searched.errors)[hunt.world.v1.hostname]
    async with hunt.store.read() as tx:
        told = [each for each in await health.conditions(tx) if each.source.startswith("windows:")]
    assert "minutes of 1 certificates" in told[0].error

    hunt.world.v1.heal()
    assert await read_at_last(hunt) == [True]
    async with hunt.store.read() as tx:
        told = [each for each in await health.conditions(tx) if each.source.startswith("windows:")]
    assert told[0].good_passes == 1


async def test_what_a_certificate_of_a_whole_year_may_have_signed_is_never_said_to_be_read(hunt: Hunt) -> None:
    say(hunt.world)
    key = generate_private_key(SECP256R1())
    hunt.world.ca.issue(key.public_key(), BRANCH, minutes=60 * 24 * 365)
    hunt.world.noise(100, "v1")
    hunt.clock.move(minutes=70)
    hunt.world.noise(300, "v1")
    assert await read_at_last(hunt) == [False]
    (read,) = await covered(hunt)
    assert read.end <= 100 + 64
    assert uncovered([read], 0, 100) == []
    assert timedelta(days=364) < (await hunt.lookups())[0].not_after - hunt.clock()


async def test_a_log_that_keeps_an_entry_of_those_minutes_back_is_never_said_to_be_read(hunt: Hunt) -> None:
    say(hunt.world)
    issue(hunt)
    hunt.world.noise(30, "v1")
    hidden = hunt.world.sign("v1", claims=replace(BRANCH, run="1"))
    hunt.world.noise(30, "v1")
    hunt.world.v1.omit(hidden, also_singly=True)
    assert await read_at_last(hunt) == [False, False]

    hunt.world.v1.tell_the_truth()
    await hunt.look_up()
    await hunt.look_up()
    assert await hunt.indexes_stored() == [hidden]
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True, True]


async def test_what_a_late_replica_shows_only_after_all_was_read_is_read_too(hunt: Hunt) -> None:
    say(hunt.world)
    hunt.world.noise(30, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    index = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    hunt.world.v1.serve_old(30)
    assert await read_at_last(hunt) == [True]

    hunt.world.v1.tell_the_truth()
    say(hunt.world)
    hunt.world.v1.omit(index, also_singly=True)
    hunt.world.noise(5, "v1")
    await hunt.look_up()
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]

    hunt.world.v1.tell_the_truth()
    say(hunt.world)
    await hunt.look_up()
    assert await hunt.indexes_stored() == [index]
    assert await states(hunt) == [LookupState.FOUND]


async def test_a_log_that_is_read_completely_from_today_on_was_not_read_before(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.SEARCH, tip=True)
    hunt.world.noise(10, "v1")
    await hunt.look_up()
    hunt.clock.move(seconds=5)
    issue(hunt)
    hunt.clock.move(seconds=5)
    hunt.world.noise(50, "v1")
    await hunt.look_up()
    assert await read_at_last(hunt) == [False]

    hunt = replace(hunt, mode=Mode.COMPLETE)
    for _ in range(2):
        hunt.clock.move(minutes=5)
        await hunt.look_up()
    assert [lookup.read_at for lookup in await hunt.lookups()] == [None]

    await hunt.server.shards[-1].span(10, 60, lambda: False)
    await hunt.look_up()
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]


async def test_minutes_whose_place_cannot_be_found_do_not_hold_up_those_of_other_certificates(hunt: Hunt) -> None:
    say(hunt.world)
    issue(hunt)
    hunt.world.noise(400, "v1")
    hunt.clock.move(minutes=60)
    hunt.world.noise(400, "v1")
    index = hunt.world.sign("v1", claims=replace(BRANCH, run="2"))
    for lost in range(60, 340):
        hunt.world.v1.omit(lost, also_singly=True)

    searched = await hunt.look_up()

    assert "neither leaf" in dict(searched.errors)[hunt.world.v1.hostname]
    assert await hunt.indexes_stored() == [index]


async def test_minutes_after_a_leaf_that_is_not_had_do_not_hold_up_those_of_other_certificates(hunt: Hunt) -> None:
    say(hunt.world)
    hunt.world.noise(300, "v1")
    await hunt.poll()
    hunt.clock.move(minutes=60)
    issue(hunt)
    hunt.world.noise(50, "v1")
    hunt.clock.move(minutes=30)
    hunt.world.noise(300, "v1")
    hunt.clock.move(minutes=30)
    hunt.world.noise(50, "v1")
    index = hunt.world.sign("v1", claims=replace(BRANCH, run="2"))
    first, _ = [(await hunt.windows.find(hunt.server, *span)).parts[0].begin for span in await minutes(hunt)]
    hunt.world.v1.omit(first - 1, also_singly=True)

    await hunt.look_up()

    assert await hunt.indexes_stored() == [index]


async def test_a_home_made_copy_of_a_certificate_does_not_stand_for_its_entry(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    der = certificate.public_bytes(Encoding.DER)
    copy = load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1]))
    decoy = hunt.world.v1.append(hashedrekord_v1(key, copy, bytes(32)))
    hunt.world.noise(100, "v1")
    shard = hunt.world.v1.active
    index = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes([1] * 32)))
    shard.indexed()
    shard.keys[index] = frozenset()  # it was never written into the index
    await hunt.look_up()
    assert await hunt.indexes_stored() == [decoy]
    assert await states(hunt) == [LookupState.OPEN]

    assert await read_at_last(hunt) == [True]

    assert await hunt.indexes_stored() == [decoy, index]
    assert await states(hunt) == [LookupState.FOUND]


async def test_the_index_is_asked_ever_more_seldom_for_what_it_does_not_have(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.SEARCH)
    hunt.world.noise(100, "v1")
    issue(hunt)
    await hunt.look_up()
    hunt.clock.move(hours=2)
    await hunt.look_up()
    asked = hunt.asked(INDEX)
    for _ in range(3):
        hunt.clock.move(minutes=15)
        await hunt.look_up()
    assert hunt.asked(INDEX) == asked

    hunt.clock.move(hours=24)
    hunt.world.sign("v1", claims=replace(BRANCH, run="1"))
    await hunt.look_up()
    assert len(await hunt.indexes_stored()) == 1


async def test_a_server_that_ended_before_a_certificate_began_need_not_answer(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    await hunt.poll()
    hunt.world.end_v1()
    hunt.clock.move(minutes=5)
    issue(hunt)
    await hunt.poll()
    await hunt.world.v1.stop()
    hunt.clock.move(minutes=14)
    root = trust_root.parse(hunt.world.trusted_root_json())
    for follower in await hunt.fleet.muster(root):
        await follower.run_pass(lambda: False)

    searched = await hunt.looking.run_pass(lambda: False)

    assert searched.errors == ()
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]
