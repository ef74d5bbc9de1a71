"""Each identity rule fires where it should and is silent beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.model.entry import SanKind
from monitor.model.rulebook import RULES
from monitor.rules.policy import Known, Policy

if TYPE_CHECKING:
    from tests.unit.rules.conftest import Make

WORKFLOWS = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/"
IMAGES = WORKFLOWS + "publish-images.yml"
RELEASE = IMAGES + "@refs/tags/v0.1.2"
SLUG = "https://token.actions.githubusercontent.com/trustacks"
LOOKALIKE = "https://evil.example/?" + RELEASE
DOTLESS = "https://githubxcom/TruStacks/trustacks-mvp/xgithub/workflows/publish-imagesxyml@refs/tags/v0.1.2"
WEBSITE = "https://github.com/TruStacks/website/.github/workflows/pages.yml@refs/heads/main"
THIRD = "https://github.com/mallory/tools/.github/workflows/sign.yml@refs/tags/v1.0.0"


def case(*rules: str, san: str = RELEASE, anomalies: tuple[str, ...] = (), name: str, **claims: object) -> object:
    return pytest.param(san, claims, anomalies, set(rules), id=name)


@pytest.mark.parametrize(
    ("san", "claims", "anomalies", "expected"),
    [
        case(name="a release of ours fires nothing"),
        case(name="a pre-release of ours fires nothing", san=IMAGES + "@refs/tags/v0.2.0-rc1"),
        case("branch-ref", name="a branch in the name", san=IMAGES + "@refs/heads/main"),
        case("branch-ref", name="a branch named like a tag", san=IMAGES + "@refs/heads/hotfix/@refs/tags/v9.9.9"),
        case("non-release-ref", name="a nightly tag", san=IMAGES + "@refs/tags/nightly"),
        case("non-release-ref", name="a tag short of a version", san=IMAGES + "@refs/tags/v0.3"),
        case("non-release-ref", name="a tag with build metadata", san=IMAGES + "@refs/tags/v0.3.0+x"),
        case("non-release-ref", name="a pull request", san=IMAGES + "@refs/pull/17/merge"),
        case("non-release-ref", name="a commit", san=IMAGES + "@" + "c" * 40),
        case("non-release-ref", name="a ref in other capitals", san=IMAGES + "@Refs/heads/main"),
        case("identity-casing", name="the owner in lower case", san=RELEASE.replace("TruStacks", "trustacks", 1)),
        case("identity-casing", name="the repository in capitals", san=RELEASE.replace("-mvp", "-MVP")),
        case("identity-casing", name="the workflow in capitals", san=RELEASE.replace("publish-i", "Publish-I")),
        case("identity-casing", name="the host in capitals", san=RELEASE.replace("github.com", "GitHub.com", 1)),
        case(
            "identity-casing",
            name="our capitals changed by the caller's claims too",
            san=RELEASE.replace("TruStacks", "trustacks", 1),
            repository="trustacks/trustacks-mvp",
        ),
        case("claims-disagree", "unusual-build", name="trigger raw and DER differ", change={2: "schedule"}),
        case("claims-disagree", name="commit raw and DER differ", change={3: "d" * 40}),
        case("claims-disagree", name="another build signer", change={9: IMAGES + "@refs/tags/v0.1.3"}),
        case(
            "claims-disagree",
            name="a run of another repository",
            change={21: "https://github.com/TruStacks/trustacks-mvp2/actions/runs/1/attempts/1"},
        ),
        case("claims-disagree", name="a form Fulcio never writes", anomalies=("claim .9 is not a UTF8String",)),
        case(name="an absent build signer says nothing", change={9: None}),
        case(name="a trigger that is absent says nothing", change={2: None, 20: None}),
        case("unknown-workflow", name="a workflow that does not publish", san=WORKFLOWS + "ci.yml@refs/tags/v0.1.2"),
        case(
            "unknown-workflow",
            name="a publishing file in another folder",
            san=WORKFLOWS + "old/publish-images.yml@refs/tags/v0.1.2",
        ),
        case(
            "foreign-caller",
            name="called by another workflow of ours",
            caller=WORKFLOWS + "release.yml@refs/tags/v0.1.2",
        ),
        case(
            "foreign-caller",
            "branch-ref",
            name="called from a branch of ours",
            ref="refs/heads/evil",
            caller=WORKFLOWS + "nightly.yml@refs/heads/evil",
        ),
        case("foreign-caller", name="called on another tag of ours", ref="refs/tags/v0.1.1", caller=RELEASE),
        case("foreign-caller", name="an absent ref differs", change={6: None}),
        case("foreign-caller", name="an absent source ref differs", change={14: None}),
        case(
            "foreign-caller",
            "foreign-repository",
            name="an absent caller differs, and is another repository's",
            change={18: None},
        ),
        case(
            "foreign-repository",
            name="our workflow called from elsewhere",
            repository="mallory/caller",
            caller="https://github.com/mallory/caller/.github/workflows/x.yml@refs/tags/v0.1.2",
            change={15: "1", 17: "2"},
        ),
        case("foreign-repository", name="another repository id", change={15: "999"}),
        case("foreign-repository", name="another owner id", change={17: "999"}),
        case("foreign-repository", name="no ids", change={15: None, 17: None}),
        case("foreign-repository", name="no raw repository", change={5: None}),
        case("foreign-repository", name="no source repository", change={12: None}),
        case("foreign-repository", name="a workflow of a third party in our run", san=THIRD),
        case(
            "foreign-repository",
            "unknown-workflow",
            name="a workflow of another repository of ours in our run",
            san=WEBSITE.replace("refs/heads/main", "refs/tags/v0.1.2"),
        ),
        case("wrong-issuer", name="an enterprise's own issuer", issuer=SLUG),
        case("wrong-issuer", name="a slash after the issuer", issuer="https://token.actions.githubusercontent.com/"),
        case("wrong-issuer", name="no issuer at all", change={1: None, 8: None}),
        case(name="an issuer in one form only is enough", change={1: None}),
        case("wrong-issuer", "claims-disagree", name="issuers that differ", change={1: SLUG}),
        case("lookalike-identity", name="our name behind a question mark", san=LOOKALIKE),
        case("lookalike-identity", name="our name without its dots", san=DOTLESS),
        case(
            "lookalike-identity",
            name="our name behind another host, in a run of others",
            san="https://evil.example/" + RELEASE,
            repository="mallory/x",
        ),
        case("unusual-build", name="a self-hosted runner", change={11: "self-hosted"}),
        case("unusual-build", name="no runner", change={11: None}),
        case("unusual-build", name="an event that is no push", change={2: "schedule", 20: "schedule"}),
        case("unusual-build", name="a private repository", change={22: "private"}),
        case("unusual-build", name="no visibility", change={22: None}),
        case(
            "unknown-workflow",
            name="another repository of ours meets nothing else, branch and all",
            san=WEBSITE,
            repository="TruStacks/website",
            change={11: "self-hosted", 15: "5"},
        ),
        case(
            "unknown-workflow",
            "wrong-issuer",
            name="another repository of ours meets the issuer rule",
            san=WEBSITE,
            repository="TruStacks/website",
            issuer=SLUG,
        ),
        case(
            "unknown-workflow",
            "lookalike-identity",
            name="a look-alike inside another repository of ours",
            san="https://github.com/TruStacks/website/" + RELEASE,
            repository="TruStacks/website",
        ),
        case(
            "unknown-workflow",
            name="a name of ours that is no workflow's",
            san="https://github.com/TruStacks/trustacks-mvp/?x@refs/tags/v0.1.2",
            caller=RELEASE,
        ),
        case(name="a fork of ours is nobody's concern", san=THIRD, repository="mallory/trustacks-mvp"),
        case(
            name="an owner that only begins like ours",
            san="https://github.com/TruStacks-labs/trustacks-mvp/.github/workflows/publish-images.yml@refs/heads/x",
            repository="TruStacks-labs/trustacks-mvp",
        ),
    ],
)
def test_the_rules_that_fire_are_exactly(
    make: Make, san: str, claims: dict[str, Any], anomalies: tuple[str, ...], expected: set[str]
) -> None:
    assert set(make.rules(san, make.claims(san, **claims), anomalies=anomalies)) == expected


def test_a_workflow_of_another_repository_of_ours_is_low_and_one_of_ours_high(make: Make) -> None:
    assert make.rules(WEBSITE, make.claims(WEBSITE, repository="TruStacks/website")) == {"unknown-workflow": "low"}
    assert make.rules(WORKFLOWS + "ci.yml@refs/tags/v0.1.2") == {"unknown-workflow": "high"}


def test_several_names_in_one_certificate_disagree_and_the_one_of_ours_is_judged(make: Make) -> None:
    names = ((SanKind.EMAIL, "x@example.org"), (SanKind.URI, IMAGES + "@refs/heads/main"))
    signer = make.signer(make.certificate(claims=make.claims(IMAGES + "@refs/heads/main"), names=names))
    found = make.judged(make.entry(signer)).findings
    assert {each.rule for each in found} == {"claims-disagree", "branch-ref"}
    assert {each.identity for each in found} == {IMAGES + "@refs/heads/main"}


def test_an_email_address_is_no_commit(make: Make) -> None:
    signer = make.signer(make.certificate(claims=make.claims(), names=((SanKind.EMAIL, "a@refs.example"),)))
    assert "non-release-ref" not in {each.rule for each in make.judged(make.entry(signer)).findings}


def test_ids_that_are_not_pinned_are_not_compared_and_the_finding_says_so(make: Make) -> None:
    assert make.rules(claims=make.claims(change={15: "999", 17: "998"}), policy=Policy()) == {}
    claims = make.claims(repository="mallory/caller", caller=THIRD)
    found = make.judged(make.entry(make.signer(make.certificate(claims=claims))), policy=Policy()).findings
    assert [each.rule for each in found] == ["foreign-repository"]
    assert any(each.name == "not checked" and "repository_id" in each.seen for each in found[0].facts)


@pytest.mark.parametrize("number", [15, 17])
def test_an_absent_id_is_foreign_even_where_none_is_pinned(make: Make, number: int) -> None:
    assert set(make.rules(claims=make.claims(change={number: None}), policy=Policy())) == {"foreign-repository"}


@pytest.mark.parametrize("visibility", ["private", None])
def test_the_visibility_is_the_settings_word_and_none_asks_for_nothing(make: Make, visibility: str | None) -> None:
    claims = make.claims(change={22: "private"})
    assert make.rules(claims=claims, policy=Policy(visibility=visibility)) == {}


class TestKnown:
    ci = Known(WORKFLOWS + "ci.yml", "refs/heads/(main|release-.*)", "nightly builds are signed", "release team")
    third = Known(THIRD.partition("@")[0], "refs/tags/v1\\..*", "they sign our SBOM", "release team")

    def policy(self, *known: Known) -> Policy:
        return Policy(known=known, repository_id="912345678", owner_id="187654321")

    def test_a_known_workflow_may_sign_from_its_refs(self, make: Make) -> None:
        claims = make.claims(WORKFLOWS + "ci.yml@refs/heads/main", change={11: "self-hosted"})
        assert make.rules(WORKFLOWS + "ci.yml@refs/heads/main", claims, self.policy(self.ci)) == {}

    def test_it_may_not_from_others(self, make: Make) -> None:
        san = WORKFLOWS + "ci.yml@refs/heads/mainline"
        assert set(make.rules(san, policy=self.policy(self.ci))) == {"unknown-workflow", "branch-ref"}

    def test_its_name_is_compared_exactly(self, make: Make) -> None:
        san = WORKFLOWS + "CI.yml@refs/heads/main"
        assert set(make.rules(san, policy=self.policy(self.ci))) == {"unknown-workflow", "branch-ref"}

    def test_a_branch_behind_a_known_name_is_still_a_branch(self, make: Make) -> None:
        known = Known(WORKFLOWS + "ci.yml", "refs/tags/v.*", "checks", "release team")
        claims = make.claims(WORKFLOWS + "ci.yml@refs/tags/v0.1.2", ref="refs/heads/evil")
        assert "branch-ref" in make.rules(WORKFLOWS + "ci.yml@refs/tags/v0.1.2", claims, self.policy(known))

    def test_a_known_third_party_may_sign_in_our_runs(self, make: Make) -> None:
        claims = make.claims(THIRD, ref="refs/heads/main")
        assert make.rules(THIRD, claims, self.policy(self.third)) == {}

    def test_other_rules_still_judge_a_known_workflow(self, make: Make) -> None:
        san = WORKFLOWS + "ci.yml@refs/heads/main"
        assert set(make.rules(san, make.claims(san, issuer=SLUG), self.policy(self.ci))) == {"wrong-issuer"}

    @pytest.mark.parametrize("spelling", [IMAGES, IMAGES.replace("TruStacks", "trustacks")])
    def test_the_publishing_workflows_are_never_known(self, make: Make, spelling: str) -> None:
        known = Known(spelling, ".*", "a mistake", "nobody")
        assert "branch-ref" in make.rules(spelling + "@refs/heads/main", policy=self.policy(known))


branches = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map("refs/heads/".__add__)


@given(branch=branches, place=st.sampled_from(["san", "6", "14", "18"]))
def test_a_branch_fires_whichever_of_the_four_places_holds_it(make: Make, branch: str, place: str) -> None:
    san = f"{IMAGES}@{branch}" if place == "san" else RELEASE
    change: dict[int, str | None] = {18: f"{IMAGES}@{branch}"} if place == "18" else {}
    if place in {"6", "14"}:
        change = {int(place): branch}
    claims = make.claims(san, ref="refs/tags/v0.1.2", caller=RELEASE, change=change)
    assert make.rules(san, claims)["branch-ref"] == "critical"


def recased(text: str) -> st.SearchStrategy[str]:
    letters = st.lists(st.booleans(), min_size=len(text), max_size=len(text))
    return letters.map(lambda up: "".join(c.upper() if u else c.lower() for c, u in zip(text, up, strict=True)))


@given(prefix=recased(IMAGES))
def test_ascii_case_never_makes_our_name_anothers(make: Make, prefix: str) -> None:
    san = prefix + "@refs/tags/v0.1.2"
    fired = set(make.rules(san, make.claims(san, caller=RELEASE)))
    assert fired == ({"identity-casing"} if prefix != IMAGES else set())


@given(place=st.integers(0, len("TruStacks/trustacks-mvp") - 1), other=st.characters(exclude_categories=["Cs"]))
def test_only_ascii_case_is_folded(make: Make, place: int, other: str) -> None:
    ours = "TruStacks/trustacks-mvp"
    changed = ours[:place] + other + ours[place + 1 :]
    san = RELEASE.replace(ours, changed, 1)
    same = changed.lower() == ours.lower() and changed.isascii()
    fired = make.rules(san, make.claims(san))
    if same:
        assert set(fired) <= {"identity-casing"}
    else:
        assert set(fired) & {"foreign-repository", "unknown-workflow", "lookalike-identity"}


claim_text = st.one_of(
    st.none(), st.text(), st.sampled_from([RELEASE, THIRD, "refs/heads/x", "https://", "@refs/", "@"])
)


@given(
    san=st.one_of(
        st.text(),
        st.just(WORKFLOWS + "x" * 5000 + "@refs/heads/" + "y" * 5000),
        st.text().map(RELEASE.__add__),
        st.text().map(lambda t: f"{IMAGES}@{t}"),
    ),
    change=st.dictionaries(st.integers(1, 24), claim_text),
    kind=st.sampled_from(SanKind),
)
def test_no_claim_makes_a_rule_raise(make: Make, san: str, change: dict[int, str | None], kind: SanKind) -> None:
    claims = make.claims(san, change={5: "TruStacks/trustacks-mvp", **change})
    signer = make.signer(make.certificate(san, claims, names=((kind, san),)))
    for finding in make.judged(make.entry(signer), make.expectations()).findings:
        assert finding.rule in RULES
        assert 0 < len(finding.summary) < 1000
        assert all(len(each.seen) < 2000 and len(each.expected) < 2000 for each in finding.facts)
