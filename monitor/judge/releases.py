"""Judges releases from what the store holds of them: the registry's tags over time, who vouches, who signed.

It works from state, not from events: findings that hold no more are withdrawn, and running it twice changes nothing. A digest that
a repeated run put in the place of its own is expected from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.model.entry import parse_workflow_name
from monitor.model.release import VOUCHING, Authority, DigestKind, DigestStatus, Version, release_version
from monitor.rules import releases as rules
from monitor.rules.release import LATEST, SUBJECTS, Release, Signature, Watched, prerelease
from monitor.rules.tags import superseding
from monitor.store import bundles, findings, reading, releases, signatures, tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from monitor.model.finding import Finding
    from monitor.model.release import ExpectedDigest, TagObservation
    from monitor.rules.policy import Policy
    from monitor.rules.tags import Superseding
    from monitor.store.engine import Tx
    from monitor.store.signatures import SignatureRow

BELOW = "below "
"""How the reason of a manifest's row begins; the digest of its index follows."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review came to: how many findings are new, and whether anything became expected by it."""

    findings: int = 0
    promoted: int = 0


async def review(tx: Tx, policy: Policy, now: datetime) -> Reviewed:
    """Judge every release by every release rule, and keep what they say."""
    rows = await signatures.every(tx)
    found = await _gather(tx, rows, policy)
    promoted = await _promote(tx, found.values(), now)
    if promoted:
        found = await _gather(tx, rows, policy)
    await signatures.judge_again(tx, _explained(rows))
    read = await reading.watched(tx)
    watched = Watched(*read) if read else Watched()
    judged = [each for release in found.values() for each in rules.judge(release, watched, policy, now)]
    return Reviewed(len(await _keep(tx, judged, now)), promoted)


async def load(tx: Tx, policy: Policy) -> Mapping[str, Release]:
    """Return every version that anything is known of, by its name."""
    return await _gather(tx, await signatures.every(tx), policy)


async def _gather(tx: Tx, rows: list[SignatureRow], policy: Policy) -> dict[str, Release]:
    observed: dict[str, list[TagObservation]] = {}
    latest = []
    for each in await tags.every(tx):
        if each.tag == LATEST and each.gone_at is None:
            latest.append(each)
        elif Version.parse(each.tag):
            observed.setdefault(each.tag, []).append(each)
    digests: dict[str, list[ExpectedDigest]] = {}
    for digest in await releases.digests(tx):
        digests.setdefault(digest.version, []).append(digest)
    mine = [made for row in rows if (made := _signature(row, policy)) is not None]
    withdrawn = {each.version: each for each in await releases.withdrawn(tx)}
    attested = frozenset(
        (subject, each.predicate_type)
        for each in await bundles.every(tx)
        if each.verified == "yes" and each.predicate_type and _publishing(each.identity or "", policy)
        for subject in each.subjects
    )
    carried = {version: _carried(version, observed, digests) for version in {*observed, *digests}}
    full = {digest for version, each in carried.items() if not prerelease(version) for digest in each}
    found = {}
    for version in sorted({*carried, *(each.version for each in mine), *withdrawn}):
        own = carried.get(version, frozenset())
        found[version] = Release(
            version,
            tuple(observed.get(version, ())),
            tuple(digests.get(version, ())),
            tuple(each for each in mine if each.version == version or each.digests & own),
            withdrawn.get(version),
            attested,
            tuple(each for each in latest if each.digest in own and each.digest not in full),
            frozenset(digest for other, each in carried.items() if other != version for digest in each),
        )
    return found


def _carried(
    version: str, observed: Mapping[str, list[TagObservation]], digests: Mapping[str, list[ExpectedDigest]]
) -> frozenset[str]:
    """What a version's tags are, or were first, known to be."""
    vouched = {
        each.digest for each in digests.get(version, ()) if each.kind is DigestKind.TAG and each.authority in VOUCHING
    }
    if vouched:
        return frozenset(vouched)
    first: dict[str, str] = {}
    for each in observed.get(version, ()):
        first.setdefault(each.artifact, each.digest)
    return frozenset(first.values())


def _signature(row: SignatureRow, policy: Policy) -> Signature | None:
    """Return a signature of our repository at a version's tag; a lawful signer beside the publishing workflows is none."""
    version, name = release_version(row.ref), parse_workflow_name(row.identity)
    if version is None or name is None or not policy.ours(name):
        return None
    if any(each.workflow == name.prefix and each.covers(row.ref) for each in policy.known):
        return None
    return Signature(
        version=version.text,
        workflow=name.file,
        identity=row.identity,
        run=row.run,
        attempt=row.attempt,
        commit=row.commit,
        workflow_digest=row.workflow_digest,
        digests=frozenset(digest for digest, attested in row.digests if not attested),
        wrong=row.wrong,
        place=f"{row.log} {row.index}",
        first_seen=row.first_seen,
        signed_at=row.signed_at,
        history=row.history,
    )


def _publishing(identity: str, policy: Policy) -> bool:
    return policy.publishing(parse_workflow_name(identity)) is not None


async def _promote(tx: Tx, found: Iterable[Release], now: datetime) -> int:
    """Make expected what a repeated run put in the place of its own, with every manifest below it."""
    new: list[ExpectedDigest] = []
    for release in found:
        for each in superseding(release):
            new.extend(_pinned(release, each))
    return await releases.add_digests(tx, new, [], now) if new else 0


def _pinned(release: Release, each: Superseding) -> list[ExpectedDigest]:
    tops = [known for known in release.digests if known.artifact == each.artifact and known.kind is DigestKind.TAG]
    if any(known.digest == each.new and known.authority in {*VOUCHING, Authority.DISPUTED} for known in tops):
        return []
    reason = f"attempt {each.later.attempt} of {each.later.run} replaced {each.old}"
    return [
        replace(known, authority=Authority.PINNED, reason=reason if known.digest == each.new else known.reason)
        for known in release.digests
        if known.authority is Authority.OBSERVED
        and known.artifact == each.artifact
        and (known.digest == each.new or known.reason == BELOW + each.new)
    ]


def _explained(rows: list[SignatureRow]) -> set[str]:
    """Return the runs with an unexpected signature that a later attempt of the same run and commit now explains."""
    expected = {
        (row.run, row.commit, row.ref): max(row.attempt or 0, 0)
        for row in sorted(rows, key=lambda row: row.attempt or 0)
        if row.status is DigestStatus.EXPECTED
    }
    return {
        row.run
        for row in rows
        if row.run
        and row.status is DigestStatus.UNEXPECTED
        and row.attempt is not None
        and expected.get((row.run, row.commit, row.ref), 0) > row.attempt
    }


async def _keep(tx: Tx, judged: list[Finding], now: datetime) -> list[int]:
    told = await findings.put(tx, judged, now, entry_id=None)
    held = {(each.rule, each.subject) for each in judged}
    for rule, subject in await findings.standing(tx, SUBJECTS):
        if (rule, subject) not in held:
            await findings.withdraw(tx, rule, subject, now)
    return told
