from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.errors import FetchError
from monitor.fetch import Client, FetchOptions
from monitor.model.log import Block, Gap
from monitor.rekor.v1 import RekorV1, RekorV1Shard
from monitor.rekor.v2 import RekorV2
from monitor.testbed.rekor_v1 import RekorV1 as EmbeddedV1
from monitor.testbed.rekor_v2 import RekorV2 as EmbeddedV2
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import verify_consistency, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = FetchOptions(backoff=0.001, max_backoff=0.002, attempts=6, max_retry_after=0.5)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(QUICK) as opened:
        yield opened


@pytest.fixture
async def v1() -> AsyncIterator[EmbeddedV1]:
    async with EmbeddedV1() as running:
        yield running


@pytest.fixture
async def v2() -> AsyncIterator[EmbeddedV2]:
    async with EmbeddedV2() as running:
        yield running


def leaves(count: int, begin: int = 0) -> list[bytes]:
    return [b'{"leaf":%d}' % number for number in range(begin, begin + count)]


async def read(log: RekorV2 | RekorV1Shard, start: int, end: int, size: int) -> tuple[list[bytes], list[Gap]]:
    pieces = [piece async for piece in log.blocks(start, end, size)]
    assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
    found = [piece.leaf(at) for piece in pieces if isinstance(piece, Block) for at in range(len(piece))]
    return found, [piece for piece in pieces if isinstance(piece, Gap)]


async def test_a_tile_log_is_followed_while_it_grows_and_its_partial_tiles_go(v2: EmbeddedV2, client: Client) -> None:
    log = RekorV2(v2.origin, v2.url, client)
    known: list[bytes] = []
    before: Checkpoint | None = None
    for more in (1, 200, 55, 1, 600, 70_000):
        added = leaves(more, len(known))
        v2.append_many(added)
        v2.publish()
        v2.hide_partials(hidden=more == 600)
        checkpoint = Checkpoint.parse(await log.checkpoint())
        size = checkpoint.size
        found, gaps = await read(log, len(known), size, size)
        assert (found, gaps) == (added, [])
        known += added
        assert size == len(known)
        for index in {0, len(known) // 2, len(known) - 1}:
            proof = await log.inclusion_proof(index, size)
            verify_inclusion(leaf_hash(known[index]), index, size, proof.hashes, checkpoint.root)
        if before is not None:
            proven = await log.consistency_proof(before.size, size)
            verify_consistency(before.size, size, before.root, checkpoint.root, proven)
        before = checkpoint
    assert before is not None
    assert tree_root([leaf_hash(leaf) for leaf in known]) == before.root


async def test_a_tile_log_in_passing_trouble_is_read_in_the_end(v2: EmbeddedV2, client: Client) -> None:
    v2.append_many(leaves(600))
    v2.publish()
    log = RekorV2(v2.origin, v2.url, client)
    v2.drop(times=1)
    v2.reply(status=500, body=b"<html>", times=1)
    await log.checkpoint()
    v2.reply(status=429, headers={"Retry-After": "0"}, times=1, path_prefix="/api/v2/tile/entries/000")
    v2.reply(body=b"<html>", times=1, path_prefix="/api/v2/tile/entries/001")
    v2.reply(body=b"", content_type="application/octet-stream", times=1, path_prefix="/api/v2/tile/entries/002")
    assert await read(log, 0, 600, 600) == (leaves(600), [])


async def test_a_tile_log_that_does_not_answer_is_given_up_in_time(v2: EmbeddedV2, client: Client) -> None:
    v2.hang(3.0)
    async with Client(FetchOptions(timeout=0.1, attempts=1)) as hasty:
        with pytest.raises(FetchError, match="no whole answer"):
            await RekorV2(v2.origin, v2.url, hasty).checkpoint()
    v2.heal()
    assert Checkpoint.parse(await RekorV2(v2.origin, v2.url, client).checkpoint()).size == 0


async def test_a_hidden_bundle_is_a_gap_and_what_follows_is_read(v2: EmbeddedV2, client: Client) -> None:
    v2.append_many(leaves(600))
    v2.publish()
    v2.hide_bundle(1)
    found, gaps = await read(RekorV2(v2.origin, v2.url, client), 0, 600, 600)
    assert gaps == [Gap(256, 512, "not found")]
    assert found == leaves(256) + leaves(88, 512)


async def test_a_v1_log_is_followed_while_it_grows_and_rotates(v1: EmbeddedV1, client: Client) -> None:
    server = RekorV1(v1.url, client, requests_per_second=10_000)
    expected: list[list[bytes]] = []
    for count in (23, 7, 41):
        if expected:
            v1.rotate()
        expected.append(leaves(count, 1000 * count))
        v1.append_many(expected[-1])
        logs = await server.shards()
        assert [log.offset for log in logs] == [sum(map(len, expected[:number])) for number in range(len(expected))]
        for log, whole in zip(logs, expected, strict=True):
            shard = server.shard(log)
            checkpoint = Checkpoint.parse(await shard.checkpoint())
            assert await read(shard, 0, checkpoint.size, checkpoint.size) == (whole, [])
            assert tree_root([leaf_hash(leaf) for leaf in whole]) == checkpoint.root
            proof = await shard.inclusion_proof(len(whole) - 1, checkpoint.size)
            verify_inclusion(leaf_hash(whole[-1]), len(whole) - 1, proof.size, proof.hashes, checkpoint.root)
            proven = await shard.consistency_proof(3, checkpoint.size)
            first_root = tree_root([leaf_hash(leaf) for leaf in whole[:3]])
            verify_consistency(3, checkpoint.size, first_root, checkpoint.root, proven)


async def test_what_a_v1_log_alters_omits_or_swaps_is_a_gap_each(v1: EmbeddedV1, client: Client) -> None:
    whole = leaves(50)
    v1.append_many(whole)
    v1.alter_leaf(4, b"{}")
    v1.omit(11)
    v1.omit(12, also_singly=True)
    v1.answer_with(30, 31)
    v1.lie_about_index(40, 45)
    server = RekorV1(v1.url, client, requests_per_second=10_000)
    (log,) = await server.shards()
    found, gaps = await read(server.shard(log), 0, 50, 50)
    assert [gap.start for gap in gaps] == [4, 12, 30]
    assert found == [leaf for index, leaf in enumerate(whole) if index not in {4, 12, 30}]
    v1.tell_the_truth()
    assert await read(server.shard(log), 0, 50, 50) == (whole, [])


async def test_a_v1_log_that_throttles_is_asked_less_and_read_to_the_end(v1: EmbeddedV1, client: Client) -> None:
    whole = leaves(200)
    v1.append_many(whole)
    server = RekorV1(v1.url, client, requests_per_second=10_000, in_flight=16)
    (log,) = await server.shards()
    v1.reply(status=429, headers={"Retry-After": "0"}, times=3)
    v1.reply(status=503, times=1)
    assert await read(server.shard(log), 0, 200, 200) == (whole, [])
