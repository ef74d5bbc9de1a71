"""A policy refuses what cannot be meant, names what it refuses, and has one digest for one meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import SettingsError
from monitor.model.finding import Category, Severity
from monitor.model.release import Authority
from monitor.model.rulebook import REVISION, RULES
from monitor.rules.policy import Known, Policy, folded

ci = Known("https://github.com/TruStacks/trustacks-mvp/.github/workflows/ci.yml", "refs/heads/.*", "checks", "team")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"host": "github.com"}, "host"),
        ({"host": "https://github.com/"}, "host"),
        ({"owner": "Tru/Stacks"}, "owner"),
        ({"repository": ""}, "repository"),
        ({"issuer": ""}, "issuer"),
        ({"repository_id": "0123"}, "repository_id"),
        ({"owner_id": "TruStacks"}, "owner_id"),
        ({"workflows": {"../x.yml": ("runner",)}}, "workflows"),
        ({"workflows": {"x.yml": ("Runner",)}}, "workflows"),
        ({"published_pattern": "https://github.com/.*"}, "published_pattern"),
        ({"published_pattern": "{workflow}("}, "RE2"),
        ({"contributor_keys": frozenset({"AB" * 32})}, "contributor_keys"),
        ({"severities": {"branch-ref": Severity.HIGH}}, "branch-ref"),
        ({"severities": {"log-forked": Severity.LOW}}, "log-forked"),
        ({"severities": {"no-such-rule": Severity.LOW}}, "no-such-rule"),
        ({"deadlines": {"branch-ref": timedelta(1)}}, "branch-ref"),
        ({"deadlines": {"log-stalled": timedelta(-1)}}, "log-stalled"),
        ({"grace": timedelta(-1)}, "grace"),
        ({"late_after": timedelta(-1)}, "late_after"),
        ({"sufficient": frozenset({Authority.CLAIMED})}, "claimed"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        Policy(**change)
    assert caught.value.cure


@pytest.mark.parametrize(
    "change", [{"refs": "("}, {"refs": "(?=x)"}, {"workflow": " "}, {"reason": ""}, {"owner": ""}, {"workflow": "x@y"}]
)
def test_a_known_workflow_without_its_why_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        replace(ci, **change)


def test_equal_settings_have_one_digest_whatever_their_order() -> None:
    one = Policy(severities={"unusual-build": Severity.HIGH, "unknown-workflow": Severity.LOW}, known=(ci,))
    two = Policy(severities={"unknown-workflow": Severity.LOW, "unusual-build": Severity.HIGH}, known=(replace(ci),))
    assert one.digest() == two.digest()
    assert len(one.digest()) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"owner": "Other"},
        {"repository_id": "1"},
        {"visibility": None},
        {"visibility": "private"},
        {"grace": timedelta(minutes=46)},
        {"known": (ci,)},
        {"known": (replace(ci, refs="refs/tags/.*"),)},
        {"severities": {"unusual-build": Severity.HIGH}},
        {"contributor_keys": frozenset({"ab" * 32})},
        {"deadlines": {"log-stalled": timedelta(1)}},
        {"extra_references": ("ghcr.io/trustacks/any",)},
        {"sufficient": frozenset({Authority.APPROVED})},
    ],
)
def test_every_setting_changes_the_digest(change: dict[str, Any]) -> None:
    assert Policy(**change).digest() != Policy().digest()


def test_references_are_the_registrys_unless_the_settings_say_otherwise() -> None:
    policy = Policy(references={"ui": ("docker.io/trustacks/ui",)}, extra_references=("ghcr.io/trustacks/any",))
    assert policy.references_of("runner") == ("ghcr.io/trustacks/runner", "ghcr.io/trustacks/any")
    assert policy.references_of("ui") == ("docker.io/trustacks/ui", "ghcr.io/trustacks/any")


@given(st.text())
def test_folding_changes_ascii_capitals_and_nothing_else(text: str) -> None:
    expected = "".join(c.lower() if c.isascii() else c for c in text)
    assert folded(text) == expected


def test_integrity_rules_and_branch_ref_alone_cannot_be_lowered() -> None:
    fixed = {rule.id for rule in RULES.values() if not rule.lowerable}
    assert fixed == {"branch-ref"} | {rule.id for rule in RULES.values() if rule.category is Category.INTEGRITY}


def test_every_rule_says_what_it_is_why_it_matters_and_what_to_do() -> None:
    for name, rule in RULES.items():
        assert name == rule.id
        assert rule.title
        assert not rule.title.endswith(".")
        assert rule.words.endswith(".")
        assert rule.first_steps
    assert REVISION
