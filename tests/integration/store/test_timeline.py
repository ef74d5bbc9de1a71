"""Everything that happened stands on one axis, each thing once, however it is paged."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from monitor.model.finding import Category, Severity
from monitor.model.incident import DeliveryKind, DeliveryState, IncidentState
from monitor.store import entries, findings, logs, timeline
from monitor.store.tables import deliveries, incidents, operator_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.model.entry import LogEntry
    from monitor.model.finding import Finding
    from monitor.model.judgement import Judgement
    from monitor.model.log import StoredCheckpoint
    from monitor.store.engine import Store


@pytest.fixture
async def eventful(
    store: Store,
    now: datetime,
    make_entry: Callable[..., LogEntry],
    make_finding: Callable[..., Finding],
    make_judgement: Callable[..., Judgement],
    make_checkpoint: Callable[..., StoredCheckpoint],
) -> Store:
    def after(minutes: int) -> datetime:
        return now + timedelta(minutes=minutes)

    severity, category = Severity.CRITICAL, Category.IDENTITY
    async with store.write() as tx:
        await logs.add_checkpoint(tx, make_checkpoint(9, first_seen=now, last_seen=now))
        unsigned = make_entry(5, signers=(), promise=None, first_seen=now)
        entry_id = await entries.add(tx, unsigned, make_judgement(), None, now)
        await findings.put(tx, [make_finding()], after(1), entry_id=entry_id)
        incident: dict[str, object] = {
            "key": "k",
            "state": IncidentState.OPEN,
            "severity": severity,
            "category": category,
            "title": "T",
        }
        incident |= {"history": False, "opened_at": after(1), "updated_at": after(1), "count": 1}
        opened = await tx.execute(sa.insert(incidents).values(incident).returning(incidents.c.id))
        incident_id = opened.scalar_one()
        delivery: dict[str, object] = {
            "incident_id": incident_id,
            "sink": "slack",
            "kind": DeliveryKind.INCIDENT,
            "severity": severity,
        }
        delivery |= {"finding_ids": [1], "attempts": 1, "next_attempt": after(2), "created_at": after(1)}
        delivery |= {"unknown_outcome": False}
        sent = {"sequence": 1, "state": DeliveryState.SENT, "sent_at": after(2)}
        pending = {"sequence": 2, "state": DeliveryState.PENDING, "sent_at": None}
        await tx.execute(sa.insert(deliveries), [{**delivery, **sent}, {**delivery, **pending}])
        acknowledged = {"at": after(3), "who": "ann\x00", "what": "acknowledged", "detail": "on it"}
        await tx.execute(sa.insert(operator_events).values(**acknowledged, incident_id=incident_id))
    return store


async def test_everything_that_happened_stands_in_order(eventful: Store, now: datetime) -> None:
    async with eventful.read() as tx:
        rows = await timeline.rows(tx)
    assert [(row.kind, (row.time - now) // timedelta(minutes=1)) for row in rows] == [
        ("checkpoint", 0),
        ("signature", 0),
        ("finding", 1),
        ("incident", 1),
        ("delivery", 2),
        ("operator", 3),
    ]
    assert [row.what for row in rows] == [
        "log2026.example signed a tree of 9 leaves (seen)",
        "an entry without a signer signed sha256:" + f"{5:064x}",
        "critical branch-ref: a summary",
        "critical incident 1 opened: T",
        "incident told to slack",
        "ann\x00: acknowledged: on it",
    ]
    assert ("incident", "1") in rows[-1].ids
    assert ("index", "5") in rows[1].ids


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
async def test_pages_of_any_length_show_everything_once(eventful: Store, limit: int) -> None:
    seen: list[timeline.TimelineKey] = []
    async with eventful.read() as tx:
        while rows := await timeline.rows(tx, limit=limit, after=seen[-1] if seen else None):
            assert len(rows) <= limit
            seen += [row.key for row in rows]
        assert seen == [row.key for row in await timeline.rows(tx)]
    assert len(seen) == len(set(seen)) == 6


async def test_the_axis_is_cut_at_its_ends(eventful: Store, now: datetime) -> None:
    async with eventful.read() as tx:
        rows = await timeline.rows(tx, now + timedelta(minutes=1), now + timedelta(minutes=3))
    assert [row.kind for row in rows] == ["finding", "incident", "delivery"]
