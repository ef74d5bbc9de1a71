"""The embedded Sigstore as a whole: authorities, Rekor v1 and v2 logs, a certificate log, a TUF repository, a registry, a Slack.

It signs as cosign 3.1.2 does and remembers what it signed. Nothing leaves the machine, and nothing but
`write_trusted_root` touches a file.
"""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key

from monitor.errors import FormatError
from monitor.testbed import bodies, bundle
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.ct import CtLog
from monitor.testbed.registry import Registry
from monitor.testbed.rekor_v1 import RekorV1
from monitor.testbed.rekor_v2 import RekorV2
from monitor.testbed.slack import Slack
from monitor.testbed.trust_root import ListedLog, signing_config, trusted_root
from monitor.testbed.tsa import TimestampAuthority
from monitor.testbed.tuf import TufRepository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from cryptography.x509 import Certificate

    from monitor.testbed.ct import Style

Log = Literal["v1", "v2"]
Kind = Literal["blob", "image", "legacy", "att"]

RELEASED: Final = {
    "control-plane": "publish-images.yml",
    "runner": "publish-images.yml",
    "ui": "publish-images.yml",
} | {"policy/constitution": "publish-policy.yml"}
"""The artifacts of a release, and which workflow signs each."""

STRANGERS = 8
"""Certificates that the noise of a log is spread over."""


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature that the world made: where it stands (v1: the global index) and what is in it."""

    log: str
    index: int
    body: bytes = field(repr=False)
    digest: str
    claims: Claims | None
    certificate: Certificate | None = field(repr=False)


class World:
    """An embedded Sigstore. Use it as an async context manager."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime] | None = None,
        slack_rate_limited: bool = True,
        ct_style: Style = "rfc6962",
    ) -> None:
        """Make every key; nothing listens yet. `ct_style` is how the certificate log is read."""
        self._now = now or (lambda: datetime.now(UTC))
        self.ca = CertificateAuthority(now=self._now)
        self.ct = self.ca.ct = CtLog(self.ca.ct_key, style=ct_style, roots=[self.ca.root], now=self._now)
        self.v1 = RekorV1(now=self._now)
        self.v2_logs = [RekorV2(now=self._now)]
        self.tuf = TufRepository(now=self._now)
        self.tsa = TimestampAuthority(now=self._now)
        self.registry = Registry()
        self.slack = Slack(rate_limited=slack_rate_limited)
        self.signed: list[Signed] = []
        self._ends: dict[str, datetime] = {}
        self._strangers: list[tuple[EllipticCurvePrivateKey, Certificate]] = []
        self._noise = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start every server and publish the trust root."""
        async with AsyncExitStack() as stack:
            for server in (self.ct, self.v1, *self.v2_logs, self.tuf, self.registry, self.slack):
                await stack.enter_async_context(server)
            self._stack = stack.pop_all()
        self.publish_trust()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every server."""
        await self._stack.aclose()

    @property
    def v2(self) -> RekorV2:
        """The newest v2 log, into which is signed."""
        return self.v2_logs[-1]

    @property
    def read_urls(self) -> dict[str, str]:
        """A log's origin → where that log is read: host of a Rekor log, id in hex (static: origin) of the certificate log."""
        logs = {log.origin: log.url for log in self.v2_logs}
        return {self.v1.hostname: self.v1.url, **logs, self.ct.origin: self.ct.read_url}

    # trust

    def trusted_root_json(self) -> bytes:
        """Return trusted_root.json as it stands."""
        return trusted_root([self.ca], [*self._listed_v1(), *self._listed_v2()], [self.tsa])

    def write_trusted_root(self, path: Path) -> Path:
        """Write trusted_root.json; the path again."""
        path.write_bytes(self.trusted_root_json())
        return path

    def publish_trust(self) -> None:
        """Publish trusted_root.json and the signing configuration by TUF."""
        self.tuf.publish(self.trusted_root_json(), signing_config(self._listed_v1(), self._listed_v2()))

    async def rotate_v2(self, *, freeze: bool = False) -> RekorV2:
        """Start the next v2 log, add it to the trusted root and sign into it from now on.

        With `freeze` the earlier one is frozen and its key's window ends now.
        """
        earlier = self.v2
        log = RekorV2(f"log2026-{len(self.v2_logs) + 1}.rekor.trustacks.test", now=self._now)
        await self._stack.enter_async_context(log)
        self.v2_logs.append(log)
        if freeze:
            earlier.freeze()
            self._ends[earlier.origin] = self._now()
        self.publish_trust()
        return log

    def end_v1(self) -> None:
        """End the window of the v1 server's key now."""
        self._ends[self.v1.hostname] = self._now()
        self.publish_trust()

    def rogue_ca(self) -> CertificateAuthority:
        """Return an authority with the right names and other keys: what it issues chains to nothing."""
        return CertificateAuthority(now=self._now)

    # signing

    def issue_only(self, claims: Claims | None = None) -> Certificate:
        """Issue a certificate that signs nothing: it is in the certificate log and nowhere else."""
        return self.ca.issue(generate_private_key(SECP256R1()).public_key(), claims or Claims())

    def sign(  # noqa: PLR0913  a signature has this many sides
        self,
        log: Log = "v2",
        digest: str = "",
        claims: Claims | None = None,
        *,
        kind: Kind = "image",
        ca: CertificateAuthority | None = None,
        key: EllipticCurvePrivateKey | None = None,
        bare_key: bool = False,
        reference: str = "ghcr.io/trustacks/any",
        statement: bytes = b"",
        beside: str = "",
        publish: bool = True,
    ) -> int:
        """Sign `digest` ("sha256:…"; by default a new one) and log it as cosign 3.1.2 would; the (v1: global) index.

        "blob" signs the digest itself; "image" an in-toto statement about it, or the given `statement` (v1: dsse 0.0.1, v2:
        hashedrekord 0.0.2 of the PAE), and "att" the same; "legacy" the simple-signing payload under `reference`.
        `bare_key` logs the key without a certificate. `beside` is the repository in which the signature is put beside the
        digest: a Sigstore bundle for "image", a layer of `.sig` for "legacy", of `.att` for "att".
        """
        digest = digest or f"sha256:{sha256(b'digest %d' % len(self.signed)).hexdigest()}"
        if beside and (kind == "blob" or bare_key or not publish):
            raise FormatError(
                "beside an artifact lies what cosign published with a certificate, and no blob's signature"
            )
        claims = claims or Claims()
        key = key or generate_private_key(SECP256R1())
        certificate = None if bare_key else (ca or self.ca).issue(key.public_key(), claims)
        payload = (
            bodies.simple_signing(digest, reference) if kind == "legacy" else statement or bodies.statement(digest)
        )
        body = _body(log, kind, key, certificate, digest, payload)
        index = self.add(log, body, publish=publish)
        origin = self.v1.origin() if log == "v1" else self.v2.origin
        self.signed.append(Signed(origin, index, body, digest, None if bare_key else claims, certificate))
        if beside and certificate is not None:
            self._attach(log, index, beside, kind, payload)
        return index

    def release(
        self,
        version: str,
        log: Log = "v2",
        claims: Claims | None = None,
        *,
        kind: Kind = "image",
        repository: str = "trustacks",
    ) -> dict[str, str]:
        """Push the four artifacts of a version under its tag, and sign each as its workflow would; artifact → digest.

        Images are indexes of two platforms. With `claims`, workflow and tag are put in their place all the same.
        """
        found = {}
        for artifact, workflow in RELEASED.items():
            name = f"{repository}/{artifact}"
            push = self.registry.artifact if artifact.startswith("policy/") else self.registry.index
            found[artifact] = push(name, version).digest
            run = str(int(Claims().run) + (workflow != Claims().workflow))
            signer = replace(claims or Claims(run=run), workflow=workflow, ref=f"refs/tags/v{version}")
            reference = f"{self.registry.host}/{name}"
            self.sign(log, found[artifact], signer, kind=kind, reference=reference, beside=name)
        return found

    def add(self, log: Log, body: bytes, *, publish: bool = True) -> int:
        """Log any bytes at all; the (v1: global) index."""
        if log == "v1":
            return self.v1.append(body)
        index = self.v2.append(body)
        if publish:
            self.v2.publish()
        return index

    def noise(self, count: int, log: Log = "v2", *, publish: bool = True) -> range:
        """Log `count` signatures by strangers, each of its own digest, over a few certificates; their indexes."""
        if not self._strangers:
            for number in range(STRANGERS):
                key = generate_private_key(SECP256R1())
                claims = replace(
                    Claims(), org="globex", repo=f"svc-{number}", workflow="release.yml", run=str(100 + number)
                )
                self._strangers.append((key, self.ca.issue(key.public_key(), claims)))
        make = bodies.hashedrekord_v1 if log == "v1" else bodies.hashedrekord_v2
        made = []
        for number in range(self._noise, self._noise + count):
            key, certificate = self._strangers[number % STRANGERS]
            made.append(make(key, certificate, sha256(b"noise %d" % number).digest()))
        self._noise += count
        if log == "v1":
            return self.v1.append_many(made)
        indexes = self.v2.append_many(made)
        if publish:
            self.v2.publish()
        return indexes

    def _attach(self, log: Log, index: int, repository: str, kind: Kind, payload: bytes) -> None:
        """Put the newest signature beside its digest in a repository."""
        signed = self.signed[-1]
        if signed.certificate is None:
            return
        signature = bundle.signature_of(signed.body)
        entry = self.v1.by_index(index, singly=True) if log == "v1" else None
        content = bundle.envelope(payload, signature)
        if kind == "image":
            logged = bundle.entry_v2(self.v2, index) if entry is None else bundle.entry_v1(entry)
            stamp = self.tsa.stamp(b64decode(signature))
            data = bundle.sigstore_bundle(signed.certificate, logged, content, [stamp])
            predicate = str(json.loads(payload).get("predicateType", ""))
            self.registry.attach_bundle(repository, signed.digest, data, predicate)
            return
        layer = payload if kind == "legacy" else json.dumps(content, separators=(",", ":")).encode()
        signature = signature if kind == "legacy" else ""
        annotations = bundle.layer_annotations(signature, signed.certificate, self.ca.chain, entry)
        self.registry.attach_layer(repository, signed.digest, "sig" if kind == "legacy" else "att", layer, annotations)

    def _listed_v1(self) -> list[ListedLog]:
        return [ListedLog(self.v1.hostname, self.v1.key, self.ca.start, self._ends.get(self.v1.hostname))]

    def _listed_v2(self) -> list[ListedLog]:
        return [ListedLog(log.origin, log.key, self.ca.start, self._ends.get(log.origin)) for log in self.v2_logs]


def _body(
    log: Log, kind: Kind, key: EllipticCurvePrivateKey, certificate: Certificate | None, digest: str, payload: bytes
) -> bytes:
    """Return the leaf of one signature."""
    hashed = bodies.hashedrekord_v1 if log == "v1" else bodies.hashedrekord_v2
    match kind:
        case "blob":
            return hashed(key, certificate, bodies.digest_bytes(digest))
        case "legacy":
            return hashed(key, certificate, sha256(payload).digest())
        case _:
            if log == "v1":
                return bodies.dsse_v1(key, certificate, payload)
            return hashed(key, certificate, sha256(bodies.pae(payload)).digest())
