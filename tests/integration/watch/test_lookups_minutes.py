"""Looking for the entries of our certificates in their ten minutes, where Rekor v1's index is of no use."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from monitor.model.lookup import LookupState
from monitor.store import health
from monitor.testbed.bodies import hashedrekord_v1
from monitor.testbed.ca import Claims
from monitor.watch import certificates
from monitor.watch.certificates import MARGIN
from tests.integration.watch.searched import BRANCH, INDEX, PAGES, RETRIEVE

if TYPE_CHECKING:
    from datetime import datetime

    from tests.integration.watch.searched import Hunt


async def minutes(hunt: Hunt) -> list[tuple[datetime, datetime]]:
    """The stretch of time in which the entry of each certificate is looked for."""
    await hunt.poll()
    return [(each.not_before - MARGIN, each.not_after + MARGIN) for each in await hunt.lookups()]


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
    (read,) = await hunt.covered()
    assert 300 - 64 <= read.begin <= 300
    assert read.end == 501


async def test_reading_goes_on_while_the_certificate_is_valid_and_what_it_signs_second_is_found(hunt: Hunt) -> None:
    hunt.say()
    hunt.world.noise(30, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    first = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    await hunt.look_up()
    assert await hunt.states() == [LookupState.FOUND]
    hunt.clock.move(minutes=4)
    hunt.world.noise(50, "v1")
    second = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes([1] * 32)))
    await hunt.look_up()
    assert await hunt.indexes_stored() == [first, second]
    assert (await hunt.lookups())[0].read_at is None

    hunt.world.noise(50, "v1")
    assert await hunt.read_at_last() == [True]
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
    assert await hunt.covered() == []

    hunt.clock.move(minutes=2)
    await hunt.look_up()

    assert await hunt.indexes_stored() == [index]
    assert await hunt.states() == [LookupState.FOUND]


async def test_overlapping_minutes_are_read_once(hunt: Hunt) -> None:
    hunt.say()
    hunt.world.noise(500, "v1")
    hunt.clock.move(minutes=60)
    for _ in range(4):
        hunt.issue()
        hunt.clock.move(minutes=2)
        hunt.world.noise(500, "v1")
    await hunt.poll()
    before = hunt.asked(RETRIEVE)
    for _ in range(2):
        hunt.clock.move(minutes=12)
        await hunt.look_up()

    assert all(lookup.read_at for lookup in await hunt.lookups())
    (read,) = await hunt.covered()
    pages = -(-(read.end - read.begin) // 10)
    assert read.end - read.begin >= 2000
    assert hunt.asked(RETRIEVE) - before <= pages + 60  # the borders' samples and the control's page besides


async def test_a_stop_between_strides_loses_and_repeats_nothing(hunt: Hunt) -> None:
    hunt.say()
    hunt.issue()
    hunt.world.noise(1500, "v1")
    hunt.clock.move(minutes=14)
    await hunt.poll()
    for follower in hunt.server.shards:
        follower._stride = 256
    asked = hunt.asked(RETRIEVE)

    searched = await hunt.looking.run_pass(lambda: hunt.asked(RETRIEVE) > asked + 20)
    (first,) = await hunt.covered()
    assert 0 < first.end < 1500
    assert not searched.more
    before = hunt.asked(RETRIEVE)

    again = hunt.restarted()
    await again.look_up()

    assert [(each.begin, each.end) for each in await hunt.covered()] == [(0, 1500)]
    assert hunt.asked(RETRIEVE) - before <= (1500 - first.end) // 10 + 20
    assert [lookup.read_at is not None for lookup in await again.lookups()] == [True]


async def test_a_pass_ends_at_its_time_and_asks_to_be_begun_again(hunt: Hunt, monkeypatch: pytest.MonkeyPatch) -> None:
    hunt.say()
    hunt.issue()
    hunt.world.noise(1500, "v1")
    hunt.clock.move(minutes=14)
    hunt = replace(hunt, pass_time=40)
    seconds = count()
    monkeypatch.setattr(certificates, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    await hunt.poll()
    for follower in hunt.server.shards:
        follower._stride = 256
    passes = 0
    while (await hunt.look_up()).more:
        passes += 1
    assert passes > 1
    assert [lookup.read_at is not None for lookup in await hunt.lookups()] == [True]
    assert [(each.begin, each.end) for each in await hunt.covered()] == [(0, 1500)]


async def test_entries_of_strangers_in_those_minutes_are_never_stored(hunt: Hunt) -> None:
    hunt.say()
    hunt.issue()
    hunt.world.noise(200, "v1")
    hunt.world.sign("v1", claims=Claims(org="TruStacks-evil"))
    hunt.world.sign("v1", bare_key=True)
    assert await hunt.read_at_last() == [True]
    assert await hunt.stored() == []


async def test_a_place_that_cannot_be_read_is_told_and_the_rest_is_read(hunt: Hunt) -> None:
    hunt.say()
    hunt.issue()
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
    assert await hunt.read_at_last() == [True]
    async with hunt.store.read() as tx:
        told = [each for each in await health.conditions(tx) if each.source.startswith("windows:")]
    assert told[0].good_passes == 1


async def test_minutes_whose_place_cannot_be_found_do_not_hold_up_those_of_other_certificates(hunt: Hunt) -> None:
    hunt.say()
    hunt.issue()
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
    hunt.say()
    hunt.world.noise(300, "v1")
    await hunt.poll()
    hunt.clock.move(minutes=60)
    hunt.issue()
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
    assert await hunt.states() == [LookupState.OPEN]

    assert await hunt.read_at_last() == [True]

    assert await hunt.indexes_stored() == [decoy, index]
    assert await hunt.states() == [LookupState.FOUND]
