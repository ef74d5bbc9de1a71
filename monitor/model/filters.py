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

    log: str | None = field(default=None, metadata={"help": "only this log's origin"})
    identity: str | None = field(
        default=None, metadata={"help": "the subject alternative name contains this, in any case"}
    )
    digest: str | None = field(default=None, metadata={"help": "this logged or matched digest (sha256:…)"})
    since: datetime | None = field(default=None, metadata={"help": "first seen at or after this RFC 3339 time"})
    until: datetime | None = field(default=None, metadata={"help": "first seen before this RFC 3339 time"})


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Narrows `findings list`."""

    rule: str | None = field(default=None, metadata={"help": "only this rule"})
    severity: str | None = field(default=None, metadata={"help": "this severity or a worse one"})
    category: str | None = field(default=None, metadata={"help": "only this category"})
    log: str | None = field(default=None, metadata={"help": "only this log's origin"})
    digest: str | None = field(default=None, metadata={"help": "this logged or matched digest (sha256:…)"})
    incident: int | None = field(default=None, metadata={"help": "only this incident's findings"})
    since: datetime | None = field(default=None, metadata={"help": "found at or after this RFC 3339 time"})
    until: datetime | None = field(default=None, metadata={"help": "found before this RFC 3339 time"})
    withdrawn: bool = field(default=False, metadata={"help": "also findings that a later judgement took back"})


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Narrows `incidents list`."""

    state: str | None = field(default=None, metadata={"help": "open, acknowledged or resolved"})
    severity: str | None = field(default=None, metadata={"help": "this severity or a worse one"})
    since: datetime | None = field(default=None, metadata={"help": "opened at or after this RFC 3339 time"})
    until: datetime | None = field(default=None, metadata={"help": "opened before this RFC 3339 time"})
