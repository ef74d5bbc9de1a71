"""Conflicts, holes, unreadable leaves and failing sources become the findings the rulebook names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.model.finding import Category, Severity
from monitor.model.health import Condition
from monitor.model.log import Conflict, ConflictKind, Hole, QuarantinedLeaf
from monitor.model.rulebook import RULES
from monitor.rules import integrity
from monitor.rules.health import health
from monitor.rules.policy import DEADLINES, Policy

LOG = "log2025-1.rekor.sigstore.dev"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPERATIONAL = [rule.id for rule in RULES.values() if rule.category is Category.OPERATIONAL]


@pytest.mark.parametrize("kind", list(ConflictKind))
def test_every_conflict_is_an_integrity_finding_with_its_own_rule(kind: ConflictKind) -> None:
    finding = integrity.conflict(Conflict(kind, LOG, "457", "what happened", 12, (("ours", b"note"),)))
    assert (finding.category, finding.log, finding.index) == (Category.INTEGRITY, LOG, 12)
    assert finding.subject == f"log:{LOG}:457"
    assert finding.summary == "what happened"
    assert finding.severity is RULES[finding.rule].severity
    assert len({integrity.RULE_OF[each] for each in ConflictKind}) == len(ConflictKind)


def test_a_hole_is_an_entry_missing() -> None:
    finding = integrity.hole(Hole(LOG, 10, 266, b"\x01" * 32, "404"))
    assert (finding.rule, finding.severity, finding.index) == ("entry-missing", Severity.CRITICAL, 10)
    assert finding.subject != integrity.hole(Hole(LOG, 266, 267, b"\x01" * 32, "404")).subject


@pytest.mark.parametrize(("ours", "severity"), [(True, Severity.MEDIUM), (False, Severity.LOW)])
def test_an_unreadable_leaf_is_medium_where_it_bears_our_name(*, ours: bool, severity: Severity) -> None:
    finding = integrity.quarantined(QuarantinedLeaf(LOG, 3, b"\x02" * 32, "not JSON", b"<html>", ours))
    assert (finding.rule, finding.severity, finding.index) == ("entry-quarantined", severity, 3)
    assert finding.summary.endswith(": not JSON")
    assert finding.summary.startswith(
        "An unreadable entry bears our name" if ours else "An entry of the log cannot be read"
    )


def test_a_strangers_words_in_a_reason_have_a_bound_in_the_summary() -> None:
    finding = integrity.quarantined(QuarantinedLeaf(LOG, 3, b"\x02" * 32, "kind " + "x" * 10_000, b"", ours=False))
    assert len(finding.summary) < 200


def test_integrity_can_be_raised_by_policy() -> None:
    policy = Policy(severities={"entry-quarantined": Severity.HIGH, "log-rolled-back": Severity.CRITICAL})
    leaf = QuarantinedLeaf(LOG, 3, b"\x02" * 32, "not JSON", b"", ours=True)
    assert integrity.quarantined(leaf, policy).severity is Severity.HIGH
    assert integrity.conflict(Conflict(ConflictKind.ROLLED_BACK, LOG, "1", ""), policy).severity is Severity.CRITICAL


def test_integrity_is_never_lowered_not_even_a_graver_variant() -> None:
    policy = Policy(severities={"entry-quarantined": Severity.LOW})
    leaf = QuarantinedLeaf(LOG, 3, b"\x02" * 32, "not JSON", b"", ours=True)
    assert integrity.quarantined(leaf, policy).severity is Severity.MEDIUM


def condition(rule: str, failing: timedelta | None, *, good: int = 0, failed: bool = True) -> Condition:
    since = NOW - failing if failing is not None else None
    return Condition(
        rule, f"log:{LOG}", since, NOW - timedelta(days=1), NOW if failed else None, "connection refused", good
    )


@pytest.mark.parametrize("rule", OPERATIONAL)
def test_a_trouble_is_told_once_its_deadline_has_passed_and_not_before(rule: str) -> None:
    deadline = DEADLINES[rule]
    found, _ = health([condition(rule, deadline)], Policy(), NOW)
    assert [(rule, Category.OPERATIONAL, Severity.MEDIUM)] == [(f.rule, f.category, f.severity) for f in found]
    assert "connection refused" in {fact.seen for fact in found[0].facts}
    if deadline:
        assert health([condition(rule, deadline - timedelta(seconds=1))], Policy(), NOW) == ((), ())


def test_a_deadline_is_a_setting() -> None:
    policy = Policy(deadlines={"log-unreachable": timedelta(seconds=1)})
    found, _ = health([condition("log-unreachable", timedelta(seconds=1))], policy, NOW)
    assert [finding.log for finding in found] == [LOG]


def test_the_same_trouble_is_the_same_finding_and_a_recurrence_another() -> None:
    subjects = set()
    for later, began in ((0, 60), (5, 60), (0, 30)):
        now = NOW + timedelta(minutes=later)
        since = NOW - timedelta(minutes=began)
        found, _ = health([Condition("log-unreachable", LOG, since, None, now, "x", 0)], Policy(), now)
        subjects.add(found[0].subject)
    assert subjects == {
        f"source:log-unreachable:{LOG}@2026-11-23T11:00:00Z",
        f"source:log-unreachable:{LOG}@2026-11-23T11:30:00Z",
    }


@pytest.mark.parametrize(("good", "over"), [(1, False), (2, True), (9, True)])
def test_a_trouble_is_over_after_two_good_passes(good: int, *, over: bool) -> None:
    well = condition("log-stalled", timedelta(days=1), good=good)
    assert health([well], Policy(), NOW) == ((), (well,) if over else ())


def test_what_never_failed_has_not_recovered() -> None:
    assert health([condition("log-stalled", None, good=5, failed=False)], Policy(), NOW) == ((), ())


def test_only_conditions_with_a_deadline_are_health() -> None:
    strangers = [condition("log-forked", timedelta(days=1)), condition("no-such-rule", timedelta(days=1))]
    assert health(strangers, Policy(), NOW) == ((), ())
