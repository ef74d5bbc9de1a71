"""One rule's verdict on one subject, with the facts that on-call, the auditor and the incident key need."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import total_ordering
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@total_ordering
class Severity(StrEnum):
    """How soon somebody must act; ordered, critical the greatest."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low … 3 for critical."""
        return tuple(Severity).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


class Category(StrEnum):
    """What kind of thing went wrong, which says who looks first."""

    IDENTITY = "identity"
    DIGEST = "digest"
    RELEASE = "release"
    INTEGRITY = "integrity"
    OPERATIONAL = "operational"


class Accepted(StrEnum):
    """Whether the published `cosign verify` command would accept a signature."""

    YES = "yes"
    NO = "no"
    IF_TIMESTAMPED = "if timestamped"
    """Rekor v2 has no time of its own: yes, with a timestamp within the certificate's ten minutes.

    So it is of a certificate of which no signature is known: yes, of one that was made in time.
    """


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what was expected beside what was seen; either may be empty."""

    name: str
    seen: str
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's verdict on one subject. (rule, subject) is unique: the same verdict found again is the same finding.

    `subject` is `entry:…`, `log:…`, `release:…` or `source:…`; an operational subject carries the time its trouble began,
    so that a recurrence is another finding.
    """

    rule: str
    severity: Severity
    category: Category
    subject: str
    summary: str
    facts: tuple[Fact, ...] = ()
    accepted: Accepted | None = None
    log: str | None = None
    index: int | None = None
    global_index: int | None = None
    uuid: str | None = None
    identity: str | None = None
    issuer: str | None = None
    digest: str | None = None
    artifacts: tuple[str, ...] = ()
    version: str | None = None
    event: str | None = None
    """The signing event, for a finding about an entry."""
    run: str | None = None
    """The run that made it (claim .21 without the attempt), only of a trusted certificate."""
    attempt: int | None = None
    commit: str | None = None
    """Claim .13, only of a trusted certificate."""
    ref: str | None = None
    workflow: str | None = None
    """File name of the workflow, only of a trusted certificate."""
    trusted: bool = False
    signed_at: datetime | None = None
    history: bool = False
    """Signed before `watch_from`: told with the baseline, never paged singly."""


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding as the store keeps it. `withdrawn_at` is set when a later judgement no longer holds it."""

    id: int
    finding: Finding
    found_at: datetime
    entry_id: int | None
    incident_id: int | None
    withdrawn_at: datetime | None = None
    extra: tuple[tuple[str, str], ...] = field(default=())
