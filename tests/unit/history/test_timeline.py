"""The timeline: one axis, read page by page, in the fields that Timesketch imports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.errors import SettingsError
from monitor.history import timeline
from monitor.model.finding import Category, Finding, Severity
from monitor.model.log import CheckpointSource, CheckpointStatus, StoredCheckpoint
from monitor.store import findings, incidents, logs
from monitor.store.engine import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    async with await Store.open(sqlite_url) as opened:
        async with opened.write() as tx:
            for number in range(5):
                at = NOW + timedelta(minutes=number // 2)
                await logs.add_checkpoint(
                    tx,
                    StoredCheckpoint(
                        "log.example",
                        number,
                        bytes(32),
                        b"",
                        CheckpointSource.POLL,
                        CheckpointStatus.CONSISTENT,
                        at,
                        at,
                    ),
                )
                finding = Finding(
                    "log-forked", Severity.CRITICAL, Category.INTEGRITY, f"log:{number}", f"fork {number}"
                )
                await findings.put(tx, [finding], at, entry_id=None)
            opened_ = await incidents.create(
                tx, key="log:x", severity=Severity.CRITICAL, category=Category.INTEGRITY, title="forked", now=NOW
            )
            await incidents.add_event(tx, opened_.id, "ada", "acknowledged", "looking", NOW)
        yield opened


async def test_read_page_by_page_every_event_comes_once_and_in_order(store: Store) -> None:
    async with store.read() as tx:
        whole = await timeline.events(tx, None, None, None, 1000)
        paged: list[timeline.TimelineEvent] = []
        while page := await timeline.events(tx, None, None, paged[-1].key if paged else None, 2):
            paged += page
    assert paged == whole
    assert len({event.key for event in whole}) == len(whole) == 12
    assert [event.datetime for event in whole] == sorted(event.datetime for event in whole)


async def test_it_holds_what_happened_to_logs_findings_incidents_and_by_whom(store: Store) -> None:
    async with store.read() as tx:
        whole = await timeline.events(tx, None, None, None, 1000)
    assert {event.kind for event in whole} == {"checkpoint", "finding", "incident", "operator"}
    assert any("ada: acknowledged: looking" in event.message for event in whole)


async def test_it_is_cut_from_since_on_and_before_until(store: Store) -> None:
    async with store.read() as tx:
        cut = await timeline.events(tx, NOW + timedelta(minutes=1), NOW + timedelta(minutes=2), None, 1000)
    assert {event.datetime for event in cut} == {NOW + timedelta(minutes=1)}


@pytest.mark.parametrize(
    "key", ["", "x", "2026-11-23T12:00:00Z/finding/x", "2026-11-23T12:00:00/finding/1", "2026-11-23T12:00:00Z/y/1"]
)
async def test_a_key_that_is_none_is_refused(store: Store, key: str) -> None:
    async with store.read() as tx:
        with pytest.raises(SettingsError, match="no key of the timeline"):
            await timeline.events(tx, None, None, key, 10)
