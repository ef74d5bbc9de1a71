"""Looking for the entries of our certificates in Rekor v1's index."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.entries.payloads import predicted
from monitor.model.log import Mode
from monitor.model.lookup import LookupState
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.store import releases
from monitor.testbed.bodies import hashedrekord_v1
from monitor.testbed.ca import Claims
from tests.integration.watch.searched import BRANCH, INDEX, PAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from tests.integration.watch.searched import Hunt


async def test_the_entry_is_found_by_subject_at_once_and_nothing_is_read(hunt: Hunt) -> None:
    hunt.world.noise(300, "v1")
    index = hunt.world.sign("v1", claims=BRANCH)

    searched = await hunt.look_up()

    assert (await hunt.stored())[0].digest
    assert await hunt.indexes_stored() == [index]
    assert searched.entries == 1
    assert searched.findings >= 1
    assert await hunt.states() == [LookupState.FOUND]
    assert await hunt.covered() == []


async def test_an_entry_that_is_not_there_yet_is_asked_for_again_at_each_pass(hunt: Hunt) -> None:
    hunt.world.noise(300, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    await hunt.look_up()
    await hunt.look_up()
    assert await hunt.states() == [LookupState.OPEN]

    index = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    await hunt.look_up()

    assert await hunt.indexes_stored() == [index]
    assert (await hunt.lookups())[0].searched_at is not None
    assert await hunt.covered() == []


async def test_what_a_found_certificate_signs_later_is_found_too(hunt: Hunt) -> None:
    hunt.world.noise(50, "v1")
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), BRANCH)
    first = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes(32)))
    await hunt.look_up()
    assert await hunt.states() == [LookupState.FOUND]

    second = hunt.world.v1.append(hashedrekord_v1(key, certificate, bytes([1] * 32)))
    hunt.clock.move(minutes=3)
    await hunt.look_up()

    assert await hunt.indexes_stored() == [first, second]


async def test_an_index_that_names_strangers_costs_each_of_them_once(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    hunt.issue()
    await hunt.look_up()
    hunt.say([hunt.world.v1.active.uuid(index) for index in range(40)])
    await hunt.look_up()
    asked = hunt.asked(PAGES)

    for _ in range(3):
        await hunt.look_up()

    assert await hunt.stored() == []
    assert hunt.asked(PAGES) == asked
    assert await hunt.states() == [LookupState.OPEN]


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
    hunt.say()
    hunt.world.noise(100, "v1")
    hunt.issue()
    hunt = replace(hunt, watch_from=hunt.clock() + timedelta(days=7))
    await hunt.look_up()
    assert await hunt.read_at_last() == [False]
    assert await hunt.covered() == []
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


async def test_the_index_is_asked_ever_more_seldom_for_what_it_does_not_have(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.SEARCH)
    hunt.world.noise(100, "v1")
    hunt.issue()
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
