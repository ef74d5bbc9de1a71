"""The digest rules: whether this identity may sign this digest (DESIGN section 7).

They judge trusted signers whose name lies in our repository, against what the store expects. They ask no registry: what could
not be asked is a fact given to them, and never counts as clean.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.model.entry import Claim
from monitor.model.release import Authority, DigestStatus, release_version
from monitor.model.text import rfc3339
from monitor.rules.hit import Hit, fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from monitor.model.entry import LogEntry
    from monitor.model.finding import Fact
    from monitor.model.release import Attempt, Expectations, Match
    from monitor.rules.policy import Policy
    from monitor.rules.subject import Subject

_URGENCY = (
    DigestStatus.PENDING,
    DigestStatus.UNJUDGED,
    DigestStatus.UNEXPECTED,
    DigestStatus.SUPERSEDED,
    DigestStatus.EXPECTED,
    DigestStatus.NOT_CHECKED,
)
UNEXPECTED = "unexpected-digest"
_LISTED = 6
PUSH_LAGS = timedelta(minutes=2)
"""How long what explains a signature may lag behind its log entry: cosign logs first, and pushes it then."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """Where the digest stands for one signer, and the rules that hold."""

    status: DigestStatus
    hits: tuple[Hit, ...] = ()


def sufficient(expectations: Expectations | None, policy: Policy) -> tuple[Match, ...]:
    """Return the matches by somebody whose word makes a digest expected."""
    found = expectations.matches if expectations else ()
    return tuple(match for match in found if match.authority in policy.sufficient)


def judge(
    entry: LogEntry, subject: Subject, expectations: Expectations | None, policy: Policy, now: datetime
) -> Ruling:
    """Judge the digest of `entry` as signed by a trusted `subject` of our repository.

    NOT_CHECKED where there is no source of expected digests at all, or where the signer is `[[known]]`.
    """
    if expectations is None or not expectations.sources or subject.known(policy):
        return Ruling(DigestStatus.NOT_CHECKED)
    due = _due(entry, subject, expectations, policy)
    matches = sufficient(expectations, policy)
    standing = tuple(match for match in matches if not (expectations.alarmed and _too_late(match, due)))
    if standing:
        hits = (*_of_other_release(subject, standing, policy), *_late(entry, standing, expectations, policy))
        return Ruling(DigestStatus.EXPECTED, hits)
    if now < due or _unasked(expectations, due, now, policy):
        return Ruling(DigestStatus.PENDING)
    seen = fact("logged hash", str(entry.decoded.digest) if entry.decoded.digest else None, _expected(subject))
    facts = (seen, *_explained(expectations), *_appeared(matches))
    if (expectations.registry or expectations.unreachable) and not _asked(expectations, due):
        summary = f"{subject.title} signed a digest we do not know, and the registry could not be asked about it."
        return Ruling(DigestStatus.UNJUDGED, (Hit("digest-unjudged", summary, facts),))
    later = _superseded_by(subject, expectations)
    if later is not None:
        summary = f"{subject.title} signed a digest that attempt {later.attempt} of the same run replaced."
        told = fact("attempt", str(subject.certificate.attempt), f"{later.attempt}, which signed what was released")
        return Ruling(DigestStatus.SUPERSEDED, (Hit("superseded-attempt", summary, (*facts, told)),))
    summary = f"{subject.title} signed a digest that belongs to no release we know."
    return Ruling(DigestStatus.UNEXPECTED, (Hit(UNEXPECTED, summary, facts),))


def _due(entry: LogEntry, subject: Subject, expectations: Expectations, policy: Policy) -> datetime:
    """Return from when on a digest has to be known.

    At once where the name's ref is no release ref. Where a release is known whole, once what explains a signature has had the
    time to be pushed beside its image.
    """
    seen = entry.first_seen
    if release_version(subject.ref or "") is None:
        return seen
    if has_grace(subject, expectations, policy):
        return seen + policy.grace
    if not expectations.registry:
        return seen
    return max(seen, min(entry.signed_at or seen, seen) + min(policy.grace, PUSH_LAGS))


def _asked(expectations: Expectations, due: datetime) -> bool:
    """Whether every registry was read since the digest had to be known."""
    return expectations.asked_at is not None and expectations.asked_at >= due


def _unasked(expectations: Expectations, due: datetime, now: datetime, policy: Policy) -> bool:
    """Whether the registries still have to be read since then: they answer, and their next reading is not overdue."""
    if not expectations.registry or _asked(expectations, due) or expectations.unreachable:
        return False
    return now < due + policy.deadline("registry-unreachable")


def _too_late(match: Match, due: datetime) -> bool:
    """Whether only a tag vouches that appeared after the alarm: whoever runs the workflow can push tags too."""
    return match.authority is Authority.PINNED and match.since is not None and match.since > due


def _superseded_by(subject: Subject, expectations: Expectations) -> Attempt | None:
    """Return a later attempt of the signer's own run, from the same commit, that signed what this version carries."""
    certificate, version = subject.certificate, release_version(subject.ref or "")
    if certificate.attempt is None or version is None:
        return None
    own = (certificate.run, certificate.claims.get(Claim.SOURCE_DIGEST), version.text)
    for other in expectations.attempts:
        if (other.run, other.commit, other.version) == own and other.attempt > certificate.attempt:
            return other
    return None


def has_grace(subject: Subject, expectations: Expectations, policy: Policy) -> bool:
    """Whether a digest may still turn out to be a release that we have not read yet.

    It may not where the name's ref is no release ref, nor where the digests of every artifact that the workflow publishes are
    already expected for that version.
    """
    version = release_version(subject.ref or "")
    if version is None:
        return False
    published = policy.workflows[subject.publishing] if subject.publishing else ()
    return not published or not all((version.text, artifact) in expectations.complete for artifact in published)


def most_urgent(statuses: Iterable[DigestStatus]) -> DigestStatus:
    """Return the status of an entry from those of its signers: what still has to be judged again first, then the worst."""
    found = set(statuses)
    return next((status for status in _URGENCY if status in found), DigestStatus.NOT_CHECKED)


def _of_other_release(subject: Subject, matches: tuple[Match, ...], policy: Policy) -> Iterator[Hit]:
    version = release_version(subject.ref or "")
    if version is None:
        return
    published = policy.workflows[subject.publishing] if subject.publishing else ()
    artifacts = policy.artifacts
    for match in matches:
        # What is none of the artifacts is a file beside the release: any publishing workflow may sign it.
        mine = match.artifact in published or (bool(published) and match.artifact not in artifacts)
        if match.version == version.text and mine:
            return
    belongs = ", ".join(f"{match.artifact} {match.version}" for match in matches[:_LISTED])
    expected = f"{' or '.join(published) or 'nothing'} {version}"
    yield Hit(
        "digest-of-other-release",
        f"{subject.title} at v{version} signed the digest of {belongs}.",
        (fact("digest belongs to", belongs, expected), *(fact("digest", match.digest) for match in matches[:1])),
    )


def _late(entry: LogEntry, matches: tuple[Match, ...], expectations: Expectations, policy: Policy) -> Iterator[Hit]:
    released = expectations.tag_first_seen
    signed = entry.signed_at or entry.first_seen
    if any(match.predicate is not None for match in matches):
        return
    if released is None or signed - released <= policy.late_after:
        return
    match = matches[0]
    days = (signed - released).days
    yield Hit(
        "late-signature",
        f"{match.artifact} {match.version} was signed again, {days} days after its release.",
        (
            fact("signed", rfc3339(signed), f"within {policy.late_after.days} days of the release"),
            fact("tag first seen", rfc3339(released)),
        ),
    )


def _expected(subject: Subject) -> str:
    version = release_version(subject.ref or "")
    return f"a digest of release {version}" if version else "a digest of a release"


_EXPLAINS = {
    Authority.CLAIMED: "claimed as",
    Authority.OBSERVED: "its tag was moved to this digest:",
    Authority.DISPUTED: "was pinned, until a person put another digest in its place:",
}


def _explained(expectations: Expectations) -> tuple[Fact, ...]:
    """Return what a workflow's own file or a moved tag says of the digest: it explains, and silences nothing."""
    return tuple(
        fact(
            f"{_EXPLAINS[match.authority]} {match.artifact} {match.version}",
            match.digest,
            "vouched for by a person or the registry",
        )
        for match in expectations.matches[:_LISTED]
        if match.authority in _EXPLAINS
    )


def _appeared(matches: tuple[Match, ...]) -> tuple[Fact, ...]:
    """Return the tags that appeared after the alarm: they close nothing, a person does."""
    return tuple(
        fact(
            f"tag appeared after the alarm: {match.artifact} {match.version}",
            rfc3339(match.since),
            "approved by a person",
        )
        for match in matches[:_LISTED]
        if match.since is not None
    )
