"""A person's word that another digest was released than the one pinned: theirs is expected from then on, the pinned one no more.

The pinned rows are kept, marked as disputed. It is never done by a file or a registry, and never against another person's word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.errors import SettingsError
from monitor.judge import releases as judging
from monitor.judge.releases import BELOW
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.model.text import visible
from monitor.releases.files import is_digest
from monitor.releases.ledger import predicted
from monitor.store import bundles
from monitor.store import releases as kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitor.releases.ledger import Word
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx

CORRECTED = "corrected"
_PINNED = frozenset({Authority.PINNED, Authority.BASELINE})
_CURE = "give --replace ARTIFACT=sha256:… with 64 lower-case hexadecimal digits; `releases show VERSION` shows what is pinned"


@dataclass(frozen=True, slots=True)
class Correction:
    """What a correction came to: the digests now vouched for, and the pinned ones that are disputed (none: all was so before)."""

    version: str
    approved: tuple[ExpectedDigest, ...]
    disputed: tuple[ExpectedDigest, ...]


def read(given: Iterable[str], policy: Policy) -> dict[str, str]:
    """Read `ARTIFACT=sha256:…` into artifact → digest. SettingsError for what is none, and for an artifact named twice."""
    found: dict[str, str] = {}
    for text in given:
        artifact, _, digest = text.partition("=")
        if artifact not in policy.artifacts:
            raise SettingsError(
                f"--replace {visible(text)}: {visible(artifact)!r} is none of {', '.join(policy.artifacts)}", cure=_CURE
            )
        if not is_digest(digest):
            raise SettingsError(f"--replace {visible(text)}: {visible(digest)!r} is no digest", cure=_CURE)
        if artifact in found:
            raise SettingsError(f"--replace names {artifact} twice", cure="an artifact of a version has one digest")
        found[artifact] = digest
    return found


async def correct(store: Store, version: str, wanted: Mapping[str, str], policy: Policy, word: Word) -> Correction:
    """Have a person vouch for other digests (artifact → digest) than those pinned; all of them, or nothing.

    Everything signed is judged again. SettingsError where nothing is pinned that could be replaced, or a person vouches already.
    """
    approved: list[ExpectedDigest] = []
    disputed: list[ExpectedDigest] = []
    async with store.write() as tx:
        known = await kept.digests(tx, version)
        for artifact, digest in wanted.items():
            mine = [each for each in known if each.artifact == artifact and each.kind is not DigestKind.FILE]
            _refuse(version, artifact, digest, mine)
            disputed += _wrong(mine, digest)
            approved += _right(version, artifact, digest, mine, word)
        told = [
            f"{new.artifact} {new.digest} in the place of {old.digest} ({old.authority})"
            for new in approved
            for old in disputed
            if new.kind is old.kind is DigestKind.TAG and new.artifact == old.artifact
        ]
        if told:
            await _write(tx, approved, disputed, policy, word)
            await kept.record(tx, version, word.author, CORRECTED, f"{word.reason}: {', '.join(told)}", word.at)
            await judging.review(tx, policy, word.at)
    return Correction(version, tuple(approved), tuple(disputed) if told else ())


def _refuse(version: str, artifact: str, digest: str, known: list[ExpectedDigest]) -> None:
    """SettingsError unless the digest may take the place of a pinned one, or has taken it already."""
    tops = [each for each in known if each.kind is DigestKind.TAG]
    for each in tops:
        if each.authority is Authority.APPROVED and each.digest != digest:
            raise SettingsError(
                f"{artifact} {version} is {each.digest}, approved by {each.author}: no word replaces another person's",
                cure="release a new version, and `releases withdraw` this one",
            )
    if not any(each.authority in _PINNED and each.digest != digest for each in tops) and not any(
        each.authority is Authority.DISPUTED for each in tops
    ):
        raise SettingsError(
            f"no other digest of {artifact} {version} is pinned, so there is nothing to replace",
            cure="`releases show VERSION` shows what is known; `releases approve` and `releases import` vouch for it",
        )


def _wrong(known: list[ExpectedDigest], digest: str) -> list[ExpectedDigest]:
    """The pinned rows that lose: those of other digests, with every manifest below one of them."""
    tops = [
        each for each in known if each.authority in _PINNED and each.kind is DigestKind.TAG and each.digest != digest
    ]
    below = {BELOW + each.digest for each in tops}
    return [
        *tops,
        *(
            each
            for each in known
            if each.authority in _PINNED and each.kind is DigestKind.MANIFEST and each.reason in below
        ),
    ]


def _right(version: str, artifact: str, digest: str, known: list[ExpectedDigest], word: Word) -> list[ExpectedDigest]:
    """The digest itself, with every manifest that the registry showed below it."""
    own = ExpectedDigest(version, artifact, digest, DigestKind.TAG, Authority.APPROVED, word.author, word.reason)
    below = {each.digest for each in known if each.kind is DigestKind.MANIFEST and each.reason == BELOW + digest}
    return [own, *(replace(own, digest=each, kind=DigestKind.MANIFEST) for each in sorted(below))]


async def _write(
    tx: Tx, approved: list[ExpectedDigest], disputed: list[ExpectedDigest], policy: Policy, word: Word
) -> None:
    for each in disputed:
        await kept.dispute(tx, each, word.author, word.reason if each.kind is DigestKind.TAG else each.reason)
    await kept.add_digests(tx, approved, [every for each in approved for every in predicted(each, policy)], word.at)
    await kept.begin_generation(tx)
    for each in approved:
        await bundles.want(tx, each.artifact, [each.digest], word.at)
