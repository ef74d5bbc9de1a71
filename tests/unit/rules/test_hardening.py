"""What patterns accept that they should not is shown by example; the hardened ones accept releases and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import SettingsError
from monitor.model.release import Version
from monitor.rules import admission, hardening
from monitor.rules.hardening import Gap
from monitor.rules.pattern import compiled
from monitor.rules.policy import Policy
from tests.unit.entries.recorded import expected

POLICY = Policy()
IMAGES = "publish-images.yml"
PUBLISHED = hardening.check(POLICY)[0]


def test_the_published_patterns_show_the_gaps_that_real_cosign_showed() -> None:
    found = {each.gap: each for each in PUBLISHED.weaknesses}
    assert set(found) == {Gap.START, Gap.DOTS, Gap.VERSION}
    assert any(example.startswith("https://evil.example/?") for example in found[Gap.START].examples)
    assert any("githubxcom" in example for example in found[Gap.DOTS].examples)
    assert PUBLISHED.refused == ()


def test_the_patterns_of_all_workflows_are_checked() -> None:
    assert [each.workflow for each in hardening.check(POLICY)] == list(POLICY.workflows)


@pytest.mark.parametrize("prereleases", [True, False])
@pytest.mark.parametrize("workflow", POLICY.workflows)
def test_a_hardened_pattern_has_no_gap_and_refuses_no_release(workflow: str, *, prereleases: bool) -> None:
    pattern = hardening.hardened(POLICY, workflow, prereleases=prereleases)
    assert hardening.weaknesses(pattern, POLICY, workflow) == ()
    kept = {name for name in hardening.genuine(POLICY, workflow) if compiled(pattern).found_in(name)}
    assert kept == {name for name in hardening.genuine(POLICY, workflow) if prereleases or "-rc" not in name} - (
        set() if prereleases else {name for name in hardening.genuine(POLICY, workflow) if "-alpha" in name}
    )


def test_the_hardened_patterns_refuse_every_recorded_look_alike_and_accept_every_recorded_release() -> None:
    patterns = [compiled(each.hardened) for each in hardening.check(POLICY)]
    for row in expected():
        identity = row["identity"] or ""
        accepted = any(pattern.found_in(identity) for pattern in patterns)
        seen_in_the_name = {
            "lookalike-identity",
            "branch-ref",
            "non-release-ref",
            "identity-casing",
            "unknown-workflow",
        }
        if not row["rules"] and "mallory" not in identity:
            assert accepted, identity
        if seen_in_the_name & set(row["rules"]) and "foreign-caller" not in row["rules"]:
            assert not accepted, identity


@given(st.text(alphabet="0123456789.-+abvZ", max_size=12))
def test_a_hardened_pattern_accepts_exactly_the_versions_that_are_releases(text: str) -> None:
    pattern = compiled(hardening.hardened(POLICY, IMAGES))
    assert pattern.found_in(f"{POLICY.identity(IMAGES)}@refs/tags/v{text}") == (Version.parse(text) is not None)


@given(st.text(max_size=40))
def test_an_escaped_text_matches_itself_and_nothing_else(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    pattern = compiled(f"^{hardening.escaped(text)}$")
    assert pattern.found_in(text)
    assert not pattern.found_in(f"{text}x")
    assert not pattern.found_in(f"x{text}")


@pytest.mark.parametrize(
    ("pattern", "gap"),
    [
        ("{workflow}", Gap.REPOSITORY),
        ("^https://github\\.com/TruStacks/.*{workflow}@refs/tags/v[0-9.]+$", Gap.REPOSITORY),
        ("^https://github\\.com/TruStacks/trustacks-mvp/.*/({workflow}|.*)@refs/tags/v1\\.2\\.3$", Gap.WORKFLOW),
        ("^https://github\\.com/TruStacks/trustacks-mvp/\\.github/workflows/{workflow}@.*$", Gap.REF),
        ("^https://github\\.com/TruStacks/trustacks-mvp/\\.github/workflows/{workflow}@refs/tags/v1\\.2\\.3", Gap.END),
        ("(?i)^https://github\\.com/trustacks/trustacks-mvp/\\.github/workflows/{workflow}@refs/tags/v1.*$", Gap.CASE),
        ("^https?://github\\.com/TruStacks/trustacks-mvp/\\.github/workflows/{workflow}@refs/tags/v1.*$", Gap.SCHEME),
    ],
)
def test_each_kind_of_gap_is_found_where_it_is(pattern: str, gap: Gap) -> None:
    found = hardening.check(Policy(published_pattern=pattern))[0]
    assert gap in {each.gap for each in found.weaknesses}


def test_a_pattern_that_refuses_releases_is_told_so() -> None:
    found = hardening.check(Policy(published_pattern="^nothing {workflow}$"))[0]
    assert found.weaknesses == ()
    assert found.refused == hardening.genuine(POLICY, IMAGES)


@pytest.mark.parametrize("tool", admission.TOOLS)
def test_every_tools_settings_hold_the_hardened_patterns_the_exact_issuer_and_every_artifact(tool: str) -> None:
    checked = hardening.check(POLICY)
    text = admission.TOOLS[tool](POLICY, checked)
    for each in checked:
        assert f"'{each.hardened}'" in text
        for artifact in each.artifacts:
            assert f"ghcr.io/trustacks/{artifact}" in text
    assert f"'{POLICY.issuer}'" in text
    assert ("TruStacks/trustacks-mvp'" in text) == (tool in {"cosign", "kyverno"})
    assert "claim .5" in text or tool in {"cosign", "kyverno"}
    names = re.findall(r"^ *-? ?name: (.*)$", text, re.MULTILINE)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) for name in names)


def test_no_setting_breaks_out_of_its_quotes() -> None:
    hostile = Policy(issuer="https://x'; rm -rf /; '")
    for render in admission.TOOLS.values():
        with pytest.raises(SettingsError, match="single quotes"):
            render(hostile, hardening.check(hostile))
