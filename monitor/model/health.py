"""How each of our sources fares. Every loop writes one row a condition; `rules.health` alone makes findings of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that should hold of one source: named by the rule that fires when it has not for too long.

    `failing_since` is the first failure of the trouble that lasts, None while all is well; it stays until the trouble's end is told.
    `good_passes` counts good passes since the last failure, for hysteresis.
    """

    rule: str
    source: str
    failing_since: datetime | None
    last_success: datetime | None
    last_failure: datetime | None
    error: str
    good_passes: int
