"""What each mode of Rekor v1 may be said to watch: as much as the certificate logs do, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.errors import SettingsError
from monitor.history import coverage, ranges
from monitor.model.log import (
    CheckpointSource,
    CheckpointStatus,
    Coverage,
    FollowedLog,
    Hole,
    LogState,
    Mode,
    Protocol,
    StoredCheckpoint,
)
from monitor.model.lookup import Lookup, LookupState
from monitor.store import entries, logs, lookups, meta, reading
from monitor.store.engine import Store
from tests.integration.store.conftest import judgement, log_entry
from tests.unit.history.followed import NOW, PATIENCE, follow, leaves, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CT, V1, V2 = "ct.example", "rekor.example - 7", "log.example"
BEGAN = NOW - timedelta(days=3)
KINDS = {CT: Protocol.RFC6962, V1: Protocol.REKOR_V1, V2: Protocol.REKOR_V2}


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    async with await Store.open(sqlite_url) as opened:
        yield opened


async def followed(store: Store, origin: str, mode: Mode = Mode.COMPLETE, *, asked: datetime = NOW) -> None:
    """A log that is read from leaf 4 to its newest checkpoint, of 8 leaves."""
    log = FollowedLog(origin, KINDS[origin], "https://x", mode, LogState.ACTIVE)
    await follow(store, log, asked=asked, began=BEGAN)


async def seek(store: Store, opened: datetime, *, issued: datetime | None = None, history: bool = False) -> None:
    issued = issued or opened
    name = f"i{opened:%d%H%M}{history:d}"
    lookup = Lookup(name, 1, "subject", issued, issued + timedelta(minutes=10), None, history, LookupState.OPEN, opened)
    async with store.write() as tx:
        kept = await entries.add(
            tx, log_entry(len(name) + opened.minute + 60 * opened.hour, log=CT), judgement(), None, NOW
        )
        await lookups.want(tx, replace(lookup, entry_id=kept or 1))


async def test_in_mode_certificates_a_log_is_as_protected_as_the_certificate_logs_and_says_its_limits(
    store: Store,
) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    found = await row(store, V1)
    assert (found.protected, found.gaps, found.since) == (True, (), BEGAN)
    assert (found.start, found.position, found.behind) == (None, None, None)
    assert found.limits == (
        "untrusted certificates and bare keys are seen only by its index (search): absence proves nothing of them",
        "whether its index finds entries by name was not tested yet",
    )


@pytest.mark.parametrize("kept", [None, "honoured", "it answers [] for a name it has"])
async def test_the_limits_say_how_the_index_stood_its_test(store: Store, kept: str | None) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    if kept is not None:
        async with store.write() as tx:
            await meta.set(tx, "index:rekor.example", f"2026-11-23T11:00:00Z {kept}")
    said = " ".join((await row(store, V1)).limits)
    assert ("was not tested yet" in said) == (kept is None)
    assert ("does not find entries by name (it answers [])" in said.replace(" for a name it has", "")) == (
        kept is not None and kept != "honoured"
    )


async def test_a_certificate_log_that_is_not_read_ends_the_protection_of_what_it_leads_to(store: Store) -> None:
    await followed(store, V1, Mode.CERTIFICATES)
    found = await row(store, V1)
    assert (found.protected, found.since) == (False, None)
    assert found.gaps == ("no certificate log is followed: nothing leads to its entries",)

    await followed(store, CT, asked=NOW - timedelta(hours=5))
    found = await row(store, V1)
    assert (found.protected, found.gaps) == (False, (f"the certificate log {CT} is not protected",))


async def test_a_certificate_whose_entry_is_looked_for_too_long_ends_the_protection(store: Store) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    await seek(store, NOW - timedelta(hours=3))
    found = await row(store, V1)
    assert found.protected
    assert "1 certificate of ours still lacks its entry, which is looked for" in found.limits

    await seek(store, NOW - timedelta(days=9), history=True)
    assert (await row(store, V1)).protected

    await seek(store, NOW - timedelta(hours=4, minutes=1))
    found = await row(store, V1)
    assert not found.protected
    assert "still lacks its entry" in found.gaps[0]
    assert "long after the first was issued (2026-11-23T07:59:00Z)" in found.gaps[0]


async def test_what_is_only_searched_is_not_watched(store: Store) -> None:
    await followed(store, V1, Mode.SEARCH)
    found = await row(store, V1)
    assert not found.protected
    assert found.gaps == ("it is not read: what its index shows is found, absence proves nothing",)


async def test_windows_read_for_certificates_are_coverage_and_not_following(store: Store) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    async with store.write() as tx:
        await logs.cover(tx, Coverage(V1, 2, 5, 8), NOW)
        shown = [(each.kind, each.begin, each.end, each.size) for each in await ranges.coverage(tx, V1)]
    assert (await row(store, V1)).position is None
    assert shown == [("gap", 0, 2, None), ("proven", 2, 5, 8), ("gap", 5, 8, None)]


async def test_what_was_passed_over_is_a_gap_until_it_is_read(store: Store) -> None:
    await followed(store, V2)
    async with store.write() as tx:
        before = await logs.cursor(tx, V2)
        assert before is not None
        checkpoint = StoredCheckpoint(
            V2, 20, bytes(32), b"note", CheckpointSource.POLL, CheckpointStatus.CONSISTENT, NOW, NOW
        )
        await logs.add_checkpoint(tx, checkpoint)
        await logs.advance(tx, before, replace(before, position=20, range=leaves(20)), NOW)
        await logs.add_hole(tx, Hole(V2, 5, 6, bytes(32), "not found"), NOW)
        shown = [(each.kind, each.begin, each.end, each.leaves) for each in await ranges.coverage(tx)]
    found = await row(store, V2)
    assert not found.protected
    assert found.gaps[0] == "leaves 8 to 19 were not read: the newest came first, this is still to be read"
    assert shown == [("gap", 0, 4, 4), ("proven", 4, 8, 4), ("hole", 5, 6, 1), ("gap", 8, 20, 12)]


async def test_ranges_of_a_log_that_is_not_followed_are_refused_by_name(store: Store) -> None:
    await followed(store, V2)
    async with store.read() as tx:
        with pytest.raises(SettingsError, match="'other' is no log"):
            await ranges.coverage(tx, "other")


async def test_nothing_can_have_been_missed_since_the_certificate_logs_are_read(store: Store) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    async with store.read() as tx:
        assert await reading.watched(tx) == (BEGAN, NOW)


async def test_nothing_is_said_of_the_time_of_a_certificate_whose_entry_is_still_looked_for(store: Store) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    await seek(store, NOW, issued=NOW - timedelta(hours=2))
    await seek(store, NOW, issued=BEGAN + timedelta(hours=1), history=True)
    async with store.read() as tx:
        assert await reading.watched(tx) == (BEGAN + timedelta(hours=1), NOW - timedelta(hours=2))


@pytest.mark.parametrize("mode", [Mode.CERTIFICATES, Mode.SEARCH])
async def test_nothing_is_said_where_a_log_is_only_searched_or_nothing_leads_to_its_entries(
    store: Store, mode: Mode
) -> None:
    await followed(store, V2)
    await followed(store, V1, mode)
    if mode is Mode.SEARCH:
        await followed(store, CT)
    async with store.read() as tx:
        assert await reading.watched(tx) is None


async def test_what_was_passed_over_is_not_read_until_backfill_joins_it_on(store: Store) -> None:
    await followed(store, V2)
    async with store.write() as tx:
        before = await logs.cursor(tx, V2)
        assert before is not None
        later = NOW + timedelta(hours=5)
        checkpoint = StoredCheckpoint(
            V2, 20, bytes(32), b"note", CheckpointSource.POLL, CheckpointStatus.CONSISTENT, later, later
        )
        await logs.add_checkpoint(tx, checkpoint)
        await logs.advance(tx, before, replace(before, position=20, range=leaves(20)), later)
        assert await reading.watched(tx) == (later, later)
        await logs.cover(tx, Coverage(V2, 8, 20, 20), later)
        assert await reading.watched(tx) == (BEGAN, later)
        await logs.cover(tx, Coverage(V2, 0, 4, 20), later)
        assert await reading.watched(tx) == (datetime(1970, 1, 1, tzinfo=UTC), later)


async def gone(store: Store, state: LogState, now: datetime) -> None:
    """A certificate log that has never answered."""
    async with store.write() as tx:
        await logs.upsert(tx, FollowedLog("gone.example", Protocol.RFC6962, "https://x", Mode.COMPLETE, state), now)


async def test_a_certificate_log_that_ended_and_never_answered_takes_no_protection_from_others(store: Store) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    await gone(store, LogState.ACTIVE, BEGAN)
    assert not (await row(store, V1)).protected
    async with store.read() as tx:
        assert await reading.watched(tx) is None

    ended = BEGAN + timedelta(hours=1)
    for now in (ended, NOW):  # it was ended before this start, too
        await gone(store, LogState.ENDED, now)

    found = await row(store, V1)
    assert (found.protected, found.since) == (True, BEGAN)
    assert not (await row(store, "gone.example")).protected
    async with store.read() as tx:
        assert await reading.watched(tx) == (ended, NOW)


async def test_nothing_is_asked_of_a_log_that_the_settings_leave_out(store: Store) -> None:
    await followed(store, CT)
    await followed(store, V1, Mode.CERTIFICATES)
    await gone(store, LogState.LEFT, BEGAN)
    assert (await row(store, V1)).protected
    async with store.read() as tx:
        assert "gone.example" not in {each.log for each in await coverage.statement(tx, PATIENCE, NOW)}
        assert await reading.watched(tx) == (BEGAN, NOW)
