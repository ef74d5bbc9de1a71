"""Findings, incidents and sinks for the tests of alerts, each with plausible values for what a test does not care about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from monitor.alerts.wording import Telling
from monitor.model.finding import Accepted, Category, Fact, Finding, Severity, StoredFinding
from monitor.model.incident import DeliveryKind, Incident, IncidentState
from monitor.model.rulebook import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.alerts.message import Message

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)
REPOSITORY = "https://github.com/TruStacks/trustacks-mvp"
RUN = f"{REPOSITORY}/actions/runs/17000000001"
OTHER_RUN = f"{REPOSITORY}/actions/runs/17000000002"
THIRD_RUN = f"{REPOSITORY}/actions/runs/17000000003"
COMMIT = "8e2b7f1c0d4a59e6b3f2a1908c7d6e5f4a3b2c1d"
V1 = "rekor.sigstore.dev - 1193050959916656506"
V2 = "log2025-1.rekor.sigstore.dev"


def signed(rule: str = "branch-ref", number: int = 1, **changes: Any) -> Finding:  # noqa: ANN401 - any field
    """A finding about a signature in our name, number `number` of its log, by a trusted certificate."""
    log = changes.get("log", V2)
    finding = Finding(
        rule=rule,
        severity=RULES[rule].severity,
        category=RULES[rule].category,
        subject=f"entry:{log}:{number}:{number:016x}#0",
        summary=f"{RULES[rule].title} ({number}).",
        facts=(Fact("ref", "refs/heads/main", "refs/tags/v1.2.3 (a version tag)"),),
        accepted=Accepted.NO,
        log=log,
        index=number,
        identity=f"{REPOSITORY}/.github/workflows/publish-images.yml@refs/heads/main",
        issuer="https://token.actions.githubusercontent.com",
        digest=f"sha256:{number:064x}",
        event=f"event-{number}",
        run=RUN,
        attempt=1,
        commit=COMMIT,
        ref="refs/heads/main",
        workflow="publish-images.yml",
        trusted=True,
        signed_at=NOW - timedelta(seconds=42),
    )
    return replace(finding, **changes)


def stranger(number: int = 1, **changes: Any) -> Finding:  # noqa: ANN401 - any field
    """A finding about a certificate that anyone can make."""
    changes = {
        "severity": Severity.LOW,
        "trusted": False,
        "run": None,
        "attempt": None,
        "commit": None,
        "workflow": None,
        **changes,
    }
    return signed("untrusted-certificate", number, **changes)


def of_log(rule: str = "log-forked", key: str = "root-7", log: str = V2, **changes: Any) -> Finding:  # noqa: ANN401 - any field
    """A finding about a log."""
    finding = Finding(
        rule=rule,
        severity=RULES[rule].severity,
        category=Category.INTEGRITY,
        subject=f"log:{log}:{key}",
        summary=f"{RULES[rule].title} ({key}).",
        log=log,
    )
    return replace(finding, **changes)


def of_source(
    rule: str = "log-unreachable",
    source: str = V2,
    since: str = "2026-11-23T02:40:00Z",
    **changes: Any,  # noqa: ANN401 - any field
) -> Finding:
    """A finding about one of our sources."""
    finding = Finding(
        rule=rule,
        severity=RULES[rule].severity,
        category=Category.OPERATIONAL,
        subject=f"source:{rule}:{source}@{since}",
        summary=f"{RULES[rule].title}: {source}.",
        facts=(Fact("last error", "HTTP 503"),),
    )
    return replace(finding, **changes)


def stored(finding: Finding, found_at: datetime = NOW) -> StoredFinding:
    """A finding as the store gives it, without an incident."""
    return StoredFinding(1, finding, found_at, None, None)


def incident(**changes: Any) -> Incident:  # noqa: ANN401 - any field
    """An open critical incident of one finding."""
    kept = Incident(
        id=12,
        key=f"run:{RUN}",
        state=IncidentState.OPEN,
        severity=Severity.CRITICAL,
        category=Category.IDENTITY,
        title="Our identity on a branch: publish-images.yml",
        opened_at=NOW,
        updated_at=NOW,
        count=1,
    )
    return replace(kept, **changes)


def telling(*findings: Finding, kind: DeliveryKind = DeliveryKind.INCIDENT, **changes: Any) -> Telling:  # noqa: ANN401 - any field
    """What wording is asked with."""
    rules: dict[str, int] = {}
    for finding in findings:
        rules[finding.rule] = rules.get(finding.rule, 0) + 1
    asked = Telling(
        kind=kind,
        incident=incident(count=len(findings)),
        findings=findings,
        total=len(findings),
        rules=rules,
        said=(),
        told_at=NOW,
        severity=max((f.severity for f in findings), default=Severity.LOW),
    )
    return replace(asked, **changes)


@dataclass(slots=True)
class Post:
    """What a sink was told."""

    message: Message
    id: str | None
    thread: str | None
    broadcast: bool
    marker: str
    repeat: bool


@dataclass
class MemorySink:
    """A sink that remembers, and fails on request: `fail` is asked before each act and raises what it likes."""

    name: str = "memory"
    edits: bool = True
    threads: bool = True
    posts: list[Post] = field(default_factory=list)
    changed: list[tuple[str, Message]] = field(default_factory=list)
    attempts: int = 0
    fail: Callable[[str], None] | None = None
    lose: Callable[[], None] | None = None
    """Asked after a message was taken: raises what the sender sees instead of an answer."""

    async def send(
        self, message: Message, *, thread: str | None, broadcast: bool, marker: str, repeat: bool
    ) -> str | None:
        self._begin("send")
        number = f"C1/{len(self.posts) + 1}.0" if self.threads else None
        self.posts.append(Post(message, number, thread, broadcast, marker, repeat))
        if self.lose:
            self.lose()
        return number

    async def edit(self, message_id: str, message: Message) -> None:
        self._begin("edit")
        self.changed.append((message_id, message))

    async def find(self, marker: str, *, thread: str | None, since: datetime) -> str | None:  # noqa: ARG002 - it looks everywhere
        self._begin("find")
        return next((post.id for post in self.posts if post.marker == marker), None) if self.threads else None

    def _begin(self, act: str) -> None:
        self.attempts += 1
        if self.fail:
            self.fail(act)
