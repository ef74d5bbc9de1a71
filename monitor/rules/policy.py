"""What TruStacks says is right: who signs, from where, which keys and how soon.

The settings as the rules read them, checked when they are made, so that no rule ever meets a pattern or an id that it
cannot use. Reading them from a file is never done here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.errors import SettingsError
from monitor.model.release import VOUCHING, Authority
from monitor.model.rulebook import RULES
from monitor.rules.pattern import compiled

if TYPE_CHECKING:
    from monitor.model.entry import WorkflowName
    from monitor.model.finding import Severity

PUBLISHED_PATTERN = (
    "https://github.com/TruStacks/trustacks-mvp/.github/workflows/{workflow}"
    r"@refs/tags/v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"
)
WORKFLOW_FOLDER = ".github/workflows/"

_HOST = re.compile(r"https?://[^/?#@\s]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ARTIFACT = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*", re.ASCII)

DEADLINES: Mapping[str, timedelta] = {
    "log-unreachable": timedelta(minutes=15),
    "not-as-configured": timedelta(minutes=15),
    "log-key-unknown": timedelta(minutes=15),
    "log-stalled": timedelta(hours=6),
    "falling-behind": timedelta(hours=1),
    "registry-unreachable": timedelta(minutes=30),
    "trust-root-stale": timedelta(hours=24),
    "delivery-failing": timedelta(minutes=10),
    "rule-failed": timedelta(0),
    "log-rolled-back": timedelta(minutes=30),
    "consistency-unproven": timedelta(minutes=30),
    "unlogged-certificate": timedelta(hours=2),
}
"""How long a trouble lasts before it is told (DESIGN section 6)."""


def folded(text: str) -> str:
    """Return `text` with A to Z as a to z, nothing else changed: long s and Kelvin sign are no letters of ours."""
    return text.translate(_FOLD)


_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class Known:
    """A lawful signer beside the publishing workflows.

    `workflow` is its exact SAN before the `@`; `refs` is an RE2 pattern that must match the whole ref.
    """

    workflow: str
    refs: str
    reason: str
    owner: str

    def __post_init__(self) -> None:
        """Refuse what names nothing (SettingsError)."""
        compiled(self.refs)
        for name in ("workflow", "reason", "owner"):
            if not getattr(self, name).strip():
                raise SettingsError(
                    f"known: {name} is empty", cure="say which workflow is lawful, why, and who answers for it"
                )
        if "@" in self.workflow:
            raise SettingsError(
                f"known: workflow {self.workflow!r} holds an @", cure="name the workflow alone; its refs go into `refs`"
            )

    def covers(self, ref: str) -> bool:
        """Whether `ref` is one of its refs."""
        return compiled(self.refs).covers(ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that judge. Raises SettingsError for what cannot be meant; `digest()` names one set of settings."""

    host: str = "https://github.com"
    owner: str = "TruStacks"
    repository: str = "trustacks-mvp"
    issuer: str = "https://token.actions.githubusercontent.com"
    workflows: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "publish-images.yml": ("control-plane", "runner", "ui"),
            "publish-policy.yml": ("policy/constitution",),
        }
    )
    """The publishing workflows by file name, each with the artifacts it publishes."""
    published_pattern: str = PUBLISHED_PATTERN
    """What customers pass to `--certificate-identity-regexp`, with `{workflow}` for the workflow's file name."""
    repository_id: str | None = None
    owner_id: str | None = None
    visibility: str | None = "public"
    """The repository visibility that claim .22 should state; None: any."""
    known: tuple[Known, ...] = ()
    contributor_keys: frozenset[str] = frozenset()
    """SHA-256 of each contributor-flow key's SPKI, in lower-case hex."""
    severities: Mapping[str, Severity] = field(default_factory=dict)
    """By rule, in place of the rule's own severity."""
    grace: timedelta = timedelta(minutes=45)
    late_after: timedelta = timedelta(days=30)
    deadlines: Mapping[str, timedelta] = field(default_factory=dict)
    """By rule, in place of DEADLINES."""
    sufficient: frozenset[Authority] = frozenset({Authority.APPROVED, Authority.PINNED, Authority.BASELINE})
    """Whose word makes a digest expected. `claimed` never does: it explains, and silences nothing."""
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By artifact, the image references that customers pull, in place of `ghcr.io/trustacks/<artifact>`."""
    sbom_required: tuple[str, ...] = ()
    """Artifacts whose release is incomplete without an attested list of contents (SBOM)."""
    sbom_predicates: tuple[str, ...] = ("https://spdx.dev/Document", "https://cyclonedx.org/bom")
    extra_references: tuple[str, ...] = ()
    """References under which any artifact may have been signed in cosign's legacy format."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What the workflows pass to `cosign sign -a`: signatures with and without them are expected."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant (SettingsError)."""
        _check(self)

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Every artifact of a release, in the order of the settings."""
        return tuple(dict.fromkeys(artifact for published in self.workflows.values() for artifact in published))

    def references_of(self, artifact: str) -> tuple[str, ...]:
        """Return the references whose legacy payloads are expected for `artifact`."""
        own = self.references.get(artifact, (f"ghcr.io/trustacks/{artifact}",))
        return tuple(dict.fromkeys((*own, *self.extra_references)))

    def deadline(self, rule: str) -> timedelta:
        """How long the trouble behind `rule` lasts before it is told; none where nobody set one."""
        return self.deadlines.get(rule, DEADLINES.get(rule, timedelta(0)))

    def ours(self, name: WorkflowName | None) -> bool:
        """Whether a workflow's name lies in our repository, without regard to ASCII case."""
        return self.owners(name) and name is not None and folded(name.repository) == folded(self.repository)

    def owners(self, name: WorkflowName | None) -> bool:
        """Whether a workflow's name lies in any repository of our owner, without regard to ASCII case."""
        return name is not None and folded(f"{name.host}/{name.owner}") == folded(f"{self.host}/{self.owner}")

    def publishing(self, name: WorkflowName | None) -> str | None:
        """Return the publishing workflow (as the settings spell it) that `name` is but for ASCII case, else None."""
        if name is None or not self.ours(name):
            return None
        return next((file for file in self.workflows if folded(name.path) == folded(WORKFLOW_FOLDER + file)), None)

    def identity(self, workflow: str) -> str:
        """Return the expected identity of a publishing workflow, before the `@`."""
        return f"{self.host}/{self.owner}/{self.repository}/{WORKFLOW_FOLDER}{workflow}"

    def digest(self) -> str:
        """Return the SHA-256 in hex over every setting, whatever the order of tables: equal settings, equal digest."""
        stable = json.dumps(_stable(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(stable.encode()).hexdigest()


def _stable(value: object) -> object:
    if is_dataclass(value):
        return {each.name: _stable(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return [[str(key), _stable(value[key])] for key in sorted(value, key=str)]
    if isinstance(value, frozenset):
        return sorted(str(each) for each in value)
    if isinstance(value, tuple):
        return [_stable(each) for each in value]
    if isinstance(value, timedelta):
        return str(value / timedelta(microseconds=1))
    return None if value is None else str(value)


def _check(policy: Policy) -> None:
    _check_names(policy)
    for artifacts in policy.workflows.values():
        for artifact in artifacts:
            _must(
                "workflows", artifact, _ARTIFACT, "an artifact's name is a lower-case path such as policy/constitution"
            )
    if "{workflow}" not in policy.published_pattern:
        raise SettingsError(
            f"published_pattern {policy.published_pattern!r} does not hold {{workflow}}",
            cure="put {workflow} where the workflow's file name stands",
        )
    for workflow in policy.workflows:
        compiled(policy.published_pattern.replace("{workflow}", workflow))
    for artifact in policy.sbom_required:
        if artifact not in policy.artifacts:
            raise SettingsError(
                f"sbom_required names no artifact: {artifact!r}", cure=f"they are {', '.join(policy.artifacts)}"
            )
    for key in policy.contributor_keys:
        _must("contributor_keys", key, _KEY, "give the SHA-256 of the key's SubjectPublicKeyInfo in lower-case hex")
    for authority in sorted(policy.sufficient - VOUCHING):
        raise SettingsError(
            f"sufficient holds '{authority}'", cure="who may vouch for a digest: " + ", ".join(sorted(VOUCHING))
        )
    _check_rules(policy)


def _check_names(policy: Policy) -> None:
    _must("host", policy.host, _HOST, "give scheme and host, such as https://github.com")
    _must("owner", policy.owner, _NAME, "give the owner's name as GitHub spells it")
    _must("repository", policy.repository, _NAME, "give the repository's name without its owner")
    if not policy.issuer:
        raise SettingsError("issuer is empty", cure="give the value customers pass to --certificate-oidc-issuer")
    for name, value in (("repository_id", policy.repository_id), ("owner_id", policy.owner_id)):
        if value is not None:
            _must(name, value, _ID, "give GitHub's numeric id, or leave it out")
    for workflow in policy.workflows:
        _must("workflows", workflow, _NAME, "give the workflow's file name without a folder")


def _check_rules(policy: Policy) -> None:
    for rule, severity in policy.severities.items():
        found = RULES.get(rule)
        if found is None:
            raise SettingsError(f"severities names no rule: {rule!r}", cure=f"the rules are {', '.join(RULES)}")
        if severity < found.severity and not found.lowerable:
            raise SettingsError(
                f"severities lowers {rule} to {severity}: it stays {found.severity}",
                cure="integrity rules and branch-ref can be raised, never lowered",
            )
    for rule, deadline in policy.deadlines.items():
        if rule not in DEADLINES:
            raise SettingsError(
                f"deadlines names no rule with a deadline: {rule!r}", cure=f"they are {', '.join(DEADLINES)}"
            )
        if deadline < timedelta(0):
            raise SettingsError(f"the deadline of {rule} is negative", cure="give a duration, 0 for at once")
    for name, duration in (("grace", policy.grace), ("late_after", policy.late_after)):
        if duration < timedelta(0):
            raise SettingsError(f"{name} is negative", cure="give a duration, 0 for none")


def _must(name: str, value: str, pattern: re.Pattern[str], cure: str) -> None:
    if not pattern.fullmatch(value):
        raise SettingsError(f"{name}: {value!r} is not one", cure=cure)
