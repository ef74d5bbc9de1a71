"""What searching asks the store: which certificates still lack their entry, what is known already, and how the index stood its test."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from monitor.model.log import CheckpointSource, CheckpointStatus, StoredCheckpoint
from monitor.model.lookup import Lookup, LookupState
from monitor.model.release import ExpectedHash
from monitor.model.search import IndexState
from monitor.store import entries, logs, lookups, releases, searches, tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.model.entry import LogEntry
    from monitor.model.judgement import Judgement
    from monitor.store.engine import Store

LOG = "log2026.example"


async def test_the_state_of_an_index_comes_back_with_its_reason(store: Store, now: datetime) -> None:
    host = "h" * 60 + ".example"
    bad = IndexState(honoured=False, reason="POST /index: 501 not here", at=now)
    good = IndexState(honoured=True, reason="", at=now + timedelta(hours=1))
    for state in (bad, good):
        async with store.write() as tx:
            await searches.set_index_state(tx, host, state)
        async with store.read() as tx:
            assert await searches.index_state(tx, host) == state
            assert await searches.index_state(tx, "other.example") is None


async def test_what_is_still_to_be_looked_for_and_what_an_index_was_not_asked_for(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    async with store.write() as tx:
        entry_id = await entries.add(tx, make_entry(5), make_judgement(), None, now)
        assert entry_id is not None
        wanted = Lookup("a", entry_id, "s", now, now, None, history=False, state=LookupState.OPEN, opened_at=now)
        changed: dict[str, dict[str, Any]] = {
            "open": {},
            "read": {"read_at": now},
            "read long ago": {"read_at": now - timedelta(days=2)},
            "found, read": {"state": LookupState.FOUND, "read_at": now},
            "found": {"state": LookupState.FOUND},
            "found long ago": {"state": LookupState.FOUND, "not_after": now - timedelta(days=2)},
            "closed": {"state": LookupState.UNLOGGED},
            "earlier": {"not_before": now - timedelta(days=9)},
            "old": {"history": True},
            "old, asked": {"history": True, "searched_at": now - timedelta(hours=1)},
            "old, asked long ago": {"history": True, "searched_at": now - timedelta(days=3)},
        }
        for name, changes in changed.items():
            assert await lookups.want(tx, replace(wanted, issuance=name, **changes))
    day = now - timedelta(days=1)
    async with store.read() as tx:
        assert [each.issuance for each in await lookups.sought(tx, day)] == [
            "earlier",
            "found",
            "open",
            "read",
        ]
        assert [each.issuance for each in await lookups.unasked(tx, day, 5)] == ["old", "old, asked long ago"]
        assert [each.issuance for each in await lookups.unasked(tx, day, 1)] == ["old"]
        assert await lookups.signing(tx) == set()


async def test_entries_are_known_by_uuid_and_named_once_an_identity(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    uuids = []
    async with store.write() as tx:
        for index in (5, 6):
            entry = make_entry(index)
            assert await entries.add(tx, entry, make_judgement(), None, now)
            assert entry.promise is not None
            uuids.append(entry.promise.uuid)
    async with store.read() as tx:
        assert await entries.known_uuids(tx, [*uuids, "0" * 80]) == set(uuids)
        ((identity, uuid),) = await entries.named(tx, [LOG], 3)
        assert identity.endswith("@refs/tags/v0.1.2")
        assert uuid == uuids[-1]
        assert await entries.named(tx, ["other"], 3) == []


async def test_the_greatest_checkpoint_seen_by_a_moment_is_one_that_is_proven(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        for size, minutes, status in (
            (10, 0, CheckpointStatus.CONSISTENT),
            (20, 1, CheckpointStatus.CONSISTENT),
            (30, 1, CheckpointStatus.SEEN),
            (40, 2, CheckpointStatus.CONSISTENT),
        ):
            seen = now + timedelta(minutes=minutes)
            new = StoredCheckpoint(LOG, size, bytes([size] * 32), b"note", CheckpointSource.POLL, status, seen, seen)
            await logs.add_checkpoint(tx, new)
    async with store.read() as tx:
        found = [await logs.seen_by(tx, LOG, now + timedelta(seconds=seconds)) for seconds in (-1, 0, 60, 500)]
    assert [each.size if each else None for each in found] == [None, 10, 20, 40]


async def test_every_tag_is_named_once_and_every_hash_is_listed(store: Store, now: datetime) -> None:
    hashes = [ExpectedHash("aa", "sha256:1", "one way"), ExpectedHash("bb", "sha256:1", "another")]
    async with store.write() as tx:
        await releases.add_digests(tx, [], hashes, now)
        await tags.observe(tx, "ui", {"0.1.2": "sha256:1", "latest": "sha256:1"}, [], now)
        await tags.observe(tx, "runner", {"0.1.2": "sha256:2"}, [], now)
    async with store.read() as tx:
        assert await tags.names(tx) == ["0.1.2", "latest"]
        assert sorted(await releases.every_hash(tx), key=lambda each: each.value) == hashes
