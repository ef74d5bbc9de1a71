"""Judges one entry: asks every rule about every signer and puts together what they say.

Composes `identity`, `digest` and `published`; decides nothing that they decide. It never raises for what a certificate says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.entry import Claim, Step, Trust
from monitor.model.finding import Accepted, Finding, Severity
from monitor.model.judgement import Judgement
from monitor.model.release import DigestStatus, release_version
from monitor.model.rulebook import RULES
from monitor.rules import digest, identity, published, subject
from monitor.rules.hit import Hit, fact, severity

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.entry import JudgedSigner, LogEntry
    from monitor.model.release import Expectations, Match
    from monitor.rules.policy import Policy
    from monitor.rules.published import Answer
    from monitor.rules.subject import Subject

_STEPS = {
    Step.CHAIN: "it does not lead to the certificate authority",
    Step.USAGE: "it is not made for signing code",
    Step.SCT: "no certificate log vouches for it",
    Step.VALIDITY: "it was not valid then",
    Step.SET: "the log's promise about it does not verify",
    Step.SIGNATURE: "its key did not make the signature beside it",
}


@dataclass(frozen=True, slots=True)
class _Case:
    """What every rule about one entry is asked with."""

    entry: LogEntry
    expectations: Expectations | None
    policy: Policy
    now: datetime
    history: bool
    matches: tuple[Match, ...]
    """Those that make the digest expected."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the rules say of one signer."""

    findings: tuple[Finding, ...]
    status: DigestStatus
    accepted: Accepted | None
    in_scope: bool


def logged_hash(entry: LogEntry) -> str | None:
    """Return the SHA-256 under which the entry's digest is looked up; None where it logs another algorithm's, or none."""
    logged = entry.decoded.digest
    return logged.value if logged is not None and logged.algorithm == "sha256" else None


def judge(
    entry: LogEntry, expectations: Expectations | None, policy: Policy, now: datetime, *, history: bool
) -> Judgement:
    """Judge `entry` by every rule on entries. `revision` is left None: the caller knows what it judged with.

    `expectations` are those of `logged_hash(entry)`; None means that nobody keeps any. `history` marks what was signed before
    watching began. Each finding's `accepted` is its own signer's; the judgement's is the worst of them for us.
    """
    matches = digest.sufficient(expectations, policy)
    case = _Case(entry, expectations, policy, now, history, matches)
    verdicts = [_signer(case, number, signer) for number, signer in enumerate(entry.signers)]
    findings = tuple(finding for verdict in verdicts for finding in verdict.findings)
    related = (
        bool(findings)
        or any(verdict.in_scope for verdict in verdicts)
        or any(subject.read(other, policy).ours for other in entry.decoded.other_certificates)
    )
    return Judgement(
        findings,
        digest.most_urgent(verdict.status for verdict in verdicts),
        published.worst(verdict.accepted for verdict in verdicts),
        expectations.matches if expectations else (),
        related=related,
        revision=None,
        history=history,
    )


def _signer(case: _Case, number: int, signer: JudgedSigner) -> _Verdict:
    certificate = signer.certificate
    alone = case.entry.decoded.protocol.certificates
    about = subject.read(certificate, case.policy, alone=alone) if certificate else None
    answer = published.answer(
        signer, case.entry.decoded.protocol, (match.artifact for match in case.matches), case.policy
    )
    hits = identity.contributor_key(signer.signer, case.policy)
    status = DigestStatus.NOT_CHECKED
    if about is not None and about.in_scope:
        more, status = _in_scope(case, signer, about)
        hits += more
    findings = tuple(_finding(case, number, signer, about, answer, hit) for hit in hits)
    return _Verdict(findings, status, answer.accepted, about is not None and about.in_scope)


def _in_scope(case: _Case, signer: JudgedSigner, about: Subject) -> tuple[tuple[Hit, ...], DigestStatus]:
    verdict = signer.verdict
    if verdict is None or verdict.trust is Trust.UNCHECKED:
        # Neither clean nor a finding: it is judged again under the next trust root.
        return (), DigestStatus.NOT_CHECKED
    hits = identity.judge(about, case.policy)
    ruling = digest.Ruling(DigestStatus.NOT_CHECKED)
    if about.ours and not about.alone:  # a certificate log knows no digest
        ruling = digest.judge(case.entry, about, case.expectations, case.policy, case.now)
    if verdict.trust is Trust.TRUSTED:
        return (*hits, *ruling.hits), ruling.status
    return (_untrusted(signer, about, (*hits, *ruling.hits)),), DigestStatus.NOT_CHECKED


def _untrusted(signer: JudgedSigner, about: Subject, silent: tuple[Hit, ...]) -> Hit:
    """`untrusted-certificate`, which stands alone: what the other rules would have said is among its facts."""
    verdict = signer.verdict
    failed = "; ".join(_STEPS[step] for step in verdict.failed) if verdict else ""
    others = ", ".join(dict.fromkeys(hit.rule for hit in silent)) or "none"
    broken = verdict is not None and verdict.trust is Trust.BROKEN
    if broken:
        summary = "The certificate authority made a certificate in our name that fails another check: no outsider can make one."
    elif about.alone:
        summary = "An authority that customers do not trust made a certificate in our name; their check refuses it."
    else:
        summary = "Somebody logged a home-made certificate in our name; customers' check refuses it."
    facts = (
        fact("identity", about.identity),
        fact("failed", failed or "chain", "every check of a certificate passes"),
        fact("detail", verdict.detail if verdict else ""),
        fact("other rules that would have fired", others),
    )
    return Hit("untrusted-certificate", summary, facts, Severity.CRITICAL if broken else None)


def _finding(
    case: _Case, number: int, signer: JudgedSigner, about: Subject | None, answer: Answer, hit: Hit
) -> Finding:
    entry, certificate = case.entry, signer.certificate
    vouched = certificate if signer.trusted else None
    version = release_version(about.ref or "") if about and vouched else None
    refused = (fact("customers' check refuses it because", answer.why),) if answer.why and vouched else ()
    issued = signer.verdict.issued_at if signer.verdict else None
    return Finding(
        hit.rule,
        severity(hit.rule, hit.variant, case.policy),
        RULES[hit.rule].category,
        f"entry:{entry.log}:{entry.index}:{entry.leaf_hash.hex()[:16]}#{number}",
        hit.summary,
        (*hit.facts, *refused),
        accepted=answer.accepted,
        log=entry.log,
        index=entry.index,
        global_index=entry.global_index,
        uuid=entry.promise.uuid if entry.promise else None,
        identity=about.identity if about else None,
        issuer=(certificate.oidc_issuer or None) if certificate else None,
        digest=str(entry.decoded.digest) if entry.decoded.digest else None,
        artifacts=tuple(dict.fromkeys(match.artifact for match in case.matches)),
        version=version.text if version else None,
        event=entry.event(signer.signer),
        run=vouched.run if vouched else None,
        attempt=vouched.attempt if vouched else None,
        commit=vouched.claims.get(Claim.SOURCE_DIGEST) if vouched else None,
        ref=about.ref if about else None,
        workflow=about.name.file if about and vouched and about.name else None,
        trusted=signer.trusted,
        signed_at=issued or entry.logged_at,
        history=case.history,
    )
