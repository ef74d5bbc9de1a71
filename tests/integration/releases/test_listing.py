"""What a registry lists and cannot be read whole: it is told, and it hides nothing that can be read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.errors import RegistryError
from monitor.fetch import Client, FetchOptions
from monitor.model.release import Authority, DigestKind
from monitor.releases import listing, refresh
from monitor.rules.policy import Policy
from monitor.store import releases, tags
from monitor.testbed import oci
from tests.integration.releases.test_refresh import GRACE, RUNNER, release
from tests.integration.releases.watched import Monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.releases.reference import Reference
    from monitor.store.engine import Store
    from monitor.testbed.oci import Pushed
    from monitor.testbed.world import World
    from tests.clock import Clock

QUICK = FetchOptions(attempts=1)


def index_of(world: World, children: Sequence[Pushed], tag: str = "") -> Pushed:
    """Push an index of manifests that are there, or are not."""
    document = oci.index([each.descriptor() for each in children])
    return world.registry.manifest(RUNNER, document, tag)


def unreadable(world: World) -> Pushed:
    """Push an index that clients never look at, and that we cannot read."""
    return world.registry.manifest(RUNNER, {**oci.index([]), "annotations": {"a": 1}}, "")


async def expected(monitor: Monitor, version: str) -> set[tuple[str, DigestKind, Authority]]:
    async with monitor.store.read() as tx:
        return {(each.digest, each.kind, each.authority) for each in await releases.digests(tx, version)}


async def test_a_tag_moved_to_an_index_that_cannot_be_read_to_its_bottom_is_moved(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    await release(monitor)
    index_of(world, [world.registry.image(RUNNER, "7"), unreadable(world)], "0.1.2")
    report = await monitor.refresh()
    assert "not a manifest we can read" in next(iter(report.errors.values()))
    clock.move(minutes=11)
    await monitor.refresh()
    assert "tag-moved" in await monitor.rules()


async def test_what_cannot_be_read_to_its_bottom_is_pinned_once_it_can(world: World, monitor: Monitor) -> None:
    held = world.registry.repository(RUNNER).manifests
    child = world.registry.index(RUNNER, "child")
    kept = held[child.digest]
    held[child.digest] = (kept[0], b"{}")
    top = index_of(world, [child], "0.1.2")
    await monitor.refresh()
    assert await expected(monitor, "0.1.2") == set()
    held[child.digest] = kept
    await monitor.refresh()
    found = await expected(monitor, "0.1.2")
    assert (top.digest, DigestKind.TAG, Authority.PINNED) in found
    assert (child.digest, DigestKind.MANIFEST, Authority.PINNED) in found


async def test_a_tag_that_can_never_be_read_does_not_make_later_releases_part_of_the_baseline(
    world: World, store: Store, clock: Clock
) -> None:
    async with Client(QUICK) as client:
        for artifact in world.release("0.1.0"):
            world.registry.image(f"trustacks/{artifact}", "0.0.1")
            world.registry.alter_manifest(f"trustacks/{artifact}", "0.0.1", b"{}")
        monitor = Monitor(world, store, client, clock)
        await monitor.poll()
        world.release("0.1.2")
        await monitor.poll()
        assert {each[2] for each in await expected(monitor, "0.1.0")} == {Authority.BASELINE}
        assert {each[2] for each in await expected(monitor, "0.1.2")} == {Authority.PINNED}
        assert "new-release" in await monitor.rules()
        world.registry.tell_the_truth()
        await monitor.poll()
        assert {each[2] for each in await expected(monitor, "0.0.1")} == {Authority.BASELINE}


async def test_a_release_that_only_a_person_may_vouch_for_has_its_grace(
    world: World, store: Store, clock: Clock
) -> None:
    async with Client(QUICK) as client:
        strict = Policy(sufficient=frozenset({Authority.APPROVED}))
        monitor = Monitor(world, store, client, clock, policy=strict)
        world.release("0.1.2")
        await monitor.poll()
        assert "unexpected-digest" not in await monitor.rules()
        clock.move(**GRACE)
        await monitor.poll()
        assert "unexpected-digest" in await monitor.rules()


async def test_a_registry_that_stops_answering_is_not_asked_for_every_tag(world: World, monitor: Monitor) -> None:
    for number in range(200):
        world.registry.image(RUNNER, f"7.0.{number}")
    for trouble in ({"status": 429, "headers": {"Retry-After": "3600"}}, {"status": 503}):
        world.registry.reply(path_prefix=f"/v2/{RUNNER}/manifests/", **trouble)
        before = len(world.registry.requests)
        report = await monitor.refresh()
        asked = [each for each in world.registry.requests[before:] if f"{RUNNER}/manifests" in each.path]
        assert len(asked) < 40
        assert report.errors
        world.registry.heal()
    report = await monitor.refresh()
    assert report.errors == {}
    async with monitor.store.read() as tx:
        assert "7.0.199" in await releases.versions(tx)


async def test_tags_that_fail_for_themselves_hide_no_other(world: World, monitor: Monitor) -> None:
    for number in range(30):
        world.registry.image(RUNNER, f"7.0.{number}")
        world.registry.alter_manifest(RUNNER, f"7.0.{number}", b"{}")
    world.registry.index(RUNNER, "8.0.0")
    await monitor.refresh()
    async with monitor.store.read() as tx:
        assert "8.0.0" in await releases.versions(tx)


async def test_a_reading_that_another_overtook_takes_nothing_back(world: World, monitor: Monitor) -> None:
    """Somebody deletes a tag and runs `releases refresh` while the daemon's pass, begun before, is still on its way."""
    await release(monitor)
    inner, begun = monitor.refreshing.registry, monitor.clock()

    class Slow:
        tags, manifest = inner.tags, inner.manifest
        overtaken = False

        async def resolve(self, ref: Reference, tag: str) -> str | None:
            digest = await inner.resolve(ref, tag)
            if ref.repository == RUNNER and tag == "0.1.2" and not self.overtaken:
                self.overtaken = True
                world.registry.untag(RUNNER, "0.1.2")
                await refresh.refresh(monitor.refreshing)
            return digest

    report = await refresh.refresh(replace(monitor.refreshing, registry=Slow()))
    assert report.errors == {}
    async with monitor.store.read() as tx:
        assert "0.1.2" not in {each.tag for each in await tags.current(tx, "runner")}
        (host,) = await releases.registries(tx)
    assert host.last_success is not None
    assert host.last_success >= begun
    await monitor.refresh()
    assert await monitor.rules() == ["tag-deleted"]


@pytest.mark.parametrize("shape", ["wide", "deep"])
async def test_what_lies_below_an_index_is_all_of_it_or_an_error(world: World, monitor: Monitor, shape: str) -> None:
    if shape == "wide":
        one = world.registry.image(RUNNER, "one")
        top = index_of(world, [replace(one, digest=f"sha256:{number:064x}") for number in range(501)])
    else:
        top = index_of(world, [])
        for _ in range(2):
            top = index_of(world, [top])
        assert await below(monitor, top)
        top = index_of(world, [top])
    with pytest.raises(RegistryError, match="more than"):
        await below(monitor, top)


async def below(monitor: Monitor, top: Pushed) -> tuple[str, ...]:
    ref = monitor.refreshing.repositories["runner"]
    monitor.world.registry.tag(RUNNER, "9.9.9", top.digest)
    try:
        read = await listing.read(monitor.refreshing.registry, "runner", ref, frozenset())
    finally:
        monitor.world.registry.untag(RUNNER, "9.9.9")
    for error in read.errors:
        raise RegistryError(error)
    return read.below[top.digest]
