"""A decoded leaf: who signed what, in whose name, and how far that name can be trusted. Strings stay raw (P7)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.model.log import Promise, Protocol


class Claim:
    """The Fulcio claims by the last arc of their OID, 1.3.6.1.4.1.57264.1.N (Fulcio's oid-info.md)."""

    ISSUER_RAW = 1
    TRIGGER_RAW = 2
    SHA_RAW = 3
    WORKFLOW_NAME = 4
    REPOSITORY_RAW = 5
    REF_RAW = 6
    ISSUER = 8
    BUILD_SIGNER = 9
    BUILD_SIGNER_DIGEST = 10
    RUNNER = 11
    SOURCE_REPOSITORY = 12
    SOURCE_DIGEST = 13
    SOURCE_REF = 14
    REPOSITORY_ID = 15
    OWNER = 16
    OWNER_ID = 17
    BUILD_CONFIG = 18
    BUILD_CONFIG_DIGEST = 19
    TRIGGER = 20
    RUN = 21
    VISIBILITY = 22
    ENVIRONMENT = 23
    SUBJECT = 24


CLAIM_NAMES: Mapping[int, str] = {
    1: "issuer (raw)",
    2: "trigger (raw)",
    3: "commit (raw)",
    4: "workflow name",
    5: "repository (raw)",
    6: "ref (raw)",
    8: "issuer",
    9: "build signer",
    10: "build signer digest",
    11: "runner",
    12: "source repository",
    13: "source commit",
    14: "source ref",
    15: "repository id",
    16: "owner",
    17: "owner id",
    18: "build config",
    19: "build config digest",
    20: "trigger",
    21: "run",
    22: "visibility",
    23: "environment",
    24: "token subject",
}


@dataclass(frozen=True, slots=True)
class WorkflowName:
    """A GitHub workflow's subject alternative name, cut at its borders and never normalised.

    `ref` is `refs/` and what follows the first `@refs/`; without one, what follows the last `@` (a commit).
    """

    host: str
    owner: str
    repository: str
    path: str
    ref: str

    @property
    def prefix(self) -> str:
        """Host to workflow path: everything before the `@` of the ref."""
        return f"{self.host}/{self.owner}/{self.repository}/{self.path}"

    @property
    def file(self) -> str:
        """The workflow's file name."""
        return self.path.rpartition("/")[2]


_WORKFLOW_PREFIX = re.compile(r"(https?://[^/?#@]+)/([^/?#@]+)/([^/?#@]+)/([^?#@]+)", re.IGNORECASE)


def parse_workflow_name(name: str) -> WorkflowName | None:
    """Cut a SAN (or claim .9, .18) into host, owner, repository, workflow path and ref; None when it is no such name."""
    before, at, after = name.partition("@refs/")
    if at:
        ref = "refs/" + after
    else:
        before, at, ref = name.rpartition("@")
        if not at:
            return None
    match = _WORKFLOW_PREFIX.fullmatch(before)
    return WorkflowName(match[1], match[2], match[3], match[4], ref) if match else None


class SanKind(StrEnum):
    """The GeneralName a subject alternative name was encoded as."""

    URI = "uri"
    EMAIL = "email"
    DNS = "dns"
    IP = "ip"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate, as far as we read it. `names` are (kind, value) in the certificate's order."""

    der: bytes = field(repr=False)
    issuer: str
    serial: str
    """In lower-case hex."""
    not_before: datetime
    not_after: datetime
    names: tuple[tuple[SanKind, str], ...]
    claims: Mapping[int, str]
    """By the last arc of the OID; raw UTF-8 for .1–.6, the DER UTF8String's content from .8 on."""
    anomalies: tuple[str, ...] = ()
    """What no Fulcio certificate has: a claim that is not the UTF8String it must be, a repeated extension, …"""
    issuance: str = ""
    """SHA-256 in hex of what a certificate log logs of it: its TBSCertificate without SCT list and poison (RFC 6962 §3.2).

    A precertificate and the certificate made of it have the same. Empty where it cannot be read.
    """

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, in hex."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def san(self) -> str:
        """The first subject alternative name, or an empty string."""
        return self.names[0][1] if self.names else ""

    @property
    def oidc_issuer(self) -> str:
        """Claim .8, else .1, else an empty string."""
        return self.claims.get(Claim.ISSUER) or self.claims.get(Claim.ISSUER_RAW, "")

    @property
    def run(self) -> str | None:
        """Claim .21 without the attempt: one run of a workflow, however often it was tried."""
        invocation = self.claims.get(Claim.RUN)
        return invocation.partition("/attempts/")[0] if invocation else None

    @property
    def attempt(self) -> int | None:
        """The attempt of claim .21."""
        number = self.claims.get(Claim.RUN, "").partition("/attempts/")[2]
        return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None  # noqa: PLR2004 - no run has 10^9 attempts


@dataclass(frozen=True, slots=True)
class Signer:
    """One signature of an entry: its certificate or bare key, and whether its own key verifies it.

    `verifies` is None where the body does not hold what was signed (a DSSE payload).
    """

    spki: bytes = field(repr=False)
    """DER SubjectPublicKeyInfo; empty for a key that is no X.509 key (PGP, minisign, SSH)."""
    certificate: Certificate | None
    signature: bytes = field(repr=False)
    verifies: bool | None

    @property
    def key_id(self) -> str:
        """SHA-256 of the SPKI, in hex."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def name(self) -> str:
        """The certificate's fingerprint, else the key's id: what a signing event is keyed by."""
        return self.certificate.fingerprint if self.certificate else self.key_id


class DigestRole(StrEnum):
    """What a hash in an entry was computed over."""

    ARTIFACT = "artifact"
    """hashedrekord and its like: a file, a simple-signing payload, or (v2) a DSSE pre-authentication encoding."""
    PAYLOAD = "payload"
    """dsse, intoto: the payload of the envelope."""


@dataclass(frozen=True, slots=True)
class LoggedDigest:
    """A hash that stands in an entry: lower-case algorithm (`sha256`) and lower-case hex."""

    algorithm: str
    value: str
    role: DigestRole

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True, slots=True)
class LogStamp:
    """What a certificate log's leaf says besides the certificate (RFC 6962 §3.4): proven with it, and said by the log alone."""

    timestamp: datetime
    """When the log took it in; a certificate can be sent to a log again, by anyone, at any time later."""
    issuer_key_hash: bytes | None
    """SHA-256 of the key that the log saw a precertificate signed with; None for a certificate, which holds that signature."""


@dataclass(frozen=True, slots=True)
class DecodedEntry:
    """What the bytes of one leaf say, before anybody's trust in it."""

    protocol: Protocol
    kind: str
    api_version: str
    signers: tuple[Signer, ...]
    digest: LoggedDigest | None
    other_certificates: tuple[Certificate, ...] = ()
    """Certificates beside the signers' own: kept and shown, never judged."""
    stamp: LogStamp | None = None
    """Of a certificate log. Its one signer is whoever the certificate was issued to, and has signed nothing that we know of."""


class Trust(StrEnum):
    """How far a certificate is Fulcio's word."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    """It does not chain to a Fulcio CA: anyone can make one."""
    BROKEN = "broken"
    """It chains, and another check fails: no outsider can make one."""
    UNCHECKED = "unchecked"
    """Something needed to decide is not in our trust root."""


class Step(StrEnum):
    """A check of section 6, step 1."""

    CHAIN = "chain"
    USAGE = "usage"
    SCT = "sct"
    VALIDITY = "validity"
    SET = "set"
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """What the checks of a certificate came to. `issued_at` is the SCT's time where it was verified."""

    trust: Trust
    failed: tuple[Step, ...] = ()
    issued_at: datetime | None = None
    within_validity: bool = True
    """Rekor v1: the entry's integrated time lies within the certificate's validity."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class JudgedSigner:
    """A signer with its verdict; a bare key has none."""

    signer: Signer
    verdict: TrustVerdict | None

    @property
    def certificate(self) -> Certificate | None:
        """The signer's certificate, if it has one."""
        return self.signer.certificate

    @property
    def trusted(self) -> bool:
        """Whether Fulcio vouches for the signer's name."""
        return self.verdict is not None and self.verdict.trust is Trust.TRUSTED


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A decoded entry at its place in its log, its signers judged. What `rules` reads and `store` keeps."""

    log: str
    index: int
    leaf_hash: bytes
    data: bytes = field(repr=False)
    decoded: DecodedEntry
    signers: tuple[JudgedSigner, ...]
    promise: Promise | None
    first_seen: datetime
    """When we first saw the leaf, in whatever log."""
    extra: bytes = field(default=b"", repr=False)
    """Of a certificate log: what it served beside the leaf."""
    joined: str = ""
    """Of a certificate log: the signing event of the entry that the certificate signed, once one is known."""

    @property
    def global_index(self) -> int | None:
        """Rekor v1's index over all shards."""
        return self.promise.global_index if self.promise else None

    @property
    def logged_at(self) -> datetime | None:
        """When the log says that it took the entry in: v1's integrated time, a certificate log's timestamp."""
        if self.promise is not None:
            return self.promise.integrated_time
        return self.decoded.stamp.timestamp if self.decoded.stamp else None

    @property
    def signed_at(self) -> datetime | None:
        """The first signer's issuance, else when it was logged: the nearest thing to a signing time."""
        for signer in self.signers:
            if signer.verdict and signer.verdict.issued_at:
                return signer.verdict.issued_at
        return self.logged_at

    def event(self, signer: Signer) -> str:
        """The signing event of one signer: one (certificate or bare key, digest), in however many logs; 32 hex digits.

        A certificate seen only in a certificate log is an event without a digest until an entry gives it one.
        """
        if self.joined:
            return self.joined
        if self.decoded.protocol.certificates and signer.certificate and signer.certificate.issuance:
            return unsigned_event(signer.certificate.issuance)
        digest = str(self.decoded.digest) if self.decoded.digest else self.leaf_hash.hex()
        return hashlib.sha256(f"{signer.name} {digest}".encode()).hexdigest()[:32]


def unsigned_event(issuance: str) -> str:
    """The event of an issuance of which no signature is known yet, the same in every certificate log."""
    return hashlib.sha256(f"certificate {issuance}".encode()).hexdigest()[:32]
