from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor.errors import BadSignatureError, UnknownKeyError
from monitor.testbed import bodies
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.rekor_v2 import RekorV2
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import hash_leaves, leaf_hash, tree_root
from monitor.tlog.note import NoteKey, verify
from monitor.tlog.tiles import bundle_path, recover_bundle, split_bundle, split_tile, tile_path, tile_width
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LEAVES = [b'{"leaf":%d}' % number for number in range(700)]


@pytest.fixture
async def log() -> AsyncIterator[RekorV2]:
    async with RekorV2() as server:
        server.append_many(LEAVES)
        server.publish()
        yield server


@pytest.fixture
async def client(log: RekorV2) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{log.url}{log.base_path}/") as http:
        yield http


def key_of(log: RekorV2) -> NoteKey:
    return NoteKey.from_spki(log.origin, log.spki)


async def checkpoint(client: httpx.AsyncClient, log: RekorV2) -> Checkpoint:
    """Fetch the checkpoint and require the log's signature on it."""
    head = Checkpoint.parse((await client.get("checkpoint")).raise_for_status().content)
    verify(head.note, [key_of(log)])
    assert log.origin == head.origin
    return head


async def bundle(client: httpx.AsyncClient, index: int, size: int) -> list[bytes]:
    """Fetch one entry bundle and cut it into leaves."""
    width = tile_width(0, index, size)
    data = (await client.get(bundle_path(index, width))).raise_for_status().content
    starts, ends = split_bundle(data, width)
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


async def test_the_bundles_hold_every_leaf_and_hash_to_the_signed_root(log: RekorV2, client: httpx.AsyncClient) -> None:
    head = await checkpoint(client, log)
    leaves = [leaf for index in range(3) for leaf in await bundle(client, index, head.size)]
    assert leaves == LEAVES
    assert head.root == tree_root([leaf_hash(leaf) for leaf in leaves])


async def test_the_hash_tiles_hash_to_the_signed_root(log: RekorV2, client: httpx.AsyncClient) -> None:
    head = await checkpoint(client, log)
    hashes: list[bytes] = []
    for index in range(3):
        width = tile_width(0, index, head.size)
        hashes += split_tile((await client.get(tile_path(0, index, width))).content, width)
    assert head.root == tree_root(hashes)
    above = split_tile((await client.get(tile_path(1, 0, 2))).content, 2)
    assert above == (tree_root(hashes[:256]), tree_root(hashes[256:512]))


async def test_the_key_id_is_the_one_of_the_specification(log: RekorV2) -> None:
    assert log.key_id[:4] == key_of(log).key_id


async def test_only_tiles_that_the_checkpoint_implies_are_served(log: RekorV2, client: httpx.AsyncClient) -> None:
    log.append_many([b"more"] * 100)
    assert (await client.get(tile_path(0, 2, 189))).status_code == 404
    assert (await client.get(tile_path(0, 2, 188))).status_code == 200
    log.publish()
    assert (await client.get(tile_path(0, 2))).status_code == 200
    assert (await client.get("tile/0/002.p/256")).status_code == 404
    assert (await client.get("tile/0/2")).status_code == 404


async def test_partial_tiles_disappear_once_the_full_one_exists(log: RekorV2, client: httpx.AsyncClient) -> None:
    assert (await client.get(bundle_path(0, 100))).status_code == 200
    log.hide_partials()
    assert (await client.get(bundle_path(0, 100))).status_code == 404
    assert (await client.get(tile_path(0, 0, 100))).status_code == 404
    assert (await client.get(bundle_path(0))).status_code == 200
    assert (await client.get(bundle_path(2, 100))).status_code == 200


async def test_an_altered_leaf_is_shown_in_its_bundle_only(log: RekorV2, client: httpx.AsyncClient) -> None:
    log.alter_leaf(300, b"altered", times=1)
    altered = await bundle(client, 1, 700)
    assert altered[300 - 256] == b"altered"
    hashes = split_tile((await client.get(tile_path(0, 1))).content, 256)
    assert hashes[300 - 256] == leaf_hash(LEAVES[300])
    assert await bundle(client, 1, 700) == LEAVES[256:512], "told once"


async def test_hidden_and_altered_tiles_come_back_with_the_truth(log: RekorV2, client: httpx.AsyncClient) -> None:
    log.hide_bundle(1)
    log.hide_tile(0, 1)
    log.alter_bundle(0, b"\xff\xff")
    log.alter_tile(1, 0, bytes(64))
    assert (await client.get(bundle_path(1))).status_code == 404
    assert (await client.get(tile_path(0, 1))).status_code == 404
    assert (await client.get(bundle_path(0))).content == b"\xff\xff"
    assert bytes(64) == (await client.get(tile_path(1, 0, 2))).content
    log.tell_the_truth()
    assert await bundle(client, 1, 700) == LEAVES[256:512]
    assert bytes(64) != (await client.get(tile_path(1, 0, 2))).content


async def test_an_old_checkpoint_is_the_very_one_published_then(log: RekorV2, client: httpx.AsyncClient) -> None:
    before = log.checkpoint_bytes
    log.append(b"more")
    log.publish()
    log.serve_old(700)
    assert before == (await client.get("checkpoint")).content
    log.serve_old(123)
    assert tree_root([leaf_hash(leaf) for leaf in LEAVES[:123]]) == (await checkpoint(client, log)).root
    log.tell_the_truth()
    assert (await checkpoint(client, log)).size == 701


async def test_a_fork_is_a_whole_history_signed_by_the_same_key(log: RekorV2, client: httpx.AsyncClient) -> None:
    true = await checkpoint(client, log)
    log.fork(650)
    false = await checkpoint(client, log)
    assert (true.size, true.origin) == (false.size, false.origin)
    assert true.root != false.root
    leaves = [leaf for index in range(3) for leaf in await bundle(client, index, false.size)]
    assert leaves[:650] == LEAVES[:650]
    assert all(shown != leaf for shown, leaf in zip(leaves[650:], LEAVES[650:], strict=True))
    assert false.root == tree_root([leaf_hash(leaf) for leaf in leaves])
    log.append(b"grows on")
    log.publish()
    assert (await checkpoint(client, log)).size == 701
    log.tell_the_truth()
    assert true.root == (await checkpoint(client, log)).root


async def test_another_key_signs_under_its_own_id_or_badly_under_the_old_one(
    log: RekorV2, client: httpx.AsyncClient
) -> None:
    other = Ed25519PrivateKey.generate()
    log.sign_with(other)
    with pytest.raises(UnknownKeyError):
        await checkpoint(client, log)
    log.sign_with(other, keep_key_id=True)
    with pytest.raises(BadSignatureError):
        await checkpoint(client, log)


async def test_a_frozen_log_says_so_in_its_last_checkpoint() -> None:
    def now() -> datetime:
        return datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)

    async with RekorV2(now=now) as log, httpx.AsyncClient(base_url=f"{log.url}/api/v2/") as client:
        log.append(b"last")
        log.freeze()
        assert (await checkpoint(client, log)).extensions == ("Log frozen — Tue Nov  3 04:05:06 UTC 2026",)


async def test_an_oversize_leaf_wraps_its_length_as_old_servers_did(log: RekorV2, client: httpx.AsyncClient) -> None:
    big = bytes(70_000)
    index = log.append(big)
    log.publish()
    data = (await client.get(bundle_path(2, 189))).content
    hashes = split_tile((await client.get(tile_path(0, 2, 189))).content, 189)
    starts, ends = recover_bundle(data, hashes)
    assert big == data[starts[index - 512] : ends[index - 512]]


async def test_planned_failures_come_as_often_as_planned_and_are_logged(
    log: RekorV2, client: httpx.AsyncClient
) -> None:
    log.reply(status=429, headers={"Retry-After": "7"}, times=2, path_prefix="/api/v2/checkpoint")
    refused = await client.get("checkpoint")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert (await client.get(bundle_path(0))).status_code == 200
    assert (await client.get("checkpoint")).status_code == 429
    assert (await client.get("checkpoint")).status_code == 200
    log.reply(body=b"<html>sorry</html>", times=1)
    page = await client.get("checkpoint")
    assert (page.headers["Content-Type"], page.content) == ("text/html", b"<html>sorry</html>")
    log.reply(times=1)
    assert (await client.get("checkpoint")).content == b""
    log.drop(times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("checkpoint")
    assert len(list(log.seen("/api/v2/checkpoint"))) == 6


async def test_a_hanging_log_answers_late_and_does_not_hold_its_own_stop(log: RekorV2) -> None:
    log.hang(3600)
    async with httpx.AsyncClient(timeout=httpx.Timeout(PATIENCE, read=0.1)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{log.url}/api/v2/checkpoint")
    await asyncio.wait_for(log.stop(), PATIENCE)


async def test_a_stopped_server_comes_back_at_the_same_address(log: RekorV2, client: httpx.AsyncClient) -> None:
    url = log.url
    await log.stop()
    with pytest.raises(httpx.ConnectError):
        await client.get("checkpoint")
    await log.start()
    assert url == log.url
    assert (await checkpoint(client, log)).size == 700


async def test_the_base_path_can_be_the_root() -> None:
    async with RekorV2(base_path="") as log, httpx.AsyncClient(base_url=log.url) as client:
        assert (await client.get("/checkpoint")).status_code == 200
        assert (await client.get("/api/v2/checkpoint")).status_code == 404


async def test_an_empty_log_signs_the_empty_root() -> None:
    async with RekorV2() as log, httpx.AsyncClient(base_url=f"{log.url}/api/v2/") as client:
        assert (0, sha256(b"").digest()) == ((head := await checkpoint(client, log)).size, head.root)


def test_a_hashedrekord_body_is_shaped_as_rekor_tiles_writes_it() -> None:
    key, ca = generate_private_key(SECP256R1()), CertificateAuthority()
    certificate = ca.issue(key.public_key(), Claims())
    digest = sha256(b"x").digest()
    with_certificate = RekorV2.sign_hashedrekord(key, certificate, digest)
    assert with_certificate.startswith(
        b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"'
    )
    record = json.loads(with_certificate)["spec"]["hashedRekordV002"]
    assert digest == b64decode(record["data"]["digest"])
    assert list(record["signature"]["verifier"]) == ["keyDetails", "x509Certificate"]
    bare = json.loads(RekorV2.sign_hashedrekord(key, None, digest))["spec"]["hashedRekordV002"]
    assert list(bare["signature"]["verifier"]) == ["keyDetails", "publicKey"]


def test_bodies_are_canonical_json() -> None:
    key = generate_private_key(SECP256R1())
    certificate = CertificateAuthority().issue(key.public_key(), Claims())
    for make in (bodies.hashedrekord_v1, bodies.hashedrekord_v2, bodies.dsse_v1, bodies.dsse_v2):
        body = make(key, certificate, sha256(b"x").digest())
        assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()


async def test_ten_thousand_leaves_are_published_and_served_whole() -> None:
    async with RekorV2() as log, httpx.AsyncClient(base_url=f"{log.url}/api/v2/") as client:
        log.append_many(b"%d" % number for number in range(10_000))
        log.publish()
        head = await checkpoint(client, log)
        hashes: list[bytes] = []
        for index in range(40):
            width = tile_width(0, index, head.size)
            data = (await client.get(bundle_path(index, width))).content
            hashes += hash_leaves(data, *split_bundle(data, width))
        assert head.root == tree_root(hashes)
        starts = [tile_width(0, index, head.size) for index in range(40)]
        assert all(left >= right for left, right in pairwise(starts))
