"""A condition remembers when its trouble began through flapping; meta and roots keep what they are told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.model.health import Condition
from monitor.store import health, meta, roots

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.engine import Store

RULE, SOURCE = "log-unreachable", "log.example"


async def passes(store: Store, now: datetime, outcomes: str) -> Condition:
    """Report a pass a minute: `x` a failure, `.` a good one."""
    async with store.write() as tx:
        for minute, outcome in enumerate(outcomes):
            error = f"error {minute}" if outcome == "x" else None
            await health.report(tx, RULE, SOURCE, now + timedelta(minutes=minute), error)
        (condition,) = await health.conditions(tx)
    return condition


async def test_a_source_that_is_well_has_failed_since_never(store: Store, now: datetime) -> None:
    assert await passes(store, now, "...") == Condition(RULE, SOURCE, None, now + timedelta(minutes=2), None, "", 3)


async def test_a_trouble_began_with_its_first_failure_and_tells_the_last(store: Store, now: datetime) -> None:
    condition = await passes(store, now, "..xxx")
    assert condition.failing_since == now + timedelta(minutes=2)
    assert condition.last_success == now + timedelta(minutes=1)
    assert (condition.last_failure, condition.error, condition.good_passes) == (
        now + timedelta(minutes=4),
        "error 4",
        0,
    )


async def test_flapping_is_one_trouble(store: Store, now: datetime) -> None:
    assert (await passes(store, now, ".x.x.x.")).failing_since == now + timedelta(minutes=1)


async def test_a_failure_after_two_good_passes_is_another_trouble(store: Store, now: datetime) -> None:
    recovered = await passes(store, now, "xx..")
    assert (recovered.failing_since, recovered.good_passes) == (now, 2)
    assert (await passes(store, now + timedelta(hours=1), "x")).failing_since == now + timedelta(hours=1)


async def test_a_trouble_is_closed_once_its_recovery_was_told_unless_it_is_back(store: Store, now: datetime) -> None:
    await passes(store, now, "x.")
    async with store.write() as tx:
        await health.recovered(tx, RULE, SOURCE)
        assert (await health.conditions(tx))[0].failing_since == now
    await passes(store, now + timedelta(minutes=9), ".")
    async with store.write() as tx:
        await health.recovered(tx, RULE, SOURCE)
        (condition,) = await health.conditions(tx)
        assert (condition.failing_since, condition.error) == (None, "")


async def test_sources_and_rules_are_apart_and_can_be_forgotten(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        for rule, source in ((RULE, "a"), (RULE, "b"), ("trust-root-stale", "a")):
            await health.report(tx, rule, source, now, "x" * 100_000)
        await health.forget(tx, RULE, "a")
        kept = await health.conditions(tx)
    assert [(each.rule, each.source) for each in kept] == [(RULE, "b"), ("trust-root-stale", "a")]
    assert all(len(each.error) <= 2000 for each in kept)


async def test_a_value_is_set_once_and_for_all_or_over_and_over(store: Store) -> None:
    async with store.write() as tx:
        assert await meta.get(tx, "watch_from") is None
        assert await meta.set_once(tx, "watch_from", "first") == "first"
        assert await meta.set_once(tx, "watch_from", "second") == "first"
        await meta.set(tx, "watch_from", "third")
        assert await meta.get(tx, "watch_from") == "third"


async def test_the_newest_trust_root_is_the_one_seen_last(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        assert await roots.newest_root(tx) is None
        await roots.keep_root(tx, "a" * 64, b"one", "tuf", now)
        await roots.keep_root(tx, "b" * 64, b"two", "tuf", now + timedelta(hours=1))
        await roots.keep_root(tx, "a" * 64, b"one", "file", now + timedelta(hours=2))
        newest = await roots.newest_root(tx)
    assert newest == roots.StoredRoot("a" * 64, b"one", "file", now, now + timedelta(hours=2))
