"""A certificate in a certificate log, judged before anybody knows what it signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.model.entry import Trust, unsigned_event
from monitor.model.finding import Accepted
from monitor.model.release import DigestStatus
from tests.unit.rules.conftest import RELEASE, SEEN, WORKFLOWS

if TYPE_CHECKING:
    from tests.unit.rules.conftest import Make

BRANCH = WORKFLOWS + "publish-images.yml@refs/heads/main"
LATER = SEEN + timedelta(seconds=2)


def test_a_certificate_on_a_branch_is_said_to_be_issued_and_a_signature_to_be_made(make: Make) -> None:
    signer = make.signer(make.certificate(BRANCH))
    (issued,), (signed, *_) = make.judged(make.logged(signer)).findings, make.judged(make.entry(signer)).findings
    assert issued.summary == "publish-images.yml was issued a certificate for the branch “main”, not a version tag."
    assert signed.summary == "publish-images.yml signed from the branch “main”, not a version tag."


def test_the_identity_rules_judge_it_at_once(make: Make) -> None:
    judged = make.judged(make.logged(make.signer(make.certificate(BRANCH))))
    assert [finding.rule for finding in judged.findings] == ["branch-ref"]
    assert judged.findings[0].run == "https://github.com/TruStacks/trustacks-mvp/actions/runs/17000000001"


def test_the_digest_rules_do_not_for_it_has_no_digest(make: Make) -> None:
    judged = make.judged(make.logged(make.signer(make.certificate())), make.expectations(make.match()))
    assert (judged.findings, judged.digest_status) == ((), DigestStatus.NOT_CHECKED)
    assert judged.related


@pytest.mark.parametrize(("san", "accepted"), [(RELEASE, Accepted.IF_TIMESTAMPED), (BRANCH, Accepted.NO)])
def test_customers_would_accept_what_it_signs_in_time_where_the_pattern_accepts_its_name(
    make: Make, san: str, accepted: Accepted
) -> None:
    assert make.judged(make.logged(make.signer(make.certificate(san)))).accepted is accepted


def test_one_by_an_authority_outside_the_root_is_low_and_called_no_home_made_one(make: Make) -> None:
    signer = make.signer(make.certificate(BRANCH), Trust.UNTRUSTED)
    (finding,) = make.judged(make.logged(signer)).findings
    assert (finding.rule, finding.severity, finding.accepted) == ("untrusted-certificate", "low", Accepted.NO)
    assert "home-made" not in finding.summary


def test_it_is_signed_when_it_was_issued_and_else_when_the_log_took_it_in(make: Make) -> None:
    signer = make.signer(make.certificate(BRANCH))
    assert signer.verdict is not None
    assert make.logged(signer, moment=LATER).signed_at == SEEN
    untrusted = replace(signer, verdict=replace(signer.verdict, trust=Trust.UNTRUSTED, issued_at=None))
    entry = make.logged(untrusted, moment=LATER)
    assert entry.signed_at == LATER
    assert [finding.signed_at for finding in make.judged(entry).findings] == [LATER]


def test_one_certificate_in_two_logs_is_one_event_until_an_entry_gives_it_its_own(make: Make) -> None:
    signer = make.signer(make.certificate(BRANCH))
    assert signer.certificate is not None
    own = unsigned_event(signer.certificate.issuance)
    events = {make.logged(signer, log=log).event(signer.signer) for log in ("ct.example", "ct2.example")}
    assert events == {own}

    signed = make.entry(signer).event(signer.signer)
    joined = make.logged(signer, joined=signed)
    assert joined.event(signer.signer) == signed != own
    assert [finding.event for finding in make.judged(joined).findings] == [signed]
