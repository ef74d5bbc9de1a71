"""The release rules on tags: whether a version's tags show what was released, all of it, and still do (DESIGN section 7).

They judge what the registry showed over time; who signed it only explains why a tag was moved. They ask nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.model.finding import Category
from monitor.model.release import Authority
from monitor.model.text import rfc3339
from monitor.rules.hit import fact
from monitor.rules.release import LISTED, finding, signers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from monitor.model.finding import Finding
    from monitor.model.release import ExpectedDigest, TagObservation
    from monitor.rules.policy import Policy
    from monitor.rules.release import Release, Signature

MOVE_SETTLES = timedelta(minutes=10)
"""How long the signature of a later attempt may lag behind the tag that it explains; never longer than the grace period."""


@dataclass(frozen=True, slots=True)
class Superseding:
    """A later attempt of one run and commit put its digest in the place of an earlier one's."""

    artifact: str
    old: str
    new: str
    earlier: Signature = field(repr=False)
    later: Signature = field(repr=False)


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


def moved(release: Release, replaced: tuple[Superseding, ...], policy: Policy, now: datetime) -> Iterator[Finding]:
    """Yield `tag-moved`: a tag shows another digest than was released, and no repeated run explains it."""
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
            yield finding(
                "tag-moved",
                release,
                f"moved:{artifact}:{each.digest}",
                f"The tag {release.version} of {artifact} shows another digest than was released.",
                (
                    fact("tag resolves to", each.digest, expected),
                    fact("first digest seen", rfc3339(first.first_seen)),
                    fact("moved, seen", rfc3339(each.first_seen)),
                    fact("resolves to it", f"until {rfc3339(each.gone_at)}" if each.gone_at else "now"),
                    fact("signed by", signers(release.signed(each.digest))),
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


def superseded(release: Release, replaced: tuple[Superseding, ...], policy: Policy) -> Iterator[Finding]:
    """One finding an attempt, however many artifacts it replaced: it is one act."""
    acts: dict[tuple[str | None, int | None], list[Superseding]] = {}
    for each in replaced:
        acts.setdefault((each.later.run, each.later.attempt), []).append(each)
    for (run, attempt), same in acts.items():
        artifacts = tuple(each.artifact for each in same)
        before = min(each.earlier.attempt or 0 for each in same)
        found = finding(
            "superseded-attempt",
            release,
            f"superseded:{run}:{attempt}",
            f"Attempt {attempt} of a run replaced what attempt {before} had signed as "
            f"{', '.join(artifacts)} {release.version}.",
            (
                *(fact(each.artifact, each.new, each.old) for each in same[:LISTED]),
                fact("run", run),
                fact("attempt", str(attempt), str(before)),
                fact("commit", same[0].later.commit),
            ),
            policy,
            digest=same[0].new if len(same) == 1 else None,
        )
        yield replace(found, artifacts=artifacts)


def new(release: Release, policy: Policy, now: datetime) -> Iterator[Finding]:
    """Yield `new-release`: only the registry vouches for an artifact of the version."""
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
        facts.append(fact(f"{artifact} signed by", signers(signatures)))
    commits = dict.fromkeys(each.commit for each in release.signatures if each.clean and each.commit)
    facts.append(fact("commit", ", ".join(commits) or None))
    facts.append(fact("first seen", rfc3339(first)))
    yield finding(
        "new-release",
        release,
        "new",
        f"Version {release.version} is in the registry, and only the registry vouches for it.",
        tuple(facts),
        policy,
    )


def _only_pinned(vouched: tuple[ExpectedDigest, ...]) -> bool:
    return {each.authority for each in vouched} == {Authority.PINNED}


def incomplete(release: Release, policy: Policy, now: datetime) -> Iterator[Finding]:
    """Yield `incomplete-release`: artifacts or required lists of contents are missing after the grace period."""
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
        yield finding(
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


def prerelease_latest(release: Release, latest: TagObservation, policy: Policy) -> Finding:
    """Return `prerelease-latest`: `latest` resolves to a pre-release."""
    return finding(
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


def deleted(release: Release, policy: Policy) -> Iterator[Finding]:
    """Yield `tag-deleted`: a tag is gone, and nobody withdrew the version."""
    if release.withdrawal is not None:
        return
    for artifact, stretches in release.stretches().items():
        last = stretches[-1]
        if last.gone_at is not None:
            yield finding(
                "tag-deleted",
                release,
                f"deleted:{artifact}:{rfc3339(last.gone_at)}",
                f"The tag {release.version} of {artifact} is gone.",
                (fact("tag", None, last.digest), fact("gone, seen", rfc3339(last.gone_at))),
                policy,
                artifact=artifact,
                digest=last.digest,
            )
