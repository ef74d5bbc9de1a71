"""Makers of what the store keeps, each with one fact of its own and the rest plausible."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor.model.entry import (
    Certificate,
    Claim,
    DecodedEntry,
    DigestRole,
    JudgedSigner,
    LogEntry,
    LoggedDigest,
    SanKind,
    Signer,
    Step,
    Trust,
    TrustVerdict,
)
from monitor.model.finding import Accepted, Category, Fact, Finding, Severity
from monitor.model.judgement import Judgement
from monitor.model.log import CheckpointSource, CheckpointStatus, Promise, Protocol, StoredCheckpoint
from monitor.model.release import DigestStatus

if TYPE_CHECKING:
    from collections.abc import Callable

SEEN = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
SAN = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml@refs/tags/v0.1.2"


def certificate(san: str = SAN, der: bytes = b"der", **changes: object) -> Certificate:
    values: dict[str, Any] = {
        "der": der + san.encode("utf-8", "surrogatepass"),
        "issuer": "CN=sigstore-intermediate",
        "serial": "0a",
        "not_before": SEEN,
        "not_after": SEEN + timedelta(minutes=10),
        "names": ((SanKind.URI, san),),
        "claims": {
            Claim.ISSUER: "https://token.actions.githubusercontent.com",
            Claim.SOURCE_DIGEST: "c0ffee",
            Claim.RUN: "https://github.com/TruStacks/trustacks-mvp/actions/runs/7/attempts/2",
        },
        "anomalies": ("odd",),
    }
    values.update(changes)
    return Certificate(**values)


def judged_signer(
    san: str = SAN, trust: Trust = Trust.TRUSTED, **names: tuple[tuple[SanKind, str], ...]
) -> JudgedSigner:
    failed = () if trust is Trust.TRUSTED else (Step.CHAIN,)
    verdict = TrustVerdict(trust, failed, SEEN + timedelta(seconds=3), within_validity=True, detail="because")
    held = certificate(san, b"der", **names)
    signer = Signer(spki=hashlib.sha256(held.der).digest(), certificate=held, signature=b"s", verifies=True)
    return JudgedSigner(signer, verdict)


def log_entry(index: int = 5, *signers: JudgedSigner, log: str = "log2026.example", **changes: object) -> LogEntry:
    data = f"leaf {index}".encode()
    held = signers or (judged_signer(),)
    values: dict[str, Any] = {
        "log": log,
        "index": index,
        "leaf_hash": hashlib.sha256(b"\0" + data).digest(),
        "data": data,
        "decoded": DecodedEntry(
            protocol=Protocol.REKOR_V1,
            kind="hashedrekord",
            api_version="0.0.1",
            signers=tuple(each.signer for each in held),
            digest=LoggedDigest("sha256", f"{index:064x}", DigestRole.ARTIFACT),
        ),
        "signers": held,
        "promise": Promise(b"l" * 32, SEEN, 1_000_000 + index, f"uuid{index}", b"set"),
        "first_seen": SEEN,
    }
    values.update(changes)
    return LogEntry(**values)


def judgement(*findings: Finding, **changes: object) -> Judgement:
    values: dict[str, Any] = {
        "findings": findings,
        "digest_status": DigestStatus.EXPECTED,
        "accepted": Accepted.YES,
        "matches": (),
        "related": True,
        "revision": "r1",
        "history": False,
    }
    values.update(changes)
    return Judgement(**values)


def finding(rule: str = "branch-ref", subject: str = "entry:log:5", **changes: object) -> Finding:
    values: dict[str, Any] = {
        "severity": Severity.CRITICAL,
        "category": Category.IDENTITY,
        "summary": "a summary",
        "facts": (Fact("ref", "refs/heads/main", "refs/tags/v…"), Fact("only", "seen")),
        "accepted": Accepted.NO,
        "log": "log2026.example",
        "index": 5,
        "identity": SAN,
        "artifacts": ("runner", "ui"),
        "signed_at": SEEN,
    }
    values.update(changes)
    return Finding(rule=rule, subject=subject, **values)


def checkpoint(
    size: int, root: bytes = b"\1" * 32, *, log: str = "log2026.example", **changes: object
) -> StoredCheckpoint:
    values: dict[str, Any] = {
        "note": f"{log}\n{size}\n".encode() + root,
        "source": CheckpointSource.POLL,
        "status": CheckpointStatus.SEEN,
        "first_seen": SEEN,
        "last_seen": SEEN,
    }
    values.update(changes)
    return StoredCheckpoint(log=log, size=size, root=root, **values)


@pytest.fixture
def make_certificate() -> Callable[..., Certificate]:
    return certificate


@pytest.fixture
def make_signer() -> Callable[..., JudgedSigner]:
    return judged_signer


@pytest.fixture
def make_entry() -> Callable[..., LogEntry]:
    return log_entry


@pytest.fixture
def make_judgement() -> Callable[..., Judgement]:
    return judgement


@pytest.fixture
def make_finding() -> Callable[..., Finding]:
    return finding


@pytest.fixture
def make_checkpoint() -> Callable[..., StoredCheckpoint]:
    return checkpoint
