"""How a certificate stands to us: whose name it bears, from which refs, and which of its claims name our repository.

Nothing here decides whether that is right; names are compared without regard to ASCII case, refs exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.entry import Claim, SanKind, WorkflowName, parse_workflow_name
from monitor.model.text import clip
from monitor.rules import published
from monitor.rules.policy import folded

if TYPE_CHECKING:
    from monitor.model.entry import Certificate
    from monitor.rules.pattern import Pattern
    from monitor.rules.policy import Known, Policy

_IN_SENTENCE = 120
_LOOSE = re.compile(r"(https?://[^/?#@]+)/([^/?#@]+)/([^/?#@]+)(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Subject:
    """A certificate read against the policy."""

    certificate: Certificate
    identity: str
    """The subject alternative name it is judged by: of several, the one that concerns us most."""
    name: WorkflowName | None
    ref: str | None
    ours: bool
    """The name lies in our repository."""
    owners: bool
    """The name lies in our repository or another one of our owner."""
    accepted: bool
    """A published pattern accepts a name of the certificate."""
    claimed: bool
    """Claim .5 or .12 names our repository."""
    publishing: str | None
    """The publishing workflow that the name is, but for ASCII case."""
    alone: bool = False
    """It stands in a certificate log: what was signed with it, if anything, is not known there."""

    @property
    def in_scope(self) -> bool:
        """Whether identity rules concern themselves with it (DESIGN section 6)."""
        return self.owners or self.claimed or self.accepted

    @property
    def elsewhere(self) -> bool:
        """Whether all that is ours about it is the owner: another repository's workflow, run in another repository."""
        return self.owners and not self.ours and not self.claimed

    @property
    def title(self) -> str:
        """A short name for a sentence: the workflow's file where it is ours, else the whole identity."""
        name = self.name.file if self.ours and self.name else ""
        return clip(name or self.identity, _IN_SENTENCE)

    @property
    def deed(self) -> str:
        """What a sentence may say that it did; a ref follows."""
        return "was issued a certificate for" if self.alone else "signed from"

    def claim(self, number: int) -> str | None:
        """Return a claim by the last arc of its OID; None when it is absent."""
        return self.certificate.claims.get(number)

    def refs(self) -> tuple[tuple[str, str], ...]:
        """Return the refs that are present, of the four places that hold one, as (place, ref)."""
        places = (
            ("subject alternative name", self.ref),
            ("claim .6", self.claim(Claim.REF_RAW)),
            ("claim .14", self.claim(Claim.SOURCE_REF)),
            ("claim .18", ref_of(self.claim(Claim.BUILD_CONFIG) or "")),
        )
        return tuple((place, ref) for place, ref in places if ref is not None)

    def same_workflow(self, uri: str | None) -> bool:
        """Whether a claim's workflow URI is this identity: up to the ref but for ASCII case, the ref exactly."""
        if uri is None:
            return False
        return ref_of(uri) == ref_of(self.identity) and folded(_before_ref(uri)) == folded(_before_ref(self.identity))

    def known(self, policy: Policy) -> Known | None:
        """Return the `[[known]]` entry that makes this signer lawful. The publishing workflows have none.

        In our own repositories every ref of the certificate must be one of the entry's; a third party's workflow has refs of
        its own, so there the name's alone must be.
        """
        if self.name is None or self.publishing:
            return None
        refs = {ref for _, ref in self.refs()} if self.owners else {self.name.ref}
        for known in policy.known:
            if known.workflow == self.name.prefix and all(known.covers(ref) for ref in refs):
                return known
        return None


def read(certificate: Certificate, policy: Policy, *, alone: bool = False) -> Subject:
    """Read a certificate against the policy. Never raises, whatever stands in it. `alone` says that it stands in a certificate log."""
    kind, identity = _judged_by(certificate, policy)
    name = _name(identity, policy)
    accepted = published.matches(policy, certificate)
    return Subject(
        certificate,
        identity,
        name,
        ref_of(identity) if kind is SanKind.URI or name or accepted else None,
        ours=policy.ours(name),
        owners=policy.owners(name),
        accepted=accepted,
        claimed=names_repository(certificate.claims.get(Claim.REPOSITORY_RAW), policy)
        or names_source(certificate.claims.get(Claim.SOURCE_REPOSITORY), policy),
        publishing=policy.publishing(name),
        alone=alone,
    )


def ref_of(uri: str) -> str | None:
    """Return `refs/` and what follows the first `@refs/`, else what follows the last `@`, else None."""
    _, at, ref = uri.partition("@refs/")
    if at:
        return "refs/" + ref
    _, at, ref = uri.rpartition("@")
    return ref if at else None


def names_repository(claim: str | None, policy: Policy) -> bool:
    """Whether claim .5 (`owner/repository`) names our repository."""
    return claim is not None and folded(claim) == folded(f"{policy.owner}/{policy.repository}")


def names_source(claim: str | None, policy: Policy) -> bool:
    """Whether claim .12 (a URL) names our repository."""
    return claim is not None and folded(claim) == folded(f"{policy.host}/{policy.owner}/{policy.repository}")


def _before_ref(uri: str) -> str:
    ref = ref_of(uri)
    return uri if ref is None else uri[: len(uri) - len(ref) - 1]


def _name(identity: str, policy: Policy) -> WorkflowName | None:
    """Cut the name; one that begins as ours does is ours, even where the rest is no workflow's name.

    What a published pattern accepts is never cut loosely: it is a look-alike, and that is worse than an unknown workflow.
    """
    strict = parse_workflow_name(identity)
    if strict is not None or any(pattern.found_in(identity) for pattern in published.patterns(policy)):
        return strict
    loose = _LOOSE.fullmatch(_before_ref(identity))
    if loose is None:
        return None
    host, owner, repository, rest = loose.groups()
    return WorkflowName(host, owner, repository, rest.removeprefix("/"), ref_of(identity) or "")


def _judged_by(certificate: Certificate, policy: Policy) -> tuple[SanKind, str]:
    """Return the name that concerns us most: ours, else one the published pattern accepts, else our owner's, else the first."""
    if not certificate.names:
        return SanKind.OTHER, ""
    accepting = published.patterns(policy)
    ranks = [(_rank(value, accepting, policy), place) for place, (_, value) in enumerate(certificate.names)]
    return certificate.names[min(ranks)[1]]


def _rank(value: str, accepting: tuple[Pattern, ...], policy: Policy) -> int:
    name = _name(value, policy)
    if policy.ours(name):
        return 0
    if any(pattern.found_in(value) for pattern in accepting):
        return 1
    return 2 if policy.owners(name) else 3
