"""What a list can be narrowed by. The command line's options are generated from these fields; `store` turns them into SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Page:
    """A list pages by key: at most `limit` rows after the row of id `after`."""

    limit: int = 100
    after: int | None = None


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Narrows `entries list`."""

    log: str | None = field(
        default=None,
        metadata={"help": "only this log, by its origin (a certificate log: its id in hex), as `logs list` gives it"},
    )
    identity: str | None = field(
        default=None,
        metadata={
            "help": "only certificates whose identity (subject alternative name) contains this, in any letter case"
        },
    )
    digest: str | None = field(
        default=None, metadata={"help": "only this digest, as it was logged or as it was matched to a release"}
    )
    since: datetime | None = field(
        default=None, metadata={"help": "first seen at or after this time (2026-01-31T12:00:00Z)"}
    )
    until: datetime | None = field(
        default=None, metadata={"help": "first seen before this time (2026-01-31T12:00:00Z)"}
    )


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Narrows `findings list`."""

    rule: str | None = field(default=None, metadata={"help": "only findings of this rule, such as branch-ref"})
    severity: str | None = field(default=None, metadata={"help": "only this severity and worse ones"})
    category: str | None = field(default=None, metadata={"help": "only findings of this category"})
    log: str | None = field(
        default=None,
        metadata={"help": "only this log, by its origin (a certificate log: its id in hex), as `logs list` gives it"},
    )
    digest: str | None = field(
        default=None, metadata={"help": "only this digest, as it was logged or as it was matched to a release"}
    )
    incident: int | None = field(default=None, metadata={"help": "only this incident's findings"})
    since: datetime | None = field(
        default=None, metadata={"help": "found at or after this time (2026-01-31T12:00:00Z)"}
    )
    until: datetime | None = field(default=None, metadata={"help": "found before this time (2026-01-31T12:00:00Z)"})
    withdrawn: bool = field(default=False, metadata={"help": "show also findings that a later judgement took back"})


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Narrows `incidents list`."""

    state: str | None = field(default=None, metadata={"help": "only incidents in this state"})
    severity: str | None = field(default=None, metadata={"help": "only this severity and worse ones"})
    since: datetime | None = field(
        default=None, metadata={"help": "opened at or after this time (2026-01-31T12:00:00Z)"}
    )
    until: datetime | None = field(default=None, metadata={"help": "opened before this time (2026-01-31T12:00:00Z)"})
