"""Turns the health of our sources into findings, and says which troubles are over.

The only author of operational findings. A trouble is told once its deadline has passed, and is over after two good passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.model.finding import Fact, Finding
from monitor.model.rulebook import RULES
from monitor.model.text import rfc3339
from monitor.rules.hit import fact, severity
from monitor.rules.policy import DEADLINES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.model.health import Condition
    from monitor.rules.policy import Policy

GOOD_PASSES = 2
"""Good passes in a row after which a trouble is over (hysteresis)."""


def health(
    conditions: Iterable[Condition], policy: Policy, now: datetime
) -> tuple[tuple[Finding, ...], tuple[Condition, ...]]:
    """Return the findings that hold now, and the conditions that have recovered from a failure.

    A recovered condition stays one until the store is told that it was told of. Two of them are of the
    category integrity: a log that shows only old sizes, or proves nothing, has contradicted nobody until it went on too long.
    """
    found: list[Finding] = []
    recovered: list[Condition] = []
    for condition in conditions:
        rule = RULES.get(condition.rule)
        if rule is None or condition.rule not in DEADLINES:
            continue
        since = condition.failing_since
        if since is None:
            continue
        if condition.good_passes >= GOOD_PASSES:
            recovered.append(condition)
        elif condition.good_passes == 0 and now - since >= policy.deadline(condition.rule):
            found.append(_finding(condition, since, policy))
    return tuple(found), tuple(recovered)


def _finding(condition: Condition, since: datetime, policy: Policy) -> Finding:
    rule = RULES[condition.rule]
    facts: list[Fact] = [fact("source", condition.source), fact("failing since", rfc3339(since))]
    if condition.last_success:
        facts.append(fact("last good", rfc3339(condition.last_success)))
    if condition.last_failure:
        facts.append(fact("last failure", rfc3339(condition.last_failure)))
    facts.append(fact("last error", condition.error))
    return Finding(
        rule.id,
        severity(rule.id, None, policy),
        rule.category,
        f"source:{rule.id}:{condition.source}@{rfc3339(since)}",
        f"{rule.title}: {condition.source.removeprefix('log:').removeprefix('settings:')}.",
        tuple(facts),
        log=condition.source.removeprefix("log:") if condition.source.startswith("log:") else None,
    )
