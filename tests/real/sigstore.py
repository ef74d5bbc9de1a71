"""A whole Sigstore of real servers, real cosign signing into it, and strangers' entries beside."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from monitor.testbed import bodies
from monitor.testbed.ca import GITHUB_ISSUER, CertificateAuthority, Claims
from monitor.testbed.keys import text64
from monitor.testbed.trust_root import ListedLog, rfc3339, signing_config, trusted_root
from tests.real.ct import CtServer
from tests.real.fulcio import Fulcio, token
from tests.real.programs import eventually, output_of
from tests.real.servers import V1_HOST, V2_HOST, RekorTiles, RekorV1, TimestampAuthority

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from cryptography.x509 import Certificate

Log = Literal["v1", "v2"]
_TSA = "https://tsa.trustacks.test"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that cosign made of the file `blob`, whose digest is `digest` ("sha256:…")."""

    log: Log
    digest: str
    claims: Claims
    blob: Path
    bundle: Path


@dataclass(frozen=True, slots=True)
class SignedImage:
    """What cosign shall sign, and as whom: `reference` is host, repository and digest; `entries` how many it will log."""

    reference: str
    claims: Claims
    command: tuple[str | Path, ...] = ("sign",)
    legacy: bool = False
    """In cosign's old format, which goes to Rekor v1 alone."""
    entries: int = 1


class RealSigstore:
    """Use it as an async context manager. `trusted_root` is the file that verifiers and the monitor trust."""

    def __init__(self, folder: Path, trillian_database: str) -> None:
        self.folder = folder
        self.ca = CertificateAuthority()
        self.v1 = RekorV1(folder / "v1", trillian_database)
        self.v2 = RekorTiles(folder / "v2")
        self.trusted_root = folder / "trusted_root.json"
        self.ct = CtServer(folder / "ct", self.ca, self.v1)
        self._tsa = TimestampAuthority(folder / "tsa")
        self._fulcio = Fulcio(self.ca)
        self._stack = AsyncExitStack()
        self._environment = {"HOME": str(folder), "TUF_ROOT": str(folder / "tuf")}
        self._numbers = itertools.count(1)
        stranger = generate_private_key(SECP256R1())
        claims = Claims(org="globex", repo="widgets", workflow="release.yml", ref="refs/tags/v9.0.0", run="51")
        self._stranger = stranger, self.ca.issue(stranger.public_key(), claims)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for server in (self._fulcio, self._tsa, self.v2, self.v1, self.ct):
                await stack.enter_async_context(server)
            self._stack = stack.pop_all()
        self._write_trust()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def logs(self) -> list[Path]:
        """What the servers wrote to their logs."""
        return sorted(self.folder.rglob("*.log"))

    # signing

    async def sign(self, log: Log, content: bytes, claims: Claims) -> Signature:
        """`cosign sign-blob` of `content` into a log, as whom `claims` say. Returns once the log shows it."""
        return await self._cosign(log, content, claims, "sign-blob")

    async def attest(self, log: Log, content: bytes, claims: Claims) -> Signature:
        """`cosign attest-blob`: the log holds a hash of the statement, not of `content`."""
        predicate = self.folder / "predicate.json"
        predicate.write_text('{"made":"here"}')
        return await self._cosign(log, content, claims, "attest-blob", "--type", "custom", "--predicate", predicate)

    async def state(self, log: Log, statement: bytes, claims: Claims) -> Signature:
        """`cosign attest-blob` of an in-toto statement as it is given."""
        given = self.folder / f"statement-{next(self._numbers)}"
        given.write_bytes(statement)
        return await self._cosign(log, statement, claims, "attest-blob", "--statement", given)

    async def _cosign(self, log: Log, content: bytes, claims: Claims, *command: str | Path) -> Signature:
        number = next(self._numbers)
        blob, bundle = self.folder / f"blob-{number}", self.folder / f"bundle-{number}.json"
        blob.write_bytes(content)
        identity = self.folder / "token"
        identity.write_text(token(claims))
        before = await self.size(log)
        status, out, err = await output_of(
            "cosign",
            *command,
            "--yes",
            f"--identity-token={identity}",
            f"--signing-config={self.folder / f'signing-{log}.json'}",
            f"--trusted-root={self.trusted_root}",
            f"--bundle={bundle}",
            blob,
            env=self._environment,
        )
        if status:
            raise RuntimeError(f"cosign {command[0]} ended with {status}: {out}{err}")
        await self._grown(log, before)
        return Signature(log, f"sha256:{hashlib.sha256(content).hexdigest()}", claims, blob, bundle)

    async def sign_images(self, log: Log, *images: SignedImage) -> None:
        """`cosign sign` or `cosign attest` of images, side by side. Returns once the log shows every entry."""
        before = await self.size(log)
        await asyncio.gather(*(self._sign_image(log, each) for each in images))
        await self._grown(log, before, sum(each.entries for each in images))

    async def _sign_image(self, log: Log, image: SignedImage) -> None:
        identity = self.folder / f"token-{next(self._numbers)}"
        identity.write_text(token(image.claims))
        services: tuple[str | Path, ...] = (f"--signing-config={self.folder / f'signing-{log}.json'}",)
        if image.legacy:
            services = (
                "--new-bundle-format=false",
                "--use-signing-config=false",
                f"--rekor-url={self.v1.url}",
                f"--fulcio-url={self._fulcio.url}",
            )
        trusted = f"--trusted-root={self.trusted_root}"
        status, out, err = await output_of(
            "cosign",
            *image.command,
            "--yes",
            f"--identity-token={identity}",
            *services,
            trusted,
            image.reference,
            env=self._environment,
        )
        if status:
            raise RuntimeError(f"cosign {image.command[0]} ended with {status}: {out}{err}")

    async def accepts_image(self, reference: str, identity: str, *options: str) -> bool:
        """Whether `cosign verify` accepts an image's signature under a pattern for the identity and GitHub's issuer."""
        status, _, _ = await output_of(
            "cosign",
            "verify",
            f"--trusted-root={self.trusted_root}",
            f"--certificate-identity-regexp={identity}",
            f"--certificate-oidc-issuer={GITHUB_ISSUER}",
            "--use-signed-timestamps",
            *options,
            reference,
            env=self._environment,
        )
        return status == 0

    async def accepts(self, signature: Signature, identity: str) -> bool:
        """Whether `cosign verify-blob` accepts a signature under a pattern for the identity and GitHub's issuer."""
        status, _, _ = await output_of(
            "cosign",
            "verify-blob",
            f"--trusted-root={self.trusted_root}",
            f"--bundle={signature.bundle}",
            f"--certificate-identity-regexp={identity}",
            f"--certificate-oidc-issuer={GITHUB_ISSUER}",
            "--use-signed-timestamps",
            signature.blob,
            env=self._environment,
        )
        return status == 0

    # strangers

    async def noise(self, log: Log, count: int) -> None:
        """`count` entries by strangers, sent to the server without cosign: it would take a second each."""
        before = await self.size(log)
        gate = asyncio.Semaphore(64)
        path = "/api/v1/log/entries" if log == "v1" else "/api/v2/log/entries"
        url = (self.v1.url if log == "v1" else self.v2.url) + path
        async with aiohttp.ClientSession() as session:

            async def send() -> None:
                async with gate, session.post(url, json=self._foreign(log)) as reply:
                    if reply.status != 201:
                        raise RuntimeError(f"{url} answered {reply.status}: {await reply.text()}")

            await asyncio.gather(*(send() for _ in range(count)))
        await self._grown(log, before, count)

    def _foreign(self, log: Log) -> object:
        key, certificate = self._stranger
        digest = hashlib.sha256(b"stranger %d" % next(self._numbers)).digest()
        if log == "v1":
            return json.loads(bodies.hashedrekord_v1(key, certificate, digest))
        signature = text64(key.sign(digest, ECDSA(Prehashed(SHA256()))))
        verifier = {"x509Certificate": {"rawBytes": _der64(certificate)}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        signed = {"content": signature, "verifier": verifier}
        return {"hashedRekordRequestV002": {"digest": text64(digest), "signature": signed}}

    # state

    async def size(self, log: Log) -> int:
        """The size of a log's newest checkpoint (v1: of its active shard)."""
        return self.v2.size if log == "v2" else int(str((await self.v1.info())["treeSize"]))

    async def _grown(self, log: Log, before: int, count: int = 1) -> None:
        async def shown() -> bool:
            return await self.size(log) >= before + count

        await eventually(shown, f"{log} shows {before + count} entries")

    def _write_trust(self) -> None:
        start = self.ca.start
        v1, v2 = ListedLog(V1_HOST, self.v1.key, start), ListedLog(V2_HOST, self.v2.key, start)
        stamps = [_der64(each) for each in load_pem_x509_certificates(self._tsa.chain)]
        root = json.loads(trusted_root([self.ca], [v1, v2]))
        root["timestampAuthorities"] = [
            {
                "subject": {"organization": "test", "commonName": "tsa"},
                "uri": _TSA,
                "certChain": {"certificates": [{"rawBytes": each} for each in stamps]},
                "validFor": {"start": rfc3339(start)},
            }
        ]
        self.trusted_root.write_text(json.dumps(root))
        for log, url, listed in (("v1", self.v1.url, ([v1], [])), ("v2", self.v2.url, ([], [v2]))):
            config = json.loads(signing_config(*listed))
            config["caUrls"][0]["url"] = self._fulcio.url
            config["rekorTlogUrls"][0]["url"] = url
            service = {"majorApiVersion": 1, "validFor": {"start": rfc3339(start)}, "operator": "test"}
            config["tsaUrls"] = [{"url": self._tsa.url, **service}]
            (self.folder / f"signing-{log}.json").write_text(json.dumps(config))


def _der64(certificate: Certificate) -> str:
    return text64(certificate.public_bytes(Encoding.DER))
