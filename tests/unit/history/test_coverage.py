"""The coverage statement: "protected" is said only of what was read, proven and asked lately."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.history import coverage
from monitor.model.log import (
    CheckpointStatus,
    Conflict,
    ConflictKind,
    FollowedLog,
    Hole,
    LogState,
    Mode,
    Protocol,
)
from monitor.rules.policy import Policy
from monitor.store import health, logs
from monitor.store.engine import Store
from tests.unit.history.followed import NOW, PATIENCE, checkpoint, follow, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.history.coverage import LogRow

LOG = "log.example"


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    async with await Store.open(sqlite_url) as opened:
        yield opened


async def _follow(
    store: Store,
    *,
    state: LogState = LogState.ACTIVE,
    position: int = 8,
    size: int = 8,
    asked: timedelta = timedelta(0),
) -> None:
    """A log that is read from leaf 4 to `position`, signed up to `size`, and was last asked so long ago."""
    log = FollowedLog(LOG, Protocol.REKOR_V2, "https://log.example", Mode.COMPLETE, state)
    await follow(store, log, position=position, size=size, asked=NOW - asked)


async def _row(store: Store) -> LogRow:
    return await row(store, LOG)


async def test_a_log_that_is_read_to_its_newest_checkpoint_and_was_asked_lately_is_protected(store: Store) -> None:
    await _follow(store)
    row = await _row(store)
    assert row.protected
    assert row.gaps == ()
    assert (row.start, row.position, row.size, row.behind, row.since) == (4, 8, 8, 0, NOW)


async def test_a_log_that_was_never_read_is_not_protected(store: Store) -> None:
    async with store.write() as tx:
        followed = FollowedLog(LOG, Protocol.REKOR_V2, "https://log.example", Mode.COMPLETE, LogState.ACTIVE)
        await logs.upsert(tx, followed, NOW)
    row = await _row(store)
    assert not row.protected
    assert row.gaps == ("nothing of it was read yet", "it has never answered")


@pytest.mark.parametrize(
    ("state", "asked", "protected"),
    [
        (LogState.ACTIVE, timedelta(minutes=15), True),
        (LogState.ACTIVE, timedelta(minutes=16), False),
        (LogState.ENDED, timedelta(minutes=16), True),
        (LogState.ENDED, timedelta(minutes=76), False),
    ],
)
async def test_a_log_that_nobody_asked_for_longer_than_it_may_be_silent_is_not_protected(
    store: Store, state: LogState, asked: timedelta, *, protected: bool
) -> None:
    await _follow(store, state=state, asked=asked)
    row = await _row(store)
    assert row.protected is protected
    assert protected or "is the monitor running?" in row.gaps[0]


async def test_leaves_just_signed_are_named_and_do_not_end_the_protection(store: Store) -> None:
    await _follow(store, position=7, size=9)
    row = await _row(store)
    assert row.protected
    assert row.behind == 2
    assert row.gaps == ("the newest 2 leaves are signed and not read yet",)


async def test_a_checkpoint_that_is_only_seen_counts_for_the_backlog_and_a_conflicting_one_does_not(
    store: Store,
) -> None:
    await _follow(store)
    async with store.write() as tx:
        await logs.add_checkpoint(tx, checkpoint(LOG, 20, CheckpointStatus.SEEN))
        await logs.add_checkpoint(tx, checkpoint(LOG, 30, CheckpointStatus.CONFLICTING))
    assert (await _row(store)).behind == 12


async def test_a_hole_and_a_stretch_that_was_not_read_are_named(store: Store) -> None:
    await _follow(store)
    async with store.write() as tx:
        await logs.add_hole(tx, Hole(LOG, 5, 7, bytes(32), "not found"), NOW)
    row = await _row(store)
    assert not row.protected
    assert row.holes == 2
    assert row.gaps == ("the log does not give leaves 5 to 6: not found",)


async def test_a_contradiction_ends_the_protection(store: Store) -> None:
    await _follow(store)
    async with store.write() as tx:
        await logs.add_conflict(tx, Conflict(ConflictKind.FORKED, LOG, "8", "two roots"), NOW)
    row = await _row(store)
    assert not row.protected
    assert row.contradictions == 1


@pytest.mark.parametrize(("minutes", "protected"), [(59, True), (60, False)])
async def test_trouble_ends_the_protection_once_it_is_past_its_deadline(
    store: Store, minutes: int, *, protected: bool
) -> None:
    await _follow(store)
    async with store.write() as tx:
        await health.report(tx, "falling-behind", f"log:{LOG}", NOW - timedelta(days=2), None)
        await health.report(tx, "falling-behind", f"log:{LOG}", NOW - timedelta(minutes=minutes), "far behind")
        await health.report(tx, "falling-behind", "log:another", NOW - timedelta(days=1), "far behind")
    assert (await _row(store)).protected is protected


async def test_what_never_went_well_ends_the_protection_at_once(store: Store) -> None:
    await _follow(store)
    async with store.write() as tx:
        await health.report(tx, "falling-behind", f"log:{LOG}", NOW, "far behind")
    assert not (await _row(store)).protected


async def test_trouble_beside_the_logs_is_told_by_its_source(store: Store) -> None:
    async with store.write() as tx:
        await health.report(tx, "trust-root-stale", "trust-root", NOW - timedelta(hours=25), "TUF is gone")
        await health.report(tx, "delivery-failing", "sink:slack", NOW - timedelta(days=1), None)
        await health.report(tx, "delivery-failing", "sink:slack", NOW - timedelta(minutes=1), "429")
    async with store.read() as tx:
        troubles = await coverage.troubles(tx, PATIENCE, NOW)
    assert troubles == ["trust-root: trust-root-stale since 2026-11-22T11:00:00Z: TUF is gone"]


def test_every_setting_that_costs_a_check_is_named_and_nothing_else() -> None:
    bare = list(coverage.unchecked(Policy(), digests=False, ignored=["a.example"]))
    assert [text.split(":")[0] for text in bare] == [
        "repository and owner ids are not set",
        "no contributor-flow key is set",
        "no release's digests are known (`releases import`, or [[release]] in the settings)",
        "a.example is not followed",
    ]
    whole = Policy(repository_id="1", owner_id="2", contributor_keys=frozenset({"a" * 64}))
    assert list(coverage.unchecked(whole, digests=True, ignored=[])) == []
