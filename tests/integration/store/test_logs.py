"""Cursors move by compare-and-swap, coverage is a set of leaves, checkpoints and troubles are kept for ever and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import LostRaceError, StoreError
from monitor.model.filters import Page
from monitor.model.log import (
    CheckpointSource,
    CheckpointStatus,
    Conflict,
    ConflictKind,
    Coverage,
    Cursor,
    FollowedLog,
    Hole,
    LogState,
    Mode,
    Protocol,
    QuarantinedLeaf,
)
from monitor.store import logs, troubles
from monitor.store.engine import Store
from monitor.tlog.merkle import CompactRange

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.model.log import StoredCheckpoint

LOG = "log2026.example"
A, B = b"\1" * 32, b"\2" * 32


def at(position: int, started_at: int = 0) -> Cursor:
    leaves = [hashlib.sha256(bytes([n % 256])).digest() for n in range(position)]
    return Cursor(LOG, position, CompactRange.empty().extend(leaves), started_at)


async def test_a_log_is_kept_with_what_is_new_about_it(store: Store, now: datetime) -> None:
    log = FollowedLog(LOG, Protocol.REKOR_V1, "https://a", Mode.COMPLETE, LogState.ACTIVE, "123", 7)
    other = FollowedLog("a.example", Protocol.REKOR_V2, "https://b", Mode.COMPLETE, LogState.ACTIVE)
    ended = replace(log, url="https://c", state=LogState.ENDED, offset=9)
    async with store.write() as tx:
        for each in (log, other, ended):
            await logs.upsert(tx, each, now)
        assert await logs.every(tx) == [other, ended]


async def test_a_cursor_comes_back_as_it_was_kept(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        assert await logs.cursor(tx, LOG) is None
        await logs.start_cursor(tx, at(11, started_at=11), now)
        assert await logs.cursor(tx, LOG) == at(11, started_at=11)
        await logs.advance(tx, at(11, started_at=11), at(300, started_at=11), now)
        assert await logs.cursor(tx, LOG) == at(300, started_at=11)


async def test_a_second_first_cursor_has_lost_the_race(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await logs.start_cursor(tx, at(3), now)
        with pytest.raises(LostRaceError):
            await logs.start_cursor(tx, at(4), now)
        assert await logs.cursor(tx, LOG) == at(3)


async def test_a_cursor_does_not_move_from_where_it_is_not(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        await logs.start_cursor(tx, at(3), now)
        elsewhere = Cursor(LOG, 3, CompactRange.empty().extend([A, A, A]), 0)
        for stale in (at(2), elsewhere, at(3, started_at=1)):
            with pytest.raises(LostRaceError):
                await logs.advance(tx, stale, at(5), now)
        assert await logs.cursor(tx, LOG) == at(3)


async def test_eight_followers_of_four_processes_take_every_stride_exactly_once(
    database_url: str, now: datetime
) -> None:
    stores = [await Store.open(database_url) for _ in range(4)]
    async with stores[0].write() as tx:
        await logs.start_cursor(tx, at(0), now)
    taken: list[int] = []

    async def follow(store: Store) -> None:
        while True:
            try:
                async with store.read() as tx:
                    before = await logs.cursor(tx, LOG)
                assert before is not None
                if before.position >= 40:
                    return
                async with store.write() as tx:
                    await logs.count(tx, LOG, "strides", 1)
                    await logs.advance(tx, before, at(before.position + 1), now)
                taken.append(before.position)
            except LostRaceError:
                continue

    await asyncio.gather(*(follow(store) for store in stores for _ in range(2)))
    assert sorted(taken) == list(range(40))
    async with stores[0].read() as tx:
        assert (await logs.counters(tx, LOG))["strides"] == 40
    for store in stores:
        await store.close()


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=14)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=spans)
async def test_coverage_is_the_set_of_the_leaves_that_were_proven(
    store: Store, now: datetime, spans: list[tuple[int, int]]
) -> None:
    covered: set[int] = set()
    with contextlib.suppress(ZeroDivisionError):
        async with store.write() as tx:
            for begin, length in spans:
                await logs.cover(tx, Coverage(LOG, begin, begin + length, 100 + begin), now)
                covered.update(range(begin, begin + length))
            ranges = await logs.coverage(tx, LOG)
            raise ZeroDivisionError  # undone, so that the next example begins empty
    assert {leaf for each in ranges for leaf in range(each.begin, each.end)} == covered
    assert all(one.end < other.begin for one, other in pairwise(ranges))
    for each in ranges:
        assert each.size == max(100 + b for b, n in spans if n and each.begin <= b < each.end)


async def test_two_programs_that_cover_one_log_at_once_lose_nothing_and_clash_only_as_a_race(
    database_url: str, now: datetime
) -> None:
    async def cover(store: Store, spans: list[tuple[int, int]]) -> None:
        for begin, end in spans:
            while True:
                try:
                    async with store.write() as tx:
                        await logs.coverage(tx, LOG)
                        await asyncio.sleep(0.01)  # the other one has read too by now, and covers the same
                        await logs.cover(tx, Coverage(LOG, begin, end, 1000), now)
                    break
                except LostRaceError:
                    continue

    async with await Store.open(database_url) as one, await Store.open(database_url) as other:
        mine = [(begin, begin + 7) for begin in range(0, 100, 10)]
        theirs = [(begin, begin + 9) for begin in range(0, 100, 10)]
        await asyncio.gather(cover(one, mine), cover(other, theirs))
        async with one.read() as tx:
            assert await logs.coverage(tx, LOG) == [Coverage(LOG, begin, end, 1000) for begin, end in theirs]


@pytest.mark.parametrize(("begin", "end", "size"), [(-1, 3, 9), (4, 3, 9), (3, 10, 9)])
async def test_coverage_beyond_its_checkpoint_is_refused(
    store: Store, now: datetime, begin: int, end: int, size: int
) -> None:
    async with store.write() as tx:
        with pytest.raises(ValueError, match="below its size"):
            await logs.cover(tx, Coverage(LOG, begin, end, size), now)


async def test_checkpoints_of_one_size_and_two_roots_are_both_kept(
    store: Store, make_checkpoint: Callable[..., StoredCheckpoint]
) -> None:
    one, fork = make_checkpoint(9, A), make_checkpoint(9, B, source=CheckpointSource.PROOF)
    async with store.write() as tx:
        assert await logs.add_checkpoint(tx, one)
        assert await logs.add_checkpoint(tx, fork)
        assert not await logs.add_checkpoint(tx, replace(one, note=b"other", status=CheckpointStatus.CONFLICTING))
        assert await logs.at_size(tx, LOG, 9) == [one, fork]
        later = replace(one, last_seen=one.last_seen + timedelta(hours=1))
        assert not await logs.add_checkpoint(tx, later)
        assert not await logs.add_checkpoint(tx, one)
        assert (await logs.at_size(tx, LOG, 9))[0] == later


async def test_the_newest_checkpoint_is_the_greatest_consistent_one(
    store: Store, make_checkpoint: Callable[..., StoredCheckpoint]
) -> None:
    async with store.write() as tx:
        assert await logs.newest(tx, LOG) is None
        for size, status in ((5, "consistent"), (9, "consistent"), (12, "seen"), (20, "conflicting")):
            await logs.add_checkpoint(tx, make_checkpoint(size, status=CheckpointStatus(status)))
        await logs.add_checkpoint(tx, make_checkpoint(99, log="other", status=CheckpointStatus.CONSISTENT))
        newest = await logs.newest(tx, LOG)
        assert newest is not None
        assert newest.size == 9
        await logs.set_status(tx, LOG, 12, A, CheckpointStatus.CONSISTENT)
        newest = await logs.newest(tx, LOG)
        assert newest is not None
        assert newest.size == 12
        assert [each.size for each in await logs.with_status(tx, LOG, CheckpointStatus.CONSISTENT, 2)] == [5, 9]
        with pytest.raises(StoreError):
            await logs.set_status(tx, LOG, 12, B, CheckpointStatus.CONSISTENT)


@pytest.mark.parametrize(
    ("after", "upto", "expected"), [(0, 100, 5), (5, 100, 9), (5, 8, None), (8, 9, 9), (9, 19, None), (20, 100, None)]
)
async def test_the_next_stored_size_passes_over_conflicting_ones(
    store: Store, make_checkpoint: Callable[..., StoredCheckpoint], after: int, upto: int, expected: int | None
) -> None:
    async with store.write() as tx:
        for size, status in ((5, "seen"), (9, "consistent"), (12, "conflicting"), (20, "seen")):
            await logs.add_checkpoint(tx, make_checkpoint(size, status=CheckpointStatus(status)))
        found = await logs.next_size(tx, LOG, after, upto)
    assert (found.size if found else None) == expected


async def test_checkpoints_page_by_id(store: Store, make_checkpoint: Callable[..., StoredCheckpoint]) -> None:
    async with store.write() as tx:
        for size in (7, 3, 5, 1):
            await logs.add_checkpoint(tx, make_checkpoint(size))
        await logs.add_checkpoint(tx, make_checkpoint(2, log="other"))
        first = await logs.list_checkpoints(tx, LOG, Page(limit=3))
        rest = await logs.list_checkpoints(tx, LOG, Page(limit=3, after=first[-1].id))
        assert [row.checkpoint.size for row in (*first, *rest)] == [7, 3, 5, 1]
        assert len(await logs.list_checkpoints(tx, None, Page())) == 5


async def test_a_conflict_is_kept_once_with_all_its_evidence(store: Store, now: datetime) -> None:
    evidence = (("ours", b"note\x00"), ("theirs", b""), ("proof", bytes(range(256))))
    conflict = Conflict(ConflictKind.FORKED, LOG, "9", "two roots", index=3, evidence=evidence)
    async with store.write() as tx:
        conflict_id = await logs.add_conflict(tx, conflict, now)
        assert conflict_id is not None
        assert await logs.add_conflict(tx, replace(conflict, evidence=(("x", b"x"),)), now) is None
        bare = Conflict(ConflictKind.MISSING, LOG, "9", "gone")
        assert await logs.add_conflict(tx, bare, now) is not None
        kept = await logs.conflicts(tx, LOG, Page())
        assert [each.conflict for each in kept] == [conflict, bare]
        assert await logs.conflicts(tx, None, Page(after=kept[0].id)) == [kept[1]]
        assert await logs.conflicts(tx, "other", Page()) == []


async def test_holes_are_asked_for_in_turn_for_ever_until_they_are_filled(store: Store, now: datetime) -> None:
    first, second = Hole(LOG, 3, 4, A, "not found"), Hole(LOG, 8, 16, B, "oversize")
    async with store.write() as tx:
        assert await logs.add_hole(tx, first, now)
        assert await logs.add_hole(tx, second, now)
        assert not await logs.add_hole(tx, second, now)
        assert await logs.holes(tx, LOG, 1) == [first]
        await logs.asked_hole(tx, LOG, 3, now + timedelta(seconds=1))
        assert await logs.holes(tx, LOG, 1) == [second]
        await logs.fill_hole(tx, LOG, 3, now)
        assert await logs.holes(tx, LOG, 9) == [second]
        again = replace(first, reason="lost again")
        assert await logs.add_hole(tx, again, now)
        assert await logs.holes(tx, LOG, 9) == [again, second]


async def test_a_flood_of_unreadable_leaves_is_counted_once_its_room_is_full(
    store: Store, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "RAW_LEAVES", 3)

    def leaf(index: int, reason: str = "not JSON", *, ours: bool = False) -> QuarantinedLeaf:
        return QuarantinedLeaf(LOG, index, hashlib.sha256(b"%d" % index).digest(), reason, b"raw%d" % index, ours)

    async with store.write() as tx:
        for index in (9, 4, 6, 7, 2, 30):
            assert await logs.quarantine(tx, leaf(index), now)
        assert not await logs.quarantine(tx, leaf(9), now)
        assert await logs.quarantine(tx, leaf(50, ours=True), now)
        kept = await logs.list_quarantined(tx, LOG, Page())
    shape = [(each.begin, each.end, each.count, each.ours, each.leaf_hash is not None) for each in kept]
    assert shape == [
        (9, 10, 1, False, True),
        (4, 5, 1, False, True),
        (6, 7, 1, False, True),
        (2, 31, 3, False, False),
        (50, 51, 1, True, True),
    ]
    async with store.read() as tx:
        assert await logs.quarantined_data(tx, kept[0].id) == b"raw9"
        assert await logs.quarantined_data(tx, kept[3].id) is None


async def test_a_flood_of_unreadable_leaves_of_ever_new_reasons_is_bounded(
    store: Store, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "RAW_BYTES", 100)
    monkeypatch.setattr(troubles, "REASONS", 4)
    async with store.write() as tx:
        for index in range(50):
            leaf = QuarantinedLeaf(
                LOG, index, hashlib.sha256(b"%d" % index).digest(), f"r{index}", bytes(20), ours=False
            )
            assert await logs.quarantine(tx, leaf, now)
        kept = await logs.list_quarantined(tx, LOG, Page(limit=1000))
    assert len([each for each in kept if each.leaf_hash]) == 5
    assert len(kept) == 5 + 4 + 1
    assert sum(each.count for each in kept) == 50
    assert kept[-1].reason == troubles.OTHER_REASONS


async def test_counters_add_up_for_each_log_apart(store: Store) -> None:
    async with store.write() as tx:
        await logs.count(tx, LOG, "unrelated", 3)
        await logs.count(tx, LOG, "unrelated", 4)
        await logs.count(tx, LOG, "retries", 1)
        await logs.count(tx, "other", "unrelated", 1)
        assert await logs.counters(tx, LOG) == {"unrelated": 7, "retries": 1}
