"""Writes down what may be signed: listed digests, who vouches for them, and every hash under which a log may show them.

One transaction an import: all of a file is taken in, or nothing. It never lets an equal authority contradict itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.entries import payloads
from monitor.errors import SettingsError
from monitor.judge import releases as judging
from monitor.model.release import (
    VOUCHING,
    Authority,
    DigestKind,
    ExpectedDigest,
    ExpectedHash,
    Version,
    Withdrawal,
)
from monitor.model.text import visible
from monitor.rules.release import LATEST
from monitor.store import releases as kept
from monitor.store import tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from monitor.model.release import TagObservation
    from monitor.releases.files import ReleaseFile
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx

_RANK = {authority: rank for rank, authority in enumerate(Authority)}
"""Authorities stand in falling order: 0 is the highest."""
_EXPLAINING = frozenset({Authority.OBSERVED, Authority.DISPUTED})
_NAMED = 20
BASELINE_READ = "registry-baseline:"
"""How the store's note of when an artifact's tags were first read whole begins; the artifact follows."""
SETTINGS = "settings"
"""The author of what the settings themselves list: kept, and told to nobody."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did: the versions named, the digests listed, and how many rows were new (0: all was known)."""

    versions: tuple[str, ...]
    digests: int
    added: int


async def import_releases(
    store: Store,
    file: ReleaseFile,
    policy: Policy,
    *,
    authority: Authority,
    author: str,
    reason: str,
    now: datetime,
) -> ImportResult:
    """Take in a release file. `author` and `reason` stand for releases that do not say their own.

    SettingsError, naming each, when it gives another digest to an artifact or file of a version for which an equal or higher
    authority vouches already; then nothing is taken in. Importing a file twice changes nothing.
    """
    digests = [
        ExpectedDigest(
            release.version,
            listed.artifact,
            listed.digest,
            listed.kind,
            authority,
            release.author or author,
            release.reason or reason,
        )
        for release in file.releases
        for listed in release.digests
    ]
    hashes = [each for digest in digests for each in predicted(digest, policy)]
    async with store.write() as tx:
        known = [each for release in file.releases for each in await kept.digests(tx, release.version)]
        contradictions = list(_contradictions(digests, known))
        if contradictions:
            lines = {(listed.artifact, listed.digest): listed.line for one in file.releases for listed in one.digests}
            told = "\n".join(
                f"{file.name}{f':{line}' if (line := lines.get((new.artifact, new.digest))) else ''}: {words}"
                for new, words in contradictions[:_NAMED]
            )
            raise SettingsError(
                told,
                cure="a release never changes: correct the file, or release a new version; nothing of it was taken in. "
                "Where the wrong digest was pinned: `releases approve VERSION --replace ARTIFACT=sha256:…`",
            )
        added = await kept.add_digests(tx, digests, hashes, now)
        if added:
            for release in file.releases:
                told = f"{file.name}: {release.reason or reason}" if release.reason or reason else file.name
                what = "listed in the settings" if author == SETTINGS else f"imported as {authority}"
                await kept.record(tx, release.version, release.author or author, what, told, now)
            await judging.review(tx, policy, now)
    return ImportResult(tuple(release.version for release in file.releases), len(digests), added)


@dataclass(frozen=True, slots=True)
class Approval:
    """What approving a version came to: the digests that a person vouches for now, and how many rows were new."""

    version: str
    digests: tuple[ExpectedDigest, ...]
    added: int


@dataclass(frozen=True, slots=True)
class Word:
    """A person's word about a release: who gives it, why, and when. SettingsError without a name or a reason."""

    author: str
    reason: str
    at: datetime

    def __post_init__(self) -> None:
        if not self.author.strip() or not self.reason.strip():
            raise SettingsError("no word on a release without author and reason", cure="say who, and why")


async def approve(
    store: Store, version: str, policy: Policy, word: Word, *, artifacts: Iterable[str] = (), observed: bool = False
) -> Approval:
    """Have a person vouch for what the registry showed of a version first, with every manifest below it.

    `artifacts` narrows it; `observed` vouches for what its tags resolve to now instead, where they were moved. SettingsError when
    there is nothing to vouch for.
    """
    named = frozenset(artifacts)
    if strange := named - frozenset(policy.artifacts):
        raise SettingsError(
            f"no artifact is called {', '.join(visible(each) for each in sorted(strange))}",
            cure=f"they are {', '.join(policy.artifacts)}",
        )
    async with store.write() as tx:
        known = await kept.digests(tx, version)
        wanted = named or {each.artifact for each in known}
        chosen = await _to_approve(tx, version, [each for each in known if each.artifact in wanted], observed=observed)
        if not chosen:
            raise SettingsError(
                f"nothing of {version} is known that could be approved",
                cure="`releases list` shows the versions there are; `releases refresh` reads the registry now",
            )
        new = [replace(each, authority=Authority.APPROVED, author=word.author, reason=word.reason) for each in chosen]
        hashes = [every for each in new for every in predicted(each, policy)]
        added = await kept.add_digests(tx, new, hashes, word.at)
        if added:
            told = ", ".join(f"{each.artifact} {each.digest}" for each in new if each.kind is DigestKind.TAG)
            await kept.record(tx, version, word.author, "approved", f"{word.reason}: {told}", word.at)
            await judging.review(tx, policy, word.at)
    return Approval(version, tuple(new), added)


async def _to_approve(tx: Tx, version: str, known: list[ExpectedDigest], *, observed: bool) -> list[ExpectedDigest]:
    if not observed:
        found = [each for each in known if each.authority in {Authority.PINNED, Authority.BASELINE}]
        return list({(each.artifact, each.digest, each.kind): each for each in found}.values())
    now = {(each.artifact, each.digest) for each in await tags.of_tag(tx, version) if each.gone_at is None}
    tops = {(each.artifact, each.digest) for each in known if each.kind is DigestKind.TAG} & now
    found = [
        each
        for each in known
        if (each.artifact, each.digest) in tops
        or (each.kind is DigestKind.MANIFEST and (each.artifact, each.reason.removeprefix(judging.BELOW)) in tops)
    ]
    return list({(each.artifact, each.digest, each.kind): each for each in found}.values())


async def withdraw(store: Store, version: str, policy: Policy, word: Word, advisory: str = "") -> bool:
    """Keep a person's word that a version is pulled; False when it was before. SettingsError for a version that is none."""
    if Version.parse(version) is None:
        raise SettingsError(
            f"{visible(version)} is no semantic version such as 0.1.2", cure="write it without the v of its git tag"
        )
    async with store.write() as tx:
        new = await kept.withdraw(tx, Withdrawal(version, word.at, word.author, word.reason, advisory))
        if new:
            told = f"{word.reason}{f' ({advisory})' if advisory else ''}"
            await kept.record(tx, version, word.author, "withdrawn", told, word.at)
            await judging.review(tx, policy, word.at)
    return new


async def predict_again(store: Store, policy: Policy, now: datetime) -> int:
    """Add the hashes that stored digests may have under the policy's references of today; return how many rows were new."""
    async with store.write() as tx:
        digests = (*await kept.digests(tx), *(of_tag(each) for each in await tags.of_tag(tx, LATEST)))
        return await kept.add_digests(tx, [], [each for digest in digests for each in predicted(digest, policy)], now)


def of_tag(seen: TagObservation) -> ExpectedDigest:
    """Return what a tag showed, as a digest that nobody vouches for: to compute its hashes, not to be kept."""
    return ExpectedDigest(seen.tag, seen.artifact, seen.digest, DigestKind.TAG, Authority.OBSERVED)


def predicted(digest: ExpectedDigest, policy: Policy) -> tuple[ExpectedHash, ...]:
    """Return every hash under which an expected digest may stand in a log; a file's digest only as itself."""
    if digest.kind is DigestKind.FILE:
        return (ExpectedHash(digest.digest.removeprefix("sha256:"), digest.digest, "the file itself"),)
    references = policy.references_of(digest.artifact)
    plain = payloads.predicted(digest.digest, references)
    if not policy.annotations:
        return plain
    annotated = payloads.predicted(digest.digest, references, policy.annotations)
    return tuple({each.value: each for each in (*annotated, *plain)}.values())


def _contradictions(
    new: Iterable[ExpectedDigest], known: Iterable[ExpectedDigest]
) -> Iterator[tuple[ExpectedDigest, str]]:
    """Say which new digests an equal or higher authority contradicts. An index has many manifests: those never do."""
    held: dict[tuple[str, str, DigestKind], list[ExpectedDigest]] = {}
    for each in known:
        held.setdefault((each.version, each.artifact, each.kind), []).append(each)
    for each in new:
        if each.kind is DigestKind.MANIFEST:
            continue
        for old in held.get((each.version, each.artifact, each.kind), ()):
            higher = old.authority in VOUCHING or _RANK[old.authority] <= _RANK[each.authority]
            if old.digest != each.digest and old.authority not in _EXPLAINING and higher:
                yield (
                    each,
                    (
                        f"{each.artifact} {each.version} is {old.digest} ({old.authority}{_by(old)}), "
                        f"and here {each.digest} ({each.authority})"
                    ),
                )


def _by(digest: ExpectedDigest) -> str:
    return f", {digest.author}" if digest.author else ""
