"""Searching Rekor v1's index for what is ours: on a server that has it, one that ignores it, and one that lies."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.entries.keys import spki_of
from monitor.entries.payloads import predicted
from monitor.judge import intake
from monitor.model.log import Mode
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.rules.policy import Policy
from monitor.store import releases, searches
from monitor.testbed.ca import Claims
from tests.integration.watch.searched import INDEX, PAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.model.search import IndexState
    from monitor.testbed.world import Kind, World
    from tests.integration.watch.searched import Hunt

DIGEST = f"sha256:{'5a' * 32}"


def release(number: int) -> Claims:
    return Claims(ref=f"refs/tags/v0.{number}.0", run=str(18_000_000_000 + number))


async def expect(hunt: Hunt, version: str, digest: str) -> None:
    """A release whose control-plane image has this digest."""
    expected = ExpectedDigest(version, "control-plane", digest, DigestKind.TAG, Authority.APPROVED)
    async with hunt.store.write() as tx:
        hashes = predicted(digest, hunt.policy.references_of("control-plane"))
        await releases.add_digests(tx, [expected], hashes, hunt.clock())


async def state(hunt: Hunt) -> IndexState:
    async with hunt.store.read() as tx:
        kept = await searches.index_state(tx, hunt.world.v1.hostname)
    assert kept is not None
    return kept


def answer_always(world: World, uuids: Sequence[str]) -> None:
    world.v1.reply(body=json.dumps(list(uuids)).encode(), content_type="application/json", path_prefix=INDEX)


@pytest.mark.parametrize("mode", [Mode.CERTIFICATES, Mode.SEARCH])
async def test_the_history_of_every_known_release_is_brought_in_by_subject(hunt: Hunt, mode: Mode) -> None:
    hunt = replace(hunt, mode=mode)
    hunt.world.noise(30, "v1")
    signed = []
    for number in range(12):
        signed.append(hunt.world.sign("v1", claims=release(number)))
        hunt.world.noise(3, "v1")
        await expect(hunt, f"0.{number}.0", f"sha256:{number:064x}")

    searched = await hunt.search()

    assert await hunt.indexes_stored() == signed
    assert (searched.entries, searched.more, searched.errors) == (12, False, ())
    assert all(row.proven and row.digest for row in await hunt.stored())
    assert (await state(hunt)).honoured


async def test_a_signature_on_a_configured_branch_is_found(hunt: Hunt) -> None:
    hunt.world.noise(20, "v1")
    index = hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    hunt.world.sign("v1", claims=Claims(ref="refs/heads/other"))

    await hunt.search()

    assert await hunt.indexes_stored() == [index]
    assert "branch-ref" in (await hunt.stored())[0].rules


@pytest.mark.parametrize("kind", ["image", "legacy", "blob"])
async def test_a_signature_by_an_unknown_name_is_found_by_what_it_signs(hunt: Hunt, kind: Kind) -> None:
    await expect(hunt, "0.1.2", DIGEST)
    hunt.world.noise(20, "v1")
    strange = Claims(workflow="other.yml", ref="refs/pull/7/merge")
    reference = hunt.policy.references_of("control-plane")[0]
    index = hunt.world.sign("v1", DIGEST, strange, kind=kind, reference=reference)

    await hunt.search()

    assert await hunt.indexes_stored() == [index]


@pytest.mark.parametrize("kind", ["image", "blob"])
async def test_a_watched_key_is_found_in_every_kind_of_entry(hunt: Hunt, kind: Kind) -> None:
    key = generate_private_key(SECP256R1())
    spki = spki_of(key.public_key())
    key_id = sha256(spki).hexdigest()
    hunt = replace(hunt, keys=(spki,), policy=Policy(contributor_keys=frozenset({key_id})))
    hunt.world.noise(20, "v1")
    index = hunt.world.sign("v1", key=key, bare_key=True, kind=kind)

    await hunt.search()

    assert await hunt.indexes_stored() == [index]
    assert "contributor-key" in (await hunt.stored())[0].rules


async def test_entries_that_are_not_ours_are_never_stored_and_fetched_once(hunt: Hunt) -> None:
    await expect(hunt, "0.1.2", DIGEST)
    hunt.world.noise(20, "v1")
    for number in range(3):
        hunt.world.sign("v1", DIGEST, Claims(org="globex", run=str(number)), kind="blob")

    await hunt.search()
    fetched = hunt.asked(PAGES)
    for _ in range(3):
        await hunt.search()

    assert await hunt.stored() == []
    assert hunt.asked(PAGES) == fetched


async def test_a_new_release_is_asked_for_at_once_and_the_rest_in_turn(hunt: Hunt) -> None:
    hunt.world.noise(20, "v1")
    for number in range(40):
        await expect(hunt, f"0.{number}.0", f"sha256:{number:064x}")
    await hunt.search()
    swept = hunt.asked(INDEX)
    assert swept > 40 * 2

    await hunt.search()
    assert hunt.asked(INDEX) == swept + 20

    await expect(hunt, "0.99.0", DIGEST)
    index = hunt.world.sign("v1", claims=release(99))
    await hunt.search()
    assert await hunt.indexes_stored() == [index]
    assert hunt.asked(INDEX) <= swept + 20 + 30


async def test_what_is_signed_under_a_known_name_is_found_within_a_few_passes(hunt: Hunt) -> None:
    hunt.world.noise(20, "v1")
    for number in range(10):
        await expect(hunt, f"0.{number}.0", f"sha256:{number:064x}")
    await hunt.search()
    index = hunt.world.sign("v1", claims=release(3))

    for _ in range(4):
        await hunt.search()

    assert await hunt.indexes_stored() == [index]


async def test_a_stop_ends_a_sweep_and_the_next_pass_goes_on_where_it_stood(hunt: Hunt) -> None:
    hunt.world.noise(20, "v1")
    for number in range(30):
        await expect(hunt, f"0.{number}.0", f"sha256:{number:064x}")
    await hunt.poll()
    looks = iter(range(1 << 30))

    searched = await hunt.searching.run_pass(lambda: next(looks) > 30)
    assert searched.more
    before = hunt.asked(INDEX)
    assert not (await hunt.searching.run_pass(lambda: False)).more

    wanted = len(await hunt.searching._wanted())
    assert before < wanted
    assert hunt.asked(INDEX) <= wanted + 40


async def test_an_old_server_that_ignores_subjects_fails_the_positive_control(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    answer_always(hunt.world, [])

    searched = await hunt.search()

    kept = await state(hunt)
    assert not kept.honoured
    assert "named none of their entries" in kept.reason
    assert searched.errors == ()


async def test_an_empty_log_gives_nothing_to_test_the_index_with(hunt: Hunt) -> None:
    await hunt.search()
    assert "nothing in the log" in (await state(hunt)).reason


@pytest.mark.parametrize("status", [404, 500, 501])
async def test_an_index_that_is_turned_off_is_named_and_nothing_else_suffers(hunt: Hunt, status: int) -> None:
    hunt.world.noise(40, "v1")
    hunt.world.v1.reply(status=status, path_prefix=INDEX)

    searched = await hunt.search()

    kept = await state(hunt)
    assert not kept.honoured
    assert f"{status}" in kept.reason
    assert f"{status}" in dict(searched.errors)[hunt.world.v1.hostname]

    asked = hunt.asked(INDEX)
    await hunt.search()
    assert hunt.asked(INDEX) == asked
    hunt.world.v1.heal()
    hunt.clock.move(seconds=61)
    await hunt.search()
    assert (await state(hunt)).honoured


async def test_the_control_holds_for_an_hour_and_a_failed_one_for_minutes(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    await hunt.search()
    first = (await state(hunt)).at
    hunt.clock.move(minutes=50)
    await hunt.search()
    assert (await state(hunt)).at == first
    hunt.clock.move(minutes=11)
    answer_always(hunt.world, [])
    await hunt.search()
    assert not (await state(hunt)).honoured

    hunt.world.v1.heal()
    hunt.clock.move(minutes=6)
    await hunt.search()
    assert (await state(hunt)).honoured


async def test_the_control_is_made_with_an_entry_of_ours_once_one_is_stored(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    await hunt.search()
    again = hunt.restarted()
    pages = hunt.asked(PAGES)

    await again.search()

    assert (await state(hunt)).honoured
    assert hunt.asked(PAGES) == pages


async def test_a_subject_with_more_entries_than_an_answer_may_hold_does_not_fail_the_control(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    hunt.world.v1.reply(body=b"[" + b" " * 20_000_000, content_type="application/json", path_prefix=INDEX, times=1)
    await hunt.search()
    assert (await state(hunt)).honoured


@pytest.mark.parametrize(
    "uuids",
    [
        [f"{7:016x}{number:064x}" for number in range(50)],
        ["zz" * 40],
        ["ab" * 40] * 100_001,
    ],
    ids=["an unknown tree", "no hexadecimal", "too many"],
)
async def test_a_hostile_index_adds_nothing_and_hides_nothing_from_the_next_pass(hunt: Hunt, uuids: list[str]) -> None:
    hunt.world.noise(40, "v1")
    index = hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    answer_always(hunt.world, uuids)
    await hunt.search()
    assert await hunt.stored() == []

    hunt.world.v1.heal()
    hunt.clock.move(seconds=61)
    await hunt.search()

    assert await hunt.indexes_stored() == [index]


async def test_entries_that_the_log_does_not_have_are_asked_for_ever_more_seldom(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    tree = hunt.world.v1.active.tree_id
    answer_always(hunt.world, [f"{tree:016x}{number:064x}" for number in range(5)])
    await hunt.search()
    first = hunt.asked(PAGES)

    await hunt.search()
    assert hunt.asked(PAGES) - first <= 3  # the control's pages only
    hunt.clock.move(seconds=25)
    before = hunt.asked(PAGES)
    await hunt.search()
    assert hunt.asked(PAGES) > before


async def test_an_entry_whose_proof_does_not_hold_is_not_stored_until_it_does(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    await hunt.search()
    index = hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    hunt.world.v1.alter_leaf(index, b"{}")
    await hunt.search()
    assert await hunt.stored() == []

    hunt.world.v1.tell_the_truth()
    hunt.clock.move(seconds=25)
    await hunt.search()
    assert await hunt.indexes_stored() == [index]


async def test_a_page_of_hits_is_taken_in_at_once_and_a_bad_one_in_it_loses_no_other(hunt: Hunt) -> None:
    hunt.world.noise(40, "v1")
    await hunt.search()
    signed = [hunt.world.sign("v1", claims=Claims(ref="refs/heads/main", run=str(number))) for number in range(8)]
    hunt.world.v1.alter_leaf(signed[3], b"{}")

    searched = await hunt.search()

    assert await hunt.indexes_stored() == [*signed[:3], *signed[4:]]
    assert searched.entries == 7
    assert len({row.first_seen for row in await hunt.stored()}) == 1, "of one transaction"

    hunt.world.v1.tell_the_truth()
    hunt.clock.move(seconds=25)
    await hunt.search()
    assert await hunt.indexes_stored() == signed


async def test_a_page_whose_transaction_fails_leaves_nothing_and_is_taken_in_once_afterwards(
    hunt: Hunt, monkeypatch: pytest.MonkeyPatch
) -> None:
    hunt.world.noise(40, "v1")
    signed = [hunt.world.sign("v1", claims=Claims(ref="refs/heads/main", run=str(number))) for number in range(8)]
    take = intake.take

    async def cut_short(*given: Any, **named: Any) -> None:  # noqa: ANN401 - whatever it takes
        await take(*given, **named)
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(intake, "take", cut_short)
        with pytest.raises(asyncio.CancelledError):
            await hunt.search()
    assert await hunt.stored() == []

    hunt.clock.move(minutes=2)
    await hunt.search()
    assert await hunt.indexes_stored() == signed


async def test_entries_of_an_ended_shard_are_taken_in_under_its_own_name(hunt: Hunt) -> None:
    hunt.world.noise(10, "v1")
    hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    hunt.world.v1.rotate()
    hunt.world.noise(10, "v1")

    await hunt.search()

    (row,) = await hunt.stored()
    assert (row.log, row.index) == (hunt.world.v1.origin(hunt.world.v1.shards[0]), 10)


async def test_entries_of_a_shard_that_is_not_listed_yet_are_taken_in_once_it_is(hunt: Hunt) -> None:
    hunt.world.noise(20, "v1")
    await hunt.search()
    shard = hunt.world.v1.rotate()
    index = hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    await hunt.searching.run_pass(lambda: False)
    assert await hunt.stored() == []

    hunt.clock.move(minutes=1)
    await hunt.search()

    (row,) = await hunt.stored()
    assert (row.log, row.index) == (hunt.world.v1.origin(shard), index - 20)


async def test_a_log_that_is_read_completely_is_not_searched(hunt: Hunt) -> None:
    hunt = replace(hunt, mode=Mode.COMPLETE)
    hunt.world.noise(10, "v1")
    await hunt.search()
    assert hunt.asked(INDEX) == 0


async def test_history_that_search_brings_in_is_marked_as_history(hunt: Hunt) -> None:
    hunt.world.noise(10, "v1")
    hunt.world.sign("v1", claims=Claims(ref="refs/heads/main"))
    hunt = replace(hunt, watch_from=hunt.clock() + timedelta(minutes=1))
    await hunt.search()
    assert [row.history for row in await hunt.stored()] == [True]
