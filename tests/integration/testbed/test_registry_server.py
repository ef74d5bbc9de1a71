from __future__ import annotations

import asyncio
import json
import os
import shutil
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from rfc3161_client import VerificationError as StampError
from rfc3161_client import VerifierBuilder, decode_timestamp_response
from sigstore.errors import VerificationError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

from monitor.errors import FormatError, NotFoundError
from monitor.testbed import bodies, oci
from monitor.testbed.bodies import canonical
from monitor.testbed.ca import GITHUB_ISSUER, Claims
from monitor.testbed.registry import Registry
from monitor.testbed.tsa import TimestampAuthority
from monitor.testbed.world import RELEASED, World
from tests.patience import PATIENCE
from tests.replay import ReplayRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REPO = "trustacks/ui"
ACCEPT = f"{oci.OCI_MANIFEST}, {oci.OCI_INDEX}, {oci.DOCKER_MANIFEST}, {oci.DOCKER_LIST}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(slack_rate_limited=False) as embedded:
        yield embedded


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers={"Accept": ACCEPT}) as client:
        yield client


async def manifest(http: httpx.AsyncClient, registry: Registry, name: str) -> dict[str, Any]:
    reply = await http.get(f"{registry.url}/v2/{REPO}/manifests/{name}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def blob(http: httpx.AsyncClient, registry: Registry, digest: str) -> bytes:
    reply = await http.get(f"{registry.url}/v2/{REPO}/blobs/{digest}")
    assert oci.digest_of(reply.content) == digest
    return reply.content


async def test_replies_have_the_words_and_headers_of_the_recorded_registry(
    registry: Registry, http: httpx.AsyncClient
) -> None:
    pushed = registry.image(REPO, "0.1.1")
    layer = registry.blob(REPO, b"payload")
    recorded: dict[str, tuple[int, frozenset[str], bytes]] = {}
    for path, old in ReplayRegistry().replies.items():
        kind = path.split("/")[-2] if not path.endswith("tags/list") else "tags"
        known = frozenset(name.lower() for name in old.headers) - {"content-length", "date"}
        recorded.setdefault(f"{kind} {old.status}", (old.status, known, old.body))
    ours = {
        "tags 200": f"/v2/{REPO}/tags/list",
        "manifests 200": f"/v2/{REPO}/manifests/{pushed.digest}",
        "manifests 404": f"/v2/{REPO}/manifests/0.9.9",
        "referrers 404": f"/v2/{REPO}/referrers/{pushed.digest}",
        "blobs 200": f"/v2/{REPO}/blobs/{layer.digest}",
    }
    for kind, path in ours.items():
        status, headers, body = recorded[kind]
        reply = await http.get(registry.url + path)
        assert reply.status_code == status, kind
        assert frozenset(reply.headers) - {"content-length", "date", "server"} == headers, kind
        if kind == "referrers 404":
            assert reply.content == body
        if kind in {"tags 200", "manifests 404"}:
            assert reply.json().keys() == json.loads(body).keys(), kind


async def test_a_manifest_is_only_given_to_whoever_accepts_its_type(registry: Registry) -> None:
    registry.index(REPO, "0.1.1")
    url = f"{registry.url}/v2/{REPO}/manifests/0.1.1"
    async with httpx.AsyncClient(headers={"Accept": oci.OCI_MANIFEST}) as http:
        reply = await http.get(url)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
        assert (await http.head(url, headers={"Accept": ACCEPT})).status_code == 200


async def test_whoever_has_a_manifest_is_told_so(registry: Registry, http: httpx.AsyncClient) -> None:
    registry.image(REPO, "0.1.1")
    url = f"{registry.url}/v2/{REPO}/manifests/0.1.1"
    etag = (await http.get(url)).headers["ETag"]
    again = await http.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    registry.image(REPO, "0.1.1", "another")
    assert (await http.get(url, headers={"If-None-Match": etag})).status_code == 200


async def test_tags_are_paged_in_their_order_until_the_last(registry: Registry, http: httpx.AsyncClient) -> None:
    tags = registry.fill(REPO, 250)
    found: list[str] = []
    url: str | None = f"{registry.url}/v2/{REPO}/tags/list?n=1000"
    while url:
        reply = await http.get(url)
        found += reply.json()["tags"]
        link = reply.links.get("next")
        url = registry.url + link["url"] if link else None
    assert found == tags
    assert len(registry.requests) == 3


async def test_a_token_is_good_for_its_repository_alone(http: httpx.AsyncClient) -> None:
    async with Registry(protection="token") as registry:
        registry.image(REPO, "0.1.1")
        registry.image("trustacks/other", "0.1.1")
        url = f"{registry.url}/v2/{REPO}/tags/list"
        refused = await http.get(url)
        assert refused.status_code == 401
        challenge = refused.headers["WWW-Authenticate"]
        assert challenge == (
            f'Bearer realm="{registry.url}/token",service="{registry.host}",scope="repository:{REPO}:pull"'
        )
        scope = {"service": registry.host, "scope": f"repository:{REPO}:pull"}
        token = (await http.get(f"{registry.url}/token", params=scope)).json()["token"]
        shown = {"Authorization": f"Bearer {token}"}
        assert (await http.get(url, headers=shown)).status_code == 200
        other = await http.get(f"{registry.url}/v2/trustacks/other/tags/list", headers=shown)
        assert other.status_code == 401
        registry.users["bot"] = "word"
        assert (await http.get(f"{registry.url}/token", params=scope)).status_code == 401
        given = await http.get(f"{registry.url}/token", params=scope, auth=("bot", "word"))
        assert given.status_code == 200


async def test_lies_are_told_until_they_are_taken_back(registry: Registry, http: httpx.AsyncClient) -> None:
    pushed = registry.image(REPO, "0.1.1")
    layer = registry.blob(REPO, b"payload")
    registry.alter_manifest(REPO, "0.1.1", b"{}")
    registry.alter_blob(REPO, layer.digest, b"other")
    registry.rate_limit(body="toomanyrequests", path_prefix=f"/v2/{REPO}/tags")
    reply = await http.get(f"{registry.url}/v2/{REPO}/manifests/0.1.1")
    assert (reply.content, reply.headers["Docker-Content-Digest"]) == (b"{}", pushed.digest)
    assert (await http.get(f"{registry.url}/v2/{REPO}/blobs/{layer.digest}")).content == b"other"
    assert (await http.get(f"{registry.url}/v2/{REPO}/tags/list")).status_code == 429
    registry.tell_the_truth()
    assert (await manifest(http, registry, "0.1.1"))["schemaVersion"] == 2
    assert await blob(http, registry, layer.digest) == b"payload"
    assert (await http.get(f"{registry.url}/v2/{REPO}/tags/list")).json()["tags"] == ["0.1.1"]


async def test_a_huge_blob_is_as_long_as_it_was_said_to_be(registry: Registry, http: httpx.AsyncClient) -> None:
    registry.image(REPO, "0.1.1")
    pushed = registry.huge_blob(REPO, (1 << 20) + 7)
    reply = await http.get(f"{registry.url}/v2/{REPO}/blobs/{pushed.digest}")
    assert len(reply.content) == (1 << 20) + 7


async def test_nothing_is_put_beside_what_was_not_pushed(registry: Registry) -> None:
    with pytest.raises(NotFoundError):
        registry.attach_bundle(REPO, "sha256:" + "0" * 64, b"{}", "a")


def test_a_timestamp_is_over_its_data_alone() -> None:
    authority = TimestampAuthority()
    reply = decode_timestamp_response(authority.stamp(b"signature"))
    verifier = VerifierBuilder().tsa_certificate(authority.leaf).add_root_certificate(authority.root).build()
    assert verifier.verify_message(reply, b"signature")
    with pytest.raises(StampError):
        verifier.verify_message(reply, b"another")
    other = TimestampAuthority()
    stranger = VerifierBuilder().tsa_certificate(other.leaf).add_root_certificate(other.root).build()
    with pytest.raises(StampError):
        stranger.verify_message(reply, b"signature")


async def fetched_bundle(http: httpx.AsyncClient, registry: Registry, digest: str) -> bytes:
    """The one bundle beside a digest, found as cosign finds it."""
    listed = await manifest(http, registry, digest.replace(":", "-"))
    (found,) = listed["manifests"]
    assert found["artifactType"] == oci.BUNDLE
    beside = await manifest(http, registry, found["digest"])
    assert beside["subject"]["digest"] == digest
    return await blob(http, registry, beside["layers"][0]["digest"])


@pytest.mark.parametrize("log", ["v1", "v2"])
async def test_a_bundle_beside_an_image_verifies_with_the_reference_implementation(
    world: World, http: httpx.AsyncClient, tmp_path: Path, log: Literal["v1", "v2"]
) -> None:
    world.noise(20, log)
    image = world.registry.image(REPO, "0.1.2")
    world.sign(log, image.digest, beside=REPO)
    bundle = Bundle.from_json(await fetched_bundle(http, world.registry, image.digest))
    root = TrustedRoot.from_file(str(world.write_trusted_root(tmp_path / "trusted_root.json")))
    identity = Identity(identity=Claims().identity(), issuer=GITHUB_ISSUER)
    kind, payload = Verifier(trusted_root=root).verify_dsse(bundle, identity)
    assert (kind, payload) == (bodies.IN_TOTO, bodies.statement(image.digest))
    rogue = TrustedRoot.from_file(str(World().write_trusted_root(tmp_path / "other.json")))
    with pytest.raises(VerificationError):
        Verifier(trusted_root=rogue).verify_dsse(bundle, identity)


async def test_an_attestation_lies_beside_its_image_with_every_subject_it_names(
    world: World, http: httpx.AsyncClient
) -> None:
    image = world.registry.image(REPO, "0.1.2")
    statement = bodies.attestation(
        {"ui": image.digest, "foreign": "sha256:" + "0" * 64}, "https://slsa.dev/provenance/v1"
    )
    world.sign("v1", image.digest, statement=statement, beside=REPO)
    bundle = json.loads(await fetched_bundle(http, world.registry, image.digest))
    assert b64decode(bundle["dsseEnvelope"]["payload"]) == statement
    assert json.loads(world.signed[-1].body)["spec"]["payloadHash"]["value"] == sha256(statement).hexdigest()


async def test_a_legacy_signature_lies_in_a_layer_with_what_the_log_promised(
    world: World, http: httpx.AsyncClient
) -> None:
    image = world.registry.image(REPO, "0.1.2")
    for run in ("1", "2"):
        world.sign("v1", image.digest, Claims(run=run), kind="legacy", reference="ghcr.io/trustacks/ui", beside=REPO)
    layers = (await manifest(http, world.registry, image.digest.replace(":", "-") + ".sig"))["layers"]
    assert len(layers) == 2
    for layer, signed in zip(layers, world.signed, strict=True):
        payload = await blob(http, world.registry, layer["digest"])
        assert payload == bodies.simple_signing(image.digest, "ghcr.io/trustacks/ui")
        noted = layer["annotations"]
        certificate = x509.load_pem_x509_certificate(noted["dev.sigstore.cosign/certificate"].encode())
        assert certificate == signed.certificate
        key = certificate.public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        key.verify(b64decode(noted["dev.cosignproject.cosign/signature"]), payload, ECDSA(SHA256()))
        cited = json.loads(noted["dev.sigstore.cosign/bundle"])
        assert b64decode(cited["Payload"]["body"]) == signed.body
        stamp = b64decode(cited["SignedEntryTimestamp"])
        log_key = world.v1.key.key.public_key()
        assert isinstance(log_key, EllipticCurvePublicKey)
        log_key.verify(stamp, canonical(cited["Payload"]), ECDSA(SHA256()))
        assert len(x509.load_pem_x509_certificates(noted["dev.sigstore.cosign/chain"].encode())) == 2


async def test_a_legacy_attestation_lies_in_a_layer_as_an_envelope(world: World, http: httpx.AsyncClient) -> None:
    image = world.registry.image(REPO, "0.1.2")
    statement = bodies.attestation({"ui": image.digest}, "https://slsa.dev/provenance/v1")
    world.sign("v1", image.digest, kind="att", statement=statement, beside=REPO)
    (layer,) = (await manifest(http, world.registry, image.digest.replace(":", "-") + ".att"))["layers"]
    assert layer["mediaType"] == oci.ENVELOPE
    envelope = json.loads(await blob(http, world.registry, layer["digest"]))
    assert b64decode(envelope["payload"]) == statement
    assert layer["annotations"]["dev.cosignproject.cosign/signature"] == ""


async def test_a_release_is_four_artifacts_each_signed_by_its_workflow(world: World, http: httpx.AsyncClient) -> None:
    digests = world.release("0.1.2")
    assert set(digests) == set(RELEASED)
    for (artifact, digest), signed in zip(digests.items(), world.signed, strict=True):
        listed = await http.get(f"{world.registry.url}/v2/trustacks/{artifact}/tags/list")
        assert "0.1.2" in listed.json()["tags"]
        assert signed.digest == digest
        assert signed.claims is not None
        assert signed.claims.identity().endswith(f"/{RELEASED[artifact]}@refs/tags/v0.1.2")


async def test_only_what_cosign_would_leave_there_is_put_beside_an_artifact(world: World) -> None:
    image = world.registry.image(REPO, "0.1.2")
    for wrong in ({"kind": "blob"}, {"bare_key": True}, {"publish": False}):
        with pytest.raises(FormatError):
            world.sign("v2", image.digest, beside=REPO, **wrong)
    assert not world.signed


@pytest.mark.parametrize(("log", "kind"), [("v1", "image"), ("v2", "image"), ("v1", "legacy")])
async def test_real_cosign_verifies_an_image_of_the_world(
    world: World, tmp_path: Path, log: Literal["v1", "v2"], kind: Literal["image", "legacy"]
) -> None:
    cosign = shutil.which("cosign")
    if cosign is None:
        if os.environ.get("MONITOR_REAL") == "required":
            pytest.fail("cosign is not on the PATH")
        pytest.skip("cosign is not on the PATH")
    image = world.registry.index(REPO, "0.1.2")
    world.sign(log, image.digest, kind=kind, reference=f"{world.registry.host}/{REPO}", beside=REPO)
    root = world.write_trusted_root(tmp_path / "trusted_root.json")
    pattern = (
        r"https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml"
        r"@refs/tags/v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"
    )
    command = [
        *(cosign, "verify", f"{world.registry.host}/{REPO}:0.1.2", "--trusted-root", str(root)),
        *("--certificate-identity-regexp", pattern, "--certificate-oidc-issuer", GITHUB_ISSUER),
        *([] if log == "v1" else ["--use-signed-timestamps"]),
        *([] if kind == "image" else ["--new-bundle-format=false"]),
    ]
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "DOCKER_CONFIG": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=home
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, output.decode()
    assert image.digest in output.decode()
