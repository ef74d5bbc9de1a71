"""Findings that one person handles together, and what of them has to be told to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.finding import Category, Severity


class IncidentState(StrEnum):
    """Where the handling stands. A resolved incident never reopens."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Incident:
    """Findings under one key (DESIGN section 8). `id` counts from 1 and is what people say to each other."""

    id: int
    key: str
    state: IncidentState
    severity: Severity
    category: Category
    title: str
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None
    previous_id: int | None = None
    """The resolved incident of the same key that this one recurs."""
    history: bool = False
    joined_key: str | None = None
    """The run of the other publishing workflow that joined this incident."""
    count: int = 0
    """Findings in it."""


class DeliveryKind(StrEnum):
    """What a delivery tells."""

    INCIDENT = "incident"
    """A new incident: a message of its own."""
    EVENT = "event"
    """Something new in it: a reply in its thread."""
    SIGNATURE = "signature"
    """A new signature in it: a reply that is broadcast to the channel."""
    ESCALATION = "escalation"
    """It became critical: a new post."""
    STATE = "state"
    """Its state changed: an edit of the first message."""


class DeliveryState(StrEnum):
    """Whether it was told."""

    PENDING = "pending"
    SENT = "sent"
    PARKED = "parked"
    """Refused for good; reported through the other sinks."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to tell one sink, kept until told. `sequence` orders the deliveries of one incident."""

    id: int
    incident_id: int | None
    sink: str
    kind: DeliveryKind
    severity: Severity
    sequence: int
    finding_ids: tuple[int, ...]
    state: DeliveryState
    attempts: int
    next_attempt: datetime
    created_at: datetime
    sent_at: datetime | None = None
    message_id: str | None = None
    error: str | None = None
    unknown_outcome: bool = field(default=False)
    """An attempt ended without an answer: it is looked for before it is sent again."""
