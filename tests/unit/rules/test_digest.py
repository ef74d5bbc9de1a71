"""The digest rules: what is expected, what is not, and what cannot be said yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.model.entry import Claim, DigestRole, LoggedDigest, Trust
from monitor.model.release import ATTESTED, Attempt, Authority, DigestStatus, Expectations
from monitor.rules import entry as entry_rules
from monitor.rules.digest import PUSH_LAGS
from monitor.rules.policy import Known, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.model.judgement import Judgement
    from monitor.model.release import Match
    from tests.unit.rules.conftest import Make

WORKFLOWS = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/"
IMAGES = WORKFLOWS + "publish-images.yml"
POLICY = WORKFLOWS + "publish-policy.yml"
RELEASE = IMAGES + "@refs/tags/v0.1.2"


def judge(
    make: Make,
    expectations: Expectations | None,
    san: str = RELEASE,
    *,
    after: timedelta = timedelta(hours=1),
    policy: Policy | None = None,
    claims: Mapping[int, str] | None = None,
) -> Judgement:
    entry = make.entry(make.signer(make.certificate(san, claims)))
    return entry_rules.judge(entry, expectations, policy or make.policy, entry.first_seen + after, history=False)


def rules(judgement: Judgement) -> set[str]:
    return {finding.rule for finding in judgement.findings}


def test_an_expected_digest_of_the_right_release_fires_nothing(make: Make) -> None:
    judgement = judge(make, make.expectations(make.match()))
    assert (judgement.digest_status, judgement.findings) == (DigestStatus.EXPECTED, ())
    assert judgement.matches == (make.match(),)


def test_a_digest_of_no_release_is_pending_in_its_grace_and_unexpected_when_it_is_over(make: Make) -> None:
    grace = make.policy.grace
    early = judge(make, make.expectations(), after=grace - timedelta(seconds=1))
    assert (early.digest_status, early.findings) == (DigestStatus.PENDING, ())
    late = judge(make, make.expectations(), after=grace)
    assert (late.digest_status, rules(late)) == (DigestStatus.UNEXPECTED, {"unexpected-digest"})
    assert late.findings[0].severity == "critical"


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "refs/tags/nightly", "refs/pull/1/merge", "refs/heads/@refs/tags/v0.1.2"]
)
def test_a_ref_that_is_no_release_has_no_grace(make: Make, ref: str) -> None:
    judgement = judge(make, make.expectations(), f"{IMAGES}@{ref}", after=timedelta(0))
    assert "unexpected-digest" in rules(judgement)


def test_a_release_whose_digests_are_all_known_has_no_grace(make: Make) -> None:
    assert rules(judge(make, make.expectations(complete="0.1.2"), after=timedelta(0))) == {"unexpected-digest"}


def test_what_explains_a_signature_of_a_whole_release_may_be_pushed_after_it_was_logged(make: Make) -> None:
    known = replace(make.expectations(complete="0.1.2"), registry=True)

    def status(after: timedelta, policy: Policy = make.policy) -> DigestStatus:
        entry = make.entry(make.signer(make.certificate(RELEASE)))
        now = entry.first_seen + after
        return entry_rules.judge(entry, replace(known, asked_at=now), policy, now, history=False).digest_status

    assert status(PUSH_LAGS - timedelta(seconds=1)) is DigestStatus.PENDING
    assert status(PUSH_LAGS) is DigestStatus.UNEXPECTED
    assert status(timedelta(0), replace(make.policy, grace=timedelta(0))) is DigestStatus.UNEXPECTED


def test_what_was_signed_long_before_it_was_seen_has_been_pushed_by_then(make: Make) -> None:
    entry = make.entry(make.signer(make.certificate(RELEASE)))
    late = replace(entry, first_seen=entry.first_seen + timedelta(days=1))
    known = replace(make.expectations(complete="0.1.2"), registry=True, asked_at=late.first_seen)
    judgement = entry_rules.judge(late, known, make.policy, late.first_seen, history=False)
    assert judgement.digest_status is DigestStatus.UNEXPECTED


def test_a_release_of_which_one_artifact_is_still_missing_has_grace(make: Make) -> None:
    some = Expectations((), frozenset({("0.1.2", "runner"), ("0.1.2", "ui")}), sources=True)
    assert judge(make, some, after=timedelta(0)).digest_status is DigestStatus.PENDING


def test_only_the_artifacts_of_this_workflow_count_as_missing(make: Make) -> None:
    images = Expectations((), frozenset(("0.1.2", a) for a in ("control-plane", "runner", "ui")), sources=True)
    assert rules(judge(make, images, after=timedelta(0))) == {"unexpected-digest"}
    assert judge(make, images, POLICY + "@refs/tags/v0.1.2", after=timedelta(0)).digest_status is DigestStatus.PENDING


def test_while_the_registry_cannot_be_asked_the_digest_is_unjudged_and_not_unexpected(make: Make) -> None:
    judgement = judge(make, make.expectations(unreachable=True))
    assert (judgement.digest_status, rules(judgement)) == (DigestStatus.UNJUDGED, {"digest-unjudged"})
    early = judge(make, make.expectations(unreachable=True), after=timedelta(0))
    assert early.digest_status is DigestStatus.PENDING


@pytest.mark.parametrize("expectations", [None, Expectations((), frozenset(), sources=False)])
def test_with_no_source_of_digests_nothing_is_checked_and_nothing_called_clean(
    make: Make, expectations: Expectations | None
) -> None:
    judgement = judge(make, expectations)
    assert (judgement.digest_status, judgement.findings) == (DigestStatus.NOT_CHECKED, ())


def test_a_claim_explains_an_unexpected_digest_and_silences_nothing(make: Make) -> None:
    judgement = judge(make, make.expectations(make.match(authority=Authority.CLAIMED), complete="0.1.2"))
    assert rules(judgement) == {"unexpected-digest"}
    assert any(fact.name == "claimed as runner 0.1.2" for fact in judgement.findings[0].facts)


def test_policy_says_whose_word_suffices(make: Make) -> None:
    strict = Policy(sufficient=frozenset({Authority.APPROVED}), repository_id="912345678", owner_id="187654321")
    pinned = make.expectations(make.match(authority=Authority.PINNED))
    assert rules(judge(make, pinned)) == set()
    assert rules(judge(make, pinned, policy=strict)) == {"unexpected-digest"}


class TestOtherRelease:
    def test_the_digest_of_another_version_fires(self, make: Make) -> None:
        judgement = judge(make, make.expectations(make.match(version="0.1.3")))
        assert (judgement.digest_status, rules(judgement)) == (DigestStatus.EXPECTED, {"digest-of-other-release"})

    def test_an_artifact_of_the_other_workflow_fires(self, make: Make) -> None:
        judgement = judge(make, make.expectations(make.match()), POLICY + "@refs/tags/v0.1.2")
        assert rules(judgement) == {"digest-of-other-release"}

    def test_one_right_pair_among_others_is_enough(self, make: Make) -> None:
        matches = (make.match(version="0.1.1"), make.match("ui"), make.match("policy/constitution", "0.1.2"))
        assert rules(judge(make, make.expectations(*matches))) == set()

    def test_it_needs_a_release_ref(self, make: Make) -> None:
        judgement = judge(make, make.expectations(make.match(version="0.1.3")), IMAGES + "@refs/heads/main")
        assert rules(judgement) == {"branch-ref"}

    def test_a_workflow_that_publishes_nothing_has_no_digest_of_its_own(self, make: Make) -> None:
        judgement = judge(make, make.expectations(make.match()), WORKFLOWS + "ci.yml@refs/tags/v0.1.2")
        assert rules(judgement) == {"unknown-workflow", "digest-of-other-release"}

    def test_a_file_beside_the_release_may_be_signed_by_any_publishing_workflow(self, make: Make) -> None:
        expectations = make.expectations(make.match("runner.tar.gz"))
        assert rules(judge(make, expectations)) == set()
        assert rules(judge(make, make.expectations(make.match("runner.tar.gz", "0.1.3")))) == {
            "digest-of-other-release"
        }

    def test_a_name_in_other_capitals_still_has_its_artifacts(self, make: Make) -> None:
        judgement = judge(make, make.expectations(make.match()), RELEASE.replace("publish-i", "Publish-I"))
        assert rules(judgement) == {"identity-casing"}


@pytest.mark.parametrize(("days", "fires"), [(29, False), (30, False), (31, True)])
def test_a_release_signed_again_is_late_after_thirty_days(make: Make, days: int, *, fires: bool) -> None:
    entry = make.entry(make.signer(make.certificate()))
    expectations = replace(make.expectations(make.match()), tag_first_seen=entry.first_seen - timedelta(days=days))
    assert ("late-signature" in rules(make.judged(entry, expectations))) is fires


def test_digest_rules_judge_only_names_of_our_repository(make: Make) -> None:
    third = "https://github.com/mallory/tools/.github/workflows/sign.yml@refs/tags/v1.0.0"
    judgement = judge(make, make.expectations(), third, claims=make.claims(third))
    assert (judgement.digest_status, rules(judgement)) == (DigestStatus.NOT_CHECKED, {"foreign-repository"})


def test_a_known_workflow_may_sign_any_digest(make: Make) -> None:
    known = Known(WORKFLOWS + "ci.yml", "refs/heads/main", "nightly builds", "release team")
    policy = Policy(known=(known,), repository_id="912345678", owner_id="187654321")
    judgement = judge(make, make.expectations(), WORKFLOWS + "ci.yml@refs/heads/main", policy=policy)
    assert (judgement.digest_status, rules(judgement), judgement.related) == (DigestStatus.NOT_CHECKED, set(), True)


@pytest.mark.parametrize("digest", [None, LoggedDigest("sha384", "cd" * 48, DigestRole.ARTIFACT)])
def test_a_digest_that_cannot_be_looked_up_is_unexpected(make: Make, digest: LoggedDigest | None) -> None:
    entry = make.entry(make.signer(make.certificate()), digest=digest)
    assert entry_rules.logged_hash(entry) is None
    assert rules(make.judged(entry, make.expectations(complete="0.1.2"))) == {"unexpected-digest"}


def test_the_hash_to_look_up_is_the_logged_one(make: Make) -> None:
    assert entry_rules.logged_hash(make.entry()) == "ab" * 32


def test_a_pending_signer_keeps_the_entry_pending(make: Make) -> None:
    branch = make.signer(make.certificate(IMAGES + "@refs/heads/main"))
    entry = make.entry(branch, make.signer(make.certificate()))
    judgement = entry_rules.judge(entry, make.expectations(), make.policy, entry.first_seen, history=False)
    assert (judgement.digest_status, rules(judgement)) == (DigestStatus.PENDING, {"branch-ref", "unexpected-digest"})


def test_an_unchecked_signer_has_no_digest_verdict(make: Make) -> None:
    entry = make.entry(make.signer(make.certificate(), Trust.UNCHECKED))
    assert make.judged(entry, make.expectations()).digest_status is DigestStatus.NOT_CHECKED


def asked(make: Make, at: timedelta | None, *matches: Match, failing: bool = False) -> Expectations:
    """A registry read so long after the entry was first seen, never (None), or failing now."""
    first_seen = make.entry(make.signer(make.certificate(RELEASE))).first_seen
    moment = None if at is None else first_seen + at
    return replace(make.expectations(*matches), registry=True, asked_at=moment, unreachable=failing)


def test_after_its_grace_an_entry_waits_for_the_registry_to_be_read_once_more(make: Make) -> None:
    grace = make.policy.grace
    read_before = asked(make, grace - timedelta(seconds=1))
    assert judge(make, read_before, after=grace).digest_status is DigestStatus.PENDING
    assert rules(judge(make, asked(make, grace), after=grace)) == {"unexpected-digest"}


def test_a_registry_whose_reading_is_overdue_or_fails_leaves_the_digest_unjudged(make: Make) -> None:
    grace, deadline = make.policy.grace, make.policy.deadline("registry-unreachable")
    overdue = judge(make, asked(make, timedelta(0)), after=grace + deadline)
    failing = judge(make, asked(make, timedelta(0), failing=True), after=grace)
    never = judge(make, asked(make, None, failing=True), after=grace)
    assert [rules(each) for each in (overdue, failing, never)] == [{"digest-unjudged"}] * 3


def test_a_registry_that_fails_after_it_was_read_changes_no_verdict(make: Make) -> None:
    grace = make.policy.grace
    assert rules(judge(make, asked(make, grace, failing=True), after=grace)) == {"unexpected-digest"}


@pytest.mark.parametrize(
    ("authority", "since", "closes"),
    [
        (Authority.PINNED, timedelta(hours=1), False),
        (Authority.PINNED, timedelta(minutes=45), True),
        (Authority.BASELINE, timedelta(hours=1), True),
        (Authority.APPROVED, timedelta(hours=1), True),
    ],
)
def test_after_the_alarm_only_a_person_closes_it(
    make: Make, authority: Authority, since: timedelta, *, closes: bool
) -> None:
    first_seen = make.entry(make.signer(make.certificate(RELEASE))).first_seen
    match = replace(make.match(authority=authority), since=first_seen + since)
    alarmed = replace(make.expectations(match), alarmed=True)
    judgement = judge(make, alarmed, after=timedelta(hours=2))
    assert rules(judgement) == (set() if closes else {"unexpected-digest"})
    if not closes:
        assert any(each.name.startswith("tag appeared after the alarm") for each in judgement.findings[0].facts)
    assert rules(judge(make, replace(alarmed, alarmed=False), after=timedelta(hours=2))) == set()


def attempt(make: Make, **changes: object) -> tuple[Attempt, int]:
    certificate = make.certificate(RELEASE)
    own = certificate.attempt or 0
    found = Attempt(certificate.run or "", own + 1, certificate.claims[Claim.SOURCE_DIGEST], "0.1.2")
    return replace(found, **changes), own  # type: ignore[arg-type] # a test's own fields


def test_what_a_later_attempt_of_the_run_replaced_is_superseded_and_not_unexpected(make: Make) -> None:
    later, _ = attempt(make)
    judgement = judge(make, replace(make.expectations(complete="0.1.2"), attempts=(later,)))
    assert (judgement.digest_status, rules(judgement)) == (DigestStatus.SUPERSEDED, {"superseded-attempt"})
    (finding,) = judgement.findings
    assert (finding.severity, finding.category, finding.version) == ("medium", "release", "0.1.2")


@pytest.mark.parametrize("changes", [{"attempt": 1}, {"run": "another"}, {"commit": "f" * 40}, {"version": "0.1.3"}])
def test_what_is_no_later_attempt_supersedes_nothing(make: Make, changes: dict[str, object]) -> None:
    other, _ = attempt(make, **changes)
    judgement = judge(make, replace(make.expectations(complete="0.1.2"), attempts=(other,)))
    assert rules(judgement) == {"unexpected-digest"}


def test_an_attestation_of_an_old_release_is_never_late(make: Make) -> None:
    long_ago = make.entry(make.signer(make.certificate(RELEASE))).first_seen - timedelta(days=400)
    own, attested = make.match(), replace(make.match(), how=f"{ATTESTED}https://slsa.dev/provenance/v1")
    for match, expected in ((own, {"late-signature"}), (attested, set())):
        assert rules(judge(make, replace(make.expectations(match), tag_first_seen=long_ago))) == expected


def test_what_a_tag_was_moved_to_explains_and_silences_nothing(make: Make) -> None:
    judgement = judge(make, make.expectations(make.match(authority=Authority.OBSERVED), complete="0.1.2"))
    assert rules(judgement) == {"unexpected-digest"}
    assert any("its tag was moved" in each.name for each in judgement.findings[0].facts)
