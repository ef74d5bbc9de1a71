"""What one rule says when it holds, before it is known of which entry: the rule, a sentence and the facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.finding import Fact
from monitor.model.rulebook import RULES
from monitor.model.text import clip

if TYPE_CHECKING:
    from monitor.model.finding import Severity
    from monitor.rules.policy import Policy

SHOWN = 500
"""Characters of a foreign string that a fact shows; the entry keeps the whole."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One rule that holds. `variant` is its severity where that is not the rule's own."""

    rule: str
    summary: str
    facts: tuple[Fact, ...] = ()
    variant: Severity | None = None


def fact(name: str, seen: str | None, expected: str = "") -> Fact:
    """Return one line of what was seen beside what was expected; None was absent."""
    return Fact(name, "(absent)" if seen is None else clip(seen, SHOWN), expected)


def severity(rule: str, variant: Severity | None, policy: Policy | None) -> Severity:
    """Return how bad a hit is: the policy's word for the rule's own severity, but a variant keeps its own.

    Where the severity must not be lowered, the greater of the two.
    """
    row = RULES[rule]
    own = variant or row.severity
    override = policy.severities.get(rule) if policy else None
    if override is None:
        return own
    if not row.lowerable:
        return max(own, override)
    return override if own is row.severity else own
