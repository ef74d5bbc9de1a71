r"""What the published patterns accept that they should not, shown by example, and patterns that accept only releases.

An example is an identity that a pattern accepts and that is no release of ours; whether anybody can get a certificate for it is said
beside it. It never touches what is published: customers hold those patterns, so a change is a person's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.model.entry import parse_workflow_name
from monitor.model.release import release_version
from monitor.rules.pattern import compiled
from monitor.rules.policy import WORKFLOW_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitor.rules.policy import Policy

_NUMBER = "(0|[1-9][0-9]*)"
_WORD = "(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
RELEASE = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
PRERELEASE = rf"(-{_WORD}(\.{_WORD})*)?"
"""Semantic versions 2.0.0 without build metadata, in RE2."""

_SPECIAL = frozenset("\\.+*?()|[]{}^$")
_GENUINE = ("0.1.2", "1.20.300", "0.2.0-rc1", "1.0.0-alpha.1")
_SHOWN = 4


class Gap(StrEnum):
    """A way in which a pattern is wider than it should be."""

    START = "it may begin anywhere"
    END = "it may end anywhere"
    DOTS = "an unescaped dot stands for any character"
    SCHEME = "another scheme"
    CASE = "another spelling in upper and lower case"
    REPOSITORY = "another repository"
    WORKFLOW = "another workflow of the repository"
    REF = "a ref that is no release tag"
    VERSION = "a tag that is no semantic version"


WHO: Mapping[Gap, str] = {
    Gap.START: "only a certificate authority that errs, or another issuer's names: GitHub issues no such name",
    Gap.END: "only a certificate authority that errs: GitHub issues no such name",
    Gap.DOTS: "only a certificate authority that errs, or whoever gets such a repository or workflow name",
    Gap.SCHEME: "only a certificate authority that errs: GitHub issues no such name",
    Gap.CASE: "whoever can rename the repository or the workflow's file",
    Gap.REPOSITORY: "whoever owns such a repository",
    Gap.WORKFLOW: "whoever can push a workflow file to the repository",
    Gap.REF: "whoever can push such a branch or tag to the repository",
    Gap.VERSION: "whoever can push such a tag to the repository",
}
"""Who could have such a certificate."""

UNSEEN = (
    "no pattern sees who called the workflow: a run of it from another repository, at a release tag of ours, bears our identity",
    "no pattern sees which artifact was signed: a workflow's identity is good for each artifact that it publishes",
    "no pattern sees age: an old release stays acceptable; name its exact identity, or a digest, where that matters",
)
"""What a pattern over identities cannot close, whatever it says."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """One gap of a pattern: identities that it accepts (the first few), and how many of those tried."""

    gap: Gap
    examples: tuple[str, ...]
    accepted: int
    tried: int

    @property
    def who(self) -> str:
        """Who could have such a certificate."""
        return WHO[self.gap]


@dataclass(frozen=True, slots=True)
class Checked:
    """What is published for one workflow: its weaknesses, the genuine releases that it refuses, and a pattern to replace it."""

    workflow: str
    artifacts: tuple[str, ...]
    pattern: str
    hardened: str
    weaknesses: tuple[Weakness, ...]
    refused: tuple[str, ...]


def check(policy: Policy, *, prereleases: bool = True) -> tuple[Checked, ...]:
    """Try the published pattern of every publishing workflow; `prereleases`: whether the hardened one accepts them."""
    found = []
    for workflow, artifacts in policy.workflows.items():
        pattern = policy.published_pattern.replace("{workflow}", workflow)
        found.append(
            Checked(
                workflow,
                artifacts,
                pattern,
                hardened(policy, workflow, prereleases=prereleases),
                weaknesses(pattern, policy, workflow),
                tuple(name for name in genuine(policy, workflow) if not compiled(pattern).found_in(name)),
            )
        )
    return tuple(found)


def hardened(policy: Policy, workflow: str, *, prereleases: bool = True) -> str:
    """Return a pattern in RE2 that accepts the releases of one workflow and nothing else, anchored at both ends."""
    version = RELEASE + (PRERELEASE if prereleases else "")
    return f"^{escaped(policy.identity(workflow))}@refs/tags/v{version}$"


def escaped(text: str) -> str:
    """Return a pattern for exactly this text: RE2's own characters, and only those, behind a backslash."""
    return "".join(f"\\{character}" if character in _SPECIAL else character for character in text)


def weaknesses(pattern: str, policy: Policy, workflow: str) -> tuple[Weakness, ...]:
    """Return every gap of a pattern that an example shows, the widest kinds first."""
    accepts = compiled(pattern)
    tried: dict[Gap, list[str]] = {gap: [] for gap in Gap}
    for gap, identity in _tries(policy, workflow):
        if identity not in tried[gap] and not _right(identity, policy, workflow):
            tried[gap].append(identity)
    found = []
    for gap, identities in tried.items():
        accepted = [identity for identity in identities if accepts.found_in(identity)]
        if accepted:
            found.append(Weakness(gap, tuple(accepted[:_SHOWN]), len(accepted), len(identities)))
    return tuple(found)


def genuine(policy: Policy, workflow: str) -> tuple[str, ...]:
    """Return identities of releases as the workflow makes them."""
    return tuple(f"{policy.identity(workflow)}@refs/tags/v{version}" for version in _GENUINE)


def _right(identity: str, policy: Policy, workflow: str) -> bool:
    """Whether an identity is a release of this workflow after all."""
    name = parse_workflow_name(identity)
    return name is not None and name.prefix == policy.identity(workflow) and release_version(name.ref) is not None


def _tries(policy: Policy, workflow: str) -> Iterator[tuple[Gap, str]]:
    identity = policy.identity(workflow)
    good = f"{identity}@refs/tags/v1.2.3"
    yield Gap.START, f"https://evil.example/?{good}"
    yield Gap.START, f"https://evil.example/{good}"
    yield Gap.START, f"x{good}"
    for after in (".evil.example", "/x", "@refs/heads/main", "\n", " ", "?", "%00"):
        yield Gap.END, good + after
    for place, character in enumerate(good):
        if character == ".":
            yield Gap.DOTS, f"{good[:place]}x{good[place + 1 :]}"
            yield Gap.DOTS, f"{good[:place]}/{good[place + 1 :]}"
    yield Gap.DOTS, f"{identity.replace('.', 'x')}@refs/tags/v1.2.3"
    yield Gap.SCHEME, good.replace("https://", "http://")
    for spelled in (identity.lower(), identity.upper(), identity.swapcase()):
        yield Gap.CASE, f"{spelled}@refs/tags/v1.2.3"
    folder = f"{WORKFLOW_FOLDER}{workflow}@refs/tags/v1.2.3"
    for owner, repository in (
        (policy.owner, "website"),
        (policy.owner, f"{policy.repository}-fork"),
        (f"{policy.owner}-labs", policy.repository),
        ("mallory", policy.repository),
        (f"mallory/{policy.owner}", policy.repository),
    ):
        yield Gap.REPOSITORY, f"{policy.host}/{owner}/{repository}/{folder}"
    before = identity.removesuffix(workflow)
    for other in (*policy.workflows, "ci.yml", f"x{workflow}", f"{workflow}.yml", f"sub/{workflow}"):
        yield Gap.WORKFLOW, f"{before}{other}@refs/tags/v1.2.3"
    for ref in (
        "refs/heads/main", "refs/heads/v1.2.3", "refs/heads/x@refs/tags/v1.2.3", "refs/pull/17/merge",
        "refs/tags/nightly", "refs/tags/v1", "refs/tags/v1.2", "refs/tags/1.2.3", "refs/tags/x/v1.2.3",
        "79748208aa63d59b20de32940a1fc31aec18927b",
    ):  # fmt: skip
        yield Gap.REF, f"{identity}@{ref}"
    for version in (
        "01.2.3", "1.02.3", "1.2.03", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3-.", "1.2.3-a.", "1.2.3+build",
        "1.2.3-rc1+build", "1.2.3.4", "1.2.3-\u0430", "1.2.3-rc 1",
    ):  # fmt: skip
        yield Gap.VERSION, f"{identity}@refs/tags/v{version}"
