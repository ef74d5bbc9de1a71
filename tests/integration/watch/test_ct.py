"""Following a certificate log that tells the truth, and one that lies; in both of its styles."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.ct.query import ENTRIES_LIMIT
from monitor.ct.static import DATA_LIMIT
from monitor.history import coverage
from monitor.history.coverage import Patience
from monitor.model.filters import EntryFilter, Page
from monitor.model.log import LogState, Mode
from monitor.store import entries, health, logs, lookups
from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from monitor.trust import root as trust_root
from monitor.trust.root import Window
from monitor.watch.options import WatchOptions
from tests.integration.watch.conftest import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.fetch import Client
    from monitor.store.engine import Store

BRANCH = Claims(ref="refs/heads/main", run="17000000042")
STRANGER = Claims(org="globex", repo="widgets", workflow="release.yml", ref="refs/tags/v9.0.0", run="51")


@pytest.fixture(params=["rfc6962", "static"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with World(ct_style=request.param) as world:
        yield world


@pytest.fixture
def watch(world: World, store: Store, client: Client) -> Watch:
    return Watch(world, store, client, only=world.ct.origin, certificates=True)


def strangers(world: World, count: int) -> None:
    for _ in range(count):
        world.issue_only(STRANGER)


async def test_a_certificate_from_a_branch_is_told_at_once_and_every_leaf_is_proven(watch: Watch, world: World) -> None:
    strangers(world, 12)
    at = world.ct.size
    world.issue_only(BRANCH)
    strangers(world, 3)

    passed = (await watch.poll())[world.ct.origin]

    assert (passed.behind, passed.entries, passed.error) == (0, 1, None)
    cursor = await watch.cursor(world.ct.origin)
    assert world.ct.history.tree.root(world.ct.size) == cursor.range.root()
    (finding,) = await watch.found()
    assert (finding.rule, finding.log, finding.index) == ("branch-ref", world.ct.origin, at)
    assert (finding.trusted, finding.run) == (
        True,
        "https://github.com/TruStacks/trustacks-mvp/actions/runs/17000000042",
    )


async def test_a_certificate_of_ours_is_looked_for_and_a_strangers_is_not(watch: Watch, world: World) -> None:
    world.issue_only(Claims())
    strangers(world, 2)

    await watch.poll()

    async with watch.store.read() as tx:
        (lookup,) = await lookups.unsettled(tx)
        (row,) = await entries.list_entries(tx, EntryFilter(), Page())
    assert lookup.subject == Claims().identity() == row.identity
    assert row.kind == "precertificate"


async def test_a_log_is_read_on_from_where_it_was_over_restarts(watch: Watch, world: World) -> None:
    strangers(world, 5)
    await watch.poll()
    strangers(world, 7)
    world.issue_only(BRANCH)

    passed = (await watch.restarted().poll())[world.ct.origin]

    assert (passed.leaves, passed.entries, passed.behind) == (8, 1, 0)


async def test_a_log_first_met_is_followed_from_its_tip(watch: Watch, world: World) -> None:
    world.issue_only(BRANCH)
    watch = replace(watch, options=WatchOptions())
    await watch.poll()
    assert await watch.found() == []

    world.issue_only(BRANCH)
    await watch.poll()

    assert await watch.rules() == ["branch-ref"]


async def test_two_histories_under_one_key_are_a_fork_and_both_heads_are_kept(watch: Watch, world: World) -> None:
    strangers(world, 6)
    await watch.poll()
    world.ct.fork(3)

    await watch.poll()

    assert await watch.rules() == ["log-forked"]
    async with watch.store.read() as tx:
        (conflict,) = await logs.conflicts(tx, world.ct.origin, Page())
    assert {"ours", "theirs"} <= {name for name, _ in conflict.conflict.evidence}


async def test_a_fork_is_found_when_only_a_larger_head_shows_it(watch: Watch, world: World) -> None:
    strangers(world, 6)
    await watch.poll()
    world.ct.fork(3)
    strangers(world, 4)

    await watch.poll()

    assert "log-forked" in await watch.rules()


async def test_an_old_head_that_stays_is_a_rollback_and_one_that_passes_is_nothing(watch: Watch, world: World) -> None:
    strangers(world, 3)
    await watch.poll()
    strangers(world, 3)
    await watch.poll()
    world.ct.serve_old(3)
    await watch.poll()
    assert await watch.rules() == []

    watch.ahead = timedelta(minutes=31)
    await watch.poll()

    assert await watch.rules() == ["log-rolled-back"]


async def test_entries_below_a_signed_size_that_are_not_given_are_missing(watch: Watch, world: World) -> None:
    strangers(world, 4)
    world.issue_only(BRANCH)
    await watch.poll()
    strangers(world, 3)
    world.ct.hide_from(world.ct.size - 1)

    for _ in range(2):
        await watch.poll()
        watch.ahead += timedelta(minutes=11)
    assert "entry-missing" in await watch.rules()
    world.ct.tell_the_truth()
    await watch.poll()
    await watch.poll()
    assert world.ct.history.tree.root(world.ct.size) == (await watch.cursor(world.ct.origin)).range.root()


async def test_a_replica_that_has_a_signed_entry_only_minutes_later_is_not_said_to_lack_it(
    watch: Watch, world: World
) -> None:
    strangers(world, 4)
    await watch.poll()
    world.issue_only(BRANCH)
    world.ct.hide_from(4)
    await watch.poll()
    watch.ahead += timedelta(minutes=9)
    await watch.poll()
    assert await watch.rules() == []

    world.ct.tell_the_truth()
    watch.ahead += timedelta(minutes=20)
    await watch.poll()

    assert await watch.rules() == ["branch-ref"]


async def test_another_certificate_in_the_place_of_ours_is_the_log_rewritten(watch: Watch, world: World) -> None:
    strangers(world, 4)
    at = world.ct.size
    world.issue_only(BRANCH)
    strangers(world, 3)
    world.ct.answer_with(at, 1)

    await watch.poll()

    assert "log-rewritten" in await watch.rules()
    assert (await watch.cursor(world.ct.origin)).position == world.ct.size


async def test_ours_in_the_place_of_another_certificate_is_told_and_not_believed(watch: Watch, world: World) -> None:
    strangers(world, 4)
    at = world.ct.size
    world.issue_only(BRANCH)
    strangers(world, 3)
    world.ct.answer_with(1, at)

    await watch.poll()

    assert {"log-rewritten", "branch-ref"} <= set(await watch.rules())
    async with watch.store.read() as tx:
        rows = await entries.list_entries(tx, EntryFilter(), Page())
    assert {(row.index, row.disproven) for row in rows} == {(1, True), (at, False)}


async def test_a_head_with_a_bad_signature_twice_is_checkpoint_invalid(watch: Watch, world: World) -> None:
    strangers(world, 2)
    await watch.poll()
    world.ct.sign_with(generate_private_key(SECP256R1()), keep_key_id=True)
    strangers(world, 1)

    await watch.poll()

    assert await watch.rules() == ["checkpoint-invalid"]


async def test_an_entry_of_a_type_nobody_knows_is_quarantined_by_name_and_the_rest_is_read(
    watch: Watch, world: World
) -> None:
    world.ct.append_raw(b"\x00\x00" + bytes(8) + b"\x00\x07" + b"TruStacks of the future", b"")
    world.issue_only(BRANCH)

    passed = (await watch.poll())[world.ct.origin]

    if world.ct.style == "static":  # a tile whose leaves cannot be told apart is asked for for ever
        watch.ahead += timedelta(minutes=11)
        await watch.poll()
        assert "entry-missing" in await watch.rules()
        return
    assert (passed.behind, passed.error) == (0, None)
    assert await watch.rules() == ["branch-ref", "entry-quarantined"]
    (finding,) = [each for each in await watch.found() if each.rule == "entry-quarantined"]
    assert any("type 7" in fact.seen for fact in finding.facts)


async def test_an_entry_larger_than_its_bound_is_a_hole_by_name_and_the_rest_is_read(
    watch: Watch, world: World
) -> None:
    limit = ENTRIES_LIMIT if world.ct.style == "rfc6962" else DATA_LIMIT
    strangers(world, 2)
    world.issue_only(BRANCH)
    strangers(world, 1)
    world.ct.pad(1, limit + 1)

    await watch.poll()
    watch.ahead += timedelta(minutes=11)
    await watch.poll()

    assert "entry-missing" in await watch.rules()
    if world.ct.style == "rfc6962":
        assert "branch-ref" in await watch.rules()
        (missing,) = [each for each in await watch.found() if each.rule == "entry-missing"]
        assert any("oversize" in fact.seen for fact in missing.facts)


async def test_a_log_that_the_settings_leave_out_later_is_no_trouble_any_more(watch: Watch, world: World) -> None:
    world.issue_only(BRANCH)
    await watch.poll()
    await world.ct.stop()
    await watch.poll()
    assert await lacking(watch) == {world.ct.origin}

    left = watch.restarted()
    left.certificates, left.only = False, "log"
    await left.poll()
    assert await lacking(left) == set()
    async with watch.store.read() as tx:
        assert f"log:{world.ct.origin}" not in {each.source for each in await health.conditions(tx)}

    await world.ct.start()
    again = watch.restarted()
    assert (await again.poll())[world.ct.origin].error is None
    async with watch.store.read() as tx:
        (row,) = [each for each in await logs.every(tx) if each.origin == world.ct.origin]
    assert row.state is LogState.ACTIVE


async def test_where_every_certificate_log_has_ended_nothing_is_said_to_lead_to_new_entries(
    watch: Watch, world: World
) -> None:
    world.noise(3, "v1")
    watch.only = ""
    await watch.poll()
    root = trust_root.parse(world.trusted_root_json())
    over = tuple(replace(key, window=Window(key.window.start, watch.now())) for key in root.ct_keys)
    for follower in await watch.fleet.muster(replace(root, ct_keys=over)):
        assert (await follower.run_pass(lambda: False)).error is None

    patience = Patience(timedelta(days=1), timedelta(days=1), lambda _: timedelta(days=1))
    async with watch.store.read() as tx:
        rows = {row.log: row for row in await coverage.statement(tx, patience, watch.now())}
    assert rows[world.ct.origin].protected
    v1 = rows[world.v1.origin()]
    assert (v1.mode, v1.protected) == (Mode.CERTIFICATES, False)
    assert "has ended" in v1.gaps[-1]


async def test_a_log_whose_place_another_one_takes_is_asked_no_more(watch: Watch, world: World) -> None:
    root = trust_root.parse(world.trusted_root_json())
    (old,) = [replace(each, base_url=world.ct.read_url) for each in root.ct_keys]
    spki = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    new = replace(old, log_id=bytes(32), spki=spki, window=Window(watch.now() - timedelta(minutes=1)))
    await watch.fleet.muster(replace(root, ct_keys=(old,)))
    assert watch.fleet.find(old.log_id.hex()) is not None

    await watch.fleet.muster(replace(root, ct_keys=(old, new)))

    assert watch.fleet.find(old.log_id.hex()) is None
    assert watch.fleet.find(new.log_id.hex()) is not None
    assert f"settings:{old.log_id.hex()}" in watch.fleet.unreached


async def lacking(watch: Watch) -> set[str]:
    """The certificate logs that the coverage statement says are not protected."""
    patience = Patience(timedelta(0), timedelta(0), lambda _: timedelta(0))
    async with watch.store.read() as tx:
        rows = await coverage.statement(tx, patience, watch.now())
    return {row.log for row in rows if row.protocol.certificates and not row.protected}
