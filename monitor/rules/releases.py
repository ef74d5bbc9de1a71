"""The release rules: whether a version is what was released, whole, signed, and still where it was (DESIGN sections 6 and 7).

They judge what the registry showed over time beside who signed it. They ask nobody: what was not read counts as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.model.finding import Category, Fact, Finding
from monitor.model.release import VOUCHING, Authority, DigestKind, Version
from monitor.model.rulebook import RULES
from monitor.model.text import rfc3339
from monitor.rules.hit import fact, severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from monitor.model.release import ExpectedDigest, TagObservation, Withdrawal
    from monitor.rules.policy import Policy

MOVE_SETTLES = timedelta(minutes=10)
"""How long the signature of a later attempt may lag behind the tag that it explains; never longer than the grace period."""
_BEFORE = timedelta(days=1)
"""How long before a tag's first sight its signature may have been logged."""
_LISTED = 12
LATEST = "latest"
SUBJECTS = "release:"
"""How the subject of every finding of these rules begins; the version follows."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A trusted signature by our identity at a version's tag."""

    version: str
    workflow: str
    identity: str
    run: str | None
    attempt: int | None
    commit: str | None
    workflow_digest: str | None
    digests: frozenset[str]
    """What it signs, as far as known; attestations aside."""
    wrong: frozenset[Category]
    """Categories of the findings against it."""
    place: str
    """Its log and index."""
    first_seen: datetime
    signed_at: datetime | None
    history: bool

    @property
    def clean(self) -> bool:
        """Whether neither an identity nor a digest rule holds against it."""
        return not self.wrong & {Category.IDENTITY, Category.DIGEST}

    @property
    def at(self) -> datetime:
        """When it was made, as far as that is known."""
        return self.signed_at or self.first_seen


@dataclass(frozen=True, slots=True)
class Watched:
    """Since and until when every followed log is read and proven without a hole; None: not at all."""

    since: datetime | None = None
    until: datetime | None = None

    def covers(self, since: datetime, until: datetime) -> bool:
        """Whether nothing logged between the two moments can have been missed."""
        return self.since is not None and self.until is not None and self.since <= since and until <= self.until


@dataclass(frozen=True, slots=True)
class Release:
    """All that is known of one version. `observations` are its tag's, over all artifacts, the oldest first."""

    version: str
    observations: tuple[TagObservation, ...] = ()
    digests: tuple[ExpectedDigest, ...] = ()
    signatures: tuple[Signature, ...] = ()
    """Those whose name ends at the version's tag, and those over its digests."""
    withdrawal: Withdrawal | None = None
    attested: frozenset[tuple[str, str]] = frozenset()
    """(digest, predicate type) of every verified attestation."""
    latest: tuple[TagObservation, ...] = ()
    """What `latest` resolves to now, where that is one of this version's digests and no full release's."""
    elsewhere: frozenset[str] = frozenset()
    """Digests that other versions carry."""

    def stretches(self) -> Mapping[str, list[TagObservation]]:
        """Its tag's observations by artifact."""
        found: dict[str, list[TagObservation]] = {}
        for each in self.observations:
            found.setdefault(each.artifact, []).append(each)
        return found

    def vouched(self, artifact: str) -> tuple[ExpectedDigest, ...]:
        """The digests of an artifact's tag that somebody vouches for."""
        return tuple(
            each
            for each in self.digests
            if each.artifact == artifact and each.kind is DigestKind.TAG and each.authority in VOUCHING
        )

    def signed(self, digest: str) -> tuple[Signature, ...]:
        """The clean signatures over a digest."""
        return tuple(each for each in self.signatures if each.clean and digest in each.digests)


@dataclass(frozen=True, slots=True)
class Superseding:
    """A later attempt of one run and commit put its digest in the place of an earlier one's."""

    artifact: str
    old: str
    new: str
    earlier: Signature = field(repr=False)
    later: Signature = field(repr=False)


def judge(release: Release, watched: Watched, policy: Policy, now: datetime) -> tuple[Finding, ...]:
    """Return every finding that holds of a version now. What holds no more is the caller's to withdraw."""
    replaced = superseding(release)
    return (
        *_moved(release, replaced, policy, now),
        *_superseded(release, replaced, policy),
        *_commits(release, policy),
        *_withdrawn(release, policy),
        *_unsigned(release, watched, policy, now),
        *_new(release, policy, now),
        *_incomplete(release, policy, now),
        *(_prerelease(release, each, policy) for each in release.latest),
        *_deleted(release, policy),
    )


def superseding(release: Release) -> tuple[Superseding, ...]:
    """Return where a tag was moved by a later attempt of the run, of the same commit, that had signed what it showed before."""
    found = []
    for artifact, stretches in release.stretches().items():
        lawful = [stretches[0].digest]
        for each in stretches[1:]:
            if each.digest in lawful:
                continue
            pair = next((pair for old in lawful for pair in _attempts(release, old, each.digest)), None)
            if pair is not None:
                old = next(each for each in lawful if each in pair[0].digests)
                found.append(Superseding(artifact, old, each.digest, *pair))
                lawful.append(each.digest)
    return tuple(found)


def _attempts(release: Release, old: str, new: str) -> Iterator[tuple[Signature, Signature]]:
    for later in release.signatures:
        if new not in later.digests or Category.IDENTITY in later.wrong or later.attempt is None or not later.run:
            continue
        for earlier in release.signatures:
            if (
                old in earlier.digests
                and Category.IDENTITY not in earlier.wrong
                and (earlier.run, earlier.commit) == (later.run, later.commit)
                and earlier.attempt is not None
                and earlier.attempt < later.attempt
                and earlier.version == later.version == release.version
            ):
                yield earlier, later


def _moved(release: Release, replaced: tuple[Superseding, ...], policy: Policy, now: datetime) -> Iterator[Finding]:
    explained = {(each.artifact, each.new) for each in replaced}
    for artifact, stretches in release.stretches().items():
        first = stretches[0]
        lawful = {each.digest for each in release.vouched(artifact)} or {first.digest}
        expected = ", ".join(sorted(lawful))
        told: set[str] = set()
        for each in stretches:
            if each.digest in lawful | told or (artifact, each.digest) in explained:
                continue
            if now < each.first_seen + _settling(release, first, each, policy):
                continue
            told.add(each.digest)
            yield _finding(
                "tag-moved",
                release,
                f"moved:{artifact}:{each.digest}",
                f"The tag {release.version} of {artifact} shows another digest than was released.",
                (
                    fact("tag resolves to", each.digest, expected),
                    fact("first digest seen", rfc3339(first.first_seen)),
                    fact("moved, seen", rfc3339(each.first_seen)),
                    fact("resolves to it", f"until {rfc3339(each.gone_at)}" if each.gone_at else "now"),
                    fact("signed by", _signers(release.signed(each.digest))),
                ),
                policy,
                artifact=artifact,
                digest=each.digest,
            )


def _settling(release: Release, first: TagObservation, moved: TagObservation, policy: Policy) -> timedelta:
    """How long a move may wait for the signature that makes it a repeated run: not at all where it can be none."""
    if moved.digest in release.elsewhere or moved.first_seen - first.first_seen > policy.late_after:
        return timedelta(0)
    return min(policy.grace, MOVE_SETTLES)


def _superseded(release: Release, replaced: tuple[Superseding, ...], policy: Policy) -> Iterator[Finding]:
    """One finding an attempt, however many artifacts it replaced: it is one act."""
    acts: dict[tuple[str | None, int | None], list[Superseding]] = {}
    for each in replaced:
        acts.setdefault((each.later.run, each.later.attempt), []).append(each)
    for (run, attempt), same in acts.items():
        artifacts = tuple(each.artifact for each in same)
        before = min(each.earlier.attempt or 0 for each in same)
        finding = _finding(
            "superseded-attempt",
            release,
            f"superseded:{run}:{attempt}",
            f"Attempt {attempt} of a run replaced what attempt {before} had signed as "
            f"{', '.join(artifacts)} {release.version}.",
            (
                *(fact(each.artifact, each.new, each.old) for each in same[:_LISTED]),
                fact("run", run),
                fact("attempt", str(attempt), str(before)),
                fact("commit", same[0].later.commit),
            ),
            policy,
            digest=same[0].new if len(same) == 1 else None,
        )
        yield replace(finding, artifacts=artifacts)


def _commits(release: Release, policy: Policy) -> Iterator[Finding]:
    mine = [
        each for each in release.signatures if Category.IDENTITY not in each.wrong and each.version == release.version
    ]
    commits = _grouped((each.commit, each) for each in mine)
    workflows = _grouped((each.workflow, each) for each in mine)
    differ = [
        (workflow, digests)
        for workflow, signatures in workflows.items()
        if len(digests := _grouped((each.workflow_digest, each) for each in signatures)) > 1
    ]
    if len(commits) <= 1 and not differ:
        return
    facts = [fact(f"commit {commit}", _signers(signatures)) for commit, signatures in commits.items()]
    for workflow, digests in differ:
        facts += [fact(f"{workflow} at {digest}", _signers(each)) for digest, each in digests.items()]
    what = "source commits" if len(commits) > 1 else "versions of one workflow"
    yield _finding(
        "commit-mismatch",
        release,
        "commits",
        f"Signatures of version {release.version} come from different {what}: its git tag was moved.",
        tuple(facts[:_LISTED]),
        policy,
        history=all(each.history for each in mine),
    )


def _grouped(pairs: Iterable[tuple[str | None, Signature]]) -> dict[str, list[Signature]]:
    found: dict[str, list[Signature]] = {}
    for name, each in pairs:
        if name:
            found.setdefault(name, []).append(each)
    return found


def _withdrawn(release: Release, policy: Policy) -> Iterator[Finding]:
    word = release.withdrawal
    if word is None:
        return
    facts = (
        fact("withdrawn", f"{rfc3339(word.at)} by {word.author}"),
        fact("reason", word.reason),
        *((fact("advisory", word.advisory),) if word.advisory else ()),
    )
    begun = word.at.replace(microsecond=0)  # logs and certificates tell time to the second: that second counts as after
    for each in release.signatures:
        if each.at >= begun:
            yield _finding(
                "withdrawn-release-signed",
                release,
                f"withdrawn:{each.place}",
                f"Version {release.version} was withdrawn, and signed again.",
                (*facts, fact("signed", rfc3339(each.at)), fact("signed by", _signers((each,)))),
                policy,
                digest=min(each.digests, default=None),
                history=each.history,
            )
    for seen in release.observations:
        if seen.first_seen > word.at:
            yield _finding(
                "withdrawn-release-signed",
                release,
                f"returned:{seen.artifact}:{rfc3339(seen.first_seen)}",
                f"Version {release.version} was withdrawn, and its tag of {seen.artifact} is back.",
                (*facts, fact("tag seen", rfc3339(seen.first_seen)), fact("resolves to", seen.digest)),
                policy,
                artifact=seen.artifact,
                digest=seen.digest,
            )


def _unsigned(release: Release, watched: Watched, policy: Policy, now: datetime) -> Iterator[Finding]:
    if release.withdrawal is not None:
        return
    for seen in release.observations:
        vouched = [each for each in release.vouched(seen.artifact) if each.digest == seen.digest]
        due = seen.first_seen + policy.grace
        if seen.gone_at is not None or not vouched or now < due or release.signed(seen.digest):
            continue
        if not watched.covers(seen.first_seen - _BEFORE, due):
            continue
        yield _finding(
            "unsigned-artifact",
            release,
            f"unsigned:{seen.artifact}:{seen.digest}",
            f"{seen.artifact} {release.version} is released, and no signature of ours over it is in any log.",
            (
                fact("digest", seen.digest, "signed by a publishing workflow at its tag"),
                fact("tag first seen", rfc3339(seen.first_seen)),
                fact("logs read", f"{_moment(watched.since)} to {_moment(watched.until)}"),
            ),
            policy,
            artifact=seen.artifact,
            digest=seen.digest,
            history=any(each.authority is Authority.BASELINE for each in vouched),
        )


def _new(release: Release, policy: Policy, now: datetime) -> Iterator[Finding]:
    alone = [artifact for artifact in policy.artifacts if _only_pinned(release.vouched(artifact))]
    stretches = release.stretches()
    first = min((each.first_seen for each in release.observations), default=None)
    if not alone or first is None:
        return
    whole = all(
        artifact in stretches and release.signed(stretches[artifact][0].digest) for artifact in policy.artifacts
    )
    if not whole and now < first + policy.grace:
        return
    facts = []
    for artifact in policy.artifacts:
        digests = [each.digest for each in release.vouched(artifact)]
        signatures = [each for digest in digests for each in release.signed(digest)]
        facts.append(fact(artifact, ", ".join(dict.fromkeys(digests)) or None))
        facts.append(fact(f"{artifact} signed by", _signers(signatures)))
    commits = dict.fromkeys(each.commit for each in release.signatures if each.clean and each.commit)
    facts.append(fact("commit", ", ".join(commits) or None))
    facts.append(fact("first seen", rfc3339(first)))
    yield _finding(
        "new-release",
        release,
        "new",
        f"Version {release.version} is in the registry, and only the registry vouches for it.",
        tuple(facts),
        policy,
    )


def _only_pinned(vouched: tuple[ExpectedDigest, ...]) -> bool:
    return {each.authority for each in vouched} == {Authority.PINNED}


def _incomplete(release: Release, policy: Policy, now: datetime) -> Iterator[Finding]:
    first = min((each.first_seen for each in release.observations), default=None)
    if first is None or release.withdrawal is not None or now < first + policy.grace:
        return
    missing = [
        artifact
        for artifact in policy.artifacts
        if artifact not in release.stretches() and not release.vouched(artifact)
    ]
    listed = [
        artifact
        for artifact in policy.sbom_required
        if artifact not in missing
        and not any(
            digest == each.digest and predicate in policy.sbom_predicates
            for each in release.vouched(artifact)
            for digest, predicate in release.attested
        )
    ]
    lacks = (*missing, *(f"the list of contents (SBOM) of {artifact}" for artifact in listed))
    if lacks:
        yield _finding(
            "incomplete-release",
            release,
            "incomplete",
            f"Version {release.version} lacks {', '.join(lacks)}.",
            (
                fact("missing", ", ".join(lacks), f"{', '.join(policy.artifacts)}, each whole"),
                fact("first seen", rfc3339(first)),
            ),
            policy,
            history=any(each.authority is Authority.BASELINE for each in release.digests),
        )


def _prerelease(release: Release, latest: TagObservation, policy: Policy) -> Finding:
    return _finding(
        "prerelease-latest",
        release,
        f"latest:{latest.artifact}:{rfc3339(latest.first_seen)}",
        f"`latest` of {latest.artifact} resolves to the pre-release {release.version}.",
        (
            fact("latest", latest.digest, "the newest full release"),
            fact("since, as we saw it", rfc3339(latest.first_seen)),
        ),
        policy,
        artifact=latest.artifact,
        digest=latest.digest,
    )


def _deleted(release: Release, policy: Policy) -> Iterator[Finding]:
    if release.withdrawal is not None:
        return
    for artifact, stretches in release.stretches().items():
        last = stretches[-1]
        if last.gone_at is not None:
            yield _finding(
                "tag-deleted",
                release,
                f"deleted:{artifact}:{rfc3339(last.gone_at)}",
                f"The tag {release.version} of {artifact} is gone.",
                (fact("tag", None, last.digest), fact("gone, seen", rfc3339(last.gone_at))),
                policy,
                artifact=artifact,
                digest=last.digest,
            )


def prerelease(version: str) -> bool:
    """Whether a version has a pre-release part."""
    parsed = Version.parse(version)
    return parsed is not None and parsed.prerelease


def _moment(moment: datetime | None) -> str:
    return rfc3339(moment) if moment else "never"


def _signers(signatures: Iterable[Signature]) -> str | None:
    """Name who signed, in a line a run."""
    lines = dict.fromkeys(
        f"{each.workflow} {each.run or 'without a run'}{f' attempt {each.attempt}' if each.attempt else ''} ({each.place})"
        for each in signatures
    )
    return "; ".join(list(lines)[:_LISTED]) or None


def _finding(  # noqa: PLR0913 - the columns that release findings differ in
    rule: str,
    release: Release,
    key: str,
    summary: str,
    facts: tuple[Fact, ...],
    policy: Policy,
    *,
    artifact: str | None = None,
    digest: str | None = None,
    history: bool = False,
) -> Finding:
    return Finding(
        rule,
        severity(rule, None, policy),
        RULES[rule].category,
        f"{SUBJECTS}{release.version}:{key}",
        summary,
        facts,
        artifacts=(artifact,) if artifact else (),
        digest=digest,
        version=release.version,
        history=history,
    )
