"""Turns the health of our sources into findings, and tells which troubles are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.rules import health as health_rules
from monitor.store import findings, health

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.health import Condition
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx


async def review(tx: Tx, policy: Policy, now: datetime) -> tuple[int, tuple[Condition, ...]]:
    """Keep the findings that the conditions call for; return how many are new, and the conditions that recovered."""
    found, recovered = health_rules.health(await health.conditions(tx), policy, now)
    new = await findings.put(tx, found, now, entry_id=None)
    return len(new), recovered
