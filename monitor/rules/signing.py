"""The release rules on signatures: whether a version is signed, from one commit, and no more once it was withdrawn (DESIGN section 7).

They judge who signed a version beside what its tags show. They ask nobody: where no log was read, nothing is missing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.model.finding import Category
from monitor.model.release import Authority
from monitor.model.text import rfc3339
from monitor.rules.hit import fact
from monitor.rules.release import LISTED, finding, signers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from monitor.model.finding import Finding
    from monitor.rules.policy import Policy
    from monitor.rules.release import Release, Signature, Watched

_BEFORE = timedelta(days=1)
"""How long before a tag's first sight its signature may have been logged."""


def commits(release: Release, policy: Policy) -> Iterator[Finding]:
    """Yield `commit-mismatch`: signatures of one version from different commits, or from different versions of one workflow."""
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
    facts = [fact(f"commit {commit}", signers(signatures)) for commit, signatures in commits.items()]
    for workflow, digests in differ:
        facts += [fact(f"{workflow} at {digest}", signers(each)) for digest, each in digests.items()]
    what = "source commits" if len(commits) > 1 else "versions of one workflow"
    yield finding(
        "commit-mismatch",
        release,
        "commits",
        f"Signatures of version {release.version} come from different {what}: its git tag was moved.",
        tuple(facts[:LISTED]),
        policy,
        history=all(each.history for each in mine),
    )


def _grouped(pairs: Iterable[tuple[str | None, Signature]]) -> dict[str, list[Signature]]:
    found: dict[str, list[Signature]] = {}
    for name, each in pairs:
        if name:
            found.setdefault(name, []).append(each)
    return found


def withdrawn(release: Release, policy: Policy) -> Iterator[Finding]:
    """Yield `withdrawn-release-signed`: a signature, or a tag that is back, after somebody withdrew the version."""
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
            yield finding(
                "withdrawn-release-signed",
                release,
                f"withdrawn:{each.place}",
                f"Version {release.version} was withdrawn, and signed again.",
                (*facts, fact("signed", rfc3339(each.at)), fact("signed by", signers((each,)))),
                policy,
                digest=min(each.digests, default=None),
                history=each.history,
            )
    for seen in release.observations:
        if seen.first_seen > word.at:
            yield finding(
                "withdrawn-release-signed",
                release,
                f"returned:{seen.artifact}:{rfc3339(seen.first_seen)}",
                f"Version {release.version} was withdrawn, and its tag of {seen.artifact} is back.",
                (*facts, fact("tag seen", rfc3339(seen.first_seen)), fact("resolves to", seen.digest)),
                policy,
                artifact=seen.artifact,
                digest=seen.digest,
            )


def unsigned(release: Release, watched: Watched, policy: Policy, now: datetime) -> Iterator[Finding]:
    """Yield `unsigned-artifact`: a tag over whose digest no clean signature is in any log, where every log was read."""
    if release.withdrawal is not None:
        return
    for seen in release.observations:
        vouched = [each for each in release.vouched(seen.artifact) if each.digest == seen.digest]
        due = seen.first_seen + policy.grace
        if seen.gone_at is not None or not vouched or now < due or release.signed(seen.digest):
            continue
        if not watched.covers(seen.first_seen - _BEFORE, due):
            continue
        yield finding(
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


def _moment(moment: datetime | None) -> str:
    return rfc3339(moment) if moment else "never"
