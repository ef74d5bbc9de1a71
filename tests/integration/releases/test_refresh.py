"""What on-call is told of releases, from the registry and the logs as real clients read them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.alerts import appeared
from monitor.alerts import incidents as gathering
from monitor.alerts.options import AlertOptions
from monitor.model.release import Authority
from monitor.releases import ledger
from monitor.releases.ledger import Word
from monitor.store import bundles, exposure, releases, tags
from monitor.testbed import oci
from monitor.testbed.ca import Claims

if TYPE_CHECKING:
    from monitor.testbed.world import World
    from tests.clock import Clock
    from tests.integration.releases.watched import Monitor

RUNNER = "trustacks/runner"
V012 = Claims(ref="refs/tags/v0.1.2")
GRACE = {"minutes": 46}
PUSHED = {"minutes": 3}
"""Long after a log shows a signature, what explains it lies beside its image."""


def provenance(*subjects: str) -> bytes:
    named = ",".join(f'{{"name":"x","digest":{{"sha256":"{each.removeprefix("sha256:")}"}}}}' for each in subjects)
    return (
        f'{{"_type":"https://in-toto.io/Statement/v1","subject":[{named}],'
        '"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}'
    ).encode()


async def approve(monitor: Monitor, version: str) -> None:
    await ledger.approve(monitor.store, version, monitor.policy, Word("Ada", "released today", monitor.clock()))
    await monitor.review()


async def release(monitor: Monitor, version: str = "0.1.2", **more: str) -> dict[str, str]:
    """A release that a person approved, so that only what follows is told."""
    digests = monitor.world.release(version, **more)  # type: ignore[arg-type] # a kind of signature
    await monitor.poll()
    await approve(monitor, version)
    assert await monitor.rules() == []
    return digests


async def test_a_new_release_is_announced_whole_until_it_is_approved(world: World, monitor: Monitor) -> None:
    digests = world.release("0.1.2")
    await monitor.poll()
    (finding,) = await monitor.findings()
    assert finding.rule == "new-release"
    told = {each.name: each.seen for each in finding.facts}
    assert {artifact: told[artifact] for artifact in digests} == digests
    async with monitor.store.read() as tx:
        assert {each.authority for each in await releases.digests(tx, "0.1.2")} == {Authority.PINNED}
    await approve(monitor, "0.1.2")
    assert await monitor.rules() == []


@pytest.mark.parametrize("kind", ["legacy"])
async def test_a_legacy_release_under_references_of_its_own_is_explained_by_its_fetched_signatures(
    monitor: Monitor, kind: str
) -> None:
    await release(monitor, kind=kind)


async def test_every_manifest_below_an_index_may_be_signed_and_need_not(world: World, monitor: Monitor) -> None:
    digests = await release(monitor)
    async with monitor.store.read() as tx:
        below = [each.digest for each in await releases.digests(tx, "0.1.2") if each.kind == "manifest"]
    assert below
    world.sign("v2", below[0], V012, kind="image")
    await monitor.poll()
    assert await monitor.rules() == []
    assert below[0] not in digests.values()


async def test_a_tag_pointed_elsewhere_is_told_once(world: World, monitor: Monitor) -> None:
    await release(monitor)
    other = world.registry.index(RUNNER, "other").digest
    world.registry.tag(RUNNER, "0.1.2", other)
    await monitor.refresh()
    monitor.clock.move(minutes=11)
    await monitor.refresh()
    await monitor.refresh()
    assert await monitor.rules() == ["tag-moved"]


async def test_an_untagged_digest_is_unexpected(world: World, monitor: Monitor, clock: Clock) -> None:
    await release(monitor)
    world.sign("v2", "", V012, kind="image")
    await monitor.poll()
    clock.move(**PUSHED)
    await monitor.poll()
    assert await monitor.rules() == ["unexpected-digest"]


async def test_a_digest_signed_by_the_wrong_workflow_or_under_another_version_is_another_releases(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    world.sign("v2", digests["runner"], replace(V012, workflow="publish-policy.yml"), kind="image")
    await monitor.poll()
    assert await monitor.rules() == ["digest-of-other-release"]
    world.sign("v2", digests["runner"], replace(V012, ref="refs/tags/v0.1.0"), kind="image")
    await monitor.poll()
    assert await monitor.rules() == ["digest-of-other-release", "digest-of-other-release"]


async def test_an_artifact_left_unsigned_is_told_after_the_grace_period(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    clock.move(days=2)
    world.release("0.1.2")
    unsigned = world.registry.index("trustacks/ui", "unsigned").digest
    world.registry.tag("trustacks/ui", "0.1.2", unsigned)
    world.registry.untag("trustacks/ui", "unsigned")
    await monitor.poll()
    await approve(monitor, "0.1.2")
    clock.move(**GRACE)
    await monitor.poll()
    # The other image that the run had signed as ui is in no tag.
    assert await monitor.rules() == ["unexpected-digest", "unsigned-artifact"]


async def test_two_commits_under_one_version_are_told(world: World, monitor: Monitor) -> None:
    digests = await release(monitor)
    world.sign("v2", digests["ui"], replace(V012, sha="f" * 40), kind="image")
    await monitor.poll()
    assert await monitor.rules() == ["commit-mismatch"]


async def test_a_deleted_tag_is_told_and_a_withdrawn_one_not(world: World, monitor: Monitor, clock: Clock) -> None:
    await release(monitor)
    clock.move(seconds=5)
    world.registry.untag(RUNNER, "0.1.2")
    await monitor.refresh()
    assert await monitor.rules() == ["tag-deleted"]
    await ledger.withdraw(monitor.store, "0.1.2", monitor.policy, Word("Ada", "leaks a key", monitor.clock()))
    assert await monitor.rules() == []


async def test_signing_a_withdrawn_release_is_told(world: World, monitor: Monitor, clock: Clock) -> None:
    digests = await release(monitor)
    clock.move(seconds=5)
    await ledger.withdraw(monitor.store, "0.1.2", monitor.policy, Word("Ada", "leaks a key", monitor.clock()))
    clock.move(minutes=5)
    world.sign("v2", digests["runner"], V012, kind="image")
    await monitor.poll()
    assert await monitor.rules() == ["withdrawn-release-signed"]


async def test_a_repeated_run_is_superseded_and_nothing_is_critical(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    await release(monitor)
    clock.move(minutes=20)
    new = world.registry.index(RUNNER, "again").digest
    world.registry.tag(RUNNER, "0.1.2", new)
    world.registry.untag(RUNNER, "again")
    await monitor.poll()
    assert await monitor.rules() == []
    clock.move(minutes=2)
    world.sign("v2", new, replace(V012, attempt=2), kind="image", beside=RUNNER)
    await monitor.poll()
    assert await monitor.rules() == ["superseded-attempt"]
    clock.move(hours=2)
    await monitor.poll()
    assert await monitor.rules() == ["superseded-attempt"]


async def test_a_first_attempt_that_was_never_tagged_is_superseded_too(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    world.sign("v2", "", V012, kind="image")
    await monitor.poll()
    clock.move(minutes=10)
    world.release("0.1.2", claims=replace(V012, attempt=2))
    await monitor.poll()
    await approve(monitor, "0.1.2")
    clock.move(**GRACE)
    await monitor.poll()
    assert await monitor.rules() == ["superseded-attempt"]


async def test_a_signature_seen_before_its_tag_raises_nothing(world: World, monitor: Monitor, clock: Clock) -> None:
    new = world.registry.index(RUNNER, "0.1.2")
    world.registry.untag(RUNNER, "0.1.2")
    world.sign("v2", new.digest, V012, kind="image")
    await monitor.poll()
    clock.move(seconds=30)
    assert await monitor.rules() == []
    world.registry.tag(RUNNER, "0.1.2", new.digest)
    await monitor.refresh()
    clock.move(**GRACE)
    await monitor.poll()
    assert "unexpected-digest" not in await monitor.rules()


async def alarmed(world: World, monitor: Monitor, clock: Clock) -> str:
    """A signature in our name at a release's tag over an image that no tag shows, and its alarm; the image."""
    new = world.registry.index(RUNNER, "0.1.2")
    world.registry.untag(RUNNER, "0.1.2")
    world.sign("v2", new.digest, V012, kind="image")
    await monitor.poll()
    clock.move(**GRACE)
    await monitor.poll()
    assert await monitor.rules() == ["unexpected-digest"]
    clock.move(minutes=5)
    return new.digest


async def test_a_tag_that_appears_after_the_alarm_closes_nothing_and_an_approval_does(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digest = await alarmed(world, monitor, clock)
    await gathering.gather(monitor.store, AlertOptions(), monitor.clock())
    world.registry.tag(RUNNER, "0.1.2", digest)
    await monitor.refresh()
    (finding,) = [each for each in await monitor.findings() if each.rule == "unexpected-digest"]
    assert any(each.name.startswith("tag appeared after the alarm: runner 0.1.2") for each in finding.facts)
    assert await appeared.gather(monitor.store, monitor.clock()) == 1
    assert await appeared.gather(monitor.store, monitor.clock()) == 0
    await approve(monitor, "0.1.2")
    assert "unexpected-digest" not in await monitor.rules()


async def test_an_attestation_of_a_release_is_silent_and_one_with_a_foreign_subject_is_not(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    for foreign, expected in ([], []), ([f"sha256:{'b' * 64}"], ["unexpected-digest"]):
        statement = provenance(digests["runner"], *foreign)
        world.sign("v2", digests["runner"], V012, kind="image", statement=statement, beside=RUNNER)
        await monitor.poll()
        clock.move(**PUSHED)
        await monitor.poll()
        assert await monitor.rules() == expected


async def test_an_attestation_that_its_log_shows_before_its_registry_does_is_silent(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    shown = world.registry.repository(RUNNER).tags
    before = shown.copy()
    attested = provenance(digests["runner"])
    world.sign("v2", digests["runner"], V012, kind="image", statement=attested, beside=RUNNER)
    pushed = {tag: digest for tag, digest in shown.items() if before.get(tag) != digest}
    shown.update(before)
    await monitor.poll()
    assert await monitor.rules() == []
    shown.update(pushed)
    clock.move(**PUSHED)
    await monitor.poll()
    assert await monitor.rules() == []


async def test_a_released_digest_signed_again_months_later_is_late_and_an_attestation_is_not(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    clock.move(days=31)
    world.sign("v2", digests["runner"], V012, kind="image", statement=provenance(digests["runner"]), beside=RUNNER)
    await monitor.poll()
    assert "late-signature" not in await monitor.rules()
    world.sign("v2", digests["runner"], V012, kind="image", beside=RUNNER)
    await monitor.poll()
    assert (await monitor.rules()).count("late-signature") == 1


async def test_a_registry_that_is_down_leaves_digests_unjudged_until_it_answers(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    await release(monitor)
    world.registry.reply(status=503)
    world.sign("v2", "", Claims(ref="refs/tags/v0.3.0"), kind="image")
    await monitor.poll()
    clock.move(**GRACE)
    await monitor.poll()
    assert await monitor.rules() == ["digest-unjudged", "registry-unreachable"]
    world.registry.heal()
    await monitor.refresh()
    assert "unexpected-digest" in await monitor.rules()
    assert "digest-unjudged" not in await monitor.rules()


async def test_a_bundle_of_a_hundred_megabytes_is_trouble_of_the_registry_and_no_alarm_about_a_signature(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digests = await release(monitor)
    huge = world.registry.huge_blob(RUNNER, 100 << 20)
    assert huge.size >= 100 << 20
    config = world.registry.blob(RUNNER, b"{}", oci.EMPTY_CONFIG)
    subject = world.registry.pushed(RUNNER, digests["runner"])
    document = oci.manifest(config, [huge], artifact_type=oci.BUNDLE, subject=subject)
    world.registry.attach(RUNNER, digests["runner"], document, oci.BUNDLE)
    world.sign("v2", "", V012, kind="image")
    clock.move(**PUSHED)
    await monitor.poll()
    assert await monitor.rules() == ["digest-unjudged"]
    async with monitor.store.read() as tx:
        assert all(len(each.data or b"") < 1 << 20 for each in await bundles.every(tx))


async def test_ten_thousand_tags_that_are_no_releases_cost_no_more_than_their_list(
    world: World, monitor: Monitor
) -> None:
    world.registry.fill(RUNNER, 10_000)
    report = await monitor.refresh()
    assert report.errors == {}
    async with monitor.store.read() as tx:
        assert {each.tag for each in await tags.current(tx, "runner")} >= {"0.1.0"}


async def test_every_signature_of_a_release_is_expected_on_both_logs(world: World, monitor: Monitor) -> None:
    world.release("0.1.2", "v1")
    await monitor.poll()
    await approve(monitor, "0.1.2")
    assert await monitor.rules() == []
    async with monitor.store.read() as tx:
        assert {each.in_log for each in await bundles.every(tx)} == {"confirmed"}


async def test_what_only_latest_shows_is_found_from_its_logged_hash_and_stays_unexpected(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    image = world.registry.index(RUNNER, "hidden")
    world.registry.untag(RUNNER, "hidden")
    world.sign("v2", image.digest, V012, kind="image")
    await monitor.poll()
    clock.move(**GRACE)
    await monitor.poll()
    (finding,) = await monitor.findings()
    assert finding.rule == "unexpected-digest"
    assert finding.digest is not None
    world.registry.tag(RUNNER, "latest", image.digest)
    clock.move(minutes=5)
    await monitor.refresh()
    async with monitor.store.read() as tx:
        reach = await exposure.of(tx, finding.digest)
    assert [(each.tag, each.digest, each.gone_at) for each in reach.tags] == [("latest", image.digest, None)]
    assert reach.read_at is not None
    assert await monitor.rules() == ["unexpected-digest"]
