"""A release is what was released, whole, signed, and still where it was; each way in which it is not has its rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.model.finding import Category, Severity
from monitor.model.release import Authority, DigestKind, ExpectedDigest, TagObservation, Withdrawal
from monitor.rules.policy import Policy
from monitor.rules.release import Release, Signature, Watched
from monitor.rules.releases import judge
from monitor.rules.tags import superseding

if TYPE_CHECKING:
    from monitor.model.finding import Finding

POLICY = Policy()
T = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = T + timedelta(hours=2)
A, B, C, D, E, F = (f"sha256:{digit * 64}" for digit in "abcdef")
DIGESTS = {"control-plane": A, "runner": B, "ui": C, "policy/constitution": D}
RUN = "https://github.com/TruStacks/trustacks-mvp/actions/runs/7"
EVERYTHING = Watched(T - timedelta(days=30), LATER + timedelta(days=400))


def tag(
    artifact: str, digest: str, seen: datetime = T, gone: datetime | None = None, name: str = "0.1.2"
) -> TagObservation:
    return TagObservation(artifact, name, digest, seen, gone or LATER, gone)


def vouched(
    artifact: str, digest: str, authority: Authority = Authority.BASELINE, version: str = "0.1.2"
) -> ExpectedDigest:
    return ExpectedDigest(version, artifact, digest, DigestKind.TAG, authority)


def signature(*digests: str, **changes: object) -> Signature:
    made = Signature(
        version="0.1.2",
        workflow="publish-images.yml",
        identity="https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml@refs/tags/v0.1.2",
        run=RUN,
        attempt=1,
        commit="c" * 40,
        workflow_digest="e" * 40,
        digests=frozenset(digests),
        wrong=frozenset(),
        place=f"log {digests[0][7:11]}",
        first_seen=T,
        signed_at=T,
        history=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # a test's own fields


def release(authority: Authority = Authority.BASELINE) -> Release:
    """A whole release, signed by both workflows."""
    return Release(
        "0.1.2",
        tuple(tag(artifact, digest) for artifact, digest in DIGESTS.items()),
        tuple(vouched(artifact, digest, authority) for artifact, digest in DIGESTS.items()),
        tuple(
            signature(digest, workflow="publish-policy.yml" if artifact.startswith("policy") else "publish-images.yml")
            for artifact, digest in DIGESTS.items()
        ),
    )


def found(
    about: Release, now: datetime = LATER, watched: Watched = EVERYTHING, policy: Policy = POLICY
) -> list[Finding]:
    return list(judge(about, watched, policy, now))


def rules(about: Release, now: datetime = LATER, watched: Watched = EVERYTHING, policy: Policy = POLICY) -> list[str]:
    return [finding.rule for finding in found(about, now, watched, policy)]


def moved(about: Release, digest: str, at: datetime = LATER) -> Release:
    """The same with the runner's tag moved."""
    stretches = [replace(each, gone_at=at) if each.artifact == "runner" else each for each in about.observations]
    return replace(about, observations=(*stretches, tag("runner", digest, at)))


def test_a_whole_signed_baseline_release_is_silent() -> None:
    assert rules(release()) == []


def test_a_release_that_only_the_registry_vouches_for_is_announced_with_digests_signers_and_commit() -> None:
    (finding,) = found(release(Authority.PINNED), T)
    assert (finding.rule, finding.severity, finding.version) == ("new-release", Severity.MEDIUM, "0.1.2")
    told = {each.name: each.seen for each in finding.facts}
    assert [told[artifact] for artifact in DIGESTS] == list(DIGESTS.values())
    assert all(RUN in told[f"{artifact} signed by"] for artifact in DIGESTS)
    assert told["commit"] == "c" * 40


def test_an_approved_release_is_announced_no_more() -> None:
    about = release(Authority.PINNED)
    approved = tuple(replace(each, authority=Authority.APPROVED) for each in about.digests)
    assert rules(replace(about, digests=(*about.digests, *approved))) == []


def test_a_release_is_announced_once_it_is_whole_or_its_grace_is_over() -> None:
    about = release(Authority.PINNED)
    unsigned = replace(about, signatures=about.signatures[1:])
    assert rules(unsigned, T + POLICY.grace - timedelta(seconds=1)) == []
    assert rules(unsigned, T + POLICY.grace) == ["unsigned-artifact", "new-release"]


def test_a_moved_tag_is_critical_and_stays_told_when_it_is_put_back() -> None:
    about = moved(release(), E)
    back = replace(about, observations=(*about.observations, tag("runner", B, LATER + timedelta(hours=3))))
    for each in (about, back):
        (finding,) = found(each, LATER + timedelta(hours=4))
        assert (finding.rule, finding.severity, finding.digest) == ("tag-moved", Severity.CRITICAL, E)
        assert finding.facts[0].expected == B


def test_a_moved_tag_waits_a_little_for_the_signature_of_a_repeated_run() -> None:
    about = moved(release(), E)
    assert rules(about, LATER + timedelta(minutes=9)) == []
    assert rules(about, LATER + timedelta(minutes=10)) == ["tag-moved"]


@pytest.mark.parametrize("why", ["another release's digest", "too old for a repeated run"])
def test_a_move_that_no_repeated_run_can_have_made_is_told_at_once(why: str) -> None:
    at = LATER if why.startswith("another") else T + POLICY.late_after + timedelta(seconds=1)
    about = moved(release(), E, at)
    if why.startswith("another"):
        about = replace(about, elsewhere=frozenset({E}))
    assert rules(about, at) == ["tag-moved"]


def test_a_person_can_approve_what_a_tag_was_moved_to() -> None:
    about = moved(release(), E)
    approved = replace(about, digests=(*about.digests, vouched("runner", E, Authority.APPROVED)))
    assert "tag-moved" not in rules(approved, LATER + timedelta(hours=1))


def test_a_tag_that_shows_another_digest_than_a_person_approved_is_moved() -> None:
    about = release()
    others = [each for each in about.digests if each.artifact != "runner"]
    about = replace(about, digests=(*others, vouched("runner", E, Authority.APPROVED)))
    assert [(each.rule, each.digest) for each in found(about)] == [("tag-moved", B)]


def rerun(**changes: object) -> Release:
    about = moved(release(), E)
    return replace(about, signatures=(*about.signatures, signature(E, **{"attempt": 2, **changes})))


def test_a_repeated_run_that_replaced_what_it_had_signed_is_superseded_and_not_moved() -> None:
    about = rerun()
    (finding,) = found(about, LATER + timedelta(hours=1))
    assert (finding.rule, finding.severity, finding.version) == ("superseded-attempt", Severity.MEDIUM, "0.1.2")
    assert [(each.old, each.new) for each in superseding(about)] == [(B, E)]


def test_a_chain_of_repeated_runs_is_superseded_each_time() -> None:
    again = rerun()
    third = replace(
        again,
        observations=(*again.observations, tag("runner", F, LATER + timedelta(hours=1))),
        signatures=(*again.signatures, signature(F, attempt=3)),
    )
    assert rules(third, LATER + timedelta(hours=2)) == ["superseded-attempt", "superseded-attempt"]


@pytest.mark.parametrize(
    ("changes", "also"),
    [
        ({"attempt": 1}, []),
        ({"attempt": None}, []),
        ({"run": RUN + "0"}, []),
        ({"run": None}, []),
        ({"commit": "d" * 40}, ["commit-mismatch"]),
        ({"version": "0.1.3"}, []),
        ({"wrong": frozenset({Category.IDENTITY})}, []),
    ],
    ids=[
        "same attempt",
        "no attempt",
        "another run",
        "no run",
        "another commit",
        "another version",
        "identity finding",
    ],
)
def test_what_is_no_later_attempt_of_the_same_run_and_commit_explains_no_move(
    changes: dict[str, object], also: list[str]
) -> None:
    assert rules(rerun(**changes), LATER + timedelta(hours=1)) == ["tag-moved", *also]


def test_an_attempt_that_had_signed_nothing_explains_no_move() -> None:
    about = rerun()
    others = tuple(each for each in about.signatures if B not in each.digests)
    assert "tag-moved" in rules(replace(about, signatures=others), LATER + timedelta(hours=1))


def test_signatures_of_one_version_from_two_commits_mean_a_moved_git_tag_seen_without_a_registry() -> None:
    about = Release("0.1.2", signatures=(signature(A), signature(B, commit="d" * 40)))
    (finding,) = found(about)
    assert (finding.rule, finding.severity) == ("commit-mismatch", Severity.CRITICAL)


def test_two_workflow_digests_matter_within_one_workflow_only() -> None:
    other = {"workflow_digest": "f" * 40}
    within = Release("0.1.2", signatures=(signature(A), signature(B, **other)))
    across = Release("0.1.2", signatures=(signature(A), signature(D, workflow="publish-policy.yml", **other)))
    assert (rules(within), rules(across)) == (["commit-mismatch"], [])


def test_a_signature_against_which_an_identity_rule_holds_says_nothing_of_the_release() -> None:
    wrong = {"wrong": frozenset({Category.IDENTITY}), "commit": "d" * 40}
    assert rules(Release("0.1.2", signatures=(signature(A), signature(B, **wrong)))) == []


def withdrawn(at: datetime = T + timedelta(days=1)) -> Release:
    return replace(release(), withdrawal=Withdrawal("0.1.2", at, "Ada", "leaks a key", "https://example.test/1"))


def test_a_withdrawn_release_is_silent_until_it_is_signed_again() -> None:
    about = withdrawn()
    assert rules(about) == []
    late = about.withdrawal.at + timedelta(hours=1) if about.withdrawal else T
    again = replace(about, signatures=(*about.signatures, signature(B, signed_at=late, first_seen=late, place="log 9")))
    (finding,) = found(again)
    assert (finding.rule, finding.severity) == ("withdrawn-release-signed", Severity.CRITICAL)


def test_a_signature_in_the_second_of_the_withdrawal_counts_as_after_it_for_a_log_tells_no_fractions() -> None:
    about = withdrawn(T.replace(microsecond=0) + timedelta(days=1, milliseconds=700))
    second = T.replace(microsecond=0) + timedelta(days=1)
    again = replace(
        about, signatures=(*about.signatures, signature(B, signed_at=second, first_seen=second, place="log 9"))
    )
    assert rules(again) == ["withdrawn-release-signed"]


def test_a_signature_read_late_was_not_made_after_the_withdrawal() -> None:
    about = withdrawn()
    read_late = replace(about.signatures[0], first_seen=T + timedelta(days=9))
    assert rules(replace(about, signatures=(*about.signatures, read_late))) == []


def test_the_tag_of_a_withdrawn_release_may_go_and_must_not_return() -> None:
    about = withdrawn()
    gone = T + timedelta(days=2)
    deleted = replace(about, observations=tuple(replace(each, gone_at=gone) for each in about.observations))
    assert rules(deleted) == []
    back = replace(deleted, observations=(*deleted.observations, tag("ui", C, gone + timedelta(days=1))))
    assert rules(back) == ["withdrawn-release-signed"]


def test_a_deleted_tag_is_told_until_it_returns() -> None:
    about = release()
    gone = [replace(each, gone_at=LATER) if each.artifact == "ui" else each for each in about.observations]
    deleted = replace(about, observations=tuple(gone))
    (finding,) = found(deleted)
    assert (finding.rule, finding.severity, finding.digest) == ("tag-deleted", Severity.LOW, C)
    assert rules(replace(deleted, observations=(*gone, tag("ui", C, LATER)))) == []


def test_an_unsigned_artifact_is_told_after_its_grace_where_every_log_was_read() -> None:
    about = release()
    unsigned = replace(about, signatures=tuple(each for each in about.signatures if B not in each.digests))
    due = T + POLICY.grace
    assert rules(unsigned, due - timedelta(seconds=1)) == []
    (finding,) = found(unsigned, due)
    assert (finding.rule, finding.severity, finding.digest) == ("unsigned-artifact", Severity.HIGH, B)


@pytest.mark.parametrize(
    "watched",
    [
        Watched(),
        Watched(T - timedelta(hours=23), LATER),
        Watched(T - timedelta(days=2), T + POLICY.grace - timedelta(seconds=1)),
    ],
    ids=["nothing", "from too late on", "not up to now"],
)
def test_what_was_not_read_is_not_unsigned(watched: Watched) -> None:
    assert rules(replace(release(), signatures=()), LATER, watched) == []


@pytest.mark.parametrize("category", [Category.IDENTITY, Category.DIGEST])
def test_a_signature_with_a_finding_of_its_own_does_not_sign_a_release(category: Category) -> None:
    about = release()
    wrong = tuple(replace(each, wrong=frozenset({category})) for each in about.signatures)
    assert rules(replace(about, signatures=wrong)).count("unsigned-artifact") == 4


def test_a_release_with_parts_missing_is_told_after_its_grace() -> None:
    about = release()
    partial = replace(about, observations=about.observations[:3], digests=about.digests[:3])
    assert rules(partial, T + POLICY.grace - timedelta(seconds=1)) == []
    (finding,) = found(partial)
    assert (finding.rule, "policy/constitution" in finding.summary, finding.history) == (
        "incomplete-release",
        True,
        True,
    )


def test_a_required_list_of_contents_must_be_attested_for_the_very_digest() -> None:
    policy = Policy(sbom_required=("runner",))
    about = release()
    assert rules(about, policy=policy) == ["incomplete-release"]
    for digest, predicate, expected in [
        (B, "https://spdx.dev/Document", []),
        (A, "https://spdx.dev/Document", ["incomplete-release"]),
        (B, "https://slsa.dev/provenance/v1", ["incomplete-release"]),
    ]:
        assert rules(replace(about, attested=frozenset({(digest, predicate)})), policy=policy) == expected


def test_latest_on_a_prerelease_is_told() -> None:
    about = replace(release(), version="0.2.0-rc1", latest=(tag("runner", B, name="latest"),))
    (finding,) = found(replace(about, signatures=tuple(replace(s, version="0.2.0-rc1") for s in about.signatures)))
    assert (finding.rule, finding.severity, finding.version) == ("prerelease-latest", Severity.MEDIUM, "0.2.0-rc1")


def test_findings_of_one_version_bear_it_and_subjects_of_their_own() -> None:
    about = moved(moved(release(), E), F, LATER + timedelta(hours=1))
    subjects = [finding.subject for finding in found(about, LATER + timedelta(days=1))]
    assert len(set(subjects)) == len(subjects) == 2
    assert all(subject.startswith("release:0.1.2:") for subject in subjects)
