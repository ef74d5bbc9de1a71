"""A certificate authority like Fulcio: root, intermediate, and certificates with every claim .1 to .24 and an SCT.

It issues whatever identity it is asked for, true or false: that is its use. Nothing outside a testbed trusts it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from monitor.testbed.ct_entry import Submission, certificate_timestamp, sized16
from monitor.testbed.der import octets, tagged
from monitor.testbed.keys import spki_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Protocol

    class CertificateLog(Protocol):
        """A certificate log that takes what is issued; its key is the authority's `ct_key`."""

        @property
        def listed_url(self) -> str:
            """The URL by which a trusted root names it."""

        def submit(self, submission: Submission) -> bytes:
            """Log a certificate; its signed certificate timestamp (RFC 6962 §3.2)."""


GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
FULCIO_ARC: Final = "1.3.6.1.4.1.57264.1."
SCT_LIST: Final = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
SCT_DELAY_MS: Final = 137
"""Milliseconds from notBefore to the SCT."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a certificate says was signing. The defaults are TruStacks' image workflow on the tag of a release."""

    host: str = "https://github.com"
    org: str = "TruStacks"
    repo: str = "trustacks-mvp"
    workflow: str = "publish-images.yml"
    ref: str = "refs/tags/v0.1.2"
    sha: str = "5d1b8f0f4c3a2b1e0d9c8b7a6f5e4d3c2b1a0f9e"
    event: str = "push"
    issuer: str = GITHUB_ISSUER
    name: str = "publish-images"
    runner: str = "github-hosted"
    visibility: str = "public"
    repo_id: str = "912345678"
    owner_id: str = "187654321"
    run: str = "17000000001"
    attempt: int = 1
    src_org: str | None = None
    """With `src_repo`, `src_ref`, `caller_workflow`: who called a reusable workflow, if it was not the workflow."""
    src_repo: str | None = None
    src_ref: str | None = None
    caller_workflow: str | None = None
    environment: str = ""
    san: str | None = None
    """The subject alternative name, when it is not made of the parts above."""
    more_sans: tuple[str, ...] = ()
    extra: Mapping[int, bytes | None] = field(default_factory=dict)
    """Claim number → the extension's bytes as they are, or None to leave the claim out."""

    def identity(self) -> str:
        """Return the subject alternative name."""
        return self.san or f"{self.host}/{self.org}/{self.repo}/.github/workflows/{self.workflow}@{self.ref}"

    def extensions(self) -> Iterator[tuple[int, bytes]]:
        """Claim number and extension bytes: .1 to .6 raw, .8 to .24 as DER UTF8String; an empty claim is left out."""
        org, repo = self.src_org or self.org, self.src_repo or self.repo
        source, ref = f"{self.host}/{org}/{repo}", self.src_ref or self.ref
        called = self.src_org or self.src_repo or self.src_ref or self.caller_workflow
        caller = f"{source}/.github/workflows/{self.caller_workflow or self.workflow}@{ref}"
        raw = {1: self.issuer, 2: self.event, 3: self.sha, 4: self.name, 5: f"{org}/{repo}", 6: ref}
        der = {
            8: self.issuer,
            9: self.identity(),
            10: self.sha,
            11: self.runner,
            12: source,
            13: self.sha,
            14: ref,
            15: self.repo_id,
            16: f"{self.host}/{org}",
            17: self.owner_id,
            18: caller if called else self.identity(),
            19: self.sha,
            20: self.event,
            21: f"{source}/actions/runs/{self.run}/attempts/{self.attempt}",
            22: self.visibility,
            23: self.environment,
            24: f"repo:{org}/{repo}:ref:{ref}",
        }
        values: dict[int, bytes | None] = {number: text.encode() for number, text in raw.items() if text}
        values |= {number: utf8_string(text) for number, text in der.items() if text}
        values |= self.extra
        return ((number, value) for number, value in sorted(values.items()) if value is not None)


def utf8_string(text: str) -> bytes:
    """Return a DER UTF8String."""
    return tagged(0x0C, text.encode())


class CertificateAuthority:
    """A root, an intermediate under it, and the key of the certificate log that the SCTs come from."""

    def __init__(self, name: str = "sigstore", *, now: Callable[[], datetime] | None = None) -> None:
        """Make the keys and both certificates, valid from a year before `now` on."""
        self._now = now or _utc_now
        self.start = self._now().replace(microsecond=0) - timedelta(days=365)
        self._intermediate_key = generate_private_key(SECP384R1())
        self.ct_key = generate_private_key(SECP256R1())
        self.ct: CertificateLog | None = None
        """The certificate log into which certificates go, once one is attached; its key is `ct_key`."""
        root_key = generate_private_key(SECP384R1())
        root_name, intermediate_name = _ca_name(name), _ca_name(f"{name}-intermediate")
        self.root = self._authority(root_name, root_name, root_key, root_key, below=1)
        self.intermediate = self._authority(intermediate_name, root_name, self._intermediate_key, root_key, below=0)

    @property
    def chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        """Intermediate and root, as trusted_root.json lists them."""
        return self.intermediate, self.root

    @property
    def ct_log_id(self) -> bytes:
        """RFC 6962's log id: SHA-256 of the log's public key."""
        return sha256(spki_of(self.ct_key)).digest()

    def issue(  # noqa: PLR0913  each is one way in which a certificate can be wrong
        self,
        public_key: EllipticCurvePublicKey,
        claims: Claims,
        when: datetime | None = None,
        *,
        sct: bool = True,
        sct_signed_with: EllipticCurvePrivateKey | None = None,
        self_signed_with: EllipticCurvePrivateKey | None = None,
        code_signing: bool = True,
        minutes: int = 10,
        logged: bool = True,
    ) -> x509.Certificate:
        """Return a leaf certificate for `claims`, valid from `when` (by default now) for `minutes`.

        Without `sct` it has none; `sct_signed_with` forges one under the log's id. `self_signed_with` keeps the
        intermediate's common name as issuer but signs with that key: what anyone can log.

        With a certificate log attached the precertificate is logged first and the SCT is the log's. Not logged is what has
        no SCT, a forged one or a stranger's signature, and what is not to be `logged`: its SCT is a broken promise.
        """
        start = (when or self._now()).replace(microsecond=0)
        signer = self_signed_with or self._intermediate_key
        issuer = self.intermediate.subject
        if self_signed_with is not None:
            issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sigstore-intermediate")])
        usage = ExtendedKeyUsageOID.CODE_SIGNING if code_signing else ExtendedKeyUsageOID.SERVER_AUTH
        names = [x509.UniformResourceIdentifier(name) for name in (claims.identity(), *claims.more_sans)]
        builder = (
            x509.CertificateBuilder(issuer, x509.Name([]), public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(minutes=minutes))
            .add_extension(_key_usage(leaf=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
        )
        for number, value in claims.extensions():
            oid = ObjectIdentifier(f"{FULCIO_ARC}{number}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        digest = SHA384() if isinstance(signer.curve, SECP384R1) else SHA256()
        certificate = builder.sign(signer, digest)
        if not sct:
            return certificate
        stamp = int(start.timestamp() * 1000) + SCT_DELAY_MS
        strange = sct_signed_with is not None or self_signed_with is not None
        precertificate = builder.add_extension(x509.PrecertPoison(), critical=True).sign(signer, digest)
        submission = Submission.of_precertificate(precertificate, certificate.tbs_certificate_bytes, self.chain, stamp)
        if self.ct is not None and logged and not strange:
            signed = self.ct.submit(submission)
        else:
            key = sct_signed_with or self.ct_key
            signed = certificate_timestamp(self.ct_log_id, stamp, b"", key.sign(submission.leaf(b""), ECDSA(SHA256())))
        stamps = octets(sized16(sized16(signed)))
        return builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, stamps), critical=False).sign(signer, digest)

    def _authority(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: EllipticCurvePrivateKey,
        signer: EllipticCurvePrivateKey,
        *,
        below: int,
    ) -> x509.Certificate:
        public_key = key.public_key()
        builder = (
            x509.CertificateBuilder(issuer, subject, public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.start)
            .not_valid_after(self.start + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
            .add_extension(_key_usage(leaf=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if not below:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        return builder.sign(signer, SHA384())


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ca_name(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sigstore.dev")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )
