"""Would the published `cosign verify` command accept a signature? Answered as cosign does: RE2, unanchored, case and all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.entry import Claim, Trust
from monitor.model.finding import Accepted
from monitor.model.log import Protocol
from monitor.rules.pattern import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.model.entry import Certificate, JudgedSigner, TrustVerdict
    from monitor.rules.pattern import Pattern
    from monitor.rules.policy import Policy


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer, and in a few words why it is a no. `accepted` is None where trust could not be checked."""

    accepted: Accepted | None
    why: str = ""


def patterns(policy: Policy, artifacts: Iterable[str] = ()) -> tuple[Pattern, ...]:
    """Return the published patterns of the workflows that publish any of `artifacts`, of all workflows if none does."""
    wanted = frozenset(artifacts)
    files = [file for file, published in policy.workflows.items() if wanted.intersection(published)]
    return tuple(
        compiled(policy.published_pattern.replace("{workflow}", file)) for file in files or list(policy.workflows)
    )


def matches(policy: Policy, certificate: Certificate, artifacts: Iterable[str] = ()) -> bool:
    """Whether a published pattern accepts any subject alternative name of the certificate, of whatever kind."""
    found = patterns(policy, artifacts)
    return any(pattern.found_in(name) for _, name in certificate.names for pattern in found)


def answer(signer: JudgedSigner, protocol: Protocol, artifacts: Iterable[str], policy: Policy) -> Answer:
    """Return what the published command says of one signature over something that is `artifacts` (empty: nobody's).

    Of a certificate in a certificate log: of any signature made with it within its ten minutes.
    Where two readings of a certificate differ (several names, two issuer claims), a yes by either is a yes: it is the worse
    answer for us.
    """
    if signer.certificate is None:
        return Answer(Accepted.NO, "it is made with a bare key, without a certificate")
    if signer.verdict is None or signer.verdict.trust is Trust.UNCHECKED:
        return Answer(None, "its certificate cannot be checked with the trusted keys at hand")
    refusal = _refusal(signer.certificate, signer.verdict, artifacts, policy)
    if refusal:
        return Answer(Accepted.NO, refusal)
    return Answer(Accepted.YES if protocol is Protocol.REKOR_V1 else Accepted.IF_TIMESTAMPED)


def _refusal(certificate: Certificate, verdict: TrustVerdict, artifacts: Iterable[str], policy: Policy) -> str:
    """Return why the published command refuses a certificate, or an empty string."""
    if verdict.trust is not Trust.TRUSTED:
        return "its certificate or signature does not verify"
    if policy.issuer not in {certificate.claims.get(Claim.ISSUER), certificate.claims.get(Claim.ISSUER_RAW)}:
        return "its issuer is not the published one"
    if not matches(policy, certificate, artifacts):
        return "its identity does not match the published pattern"
    return "" if verdict.within_validity else "it was logged outside its certificate's validity"


def worst(answers: Iterable[Accepted | None]) -> Accepted | None:
    """Return the worst answer for us: yes before *if timestamped* before not known before no; None for no answer at all."""
    found = set(answers)
    for candidate in (Accepted.YES, Accepted.IF_TIMESTAMPED, None, Accepted.NO):
        if candidate in found:
            return candidate
    return None
