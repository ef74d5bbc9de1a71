"""Writes down what may be signed: listed digests, who vouches for them, and every hash under which a log may show them.

One transaction an import: all of a file is taken in, or nothing. It never lets an equal authority contradict itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.entries import payloads
from monitor.errors import SettingsError
from monitor.model.release import Authority, DigestKind, ExpectedDigest, ExpectedHash
from monitor.store import releases as kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from monitor.releases.files import ReleaseFile
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store

_RANK = {authority: rank for rank, authority in enumerate(Authority)}
"""Authorities stand in falling order: 0 is the highest."""
_NAMED = 20


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
            told = "\n".join(f"{file.name}: {each}" for each in contradictions[:_NAMED])
            raise SettingsError(
                told,
                cure="a release never changes: correct the file, or release a new version; nothing of it was taken in",
            )
        added = await kept.add_digests(tx, digests, hashes, now)
    return ImportResult(tuple(release.version for release in file.releases), len(digests), added)


async def predict_again(store: Store, policy: Policy, now: datetime) -> int:
    """Add the hashes that stored digests may have under the policy's references of today; return how many rows were new."""
    async with store.write() as tx:
        digests = await kept.digests(tx)
        return await kept.add_digests(tx, [], [each for digest in digests for each in predicted(digest, policy)], now)


def predicted(digest: ExpectedDigest, policy: Policy) -> tuple[ExpectedHash, ...]:
    """Return every hash under which an expected digest may stand in a log; a file's digest only as itself."""
    if digest.kind is DigestKind.FILE:
        return (ExpectedHash(digest.digest.removeprefix("sha256:"), digest.digest, "the file itself"),)
    return payloads.predicted(digest.digest, policy.references_of(digest.artifact))


def _contradictions(new: Iterable[ExpectedDigest], known: Iterable[ExpectedDigest]) -> Iterator[str]:
    """Say which new digests an equal or higher authority contradicts. An index has many manifests: those never do."""
    held: dict[tuple[str, str, DigestKind], list[ExpectedDigest]] = {}
    for each in known:
        held.setdefault((each.version, each.artifact, each.kind), []).append(each)
    for each in new:
        if each.kind is DigestKind.MANIFEST:
            continue
        for old in held.get((each.version, each.artifact, each.kind), ()):
            if old.digest != each.digest and _RANK[old.authority] <= _RANK[each.authority]:
                yield (
                    f"{each.artifact} {each.version} is {old.digest} ({old.authority}{_by(old)}), "
                    f"and here {each.digest} ({each.authority})"
                )


def _by(digest: ExpectedDigest) -> str:
    return f", {digest.author}" if digest.author else ""
