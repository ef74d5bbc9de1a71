"""Builds entries of a release of ours that is right in every way, so that a test states only what is wrong."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.model.entry import (
    Certificate,
    DecodedEntry,
    DigestRole,
    JudgedSigner,
    LogEntry,
    LoggedDigest,
    LogStamp,
    SanKind,
    Signer,
    Step,
    Trust,
    TrustVerdict,
)
from monitor.model.log import Promise, Protocol
from monitor.model.release import Authority, Expectations, Match
from monitor.rules import entry as entry_rules
from monitor.rules.policy import Policy
from monitor.rules.subject import ref_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.model.judgement import Judgement

WORKFLOWS = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/"
IMAGES = WORKFLOWS + "publish-images.yml"
RELEASE = IMAGES + "@refs/tags/v0.1.2"
GITHUB = "https://token.actions.githubusercontent.com"
SEEN = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = SEEN + timedelta(hours=1)
DIGEST = "ab" * 32


class Make:
    """The builder that tests get as the fixture `make`."""

    policy = Policy(repository_id="912345678", owner_id="187654321")

    def claims(
        self,
        san: str = RELEASE,
        *,
        repository: str = "TruStacks/trustacks-mvp",
        ref: str | None = None,
        caller: str | None = None,
        issuer: str = GITHUB,
        change: Mapping[int, str | None] | None = None,
    ) -> dict[int, str]:
        """Return the claims GitHub would state; `change` sets or (None) removes single ones."""
        ref = ref if ref is not None else ref_of(san) or ""
        source = f"https://github.com/{repository}"
        claims: dict[int, str | None] = {
            1: issuer,
            2: "push",
            3: "c" * 40,
            4: "publish-images",
            5: repository,
            6: ref,
            8: issuer,
            9: san,
            10: "c" * 40,
            11: "github-hosted",
            12: source,
            13: "c" * 40,
            14: ref,
            15: "912345678",
            16: source.rpartition("/")[0],
            17: "187654321",
            18: caller if caller is not None else san,
            19: "c" * 40,
            20: "push",
            21: f"{source}/actions/runs/17000000001/attempts/2",
            22: "public",
        }
        claims.update(change or {})
        return {number: value for number, value in claims.items() if value is not None}

    def certificate(
        self,
        san: str = RELEASE,
        claims: Mapping[int, str] | None = None,
        *,
        names: tuple[tuple[SanKind, str], ...] | None = None,
        anomalies: tuple[str, ...] = (),
    ) -> Certificate:
        return Certificate(
            der=san.encode("utf-8", "replace"),
            issuer="O=sigstore.dev,CN=sigstore-intermediate",
            serial="01",
            not_before=SEEN,
            not_after=SEEN + timedelta(minutes=10),
            names=names if names is not None else ((SanKind.URI, san),),
            claims=self.claims(san) if claims is None else claims,
            anomalies=anomalies,
            issuance=hashlib.sha256(san.encode("utf-8", "replace")).hexdigest(),
        )

    def signer(
        self,
        certificate: Certificate | None,
        trust: Trust = Trust.TRUSTED,
        *,
        failed: tuple[Step, ...] = (),
        within_validity: bool = True,
        spki: bytes = b"a key",
        verifies: bool | None = True,
    ) -> JudgedSigner:
        verdict = TrustVerdict(trust, failed, issued_at=SEEN, within_validity=within_validity) if certificate else None
        return JudgedSigner(Signer(spki, certificate, b"signature", verifies), verdict)

    def entry(
        self,
        *signers: JudgedSigner,
        protocol: Protocol = Protocol.REKOR_V2,
        digest: LoggedDigest | None = LoggedDigest("sha256", DIGEST, DigestRole.ARTIFACT),  # noqa: B008 - frozen
        others: tuple[Certificate, ...] = (),
    ) -> LogEntry:
        promise = Promise(b"l" * 32, SEEN, 7000, "uuid", b"set") if protocol is Protocol.REKOR_V1 else None
        return LogEntry(
            log="log2025-1.rekor.sigstore.dev",
            index=7,
            leaf_hash=b"\x11" * 32,
            data=b"{}",
            decoded=DecodedEntry(protocol, "hashedrekord", "0.0.2", tuple(s.signer for s in signers), digest, others),
            signers=signers,
            promise=promise,
            first_seen=SEEN,
        )

    def logged(
        self, signer: JudgedSigner, *, log: str = "ct.example", joined: str = "", moment: datetime = SEEN
    ) -> LogEntry:
        """Return the certificate of a signer as a certificate log has it."""
        stamp = LogStamp(moment, b"k" * 32)
        return LogEntry(
            log=log,
            index=9,
            leaf_hash=log.encode().ljust(32),
            data=b"leaf",
            decoded=DecodedEntry(Protocol.RFC6962, "precertificate", "v1", (signer.signer,), None, stamp=stamp),
            signers=(signer,),
            promise=None,
            first_seen=SEEN,
            joined=joined,
        )

    def match(
        self, artifact: str = "runner", version: str = "0.1.2", authority: Authority = Authority.APPROVED
    ) -> Match:
        return Match(version, artifact, f"sha256:{DIGEST}", authority, "the digest itself")

    def expectations(self, *matches: Match, unreachable: bool = False, complete: str = "") -> Expectations:
        """Return expectations; `complete` is a version of which all four artifacts are expected."""
        pairs = {(match.version, match.artifact) for match in matches}
        if complete:
            pairs |= {(complete, artifact) for artifact in self.policy.artifacts}
        return Expectations(matches, frozenset(pairs), sources=True, unreachable=unreachable)

    def judged(
        self, entry: LogEntry, expectations: Expectations | None = None, policy: Policy | None = None
    ) -> Judgement:
        return entry_rules.judge(entry, expectations, policy or self.policy, LATER, history=False)

    def rules(
        self,
        san: str = RELEASE,
        claims: Mapping[int, str] | None = None,
        policy: Policy | None = None,
        anomalies: tuple[str, ...] = (),
    ) -> dict[str, str]:
        """Return the rules that fire on a trusted signer whose digest is not checked, with their severities."""
        signer = self.signer(self.certificate(san, claims, anomalies=anomalies))
        return {f.rule: str(f.severity) for f in self.judged(self.entry(signer), None, policy).findings}


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()
