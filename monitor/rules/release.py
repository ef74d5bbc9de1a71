"""What is known of one release, as the rules on releases see it, and the form of what they find.

It holds no rule. What was not read counts as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.finding import Category, Finding
from monitor.model.release import VOUCHING, DigestKind, Version
from monitor.model.rulebook import RULES
from monitor.rules.hit import severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from monitor.model.finding import Fact
    from monitor.model.release import ExpectedDigest, TagObservation, Withdrawal
    from monitor.rules.policy import Policy

LATEST = "latest"
SUBJECTS = "release:"
"""How the subject of every finding of the release rules begins; the version follows."""
LISTED = 12
"""Lines of one kind that a finding shows."""


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


def prerelease(version: str) -> bool:
    """Whether a version has a pre-release part."""
    parsed = Version.parse(version)
    return parsed is not None and parsed.prerelease


def signers(signatures: Iterable[Signature]) -> str | None:
    """Name who signed, in a line a run."""
    lines = dict.fromkeys(
        f"{each.workflow} {each.run or 'without a run'}{f' attempt {each.attempt}' if each.attempt else ''} ({each.place})"
        for each in signatures
    )
    return "; ".join(list(lines)[:LISTED]) or None


def finding(  # noqa: PLR0913 - the columns that release findings differ in
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
    """Return a finding about a release; `key` tells it from others of its rule and version."""
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
