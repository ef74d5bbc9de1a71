"""What signatures beside released digests say of logs is held against the logs: their entries, and their checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor.alerts import appeared
from monitor.alerts import incidents as gathering
from monitor.alerts.options import AlertOptions
from monitor.alerts.routing import Route
from monitor.errors import FetchError
from monitor.fetch import Client, FetchOptions
from monitor.model.filters import IncidentFilter, Page
from monitor.model.finding import Severity
from monitor.model.incident import IncidentState
from monitor.model.log import CheckpointSource, CheckpointStatus, ConflictKind, Looked
from monitor.model.release import InLog
from monitor.store import bundles, incidents, logs
from monitor.testbed.ca import Claims
from tests.integration.releases.test_refresh import RUNNER, V012, release
from tests.integration.releases.watched import Monitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.model.finding import Finding
    from monitor.model.log import FollowedLog, StoredCheckpoint
    from monitor.store.bundles import StoredBundle
    from monitor.store.engine import Store
    from monitor.testbed.world import World
    from tests.clock import Clock

GLOBEX = replace(Claims(), org="globex", repo="widgets", workflow="release.yml")


async def of_rule(monitor: Monitor, rule: str) -> list[Finding]:
    return [each for each in await monitor.findings() if each.rule == rule]


async def kept(monitor: Monitor) -> list[StoredBundle]:
    async with monitor.store.read() as tx:
        return await bundles.every(tx)


async def checkpoints(monitor: Monitor, origin: str) -> list[StoredCheckpoint]:
    async with monitor.store.read() as tx:
        return [each.checkpoint for each in await logs.list_checkpoints(tx, origin, Page(limit=1000))]


async def conflicts(monitor: Monitor, kind: ConflictKind) -> list[dict[str, bytes]]:
    async with monitor.store.read() as tx:
        every = await logs.conflicts(tx, None, Page(limit=100))
    return [dict(each.conflict.evidence) for each in every if each.conflict.kind is kind]


def sign_on_fork(world: World, digest: str, at: int, claims: Claims = V012) -> bytes:
    """Sign into a history that leaves the true one at `at`, put it beside the digest, show the true one; the fork's note."""
    world.v2.fork(at, [])
    world.sign("v2", digest, claims, kind="image", beside=RUNNER)
    note = world.v2.checkpoint_bytes
    world.v2.tell_the_truth()
    return note


async def test_the_checkpoints_inside_bundles_are_kept_and_proven_consistent(world: World, monitor: Monitor) -> None:
    await release(monitor)
    await monitor.poll()
    found = await checkpoints(monitor, world.v2.origin)
    assert [each.size for each in found if each.source is CheckpointSource.BUNDLE]
    assert {each.status for each in found} == {CheckpointStatus.CONSISTENT}


async def test_a_bundle_with_a_checkpoint_of_another_history_forks_the_log_and_both_notes_are_kept(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    theirs = sign_on_fork(world, digests["runner"], 2)
    await monitor.poll()
    await monitor.follow()
    (forked,) = await of_rule(monitor, "log-forked")
    assert (forked.severity, forked.log) == (Severity.CRITICAL, world.v2.origin)
    (evidence,) = await conflicts(monitor, ConflictKind.FORKED)
    assert evidence["theirs"] == theirs
    assert evidence["ours"] in {each.note for each in await checkpoints(monitor, world.v2.origin)}
    assert evidence["ours"] != theirs
    (mismatch,) = await of_rule(monitor, "bundle-mismatch")
    assert mismatch.index == 2
    assert {"bundle", "promised", "leaf"} <= set((await conflicts(monitor, ConflictKind.BUNDLE_MISMATCH))[0])


async def test_a_bundle_with_a_checkpoint_of_another_history_forks_a_shard_of_rekor_v1_too(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    world.sign("v1", digests["ui"], V012, kind="image")
    world.sign("v1", digests["ui"], V012, kind="image")
    await monitor.poll()
    world.v1.fork(1, [])
    world.sign("v1", digests["runner"], V012, kind="image", beside=RUNNER)
    world.v1.tell_the_truth()
    await monitor.poll()
    await monitor.follow()
    assert await monitor.rules() == ["bundle-mismatch", "log-forked"]
    (evidence,) = await conflicts(monitor, ConflictKind.FORKED)
    assert b"\n2\n" in evidence["ours"]
    assert evidence["ours"] != evidence["theirs"]


async def test_a_checkpoint_by_another_key_counts_for_nothing_and_its_bundle_does_not_verify(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    world.v2.sign_with(Ed25519PrivateKey.generate(), keep_key_id=True)
    world.sign("v2", digests["runner"], V012, kind="image", beside=RUNNER)
    forged = world.v2.checkpoint_bytes
    world.v2.tell_the_truth()
    await monitor.poll()
    await monitor.follow()
    assert forged not in {each.note for each in await checkpoints(monitor, world.v2.origin)}
    (finding,) = await monitor.findings()
    assert (finding.rule, finding.severity) == ("bundle-mismatch", Severity.CRITICAL)
    assert "in our name beside runner does not verify" in finding.summary


async def test_an_entry_that_the_log_does_not_show_for_an_hour_is_missing_and_not_before(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    sign_on_fork(world, digests["runner"], world.v2.size)
    await monitor.poll()
    clock.move(minutes=59)
    await monitor.poll()
    assert await monitor.rules() == []
    clock.move(minutes=2)
    await monitor.refresh()
    assert await monitor.rules() == []  # nobody has asked the log since
    await monitor.poll()
    (finding,) = await monitor.findings()
    assert (finding.rule, finding.severity, finding.index) == ("entry-missing", Severity.CRITICAL, world.v2.size)
    assert finding.artifacts == ("runner",)
    assert {each.in_log for each in await kept(monitor)} == {InLog.CONFIRMED, InLog.MISSING}
    clock.move(minutes=5)
    await monitor.poll()
    assert await monitor.rules() == ["entry-missing"]

    world.noise(2)  # the log puts something else in that place: now its own note in the bundle convicts it
    await monitor.poll()
    assert await monitor.rules() == ["bundle-mismatch", "entry-missing", "log-forked"]


async def test_an_old_replica_that_catches_up_within_the_hour_is_accused_of_nothing(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    old = world.v2.size
    world.sign("v2", digests["runner"], V012, kind="image", beside=RUNNER)
    world.v2.serve_old(old)
    await monitor.poll()
    assert InLog.OPEN in {each.in_log for each in await kept(monitor)}
    clock.move(minutes=50)
    await monitor.poll()
    world.v2.tell_the_truth()
    clock.move(minutes=30)
    await monitor.poll()
    assert await monitor.rules() == []
    assert {each.in_log for each in await kept(monitor)} == {InLog.CONFIRMED}


async def test_an_entry_missing_for_hours_that_the_log_shows_at_last_is_confirmed(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    old = world.v2.size
    world.sign("v2", digests["runner"], V012, kind="image", beside=RUNNER)
    world.v2.serve_old(old)
    await monitor.poll()
    clock.move(hours=2)
    await monitor.poll()
    assert await monitor.rules() == ["entry-missing"]
    await gathering.gather(monitor.store, AlertOptions(), clock())
    assert await appeared.gather(monitor.store, clock()) == 0
    world.v2.tell_the_truth()
    await monitor.poll()
    assert {each.in_log for each in await kept(monitor)} == {InLog.CONFIRMED}
    assert await appeared.gather(monitor.store, clock()) == 1
    assert await appeared.gather(monitor.store, clock()) == 0
    async with monitor.store.read() as tx:
        (incident,) = await incidents.list_incidents(tx, IncidentFilter(), Page())
        events = await incidents.events(tx, incident.id)
    assert incident.state is IncidentState.OPEN
    assert [each.detail for each in events if each.what == appeared.ENTRY] == [
        f"entry {old} is in {world.v2.origin} by now; only a person closes this"
    ]


async def test_our_bundle_over_a_strangers_entry_is_a_mismatch_and_a_strangers_cannot_be_told(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    at = world.noise(5)
    await monitor.follow()
    sign_on_fork(world, digests["runner"], at[1], GLOBEX)
    await monitor.refresh()
    assert "bundle-mismatch" not in await monitor.rules()
    assert [each.in_log for each in await kept(monitor)][-1] is InLog.UNCHECKED
    sign_on_fork(world, digests["runner"], at[2])
    await monitor.refresh()
    (finding,) = await of_rule(monitor, "bundle-mismatch")
    assert (finding.index, finding.severity) == (at[2], Severity.CRITICAL)
    assert finding.run is not None


async def keys_of_incidents(monitor: Monitor) -> list[str]:
    options = AlertOptions(routes=(Route("memory"),))
    await gathering.gather(monitor.store, options, monitor.clock())
    async with monitor.store.read() as tx:
        return [each.key for each in await incidents.list_incidents(tx, IncidentFilter(), Page())]


async def test_a_foreign_signature_that_does_not_verify_is_told_once_with_its_release_and_is_not_critical(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    for number in (1, 2):
        world.sign("v2", digests["runner"], GLOBEX, kind="image", ca=world.rogue_ca(), beside=RUNNER)
        await monitor.poll()
        await monitor.poll()
        found = await of_rule(monitor, "bundle-mismatch")
        assert [each.severity for each in found] == [Severity.MEDIUM] * number
    assert len({each.subject for each in found}) == 2
    assert "A foreign signature beside runner does not verify" in found[0].summary
    assert await keys_of_incidents(monitor) == ["release:0.1.2"]


async def test_a_signature_in_our_name_that_does_not_verify_stays_critical_and_names_no_run_as_its_own(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    world.sign("v2", digests["runner"], V012, kind="image", ca=world.rogue_ca(), beside=RUNNER)
    await monitor.poll()
    (finding,) = await of_rule(monitor, "bundle-mismatch")
    assert (finding.severity, finding.run, finding.version) == (Severity.CRITICAL, None, "0.1.2")
    assert "release:0.1.2" in await keys_of_incidents(monitor)


@pytest.mark.parametrize("days", [0, 2])
async def test_what_lay_beside_the_baseline_when_watching_began_is_history_and_what_comes_later_is_not(
    world: World, monitor: Monitor, clock: Clock, days: int
) -> None:
    clock.move(days=days)
    baseline = next(each.digest for each in await kept(monitor) if each.artifact == "runner")
    world.sign("v2", baseline, GLOBEX, kind="image", ca=world.rogue_ca(), beside=RUNNER)
    await monitor.poll()
    (finding,) = await of_rule(monitor, "bundle-mismatch")
    assert finding.history is (days == 0)


@dataclass
class FakeLookup:
    """Answers with the true leaf of a v2 log, or as it is told."""

    world: World
    answer: Literal["truth", "another", "denied", "beyond", "down"] = "truth"
    asked: list[int] = field(default_factory=list)

    async def cited(self, log: FollowedLog, index: int) -> Looked:
        assert log.origin == self.world.v2.origin
        self.asked.append(index)
        size = self.world.v2.published_size
        match self.answer:
            case "truth":
                return Looked(size, self.world.v2.tree.leaf(index))
            case "another":
                return Looked(size, self.world.v2.tree.leaf(index + 1))
            case "denied":
                return Looked(size, None)
            case "beyond":
                return Looked(index, None)
            case "down":
                raise FetchError("the log does not answer")


@pytest.fixture
async def from_tip(world: World, store: Store, clock: Clock) -> AsyncIterator[Monitor]:
    """A monitor that follows from the tip and knows what was released before."""
    async with Client(FetchOptions(attempts=1)) as client:
        world.release("0.1.0")
        world.noise(1)
        yield Monitor(world, store, client, clock, start="tip")


async def refreshed(monitor: Monitor, lookup: FakeLookup) -> dict[InLog, int]:
    monitor.refreshing = replace(monitor.refreshing, lookup=lookup)
    await monitor.poll()
    statuses = [each.in_log for each in await kept(monitor)]
    return {status: statuses.count(status) for status in statuses}


async def test_an_entry_before_the_start_is_unchecked_until_it_can_be_looked_up(
    world: World, from_tip: Monitor
) -> None:
    await from_tip.poll()
    assert {each.in_log for each in await kept(from_tip)} == {InLog.UNCHECKED}
    lookup = FakeLookup(world)
    assert await refreshed(from_tip, lookup) == {InLog.CONFIRMED: 4}
    assert sorted(lookup.asked) == [0, 1, 2, 3]
    await refreshed(from_tip, lookup)
    assert len(lookup.asked) == 4  # what is confirmed is not asked for again
    assert await from_tip.rules() == []


@pytest.mark.parametrize(
    ("answer", "status", "rules"),
    [("another", InLog.MISMATCH, ["bundle-mismatch"] * 4), ("denied", InLog.MISSING, ["entry-missing"] * 4)],
)
async def test_a_looked_up_entry_that_is_another_or_is_denied_is_told(
    world: World,
    from_tip: Monitor,
    answer: Literal["another", "denied"],
    status: InLog,
    rules: list[str],
) -> None:
    assert await refreshed(from_tip, FakeLookup(world, answer)) == {status: 4}
    assert await from_tip.rules() == rules
    await refreshed(from_tip, FakeLookup(world, answer))
    assert await from_tip.rules() == rules


async def test_a_looked_up_entry_past_the_end_has_an_hour_and_a_log_that_is_down_accuses_nobody(
    world: World, from_tip: Monitor, clock: Clock
) -> None:
    down = FakeLookup(world, "down")
    for _ in range(2):
        assert await refreshed(from_tip, down) == {InLog.OPEN: 4}
        clock.move(hours=2)
    assert sorted(down.asked) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert await from_tip.rules() == []
    clock.move(hours=-4)
    assert await refreshed(from_tip, FakeLookup(world, "beyond")) == {InLog.OPEN: 4}
    clock.move(minutes=61)
    assert await refreshed(from_tip, FakeLookup(world, "beyond")) == {InLog.MISSING: 4}
    assert await refreshed(from_tip, FakeLookup(world)) == {InLog.CONFIRMED: 4}


async def test_what_is_covered_is_never_looked_up(world: World, monitor: Monitor) -> None:
    lookup = FakeLookup(world, "denied")
    monitor.refreshing = replace(monitor.refreshing, lookup=lookup)
    await release(monitor)
    assert lookup.asked == []
