from __future__ import annotations

import json
import time
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import ProofError
from monitor.testbed import bodies
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.giant import GiantV1
from monitor.testbed.periodic import PeriodicTree
from monitor.testbed.rekor_v1 import RekorV1
from monitor.testbed.tree import Tree
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash
from monitor.tlog.note import NoteKey, verify
from monitor.tlog.proofs import verify_consistency, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MILLIONS = 100_000_000
PERIOD = [bodies.foreign_v1(f"giant {number}") for number in range(64)]
KEY = generate_private_key(SECP256R1())
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SUBJECT = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml@refs/tags/v0.1.2"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log(clock: Clock) -> AsyncIterator[GiantV1]:
    async with GiantV1(bodies=PERIOD, now=clock) as server:
        yield server


@pytest.fixture
async def client(log: GiantV1) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=log.url) as http:
        yield http


def real_body(text: str = "real") -> bytes:
    certificate = CertificateAuthority().issue(KEY.public_key(), Claims())
    return bodies.hashedrekord_v1(KEY, certificate, sha256(text.encode()).digest())


async def retrieve(client: httpx.AsyncClient, **asked: object) -> dict[int, tuple[str, dict[str, Any]]]:
    reply = await client.post("/api/v1/log/entries/retrieve", json=asked)
    found = [entry for one in reply.raise_for_status().json() for entry in one.items()]
    return {entry["logIndex"]: (uuid, entry) for uuid, entry in found}


async def search(client: httpx.AsyncClient, **asked: object) -> list[str]:
    return list((await client.post("/api/v1/index/retrieve", json=asked)).raise_for_status().json())


def head_of(log: GiantV1, raw: str) -> Checkpoint:
    head = Checkpoint.parse(raw.encode())
    verify(head.note, [NoteKey.from_spki(log.hostname, log.spki)])
    return head


async def verify_growth(client: httpx.AsyncClient, old: Checkpoint, new: Checkpoint) -> None:
    """Require that the log proves the one checkpoint to be of the beginning of the other."""
    query: dict[str, str | int] = {"firstSize": old.size, "lastSize": new.size, "treeID": new.origin.split()[-1]}
    proof = (await client.get("/api/v1/log/proof", params=query)).raise_for_status().json()["hashes"]
    verify_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(node) for node in proof])


def verify_entry(log: GiantV1, uuid: str, entry: dict[str, Any]) -> Checkpoint:
    """Require of an entry what a verifier requires: id, inclusion under a signed note, and the SET; the note."""
    proof, body = entry["verification"]["inclusionProof"], b64decode(entry["body"])
    head = head_of(log, proof["checkpoint"])
    assert uuid == f"{int(head.origin.split()[-1]):016x}{leaf_hash(body).hex()}"
    assert (head.size, head.root.hex()) == (proof["treeSize"], proof["rootHash"])
    assert proof["logIndex"] == entry["logIndex"]
    hashes = [bytes.fromhex(node) for node in proof["hashes"]]
    verify_inclusion(leaf_hash(body), proof["logIndex"], head.size, hashes, head.root)
    promised = {name: entry[name] for name in ("body", "integratedTime", "logID", "logIndex")}
    key = log.key.key.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    stamp = b64decode(entry["verification"]["signedEntryTimestamp"])
    key.verify(stamp, bodies.canonical(promised), ECDSA(SHA256()))
    return head


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 4),
    st.lists(st.integers(0, 400), max_size=4),
    st.integers(1, 400),
    st.data(),
)
def test_a_periodic_tree_is_the_tree_of_the_leaves_that_it_stands_for(
    height: int, planted: list[int], size: int, data: st.DataObject
) -> None:
    period = [b"periodic %d" % number for number in range(1 << height)]
    tree = PeriodicTree(period)
    leaves = [period[index % len(period)] for index in range(size)]
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    for place in planted:
        tree.root(size)
        tree.inclusion_hex(index, size)  # what was asked before must not outlive what is planted now
        tree.plant(place, b"planted %d" % place)
        if place < size:
            leaves[place] = b"planted %d" % place
    plain = Tree(leaves)
    assert plain.root() == tree.root(size)
    assert [node.hex() for node in plain.inclusion(index, size)] == tree.inclusion_hex(index, size)
    assert plain.consistency(first, size) == tree.consistency(first, size)
    assert leaves[index] == tree.leaf(index)


def test_a_period_is_a_power_of_two_and_no_proof_is_given_beyond_the_end() -> None:
    for count in (0, 3):
        with pytest.raises(ProofError):
            PeriodicTree([b""] * count)
    with pytest.raises(ProofError):
        PeriodicTree([b""]).inclusion_hex(5, 5)
    with pytest.raises(ProofError):
        PeriodicTree([b""]).plant(1 << 48, b"")


async def test_entries_all_over_a_hundred_million_are_proven_and_promised(
    log: GiantV1, client: httpx.AsyncClient
) -> None:
    asked = [0, 1, 63, 64, 12_345_678, 1 << 26, (1 << 26) - 1, MILLIONS - 1, MILLIONS - 2, MILLIONS // 2]
    found = await retrieve(client, logIndexes=[*asked[:9], MILLIONS])
    assert sorted(found) == sorted(asked[:9]), "what is beyond the end is left out"
    for index, (uuid, entry) in found.items():
        head = verify_entry(log, uuid, entry)
        assert head.size == MILLIONS
        assert b64decode(entry["body"]) == PERIOD[index % 64]
    reply = await client.get("/api/v1/log/entries", params={"logIndex": asked[9]})
    [(uuid, entry)] = reply.json().items()
    verify_entry(log, uuid, entry)
    assert (await client.post("/api/v1/log/entries/retrieve", json={"logIndexes": list(range(11))})).status_code == 422
    assert log.entries_served == 10


async def test_it_grows_by_the_clock_and_every_size_is_consistent_with_the_last(
    log: GiantV1, client: httpx.AsyncClient, clock: Clock
) -> None:
    heads = []
    for _ in range(4):
        info = (await client.get("/api/v1/log")).json()
        head = head_of(log, info["signedTreeHead"])
        assert (info["treeSize"], info["rootHash"], info["inactiveShards"]) == (head.size, head.root.hex(), [])
        heads.append(head)
        clock.time += timedelta(seconds=1.7)
    assert [head.size - MILLIONS for head in heads] == [0, 340, 680, 1020]
    for old, new in pairwise(heads):
        await verify_growth(client, old, new)


async def test_integrated_times_follow_from_the_index_alone_and_never_lie_ahead(
    client: httpx.AsyncClient, clock: Clock
) -> None:
    clock.time += timedelta(seconds=60)
    found = await retrieve(client, logIndexes=[MILLIONS + 11_999, MILLIONS, MILLIONS - 120_000])
    times = {index - MILLIONS: entry["integratedTime"] - int(START.timestamp()) for index, (_, entry) in found.items()}
    assert times == {11_999: 59, 0: 0, -120_000: -600}


async def test_what_is_appended_is_real_is_proven_and_is_found_by_search(
    log: GiantV1, client: httpx.AsyncClient, clock: Clock
) -> None:
    old = head_of(log, (await client.get("/api/v1/log")).json()["signedTreeHead"])
    body = real_body()
    index = log.append(body)
    assert index == MILLIONS
    clock.time += timedelta(hours=1)
    later = log.append(real_body("later"))
    clock.time += timedelta(hours=1)
    found = await retrieve(client, logIndexes=[index - 1, index, index + 1, later])
    assert len(found) == 4
    heads = [verify_entry(log, uuid, entry) for uuid, entry in found.values()]
    assert b64decode(found[index][1]["body"]) == body
    await verify_growth(client, old, heads[0])
    assert await search(client, subject=SUBJECT.upper()) == [found[index][0], found[later][0]]
    assert await search(client, hash=sha256(b"real").hexdigest()) == [found[index][0]]
    pem = json.loads(body)["spec"]["signature"]["publicKey"]["content"]
    assert await search(client, publicKey={"format": "x509", "content": pem}) == [found[index][0]]
    for uuid in (found[index][0], found[index][0][16:]):
        entry = (await client.get(f"/api/v1/log/entries/{uuid}")).json()
        assert [each["logIndex"] for each in entry.values()] == [index]


async def test_what_is_planted_deep_inside_is_proven_beside_its_untouched_neighbours(clock: Clock) -> None:
    log = GiantV1(bodies=PERIOD, now=clock)
    body = real_body()
    planted = (7, 70_000_000, MILLIONS + 5)
    for index in planted:
        log.plant(index, body)
    async with log, httpx.AsyncClient(base_url=log.url) as client:
        assert log.size == MILLIONS
        assert await search(client, subject=SUBJECT) == [log.uuid(7)] * 2, "what is planted ahead is not there yet"
        clock.time += timedelta(seconds=1)
        found = await retrieve(client, logIndexes=[6, 8, 7 + 64, *planted, 69_999_999])
        for index, (uuid, entry) in found.items():
            verify_entry(log, uuid, entry)
            assert (b64decode(entry["body"]) == body) == (index in planted)
        [entry] = (await client.get(f"/api/v1/log/entries/{log.uuid(7 + 64)}")).json().values()
        assert entry["logIndex"] == 7 + 64, "the first place of that leaf was planted over"


async def test_periodic_entries_are_certified_signatures_that_a_search_finds_too() -> None:
    ca = CertificateAuthority()
    async with GiantV1(period_bits=7, ca=ca) as log, httpx.AsyncClient(base_url=log.url) as client:
        assert log.tree.period == 128
        subject = "https://github.com/globex/svc-3/.github/workflows/release.yml@refs/tags/v0.1.2"
        found = await search(client, subject=subject)
        assert found == [log.uuid(3), log.uuid(67)]
        [(uuid, entry)] = (await client.get(f"/api/v1/log/entries/{found[1]}")).json().items()
        verify_entry(log, uuid, entry)
        assert await search(client, subject=subject, hash=sha256(b"giant 67").hexdigest(), operator="and") == [uuid]


@pytest.mark.parametrize("kind", ["small", "giant"])
async def test_a_search_can_be_turned_off_as_real_servers_turn_it_off(kind: str) -> None:
    log = RekorV1() if kind == "small" else GiantV1(bodies=PERIOD)
    async with log, httpx.AsyncClient(base_url=log.url) as client:
        assert await search(client, subject="x") == []
        log.index_off = 501
        reply = await client.post("/api/v1/index/retrieve", json={"subject": "x"})
        error = {"code": 501, "message": "Search Index API not enabled in this Rekor instance"}
        assert (reply.status_code, reply.json()) == (501, error)
        log.index_off = 404
        assert (await client.post("/api/v1/index/retrieve", json={"subject": "x"})).status_code == 404


async def test_requests_are_counted_by_path_delayed_and_held_to_a_ceiling(
    log: GiantV1, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        await retrieve(client, logIndexes=[index])
    await client.get(f"/api/v1/log/entries/{log.uuid(0)}")
    assert log.counts == {"/api/v1/log/entries/retrieve": 3, "/api/v1/log/entries/{uuid}": 1}
    assert not log.requests
    log.latency = 0.05
    before = time.perf_counter()
    await retrieve(client, logIndexes=[1])
    assert time.perf_counter() - before >= 0.05
    log.latency, log.ceiling = 0.0, 4
    with monkeypatch.context() as still:  # all of them come within one second, however slow this machine is
        still.setattr("monitor.testbed.giant.monotonic", lambda: 1000.0)
        replies = [await client.get("/api/v1/log") for _ in range(6)]
    assert [reply.status_code for reply in replies] == [200] * 4 + [429] * 2
    assert replies[-1].headers["Retry-After"] == "1"
    assert log.counts["429"] == 2
    log.ceiling = None
    log.reply(status=503, times=1)
    assert [(await client.get("/api/v1/log")).status_code for _ in range(2)] == [503, 200]
