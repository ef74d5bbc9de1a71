"""What a release may sign: digests that somebody vouches for, and every hash under which cosign may log them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import total_ordering
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Authority(StrEnum):
    """Who vouches for a digest, in falling authority."""

    APPROVED = "approved"
    PINNED = "pinned"
    BASELINE = "pinned (baseline)"
    CLAIMED = "claimed"
    OBSERVED = "observed"
    """What a released tag was moved to: it explains, like a claim, and silences nothing."""
    DISPUTED = "disputed"
    """It was pinned, and a person said that another digest was released in its place."""


VOUCHING = frozenset({Authority.APPROVED, Authority.PINNED, Authority.BASELINE})
"""Who can make a digest expected; the others only explain."""


class DigestKind(StrEnum):
    """What an expected digest is of."""

    TAG = "tag"
    """What the release's tag resolves to: an index or a manifest."""
    MANIFEST = "manifest"
    """A manifest below a released index: allowed, never required."""
    FILE = "file"
    """A file beside the release, for `cosign sign-blob`."""


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """A digest (`sha256:` and 64 lower-case hex digits) that one artifact of one version may carry."""

    version: str
    artifact: str
    digest: str
    kind: DigestKind
    authority: Authority
    author: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedHash:
    """A hash (64 hex digits) under which an expected digest may stand in a log. `how` names the way it gets there."""

    value: str
    digest: str
    how: str

    @property
    def encoded(self) -> bool:
        """Whether it is a predicted hash of a pre-authentication encoding: Rekor v2 logs those, v1 never."""
        return self.how.endswith(ENCODED)


@dataclass(frozen=True, slots=True)
class Match:
    """One reason why a logged hash is expected."""

    version: str
    artifact: str
    digest: str
    authority: Authority
    how: str
    since: datetime | None = field(default=None, compare=False)
    """When that authority first gave its word, as we saw it."""

    @property
    def predicate(self) -> str | None:
        """The predicate type of the attestation that the logged hash is of; None for a signature of cosign's own."""
        return self.how.removeprefix(ATTESTED) if self.how.startswith(ATTESTED) else None


ENCODED = ", pre-authentication encoding"
"""How a predicted hash ends its way when it is not that of the payload but of what is signed in its place."""
ATTESTED = "attestation of "
"""How a hash begins its way when it is that of a fetched attestation; its predicate type follows. Cosign's own is none."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run that signed an expected digest of `version`."""

    run: str
    attempt: int
    commit: str
    version: str


class DigestStatus(StrEnum):
    """Where an entry's digest stands against the expected tag set."""

    EXPECTED = "expected"
    PENDING = "pending"
    """It matches nothing and its grace period runs."""
    UNEXPECTED = "unexpected"
    SUPERSEDED = "superseded"
    """Signed by an attempt of a run whose later attempt signed what was released."""
    UNJUDGED = "unjudged"
    """The grace period is over and a configured source could not be asked."""
    NOT_CHECKED = "not-checked"
    """There is no source of expected digests, or the digest rules do not judge this signer."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the store knows about one logged hash, when it was asked.

    `complete` holds the (version, artifact) pairs for which any digest is expected. `sources` says that there is any source of
    expected digests at all; `unreachable` that a configured registry fails now.
    """

    matches: tuple[Match, ...]
    complete: frozenset[tuple[str, str]]
    sources: bool
    unreachable: bool = False
    registry: bool = False
    """Whether a registry is a source."""
    asked_at: datetime | None = None
    """Until when every configured registry is known; None where one never answered."""
    tag_first_seen: datetime | None = None
    """When the matched digest's tag was first seen, if the registry was read."""
    attempts: tuple[Attempt, ...] = ()
    """What other attempts of the entry's own run signed."""
    alarmed: bool = False
    """The entry was judged unexpected before: a tag that appears afterwards takes nothing back."""


class InLog(StrEnum):
    """Whether the log entry that a bundle cites is where the bundle says."""

    OPEN = "open"
    """What we have read of the log does not reach there yet; of a log that we do not follow, nothing."""
    CONFIRMED = "confirmed"
    MISSING = "missing"
    MISMATCH = "mismatch"
    UNCHECKED = "unchecked"
    """It cites no log, a place before the one where following began, or one of which no bytes are kept."""


@dataclass(frozen=True, slots=True)
class TagObservation:
    """A stretch of time in which a tag resolved to one digest. `gone_at` is when we first saw that it did no more."""

    artifact: str
    tag: str
    digest: str
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """How customers reach what a logged digest stands for: by which tags, now and ever, as far as the registry was read."""

    logged: str
    digests: tuple[str, ...]
    """The images whose hash it is known to be; the digest itself among them only where a tag or a release shows it."""
    tags: tuple[TagObservation, ...]
    """Every stretch in which a tag resolved to one of them, the oldest first."""
    registry: bool
    """Whether there is a registry that is asked at all."""
    read_at: datetime | None = None
    """Until when every registry is known; None where one was never read whole."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A person's word that a version is pulled."""

    version: str
    at: datetime
    author: str
    reason: str
    advisory: str = ""


_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?",
    re.ASCII,
)
_MAX_VERSION = 128


@total_ordering
@dataclass(frozen=True, slots=True, eq=True)
class Version:
    """A strict semantic version without build metadata (semver.org 2.0.0), ordered by its precedence."""

    text: str

    @staticmethod
    def parse(text: str) -> Version | None:
        """The version, or None when the text is not one."""
        return Version(text) if len(text) <= _MAX_VERSION and _SEMVER.fullmatch(text) else None

    @property
    def prerelease(self) -> bool:
        """Whether it has a pre-release part."""
        return "-" in self.text

    def _key(self) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]:
        core, dash, pre = self.text.partition("-")
        identifiers = tuple((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pre.split(".")) if dash else ()
        return tuple(int(n) for n in core.split(".")), not dash, identifiers

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __str__(self) -> str:
        return self.text


_RELEASE_REF = "refs/tags/v"


def release_version(ref: str) -> Version | None:
    """The version of a release ref: `refs/tags/v` and strict semver without build metadata; else None."""
    return Version.parse(ref.removeprefix(_RELEASE_REF)) if ref.startswith(_RELEASE_REF) else None
