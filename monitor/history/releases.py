"""Releases as lists show them: one version a row, and one artifact a row. A release's state is computed, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.judge import releases as judging
from monitor.model.release import Authority, DigestKind, Version
from monitor.rules.release import SUBJECTS
from monitor.store import findings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.model.release import Withdrawal
    from monitor.rules.policy import Policy
    from monitor.rules.release import Release
    from monitor.store.engine import Tx

_RANK = tuple(Authority)


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One version. `authority` is the least of its artifacts', `rules` those that hold against the release itself now."""

    version: str
    state: str
    authority: str
    artifacts: tuple[str, ...]
    missing: tuple[str, ...]
    unsigned: tuple[str, ...]
    """Artifacts over whose digest we have seen no clean signature, which may be for want of reading."""
    first_seen: datetime | None
    commit: str | None
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReleasedDigest:
    """One digest that an artifact of a version may carry, or that its tag showed."""

    version: str
    artifact: str
    kind: str
    digest: str
    authority: str
    author: str
    reason: str
    tagged: bool
    """Whether the version's tag resolves to it now."""
    signed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WholeRelease:
    """One version with its digests, artifact by artifact, and a person's word that it is pulled."""

    row: ReleaseRow
    digests: tuple[ReleasedDigest, ...]
    withdrawal: Withdrawal | None


async def rows(tx: Tx, policy: Policy) -> list[ReleaseRow]:
    """Return every version that anybody vouches for, showed or signed, the newest version first."""
    held = await _held(tx)
    found = await judging.load(tx, policy)
    known = sorted((version for text in found if (version := Version.parse(text))), reverse=True)
    return [_row(found[version.text], held, policy) for version in known]


async def whole(tx: Tx, version: str, policy: Policy) -> WholeRelease | None:
    """Return all that is known of one version; None of one that nobody knows."""
    release = (await judging.load(tx, policy)).get(version)
    if release is None:
        return None
    return WholeRelease(_row(release, await _held(tx), policy), tuple(_digests(release)), release.withdrawal)


async def _held(tx: Tx) -> Mapping[str, set[str]]:
    """The rules that hold against releases, by version."""
    held: dict[str, set[str]] = {}
    for rule, subject in await findings.standing(tx, SUBJECTS):
        held.setdefault(subject.split(":")[1], set()).add(rule)
    return held


def _digests(release: Release) -> list[ReleasedDigest]:
    now = {(each.artifact, each.digest) for each in release.observations if each.gone_at is None}
    kinds = tuple(DigestKind)
    ordered = sorted(
        release.digests, key=lambda d: (d.artifact, kinds.index(d.kind), _RANK.index(d.authority), d.digest)
    )
    return [
        ReleasedDigest(
            release.version,
            each.artifact,
            each.kind,
            each.digest,
            each.authority,
            each.author,
            each.reason,
            (each.artifact, each.digest) in now and each.kind is DigestKind.TAG,
            tuple(dict.fromkeys(f"{one.workflow} {one.run or ''}".strip() for one in release.signed(each.digest))),
        )
        for each in ordered
    ]


def _row(release: Release, held: Mapping[str, set[str]], policy: Policy) -> ReleaseRow:
    best = {
        artifact: min((each.authority for each in vouched), key=_RANK.index)
        for artifact in policy.artifacts
        if (vouched := release.vouched(artifact))
    }
    # A version that was only ever pulled misses nothing: nobody made it.
    made = bool(best) or not release.withdrawal
    missing = tuple(artifact for artifact in policy.artifacts if made and artifact not in best)
    unsigned = tuple(
        artifact for artifact in best if not any(release.signed(each.digest) for each in release.vouched(artifact))
    )
    least = max(best.values(), key=_RANK.index, default=None)
    commits = dict.fromkeys(each.commit for each in release.signatures if each.clean and each.commit)
    state = "withdrawn" if release.withdrawal else "unknown" if not best else "partial" if missing else "released"
    return ReleaseRow(
        release.version,
        state,
        least or "",
        tuple(best),
        missing,
        unsigned,
        min((each.first_seen for each in release.observations), default=None),
        ", ".join(commits) or None,
        tuple(sorted(held.get(release.version, ()))),
    )
