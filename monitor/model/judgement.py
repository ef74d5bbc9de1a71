"""What judging one entry came to: its findings and the columns that lists show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.finding import Accepted, Finding
    from monitor.model.log import Leaf
    from monitor.model.release import DigestStatus, Match


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that the rules said of one entry.

    `related` is False for an entry with no signer in scope that fires no rule: it is counted, not stored. `revision` names the
    rulebook, policy, trust root and expectations that judged; None when a rule failed, so that the entry is judged again.
    """

    findings: tuple[Finding, ...]
    digest_status: DigestStatus
    accepted: Accepted | None
    matches: tuple[Match, ...]
    related: bool
    revision: str | None
    history: bool = False


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as the store keeps it: enough to read and judge it again from its own bytes."""

    id: int
    leaf: Leaf
    first_seen: datetime
    digest_status: DigestStatus
    revision: str | None
    disproven: bool = False
