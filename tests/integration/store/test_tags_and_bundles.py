"""What the registry showed is kept as stretches of time, and what lies beside its digests as what verifying it came to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.model.release import (
    Authority,
    DigestKind,
    ExpectedDigest,
    ExpectedHash,
    InLog,
    TagObservation,
    Withdrawal,
)
from monitor.store import bundles, health, releases, tags
from monitor.store.bundles import MAX_DATA, UNSETTLED, Known, StoredBundle

if TYPE_CHECKING:
    from monitor.store.engine import Store

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
SECOND = timedelta(seconds=1)


async def test_a_tag_that_stays_is_one_stretch_and_one_that_moves_begins_another(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        assert await tags.observe(tx, "runner", {"0.1.2": A}, [], now) == [
            TagObservation("runner", "0.1.2", A, now, now)
        ]
        assert await tags.observe(tx, "runner", {"0.1.2": A}, [], now + SECOND) == []
        (begun,) = await tags.observe(tx, "runner", {"0.1.2": B}, [], now + 2 * SECOND)
        assert begun.digest == B
        first, second = await tags.every(tx)
    assert (first.first_seen, first.last_seen, first.gone_at) == (now, now + SECOND, now + 2 * SECOND)
    assert (second.first_seen, second.gone_at) == (now + 2 * SECOND, None)


async def test_a_tag_that_is_listed_and_could_not_be_resolved_stays_as_it_was(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await tags.observe(tx, "runner", {"0.1.2": A}, [], now)
        await tags.observe(tx, "runner", {}, ["0.1.2"], now + SECOND)
        (kept,) = await tags.current(tx, "runner")
        assert (kept.last_seen, kept.gone_at) == (now, None)
        await tags.observe(tx, "runner", {}, [], now + SECOND)
        assert await tags.current(tx, "runner") == []
        assert [each.gone_at for each in await tags.of_tag(tx, "0.1.2")] == [now + SECOND]


async def test_artifacts_have_their_own_tags(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await tags.observe(tx, "runner", {"0.1.2": A}, [], now)
        await tags.observe(tx, "ui", {"0.1.2": A}, [], now)
        await tags.observe(tx, "ui", {}, [], now + SECOND)
        assert [each.artifact for each in await tags.current(tx, "runner")] == ["runner"]
        assert [(each.artifact, each.gone_at is None) for each in await tags.of_digest(tx, A)] == [
            ("runner", True),
            ("ui", False),
        ]


@given(steps=st.lists(st.dictionaries(st.sampled_from("xyz"), st.sampled_from([A, B, C])), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_stretches_say_for_every_pass_what_each_tag_resolved_to(
    store: Store, now: datetime, steps: list[dict[str, str]]
) -> None:
    async with store.write() as tx:
        await tags.observe(tx, "runner", {}, [], now - SECOND)
        begin = len(await tags.every(tx))
        for number, seen in enumerate(steps):
            await tags.observe(tx, "runner", seen, [], now + number * SECOND)
        rows = (await tags.every(tx))[begin:]
        await tags.observe(tx, "runner", {}, [], now + 99 * SECOND)
    for number, seen in enumerate(steps):
        at = now + number * SECOND
        held = {each.tag: each.digest for each in rows if each.first_seen <= at and (each.gone_at or at + SECOND) > at}
        assert held == seen


def bundle(now: datetime) -> StoredBundle:
    return StoredBundle(
        artifact="runner",
        digest=A,
        source="sha256:1",
        kind="bundle",
        predicate_type="https://slsa.dev/provenance/v1",
        payload_hashes=("1" * 64,),
        subjects=(A,),
        fingerprint="f" * 64,
        identity="https://github.com/a/b/.github/workflows/c.yml@refs/tags/v1.0.0\x00",
        verified="cannot-check",
        why="no such key",
        log="log.example",
        index=7,
        leaf_hash=b"h" * 32,
        in_log=InLog.OPEN,
        trust_root="old",
        fetched_at=now,
        data=b"{}",
    )


async def test_a_bundle_comes_back_as_it_was_kept(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await bundles.add(tx, bundle(now))
        (kept,) = await bundles.in_log(tx, InLog.OPEN, 10)
        assert replace(kept, id=0) == bundle(now)
        assert [each.data for each in await bundles.of_digest(tx, A)] == [None]
        await bundles.set_in_log(tx, kept.id, InLog.CONFIRMED, now)
        assert await bundles.in_log(tx, InLog.OPEN, 10) == []
        (again,) = await bundles.every(tx)
        assert (again.in_log, again.checked_at) == (InLog.CONFIRMED, now)


async def test_verified_bundles_come_in_the_order_in_which_their_entries_were_looked_up(
    store: Store, now: datetime
) -> None:
    async with store.write() as tx:
        for source in ("sha256:1", "sha256:2", "sha256:3"):
            await bundles.add(tx, replace(bundle(now), source=source, verified="yes"))
        await bundles.add(tx, replace(bundle(now), source="sha256:4", verified="no"))
        first, second, third, _ = await bundles.every(tx)
        await bundles.set_in_log(tx, first.id, InLog.OPEN, now + SECOND)
        await bundles.set_in_log(tx, second.id, InLog.UNCHECKED, now)
        await bundles.set_in_log(tx, third.id, InLog.CONFIRMED, now)
        found = await bundles.with_status(tx, InLog.OPEN, InLog.UNCHECKED)
        assert [(each.id, each.data) for each in found] == [(second.id, None), (first.id, None)]
        whole = await bundles.get(tx, second.id)
        assert whole is not None
        assert whole.data == b"{}"
        assert await bundles.get(tx, 99) is None


@pytest.mark.parametrize("verified", ["no", "cannot-check"])
async def test_all_but_a_yes_is_verified_again_once_under_another_trust_root(
    store: Store, now: datetime, verified: str
) -> None:
    async with store.write() as tx:
        await bundles.add(tx, replace(bundle(now), verified=verified))
        assert await bundles.to_verify(tx, "old", now + SECOND, 0, 10) == []
        (due,) = await bundles.to_verify(tx, "new", now + SECOND, 0, 10)
        assert due.data == b"{}"
        assert await bundles.to_verify(tx, "new", now + SECOND, due.id, 10) == []
        await bundles.add(tx, replace(due, verified="yes", why="", trust_root="new", log="a", index=7))
        (kept,) = await bundles.every(tx)
        assert (kept.verified, kept.trust_root, kept.log, kept.index) == ("yes", "new", "a", 7)
        assert await bundles.to_verify(tx, "newer", now + SECOND, 0, 10) == []


async def test_what_is_unsettled_is_verified_again_once_a_root_is_found_to_be_newer(
    store: Store, now: datetime
) -> None:
    async with store.write() as tx:
        assert not await bundles.strangers(tx, None)
        await bundles.add(tx, replace(bundle(now), trust_root=UNSETTLED))
        assert await bundles.strangers(tx, None)
        assert await bundles.strangers(tx, now)
        assert not await bundles.strangers(tx, now + SECOND)
        assert await bundles.to_verify(tx, "old", now, 0, 10) == []
        assert len(await bundles.to_verify(tx, "old", now + SECOND, 0, 10)) == 1


async def test_only_what_is_kept_without_its_bytes_is_fetched_again_until_it_is_settled(
    store: Store, now: datetime
) -> None:
    async with store.write() as tx:
        await bundles.add(tx, bundle(now))
        await bundles.add(tx, replace(bundle(now), source="sha256:2", data=None))
        known = await bundles.known(tx, "runner", A, "old")
        assert known == Known({"sha256:1": now, "sha256:2": now}, frozenset({"sha256:1", "sha256:2"}))
        assert (await bundles.known(tx, "runner", A, "new")).settled == {"sha256:1"}
        assert await bundles.to_verify(tx, "new", now + SECOND, 1, 10) == []


async def test_a_large_bundle_is_kept_without_its_bytes(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await bundles.add(tx, replace(bundle(now), data=b"x" * (MAX_DATA + 1)))
        assert [each.data for each in await bundles.in_log(tx, InLog.OPEN, 10)] == [None]


async def test_digests_are_due_when_new_recent_failed_or_long_unasked_and_once_a_pass(
    store: Store, now: datetime
) -> None:
    recent, older = now - timedelta(days=1), now - timedelta(hours=6)

    async def due(at: datetime = now) -> list[str]:
        return [each.digest for each in await bundles.due(tx, recent, older, before=at, limit=10)]

    async with store.write() as tx:
        await bundles.want(tx, "runner", [A, B, A], now - timedelta(days=2))
        await bundles.want(tx, "runner", [B], now)
        assert await due() == [A, B]
        await bundles.asked(tx, "runner", A, now - timedelta(hours=7))
        await bundles.asked(tx, "runner", B, now - timedelta(hours=5))
        assert await due() == [A]
        await bundles.asked(tx, "runner", B, now - timedelta(hours=5), "too large")
        assert await due() == [A, B]
        await bundles.asked(tx, "runner", A, now)
        assert await due() == [B]
        await bundles.want(tx, "runner", [C], now)
        await bundles.asked(tx, "runner", C, now)
        assert await due(now + SECOND) == [B, C]


async def test_expectations_tell_when_the_tag_was_first_seen_and_since_when_somebody_vouches(
    store: Store, now: datetime
) -> None:
    expected = ExpectedDigest("0.1.2", "runner", A, DigestKind.MANIFEST, Authority.PINNED)
    async with store.write() as tx:
        await tags.observe(tx, "runner", {"0.1.2": B}, [], now)
        await releases.add_digests(tx, [expected], [ExpectedHash("1" * 64, A, "digest")], now + SECOND)
        found = await releases.expectations(tx, "1" * 64)
    assert found.tag_first_seen == now
    assert [match.since for match in found.matches] == [now + SECOND]


async def test_a_registry_is_a_source_known_until_its_oldest_good_pass(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await health.report(tx, releases.UNREACHABLE, "registry:a", now, None)
        found = await releases.expectations(tx, None)
        assert (found.sources, found.registry, found.asked_at, found.unreachable) == (True, True, now, False)
        await health.report(tx, releases.UNREACHABLE, "registry:b", now, "refused")
        found = await releases.expectations(tx, None)
        assert (found.asked_at, found.unreachable) == (None, True)
        await health.report(tx, releases.UNREACHABLE, "registry:b", now - SECOND, None)
        found = await releases.expectations(tx, None)
        assert (found.asked_at, found.unreachable) == (now - SECOND, False)


async def test_what_is_only_observed_is_no_source(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await releases.add_digests(
            tx, [ExpectedDigest("0.1.2", "runner", A, DigestKind.TAG, Authority.OBSERVED)], [], now
        )
        found = await releases.expectations(tx, None)
    assert (found.sources, found.complete) == (False, frozenset())


async def test_a_withdrawal_is_kept_as_it_was_first_said(store: Store, now: datetime) -> None:
    word = Withdrawal("0.1.2", now, "Ada", "leaks a key", "https://example.test/1")
    async with store.write() as tx:
        assert await releases.withdraw(tx, word)
        assert not await releases.withdraw(tx, replace(word, author="Eve"))
        assert await releases.withdrawn(tx) == [word]
