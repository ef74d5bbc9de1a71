"""One entry judged whole: trust first, every signer for itself, and what the published command would say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from monitor.model.entry import Certificate, SanKind, Step, Trust
from monitor.model.finding import Accepted, Category, Severity
from monitor.model.log import Protocol
from monitor.model.release import DigestStatus
from monitor.rules import published
from monitor.rules.policy import Policy

if TYPE_CHECKING:
    from monitor.model.finding import Finding
    from monitor.model.judgement import Judgement
    from tests.unit.rules.conftest import Make

WORKFLOWS = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/"
IMAGES = WORKFLOWS + "publish-images.yml"
RELEASE = IMAGES + "@refs/tags/v0.1.2"
BRANCH = IMAGES + "@refs/heads/main"
FORK = "https://github.com/mallory/trustacks-mvp/.github/workflows/publish-images.yml@refs/heads/main"
LOOKALIKE = "https://evil.example/?" + RELEASE


def rules(judgement: Judgement) -> list[str]:
    return [finding.rule for finding in judgement.findings]


def facts(finding: Finding) -> dict[str, str]:
    return {fact.name: fact.seen for fact in finding.facts}


class TestTrust:
    def test_an_untrusted_certificate_stands_alone_is_low_and_tells_what_else_would_have_fired(
        self, make: Make
    ) -> None:
        signer = make.signer(make.certificate(BRANCH), Trust.UNTRUSTED, failed=(Step.CHAIN,))
        judgement = make.judged(make.entry(signer), make.expectations())
        assert rules(judgement) == ["untrusted-certificate"]
        finding = judgement.findings[0]
        assert (finding.severity, finding.accepted, finding.trusted) == (Severity.LOW, Accepted.NO, False)
        assert facts(finding)["other rules that would have fired"] == "branch-ref, unexpected-digest"
        assert (finding.run, finding.commit, finding.workflow) == (None, None, None)

    def test_one_that_chains_and_fails_another_check_is_critical(self, make: Make) -> None:
        signer = make.signer(make.certificate(), Trust.BROKEN, failed=(Step.SCT,))
        judgement = make.judged(make.entry(signer), make.expectations(make.match()))
        assert [(f.rule, f.severity) for f in judgement.findings] == [("untrusted-certificate", Severity.CRITICAL)]
        assert facts(judgement.findings[0])["other rules that would have fired"] == "none"

    @pytest.mark.parametrize("trust", [Trust.UNTRUSTED, Trust.BROKEN])
    def test_a_strangers_untrusted_certificate_is_nobodys_concern(self, make: Make, trust: Trust) -> None:
        claims = make.claims(FORK, repository="mallory/trustacks-mvp")
        judgement = make.judged(make.entry(make.signer(make.certificate(FORK, claims), trust)))
        assert (judgement.findings, judgement.related) == ((), False)

    def test_what_cannot_be_checked_is_neither_a_finding_nor_clean(self, make: Make) -> None:
        judgement = make.judged(make.entry(make.signer(make.certificate(BRANCH), Trust.UNCHECKED)), make.expectations())
        assert (judgement.findings, judgement.related) == ((), True)
        assert (judgement.digest_status, judgement.accepted) == (DigestStatus.NOT_CHECKED, None)


class TestContributorKey:
    spki = b"a contributor's key"
    policy = Policy(contributor_keys=frozenset({hashlib.sha256(spki).hexdigest()}))

    @pytest.mark.parametrize("verifies", [True, None])
    def test_a_contributors_bare_key_fires_where_its_signature_is_not_known_bad(
        self, make: Make, *, verifies: bool | None
    ) -> None:
        entry = make.entry(make.signer(None, spki=self.spki, verifies=verifies))
        judgement = make.judged(entry, policy=self.policy)
        assert (rules(judgement), judgement.accepted) == (["contributor-key"], Accepted.NO)
        assert judgement.findings[0].identity is None

    def test_a_bad_signature_beside_it_proves_nothing(self, make: Make) -> None:
        judgement = make.judged(make.entry(make.signer(None, spki=self.spki, verifies=False)), policy=self.policy)
        assert (judgement.findings, judgement.related) == ((), False)

    @pytest.mark.parametrize("trust", list(Trust))
    def test_it_fires_in_a_certificate_of_any_trust_and_name(self, make: Make, trust: Trust) -> None:
        claims = make.claims(FORK, repository="mallory/trustacks-mvp")
        signer = make.signer(make.certificate(FORK, claims), trust, spki=self.spki)
        assert rules(make.judged(make.entry(signer), policy=self.policy)) == ["contributor-key"]

    def test_another_key_fires_nothing_nor_does_a_key_without_spki(self, make: Make) -> None:
        assert not make.judged(make.entry(make.signer(None)), policy=self.policy).related
        nothing = Policy(contributor_keys=frozenset({hashlib.sha256(b"").hexdigest()}))
        assert not make.judged(make.entry(make.signer(None, spki=b"")), policy=nothing).related


class TestAccepted:
    def test_on_v2_a_right_signature_is_accepted_if_timestamped_and_on_v1_outright(self, make: Make) -> None:
        signer = make.signer(make.certificate())
        assert make.judged(make.entry(signer)).accepted is Accepted.IF_TIMESTAMPED
        assert make.judged(make.entry(signer, protocol=Protocol.REKOR_V1)).accepted is Accepted.YES

    def test_on_v1_a_time_outside_the_certificates_validity_is_refused(self, make: Make) -> None:
        signer = make.signer(make.certificate(), within_validity=False)
        assert make.judged(make.entry(signer, protocol=Protocol.REKOR_V1)).accepted is Accepted.NO

    @pytest.mark.parametrize(
        ("san", "accepted"),
        [
            (RELEASE, True),
            (IMAGES + "@refs/tags/v0.2.0-rc.1", True),
            (LOOKALIKE, True),
            ("https://githubxcom/TruStacks/trustacks-mvp/xgithub/workflows/publish-imagesxyml@refs/tags/v1.0.0", True),
            (WORKFLOWS + "publish-policy.yml@refs/tags/v0.1.2", True),
            (BRANCH, False),
            (RELEASE.replace("TruStacks", "trustacks"), False),
            (IMAGES + "@refs/heads/hotfix/@refs/tags/v9.9.9", False),
            (RELEASE + "\n", False),
            (RELEASE + "+build", False),
            (WORKFLOWS + "ci.yml@refs/tags/v0.1.2", False),
        ],
    )
    def test_the_pattern_is_read_as_cosign_reads_it(self, make: Make, san: str, *, accepted: bool) -> None:
        expected = Accepted.IF_TIMESTAMPED if accepted else Accepted.NO
        assert make.judged(make.entry(make.signer(make.certificate(san)))).accepted is expected

    def test_a_digest_of_ours_is_checked_with_its_own_artifacts_pattern(self, make: Make) -> None:
        policy_workflow = make.signer(make.certificate(WORKFLOWS + "publish-policy.yml@refs/tags/v0.1.2"))
        runner = make.expectations(make.match("runner"))
        bundle = make.expectations(make.match("policy/constitution"))
        assert make.judged(make.entry(policy_workflow), runner).accepted is Accepted.NO
        assert make.judged(make.entry(policy_workflow), bundle).accepted is Accepted.IF_TIMESTAMPED

    def test_another_issuer_is_refused(self, make: Make) -> None:
        claims = make.claims(issuer="https://token.actions.githubusercontent.com/trustacks")
        assert make.judged(make.entry(make.signer(make.certificate(claims=claims)))).accepted is Accepted.NO

    def test_any_name_of_several_that_matches_is_accepted(self, make: Make) -> None:
        names = ((SanKind.DNS, "example.org"), (SanKind.URI, RELEASE))
        assert make.judged(make.entry(make.signer(make.certificate(names=names)))).accepted is Accepted.IF_TIMESTAMPED

    def test_each_finding_has_its_own_signers_answer_and_the_entry_the_worst(self, make: Make) -> None:
        entry = make.entry(make.signer(make.certificate(BRANCH)), make.signer(make.certificate(LOOKALIKE)))
        judgement = make.judged(entry)
        answers = {finding.rule: finding.accepted for finding in judgement.findings}
        assert answers["branch-ref"] is Accepted.NO
        assert answers["lookalike-identity"] is Accepted.IF_TIMESTAMPED
        assert judgement.accepted is Accepted.IF_TIMESTAMPED

    def test_the_worst_answer_is_the_worst_for_us(self) -> None:
        assert published.worst([Accepted.NO, None, Accepted.IF_TIMESTAMPED, Accepted.YES]) is Accepted.YES
        assert published.worst([Accepted.IF_TIMESTAMPED, None]) is Accepted.IF_TIMESTAMPED
        assert published.worst([Accepted.NO, None]) is None
        assert published.worst([Accepted.NO]) is Accepted.NO
        assert published.worst([]) is None


class TestScope:
    def test_a_strangers_entry_is_unrelated(self, make: Make) -> None:
        claims = make.claims(FORK, repository="mallory/trustacks-mvp")
        judgement = make.judged(make.entry(make.signer(make.certificate(FORK, claims))))
        assert (judgement.related, judgement.findings) == (False, ())

    def test_our_certificate_beside_a_strangers_is_kept_and_never_judged(self, make: Make) -> None:
        claims = make.claims(FORK, repository="mallory/trustacks-mvp")
        stranger = make.signer(make.certificate(FORK, claims))
        judgement = make.judged(make.entry(stranger, others=(make.certificate(BRANCH),)), make.expectations())
        assert (judgement.related, judgement.findings) == (True, ())

    def test_a_strangers_certificate_beside_a_strangers_changes_nothing(self, make: Make) -> None:
        claims = make.claims(FORK, repository="mallory/trustacks-mvp")
        other: Certificate = make.certificate(FORK, claims)
        assert not make.judged(make.entry(make.signer(other), others=(other,))).related

    def test_an_entry_without_signers_is_unrelated(self, make: Make) -> None:
        judgement = make.judged(make.entry())
        assert (judgement.related, judgement.accepted) == (False, None)


def test_every_signer_is_judged_and_has_a_subject_of_its_own(make: Make) -> None:
    entry = make.entry(make.signer(make.certificate(BRANCH)), make.signer(make.certificate(BRANCH)))
    findings = make.judged(entry).findings
    assert [finding.rule for finding in findings] == ["branch-ref", "branch-ref"]
    assert [finding.subject for finding in findings] == [
        "entry:log2025-1.rekor.sigstore.dev:7:1111111111111111#0",
        "entry:log2025-1.rekor.sigstore.dev:7:1111111111111111#1",
    ]


def test_a_finding_carries_what_lists_and_incidents_need(make: Make) -> None:
    entry = make.entry(make.signer(make.certificate()), protocol=Protocol.REKOR_V1)
    finding = make.judged(entry, make.expectations(make.match(version="0.1.3"))).findings[0]
    assert (finding.rule, finding.severity, finding.category) == (
        "digest-of-other-release",
        Severity.HIGH,
        Category.DIGEST,
    )
    assert (finding.log, finding.index, finding.global_index, finding.uuid) == (entry.log, 7, 7000, "uuid")
    assert (finding.identity, finding.issuer) == (RELEASE, "https://token.actions.githubusercontent.com")
    assert (finding.digest, finding.artifacts, finding.version) == (f"sha256:{'ab' * 32}", ("runner",), "0.1.2")
    assert (finding.run, finding.attempt) == ("https://github.com/TruStacks/trustacks-mvp/actions/runs/17000000001", 2)
    assert (finding.commit, finding.ref, finding.workflow) == ("c" * 40, "refs/tags/v0.1.2", "publish-images.yml")
    assert (finding.trusted, finding.signed_at) == (True, entry.first_seen)
    assert finding.event == entry.event(entry.signers[0].signer)


def test_the_policy_sets_severities_but_a_rules_variant_keeps_its_own(make: Make) -> None:
    policy = Policy(severities={"unusual-build": Severity.HIGH, "untrusted-certificate": Severity.MEDIUM})
    claims = make.claims(change={11: "self-hosted"})
    assert make.rules(claims=claims, policy=policy) == {"unusual-build": "high"}
    for trust, expected in ((Trust.UNTRUSTED, Severity.MEDIUM), (Trust.BROKEN, Severity.CRITICAL)):
        found = make.judged(make.entry(make.signer(make.certificate(), trust)), policy=policy).findings
        assert [expected] == [finding.severity for finding in found]
