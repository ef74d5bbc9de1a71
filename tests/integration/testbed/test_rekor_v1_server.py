from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from monitor.errors import BadSignatureError, UnknownKeyError
from monitor.testbed import bodies
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.keys import pem_of, text64
from monitor.testbed.rekor_v1 import RekorV1
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash
from monitor.tlog.note import NoteKey, verify
from monitor.tlog.proofs import verify_consistency, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

RECORDING = Path(__file__).parents[2] / "fixtures" / "recording" / "v1.jsonl"
FIRST_SHARD = 25
SIZE = 60


@pytest.fixture
async def log() -> AsyncIterator[RekorV1]:
    """A log of two shards: 25 and 35 entries."""
    async with RekorV1() as server:
        server.append_many(bodies.foreign_v1(f"{number}") for number in range(FIRST_SHARD))
        server.rotate()
        server.append_many(bodies.foreign_v1(f"{number}") for number in range(FIRST_SHARD, SIZE))
        yield server


@pytest.fixture
async def client(log: RekorV1) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=log.url) as http:
        yield http


async def info(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.get("/api/v1/log")).raise_for_status().json())


async def retrieve(client: httpx.AsyncClient, **asked: object) -> list[tuple[str, dict[str, Any]]]:
    reply = await client.post("/api/v1/log/entries/retrieve", json=asked)
    return [entry for one in reply.raise_for_status().json() for entry in one.items()]


async def indexes(client: httpx.AsyncClient, *asked: int) -> list[int]:
    return [entry["logIndex"] for _, entry in await retrieve(client, logIndexes=asked)]


def note_of(log: RekorV1, raw: str) -> Checkpoint:
    """Parse a checkpoint and require the log's signature on it."""
    head = Checkpoint.parse(raw.encode())
    verify(head.note, [NoteKey.from_spki(log.hostname, log.spki)])
    return head


def verify_entry(log: RekorV1, uuid: str, entry: dict[str, Any]) -> None:
    """Require what a verifier requires of an entry: id, inclusion under a signed note, and the SET."""
    proof = entry["verification"]["inclusionProof"]
    body = b64decode(entry["body"])
    head = note_of(log, proof["checkpoint"])
    assert uuid == f"{int(head.origin.split()[-1]):016x}{leaf_hash(body).hex()}"
    assert (head.size, head.root.hex()) == (proof["treeSize"], proof["rootHash"])
    hashes = [bytes.fromhex(node) for node in proof["hashes"]]
    verify_inclusion(leaf_hash(body), proof["logIndex"], head.size, hashes, head.root)
    promised = {name: entry[name] for name in ("body", "integratedTime", "logID", "logIndex")}
    public_key: EllipticCurvePublicKey = log.key.key.public_key()  # type: ignore[assignment]  # v1 keys are ECDSA
    stamp = b64decode(entry["verification"]["signedEntryTimestamp"])
    public_key.verify(stamp, bodies.canonical(promised), ECDSA(SHA256()))


async def test_every_recorded_request_is_answered_as_the_real_server_did() -> None:
    """The recorded leaves, put into the testbed's log, make the same replies but for signatures."""
    recorded = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    entries: dict[int, dict[str, Any]] = {}
    for row in recorded:
        if row["path"] == "/api/v1/log/entries/retrieve" and row["status"] == 200:
            entries |= {entry["logIndex"]: entry for one in json.loads(row["response"]) for entry in one.values()}
    real = json.loads(recorded[0]["response"])
    inactive = real["inactiveShards"][0]
    async with RekorV1("rekor-v1.trustacks.test", tree_id=int(inactive["treeID"])) as log:
        for index, entry in sorted(entries.items()):
            if index == inactive["treeSize"]:
                log.rotate(tree_id=int(real["treeID"]))
            log.append(b64decode(entry["body"]), when=datetime.fromtimestamp(entry["integratedTime"], UTC))
        async with httpx.AsyncClient(base_url=log.url) as client:
            for row in recorded:
                reply = await client.request(row["method"], row["path"], json=row["request"])
                what = f"{row['method']} {row['path']} {row['request']}"
                assert row["status"] == reply.status_code, what
                assert (row["content_type"] or "") == reply.headers.get("Content-Type", "").partition(";")[0], what
                assert row["headers"].get("Cache-Control") == reply.headers.get("Cache-Control"), what
                if row["path"] == "/api/v1/index/retrieve" and row["status"] == 200:
                    same_hits(json.loads(row["response"]), reply.json(), row["request"])
                elif row["content_type"] == "application/json":
                    assert masked(row["response"]) == masked(reply.text), what
                elif row["content_type"] is None:
                    assert row["response"] == reply.text, what


def masked(text: str) -> str:
    """Blank what only the real key could have made; keep order, spacing and the final newline."""

    def blank(value: Any, name: str = "") -> Any:  # noqa: ANN401  any JSON
        if name in ("signedEntryTimestamp", "logID"):
            return "…"
        if name in ("signedTreeHead", "checkpoint"):
            return value.partition("\n\n")[0]
        if isinstance(value, dict):
            return {key: blank(part, key) for key, part in value.items()}
        return [blank(part) for part in value] if isinstance(value, list) else value

    return json.dumps(blank(json.loads(text)), separators=(",", ":")) + text[len(text.rstrip("\n")) :]


def same_hits(real: list[str], ours: list[str], asked: dict[str, Any]) -> None:
    """A digest inside a statement is indexed by the real server alone: it saw the payload."""
    if "hash" in asked:
        assert set(ours) <= set(real)
    else:
        assert sorted(real) == sorted(ours), asked


async def test_every_entry_verifies_by_page_by_index_and_by_uuid(log: RekorV1, client: httpx.AsyncClient) -> None:
    seen = []
    for start in range(0, SIZE, 10):
        for uuid, entry in await retrieve(client, logIndexes=list(range(start, start + 10))):
            verify_entry(log, uuid, entry)
            seen.append(entry["logIndex"])
            single = (await client.get(f"/api/v1/log/entries?logIndex={entry['logIndex']}")).json()
            assert entry["body"] == single[uuid]["body"]
    assert list(range(SIZE)) == seen
    first = log.shards[0].uuid(3)
    for asked in (first, first[16:]):
        [(uuid, entry)] = (await client.get(f"/api/v1/log/entries/{asked}")).json().items()
        assert (first, 3) == (uuid, entry["logIndex"])
        verify_entry(log, uuid, entry)


async def test_the_log_grows_while_watched_and_proves_it(log: RekorV1, client: httpx.AsyncClient) -> None:
    before = note_of(log, (await info(client))["signedTreeHead"])
    assert log.append(bodies.foreign_v1("more")) == SIZE
    after = note_of(log, (await info(client))["signedTreeHead"])
    assert (before.size + 1, before.origin) == (after.size, after.origin)
    asked = f"/api/v1/log/proof?firstSize={before.size}&lastSize={after.size}&treeID={log.active.tree_id}"
    hashes = [bytes.fromhex(node) for node in (await client.get(asked)).json()["hashes"]]
    verify_consistency(before.size, after.size, before.root, after.root, hashes)


async def test_the_active_checkpoint_is_signed_anew_and_a_frozen_one_is_not(client: httpx.AsyncClient) -> None:
    one, two = await info(client), await info(client)
    assert one["signedTreeHead"] != two["signedTreeHead"]
    assert one["inactiveShards"] == two["inactiveShards"]


async def test_rotation_begins_a_tree_and_keeps_global_indexes(log: RekorV1, client: httpx.AsyncClient) -> None:
    old = log.active.tree_id
    new = log.rotate().tree_id
    state = await info(client)
    assert (str(new), 0, sha256(b"").hexdigest()) == (state["treeID"], state["treeSize"], state["rootHash"])
    assert str(old) == state["inactiveShards"][-1]["treeID"]
    assert (await client.get(f"/api/v1/log/entries?logIndex={SIZE}")).status_code == 404
    assert log.append(bodies.foreign_v1("first of the new shard")) == SIZE
    [(uuid, entry)] = await retrieve(client, logIndexes=[SIZE])
    assert entry["verification"]["inclusionProof"]["logIndex"] == 0
    verify_entry(log, uuid, entry)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("proof?firstSize=1", 422, "lastSize in query is required"),
        ("proof?firstSize=5&lastSize=4", 400, "firstSize(5) must be less than lastSize(4)"),
        ("proof?firstSize=1&lastSize=4&treeID=x", 422, "treeID in query should match '^[0-9]+$'"),
        ("proof?firstSize=1&lastSize=4&treeID=1", 400, "there is no tree 1"),
        ("entries", 422, "logIndex in query is required"),
        ("entries?logIndex=-1", 422, "logIndex in query should be greater than or equal to 0"),
        ("entries/abc", 422, "entryUUID in path should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'"),
    ],
)
async def test_bad_parameters_are_refused(client: httpx.AsyncClient, path: str, status: int, message: str) -> None:
    reply = await client.get(f"/api/v1/log/{path}")
    assert (status, message) == (reply.status_code, reply.json()["message"])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"logIndexes":["1"]}', b'{"logIndexes":1}', b'{"entryUUIDs":["z"]}']
)
async def test_a_bad_page_request_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.post("/api/v1/log/entries/retrieve", content=body)
    assert reply.status_code in (400, 422)


async def test_ids_and_indexes_together_are_limited_to_ten(log: RekorV1, client: httpx.AsyncClient) -> None:
    uuids = [log.shards[0].uuid(number) for number in range(5)]
    mixed = {"entryUUIDs": [uuids[0][16:], uuids[1]], "logIndexes": [9, 2]}
    assert [entry["logIndex"] for _, entry in await retrieve(client, **mixed)] == [1, 0, 9, 2]
    reply = await client.post("/api/v1/log/entries/retrieve", json={"entryUUIDs": uuids, "logIndexes": [1] * 6})
    assert (reply.status_code, reply.json()["message"]) == (422, "more than max allowed 10 entries in request")


async def test_an_omitted_entry_is_missing_from_pages_or_altogether(log: RekorV1, client: httpx.AsyncClient) -> None:
    log.omit(30)
    log.omit(31, also_singly=True)
    assert await indexes(client, 29, 30, 31, 32) == [29, 32]
    assert (await client.get("/api/v1/log/entries?logIndex=30")).status_code == 200
    assert (await client.get("/api/v1/log/entries?logIndex=31")).status_code == 404
    assert (await client.get(f"/api/v1/log/entries/{log.active.uuid(31 - FIRST_SHARD)}")).status_code == 404
    log.tell_the_truth()
    assert await indexes(client, 29, 30, 31, 32) == [29, 30, 31, 32]


async def test_an_altered_leaf_keeps_the_proof_of_the_true_one(log: RekorV1, client: httpx.AsyncClient) -> None:
    log.alter_leaf(40, b"altered", times=1)
    [(uuid, entry)] = await retrieve(client, logIndexes=[40])
    assert b64decode(entry["body"]) == b"altered"
    assert uuid == log.active.uuid(40 - FIRST_SHARD)
    [(uuid, entry)] = await retrieve(client, logIndexes=[40])
    verify_entry(log, uuid, entry)


async def test_a_lying_index_and_a_swapped_entry_are_otherwise_true(log: RekorV1, client: httpx.AsyncClient) -> None:
    log.lie_about_index(40, 41)
    log.answer_with(50, 51)
    [(uuid, entry)] = await retrieve(client, logIndexes=[40])
    assert (entry["logIndex"], entry["verification"]["inclusionProof"]["logIndex"]) == (41, 15)
    verify_entry(log, uuid, entry)
    [(uuid, entry)] = await retrieve(client, logIndexes=[50])
    assert entry["logIndex"] == 51
    verify_entry(log, uuid, entry)


async def test_an_old_replica_knows_nothing_newer(log: RekorV1, client: httpx.AsyncClient) -> None:
    log.serve_old(20)
    state = await info(client)
    assert (state["treeSize"], note_of(log, state["signedTreeHead"]).size) == (20, 20)
    assert await indexes(client, 44, 45) == [44]
    asked = f"/api/v1/log/proof?firstSize=1&lastSize=35&treeID={log.active.tree_id}"
    reply = await client.get(asked)
    assert reply.json()["message"] == "the tree size requested(35) was greater than what is currently observable(20)"
    [(uuid, entry)] = await retrieve(client, logIndexes=[44])
    verify_entry(log, uuid, entry)


async def test_a_fork_is_a_whole_history_signed_by_the_same_key(log: RekorV1, client: httpx.AsyncClient) -> None:
    true = note_of(log, (await info(client))["signedTreeHead"])
    uuid = log.active.uuid(34)
    log.fork(30)
    assert (await client.get(f"/api/v1/log/entries/{uuid}")).status_code == 404
    false = note_of(log, (await info(client))["signedTreeHead"])
    assert (true.size, true.origin) == (false.size, false.origin)
    assert true.root != false.root
    for uuid, entry in await retrieve(client, logIndexes=[54, 55, 59]):
        verify_entry(log, uuid, entry)
    asked = f"/api/v1/log/proof?firstSize=30&lastSize=35&treeID={log.active.tree_id}"
    hashes = [bytes.fromhex(node) for node in (await client.get(asked)).json()["hashes"]]
    verify_consistency(30, 35, log.active.tree.root(30), false.root, hashes)
    log.tell_the_truth()
    assert true.root == note_of(log, (await info(client))["signedTreeHead"]).root


async def test_another_key_signs_under_its_own_id_or_badly_under_the_old_one(
    log: RekorV1, client: httpx.AsyncClient
) -> None:
    other = generate_private_key(SECP256R1())
    log.sign_with(other)
    with pytest.raises(UnknownKeyError):
        note_of(log, (await info(client))["signedTreeHead"])
    log.sign_with(other, keep_key_id=True)
    with pytest.raises(BadSignatureError):
        note_of(log, (await info(client))["signedTreeHead"])
    [(uuid, entry)] = await retrieve(client, logIndexes=[0])
    with pytest.raises((InvalidSignature, BadSignatureError)):
        verify_entry(log, uuid, entry)


async def test_shards_can_be_hidden_and_reordered(log: RekorV1, client: httpx.AsyncClient) -> None:
    log.rotate()
    listed = [shard["treeID"] for shard in (await info(client))["inactiveShards"]]
    log.reorder_shards()
    assert listed[::-1] == [shard["treeID"] for shard in (await info(client))["inactiveShards"]]
    log.hide_shard(int(listed[0]))
    assert listed[1:] == [shard["treeID"] for shard in (await info(client))["inactiveShards"]]
    assert await indexes(client, 0) == [0]


async def search(client: httpx.AsyncClient, **asked: object) -> list[str]:
    return list((await client.post("/api/v1/index/retrieve", json=asked)).raise_for_status().json())


async def test_the_index_finds_subjects_digests_and_keys_in_any_case(log: RekorV1, client: httpx.AsyncClient) -> None:
    key, claims = generate_private_key(SECP256R1()), Claims()
    certificate = CertificateAuthority().issue(key.public_key(), claims)
    payload = bodies.statement("sha256:" + "ab" * 32)
    first = log.active.uuid(log.append(bodies.dsse_v1(key, certificate, payload)) - FIRST_SHARD)
    second = log.active.uuid(log.append(bodies.hashedrekord_v1(key, None, bytes(32))) - FIRST_SHARD)
    log.append(b"unreadable")
    pem = certificate.public_bytes(Encoding.PEM)
    bare = {"format": "x509", "content": text64(pem_of(key))}
    assert await search(client, publicKey=bare) == [second]
    assert await search(client, publicKey={**bare, "content": text64(pem)}) == [], "dsse keys are found by hash alone"
    assert await search(client, hash=f"sha256:{sha256(pem).hexdigest()}") == [first]
    assert [first] == await search(client, subject=claims.identity().upper())
    assert [first] == await search(client, hash=f"sha256:{sha256(payload).hexdigest()}")
    assert [second] == await search(client, hash="00" * 32)
    assert await search(client, unknown="field") == []
    assert await search(client, subject=claims.identity(), hash="00" * 32, operator="and") == []
    assert [first, second] == await search(client, subject=claims.identity(), hash="00" * 32)
