from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sigstore.errors import VerificationError
from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from tuf.api.exceptions import DownloadError, ExpiredMetadataError
from tuf.ngclient import Updater  # type: ignore[attr-defined]  # documented there, not listed in __all__

from monitor.errors import FetchError, FormatError
from monitor.testbed import bodies
from monitor.testbed.ca import Claims
from monitor.testbed.keys import text64
from monitor.testbed.rekor_v2 import RekorV2
from monitor.testbed.world import STRANGERS, World
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.note import NoteKey, verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DIGEST = "sha256:" + "5a" * 32


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(slack_rate_limited=False) as embedded:
        yield embedded


def signed_digest(kind: str) -> bytes:
    """What a signature of each kind on v2 (and of a hashedrekord on v1) is over."""
    match kind:
        case "blob":
            return bytes.fromhex(DIGEST[7:])
        case "legacy":
            return sha256(bodies.simple_signing(DIGEST, "ghcr.io/trustacks/ui")).digest()
        case _:
            return sha256(bodies.pae(bodies.statement(DIGEST))).digest()


def verify_signature(certificate: x509.Certificate, signature: str, digest: bytes) -> None:
    key = certificate.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    key.verify(b64decode(signature), digest, ECDSA(Prehashed(SHA256())))


@pytest.mark.parametrize("kind", ["blob", "image", "legacy"])
async def test_what_is_signed_on_v2_is_served_and_verifies(
    world: World, kind: Literal["blob", "image", "legacy"]
) -> None:
    world.noise(5)
    index = world.sign("v2", DIGEST, Claims(run="9"), kind=kind, reference="ghcr.io/trustacks/ui")
    assert index == 5
    async with httpx.AsyncClient() as client:
        data = (await client.get(f"{world.v2.url}/api/v2/tile/entries/000.p/6")).content
    body = world.signed[-1].body
    assert data.endswith(body)
    record = json.loads(body)["spec"]["hashedRekordV002"]
    digest = b64decode(record["data"]["digest"])
    assert signed_digest(kind) == digest
    raw = b64decode(record["signature"]["verifier"]["x509Certificate"]["rawBytes"])
    verify_signature(x509.load_der_x509_certificate(raw), record["signature"]["content"], digest)


@pytest.mark.parametrize("kind", ["blob", "image", "legacy"])
async def test_what_is_signed_on_v1_is_served_and_verifies(
    world: World, kind: Literal["blob", "image", "legacy"]
) -> None:
    world.noise(5, "v1")
    index = world.sign("v1", DIGEST, kind=kind, reference="ghcr.io/trustacks/ui")
    async with httpx.AsyncClient() as client:
        reply = (await client.get(f"{world.v1.url}/api/v1/log/entries?logIndex={index}")).json()
    [entry] = reply.values()
    body = json.loads(b64decode(entry["body"]))
    spec = body["spec"]
    if kind == "image":
        assert body["kind"] == "dsse"
        assert sha256(bodies.statement(DIGEST)).hexdigest() == spec["payloadHash"]["value"]
        pem, signature = spec["signatures"][0]["verifier"], spec["signatures"][0]["signature"]
    else:
        assert signed_digest(kind).hex() == spec["data"]["hash"]["value"]
        pem, signature = spec["signature"]["publicKey"]["content"], spec["signature"]["content"]
    verify_signature(x509.load_pem_x509_certificate(b64decode(pem)), signature, signed_digest(kind))


def test_the_statement_is_the_one_that_cosign_writes() -> None:
    real = (
        b'{"_type":"https://in-toto.io/Statement/v1", "subject":[{"digest":{"sha256":'
        b'"3f4921167bb4ea1723b7f76e9412a5fb1df8d94e91403715036ba96c8979bf04"}, "annotations":{}}], '
        b'"predicateType":"https://sigstore.dev/cosign/sign/v1", "predicate":{}}'
    )
    digest = "sha256:3f4921167bb4ea1723b7f76e9412a5fb1df8d94e91403715036ba96c8979bf04"
    assert bodies.statement(digest) == real


def test_the_simple_signing_payload_is_the_one_that_cosign_writes() -> None:
    """The recorded payload, whose hash names its blob in the registry."""
    digest = "sha256:fb89a25a0a09355d97f61a4c683587c4b7dfc5d29ad0490557f3bf6ea38e423b"
    payload = bodies.simple_signing(digest, "ghcr.io/trustacks/any")
    assert sha256(payload).hexdigest() == "45fe84c93faee5cf8408b3cfcf5594adaa5d6e91fcf0515700ed89c8b8e313db"


async def test_a_rogue_authoritys_certificate_names_us_and_is_not_trusted(world: World) -> None:
    world.sign(claims=Claims(ref="refs/heads/main"), ca=world.rogue_ca())
    certificate = world.signed[-1].certificate
    assert certificate is not None
    assert world.ca.intermediate.subject == certificate.issuer
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(world.ca.intermediate)


async def test_a_bare_key_is_logged_without_a_certificate(world: World) -> None:
    world.sign("v2", bare_key=True)
    assert b"x509Certificate" not in world.signed[-1].body
    world.sign("v1", kind="blob", bare_key=True)
    assert world.signed[-1].certificate is None


async def test_a_digest_that_is_none_is_refused(world: World) -> None:
    for digest in ("sha512:" + "0" * 64, "sha256:0", "sha256:" + "g" * 64):
        with pytest.raises(FormatError):
            world.sign(digest=digest)


async def test_a_rotation_adds_a_log_to_the_trusted_root_and_ends_the_frozen_one(world: World) -> None:
    world.sign()
    first = world.v2
    second = await world.rotate_v2(freeze=True)
    assert world.sign() == 0
    logs = {log["baseUrl"]: log for log in json.loads(world.trusted_root_json())["tlogs"]}
    assert {f"https://{host}" for host in world.read_urls if host != world.ct.origin} == set(logs)
    assert "end" in logs[f"https://{first.origin}"]["publicKey"]["validFor"]
    assert "end" not in logs[f"https://{second.origin}"]["publicKey"]["validFor"]
    async with httpx.AsyncClient() as client:
        for log in world.v2_logs:
            head = Checkpoint.parse((await client.get(f"{log.url}/api/v2/checkpoint")).content)
            listed = logs[f"https://{log.origin}"]
            key_id = b64decode(listed["logId"]["keyId"])[:4]
            spki = b64decode(listed["publicKey"]["rawBytes"])
            verify(head.note, [NoteKey.from_spki(log.origin, spki, key_id)])
    assert world.tuf.version == 2


@pytest.mark.parametrize("style", ["rfc6962", "static"])
async def test_every_certificate_of_the_world_is_in_its_certificate_log_which_is_listed_where_it_is(
    style: Literal["rfc6962", "static"],
) -> None:
    async with World(slack_rate_limited=False, ct_style=style) as world:
        world.sign()
        world.noise(10, "v1")
        certificate = world.issue_only(Claims(ref="refs/tags/v7"))
        assert world.ct.size == 1 + STRANGERS + 1
        assert certificate.tbs_precertificate_bytes in world.ct.history.entry(world.ct.size - 1).leaf_input
        assert world.v2.size == 1, "what was only issued signs nothing"
        [listed] = json.loads(world.trusted_root_json())["ctlogs"]
        assert b64decode(listed["logId"]["keyId"]) == world.ct.log_id
        assert listed["baseUrl"] == world.read_urls[world.ct.origin]
        path = "checkpoint" if style == "static" else "ct/v1/get-sth"
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{listed['baseUrl']}/{path}")).status_code == 200


async def test_sigstore_reads_the_trusted_root(world: World, tmp_path: Path) -> None:
    path = world.write_trusted_root(tmp_path / "trusted_root.json")
    root = TrustedRoot.from_file(str(path))
    assert len(root.get_fulcio_certs()) == 2


async def test_sigstore_verifies_what_was_signed_on_v1(world: World, tmp_path: Path) -> None:
    """Chain, SCT, SET, checkpoint, inclusion and signature hold for the reference implementation."""
    artifact = b"a file that was signed"
    world.noise(20, "v1")
    index = world.sign("v1", f"sha256:{sha256(artifact).hexdigest()}", kind="blob")
    world.noise(3, "v1")
    async with httpx.AsyncClient() as client:
        [entry] = (await client.get(f"{world.v1.url}/api/v1/log/entries?logIndex={index}")).json().values()
    bundle = Bundle.from_json(bundle_of(entry, world.signed[-1].certificate))
    root = TrustedRoot.from_file(str(world.write_trusted_root(tmp_path / "trusted_root.json")))
    identity = Identity(identity=Claims().identity(), issuer=Claims().issuer)
    Verifier(trusted_root=root).verify_artifact(artifact, bundle, identity)
    with pytest.raises(VerificationError):
        Verifier(trusted_root=root).verify_artifact(b"another file", bundle, identity)


def bundle_of(entry: dict[str, Any], certificate: x509.Certificate | None) -> str:
    """Word an entry of v1's REST interface as a Sigstore bundle."""
    assert certificate is not None
    proof, body = entry["verification"]["inclusionProof"], json.loads(b64decode(entry["body"]))
    logged = {
        "logIndex": str(entry["logIndex"]),
        "logId": {"keyId": text64(bytes.fromhex(entry["logID"]))},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": str(entry["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": entry["verification"]["signedEntryTimestamp"]},
        "inclusionProof": {
            "logIndex": str(proof["logIndex"]),
            "rootHash": text64(bytes.fromhex(proof["rootHash"])),
            "treeSize": str(proof["treeSize"]),
            "hashes": [text64(bytes.fromhex(node)) for node in proof["hashes"]],
            "checkpoint": {"envelope": proof["checkpoint"]},
        },
        "canonicalizedBody": entry["body"],
    }
    digest = bytes.fromhex(body["spec"]["data"]["hash"]["value"])
    material = {
        "certificate": {"rawBytes": text64(certificate.public_bytes(Encoding.DER))},
        "tlogEntries": [logged],
        "timestampVerificationData": {"rfc3161Timestamps": []},
    }
    signature = {
        "messageDigest": {"algorithm": "SHA2_256", "digest": text64(digest)},
        "signature": body["spec"]["signature"]["content"],
    }
    media_type = "application/vnd.dev.sigstore.bundle.v0.3+json"
    return json.dumps({"mediaType": media_type, "verificationMaterial": material, "messageSignature": signature})


async def test_sigstores_own_client_reads_the_trust_by_tuf(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "root.json"
    root.write_bytes(world.tuf.root_json)
    config = await asyncio.to_thread(ClientTrustConfig.from_tuf, world.tuf.url, bootstrap_root=root)
    assert len(config.trusted_root.get_fulcio_certs()) == 2


def fetch_trusted_root(world: World, folder: Path) -> bytes:
    """Fetch trusted_root.json with the reference client."""
    targets = folder / "targets"
    targets.mkdir(exist_ok=True)
    updater = Updater(
        str(folder), f"{world.tuf.url}/", str(targets), f"{world.tuf.url}/targets/", bootstrap=world.tuf.root_json
    )
    updater.refresh()
    info = updater.get_targetinfo("trusted_root.json")
    assert info is not None
    with open(updater.download_target(info), "rb") as file:  # noqa: PTH123  the client gives a string
        return file.read()


async def test_a_new_trusted_root_is_fetched_and_an_expired_repository_refused(world: World, tmp_path: Path) -> None:
    before = await asyncio.to_thread(fetch_trusted_root, world, tmp_path)
    assert world.trusted_root_json() == before
    await world.rotate_v2()
    after = await asyncio.to_thread(fetch_trusted_root, world, tmp_path)
    assert world.trusted_root_json() == after != before
    world.tuf.expire()
    with pytest.raises(ExpiredMetadataError):
        await asyncio.to_thread(fetch_trusted_root, world, tmp_path)
    await world.tuf.stop()
    with pytest.raises(DownloadError):
        await asyncio.to_thread(fetch_trusted_root, world, tmp_path / "..")


async def test_noise_is_of_distinct_digests_and_concerns_nobody(world: World) -> None:
    world.noise(300)
    world.noise(300, "v1")
    leaves = [*world.v2.tree.leaves(0, 300), *world.v1.active.tree.leaves(0, 300)]
    assert len(set(leaves)) == 600
    assert not any(b"trustacks" in b64decode_all(leaf).lower() for leaf in leaves)


def b64decode_all(leaf: bytes) -> bytes:
    """The certificate of a leaf, v1 or v2."""
    spec = json.loads(leaf)["spec"]
    if "hashedRekordV002" in spec:
        return b64decode(spec["hashedRekordV002"]["signature"]["verifier"]["x509Certificate"]["rawBytes"])
    pem = b64decode(spec["signature"]["publicKey"]["content"])
    return x509.load_pem_x509_certificate(pem).tbs_certificate_bytes


async def test_the_world_stops_every_server() -> None:
    async with World() as world:
        await world.rotate_v2()
        servers = [world.ct, world.v1, *world.v2_logs, world.tuf, world.slack]
        assert all(server.running for server in servers)
    assert not any(server.running for server in servers)


def test_a_server_has_no_address_before_it_starts() -> None:
    with pytest.raises(FetchError, match="before it is started"):
        _ = RekorV2().url
