from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from monitor.errors import FetchError, FormatError, NotFoundError, OversizeError, ProofError, RateLimitedError
from monitor.fetch import Client, FetchOptions
from monitor.model.log import Block, Gap
from monitor.rekor.v2 import BUNDLE_LIMIT, RekorV2
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import hash_leaves, leaf_hash, tree_root
from monitor.tlog.proofs import verify_consistency, verify_inclusion
from monitor.tlog.tiles import bundle_path, tile_path
from tests.integration.rekor.tilelog import TileLog
from tests.reading import QUICK, gaps_of, leaves_of, read
from tests.replay import V2_ORIGIN, V2_SIZES, ReplayV2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

LEAVES = [b"leaf %d " % number * (number % 7 + 1) for number in range(900)]


@pytest.fixture
async def recording() -> AsyncIterator[ReplayV2]:
    async with ReplayV2() as running:
        yield running


@pytest.fixture
async def tiles() -> AsyncIterator[TileLog]:
    async with TileLog(LEAVES) as running:
        yield running


def only_gap(pieces: list[Block | Gap]) -> Gap:
    (gap,) = gaps_of(pieces)
    return gap


def on(
    path: str, answer: Callable[[], web.StreamResponse], *, times: int = 1 << 30
) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    """Answer `answer` for requests whose path ends in `path`, so many times."""
    left = times

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if not request.path.endswith(path) or left == 0:
            return None
        left -= 1
        return answer()

    return intercept


async def recorded_checkpoint(size: int) -> bytes:
    async with ReplayV2(size=size) as then, Client(QUICK) as client:
        return await RekorV2(V2_ORIGIN, then.url, client).checkpoint()


def html() -> web.Response:
    return web.Response(text="<html>be right back</html>", content_type="text/html")


@pytest.mark.parametrize("size", V2_SIZES)
async def test_all_leaves_of_the_recording_give_the_root_of_every_published_size(
    recording: ReplayV2, client: Client, size: int
) -> None:
    recording.size = size
    log = RekorV2(V2_ORIGIN, recording.url, client)
    checkpoint = Checkpoint.parse(await log.checkpoint())
    assert (checkpoint.origin, checkpoint.size) == (log.origin, size)
    hashes = [
        value
        for block in await read(log, 0, size, size)
        if isinstance(block, Block)
        for value in hash_leaves(block.data, block.starts, block.ends)
    ]
    assert tree_root(hashes) == checkpoint.root


async def test_the_fork_is_read_as_faithfully_and_gives_its_own_root(client: Client) -> None:
    async with ReplayV2(tree="fork") as server:
        log = RekorV2(V2_ORIGIN, server.url, client)
        checkpoint = Checkpoint.parse(await log.checkpoint())
        leaves = leaves_of(await read(log, 0, checkpoint.size, checkpoint.size))
    assert tree_root([leaf_hash(leaf) for leaf in leaves]) == checkpoint.root


@pytest.mark.parametrize("size", V2_SIZES)
async def test_every_inclusion_proof_made_from_the_recorded_tiles_verifies(
    recording: ReplayV2, client: Client, size: int
) -> None:
    recording.size = size
    log = RekorV2(V2_ORIGIN, recording.url, client)
    root = Checkpoint.parse(await log.checkpoint()).root
    leaves = leaves_of(await read(log, 0, size, size))
    for index, leaf in enumerate(leaves):
        proof = await log.inclusion_proof(index, size)
        assert (proof.index, proof.size, proof.leaf_hash, proof.note) == (index, size, leaf_hash(leaf), None)
        verify_inclusion(proof.leaf_hash, index, size, proof.hashes, root)


async def test_consistency_proofs_made_from_the_recorded_tiles_verify_between_all_published_sizes(
    recording: ReplayV2, client: Client
) -> None:
    log = RekorV2(V2_ORIGIN, recording.url, client)
    roots = {}
    for size in V2_SIZES:
        recording.size = size
        roots[size] = Checkpoint.parse(await log.checkpoint()).root
        for first in V2_SIZES[: V2_SIZES.index(size)]:
            proof = await log.consistency_proof(first, size)
            verify_consistency(first, size, roots[first], roots[size], proof)


async def test_proofs_from_any_size_to_any_other_verify(tiles: TileLog, client: Client) -> None:
    log = RekorV2("o", tiles.url, client)
    for first in (*range(1, 20), 255, 256, 257, 511, 512, 513, 768, 899):
        proof = await log.consistency_proof(first, tiles.size)
        verify_consistency(first, tiles.size, tiles.root(first), tiles.root(tiles.size), proof)
    asked = [request for request in tiles.requests if "/tile/" in request]
    assert len(asked) == len(set(asked)), "a tile once read is not asked for again"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 0),
        (0, 1),
        (0, 256),
        (255, 257),
        (256, 512),
        (300, 310),
        (1, 900),
        (767, 769),
        (768, 900),
        (899, 900),
        (900, 900),
    ],
)
async def test_any_part_of_a_log_is_read_exactly(tiles: TileLog, client: Client, start: int, end: int) -> None:
    pieces = await read(RekorV2("o", tiles.url, client), start, end, tiles.size)
    assert leaves_of(pieces) == LEAVES[start:end]
    for block in pieces:
        assert isinstance(block, Block)
        assert len(block.data) == sum(len(block.leaf(offset)) + 2 for offset in range(len(block)))
    assert len([request for request in tiles.requests if "/entries/" in request]) == len(pieces)


@pytest.mark.parametrize(("start", "end", "size"), [(-1, 1, 5), (3, 2, 5), (0, 6, 5)])
async def test_leaves_outside_the_signed_size_are_never_asked_for(
    tiles: TileLog, client: Client, start: int, end: int, size: int
) -> None:
    log = RekorV2("o", tiles.url, client)
    with pytest.raises(ValueError, match="of a log of 5"):
        await read(log, start, end, size)
    with pytest.raises(ProofError):
        await log.inclusion_proof(size, size)
    assert tiles.requests == []


async def test_only_tiles_that_the_signed_size_implies_are_asked_for(recording: ReplayV2, client: Client) -> None:
    log = RekorV2(V2_ORIGIN, recording.url, client)
    recording.size = 403
    await read(log, 0, 403, 403)
    await log.inclusion_proof(402, 403)
    assert {request.removeprefix("/api/v2/") for request in recording.requests} == {
        "checkpoint",
        "tile/entries/000",
        "tile/entries/001.p/147",
        "tile/0/001.p/147",
        "tile/1/000.p/1",
    }


async def test_a_partial_tile_that_is_gone_is_cut_from_the_full_one(recording: ReplayV2, client: Client) -> None:
    recording.keeps_partials = False
    log = RekorV2(V2_ORIGIN, recording.url, client)
    root = Checkpoint.parse(await recorded_checkpoint(200)).root
    leaves = leaves_of(await read(log, 0, 200, 200))
    assert len(leaves) == 200
    assert tree_root([leaf_hash(leaf) for leaf in leaves]) == root
    proof = await log.inclusion_proof(199, 200)
    verify_inclusion(proof.leaf_hash, 199, 200, proof.hashes, root)
    assert "/api/v2/tile/entries/000.p/200" in recording.requests
    assert "/api/v2/tile/0/000" in recording.requests


@pytest.mark.parametrize(
    ("base", "given"), [("/api/v2", ""), ("/api/v2", "/"), ("/api/v2", "/api/v2/"), ("", "/"), ("", "")]
)
async def test_the_base_path_is_found_out_once_and_remembered(client: Client, base: str, given: str) -> None:
    async with ReplayV2(base=base) as server:
        log = RekorV2(V2_ORIGIN, server.url + given, client)
        assert len(leaves_of(await read(log, 0, 10, 457))) == 10
        await log.checkpoint()
        await read(log, 250, 260, 457)
    probed = [request for request in server.requests if request.startswith("/api/v2/") != (base == "/api/v2")]
    assert probed == ([] if base else ["/api/v2/checkpoint"])


async def test_a_log_that_moves_to_the_other_base_is_found_again(tiles: TileLog, client: Client) -> None:
    there = deque(["/api/v2", "", "", "/api/v2"])

    async def moved(request: web.Request) -> web.StreamResponse:
        if request.path == f"{there[0]}/checkpoint":
            return web.Response(body=tiles.files["checkpoint"])
        return web.Response(status=404)

    tiles.intercept = moved
    log = RekorV2("o", tiles.url, client)
    while there:
        assert await log.checkpoint() == tiles.files["checkpoint"]
        there.popleft()
    assert len(tiles.requests) == 6


async def test_a_checkpoint_nowhere_is_not_found(client: Client) -> None:
    async with ReplayV2(base="/elsewhere") as server:
        with pytest.raises(NotFoundError):
            await RekorV2(V2_ORIGIN, server.url, client).checkpoint()


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"origin\n5\nroot\n", b"\xff\xfe", b"{}"])
async def test_what_is_no_note_is_refused_as_such_and_shown(recording: ReplayV2, client: Client, body: bytes) -> None:
    recording.intercept = on("checkpoint", lambda: web.Response(body=body, content_type="text/html"))
    with pytest.raises(FormatError, match=r"no signed note.*text/html") as caught:
        await RekorV2(V2_ORIGIN, recording.url, client).checkpoint()
    assert str(caught.value).isprintable()


async def test_a_checkpoint_without_end_is_oversize(recording: ReplayV2, client: Client) -> None:
    recording.intercept = on("checkpoint", lambda: web.Response(body=b"x" * 65_537))
    with pytest.raises(OversizeError):
        await RekorV2(V2_ORIGIN, recording.url, client).checkpoint()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.Response(status=500), FetchError),
        (lambda: web.Response(status=502, text="<html>", content_type="text/html"), FetchError),
        (lambda: web.Response(status=403), FetchError),
        (lambda: web.Response(status=429, headers={"Retry-After": "0"}), RateLimitedError),
        (lambda: web.Response(status=429, headers={"Retry-After": "600"}), RateLimitedError),
        (html, FetchError),
    ],
)
async def test_a_server_in_trouble_ends_the_reading_and_makes_no_gap(
    tiles: TileLog, client: Client, answer: Callable[[], web.Response], error: type[FetchError]
) -> None:
    tiles.intercept = on("tile/entries/001", answer)
    got: list[Block | Gap] = []
    with pytest.raises(error) as caught:
        await read(RekorV2("o", tiles.url, client), 0, 900, 900, into=got)
    assert not isinstance(caught.value, NotFoundError | OversizeError)
    assert leaves_of(got) == LEAVES[:256]


async def test_a_server_that_hangs_or_hangs_up_ends_the_reading(tiles: TileLog) -> None:
    async def hang(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("tile/entries/002"):
            await asyncio.sleep(2)
        return None

    async def hang_up(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("tile/entries/002") and request.transport is not None:
            request.transport.abort()
        return None

    for trouble in (hang, hang_up):
        tiles.intercept = trouble
        async with Client(FetchOptions(timeout=0.2, attempts=1)) as client:
            with pytest.raises(FetchError):
                await read(RekorV2("o", tiles.url, client), 0, 900, 900)


@pytest.mark.parametrize("answer", [html, lambda: web.Response(body=b""), lambda: web.Response(body=b"\x00\x05ab")])
async def test_one_bad_answer_from_a_cache_is_read_again_past_it(
    tiles: TileLog, client: Client, answer: Callable[[], web.Response]
) -> None:
    asked: list[str | None] = []
    once = on("tile/entries/001", answer, times=1)

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("tile/entries/001"):
            asked.append(request.headers.get("cache-control"))
        return await once(request)

    tiles.intercept = intercept
    assert leaves_of(await read(RekorV2("o", tiles.url, client), 0, 900, 900)) == LEAVES
    assert asked == [None, "no-cache"]


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "the last leaf overruns": lambda data: data[:-1],
    "bytes trail": lambda data: data + b"\x00",
    "a leaf too many": lambda data: data + b"\x00\x01x",
    "leaves are missing": lambda data: data[: len(data) // 2],
    "a length is wrong": lambda data: b"\x00\x01" + data[2:],
    "empty": lambda _: b"",
    "one byte": lambda _: b"\x00",
    "another file": lambda _: b"a" * 9_000,
}


@pytest.mark.parametrize("attack", MALFORMED)
async def test_one_malformed_bundle_is_one_gap_and_the_rest_is_read(
    tiles: TileLog, client: Client, attack: str
) -> None:
    for number, path in ((1, bundle_path(1)), (3, bundle_path(3, 132))):
        good = tiles.files[path]
        tiles.files[path] = MALFORMED[attack](good)
        pieces = await read(RekorV2("o", tiles.url, client), 10, 890, 900)
        gap = only_gap(pieces)
        assert (gap.start, gap.end) == (number * 256, min(number * 256 + 256, 890))
        assert gap.reason.startswith("malformed entry bundle: ")
        whole = [
            leaf
            for piece in pieces
            for leaf in (leaves_of([piece]) if isinstance(piece, Block) else [b""] * len(piece))
        ]
        assert all(got in {leaf, b""} for got, leaf in zip(whole, LEAVES[10:890], strict=True))
        tiles.files[path] = good


async def test_a_malformed_bundle_without_its_hash_tile_is_a_gap_too(tiles: TileLog, client: Client) -> None:
    tiles.files[bundle_path(1)] += b"x"
    for broken in (None, b"short", b"x" * 9_000):
        tiles.files.pop(tile_path(0, 1), None)
        if broken is not None:
            tiles.files[tile_path(0, 1)] = broken
        gap = only_gap(await read(RekorV2("o", tiles.url, client), 0, 900, 900))
        assert (gap.start, gap.end) == (256, 512)


async def test_a_bundle_that_is_not_there_is_a_gap_of_exactly_its_leaves(tiles: TileLog, client: Client) -> None:
    del tiles.files[bundle_path(1)]
    del tiles.files[bundle_path(3, 132)]
    pieces = await read(RekorV2("o", tiles.url, client), 300, 900, 900)
    assert [(type(piece), piece.start, piece.end) for piece in pieces] == [
        (Gap, 300, 512),
        (Block, 512, 768),
        (Gap, 768, 900),
    ]
    assert pieces[0] == Gap(300, 512, "not found")


async def test_a_bundle_over_every_bound_is_a_gap(tiles: TileLog, client: Client) -> None:
    tiles.files[bundle_path(1)] = bytes(BUNDLE_LIMIT + 1)
    gap = only_gap(await read(RekorV2("o", tiles.url, client), 0, 900, 900))
    assert gap == Gap(256, 512, "oversize")


async def test_a_full_bundle_of_the_longest_legal_leaves_is_read(client: Client) -> None:
    leaves = [bytes([number]) * 65_535 for number in range(256)]
    async with TileLog(leaves) as server:
        assert leaves_of(await read(RekorV2("o", server.url, client), 0, 256, 256)) == leaves


@pytest.mark.parametrize("length", [65_536, 65_537, 70_000, 200_001, 1 << 20])
async def test_a_leaf_whose_length_wrapped_at_16_bits_is_recovered_by_its_hash(client: Client, length: int) -> None:
    leaves = [b"a" * 100, b"b" * length, b"c" * 3, b"", b"d" * length, b"e"]
    async with TileLog(leaves) as server:
        log = RekorV2("o", server.url, client)
        assert leaves_of(await read(log, 0, 6, 6)) == leaves
        assert leaves_of(await read(log, 1, 5, 6)) == leaves[1:5]


async def test_a_wrapped_leaf_in_a_partial_bundle_that_is_gone_is_recovered_from_the_full_one(client: Client) -> None:
    leaves = [*LEAVES[:256]]
    leaves[7] = b"x" * 66_000
    async with TileLog(leaves) as server:
        assert leaves_of(await read(RekorV2("o", server.url, client), 0, 100, 100)) == leaves[:100]


async def test_the_order_is_kept_with_many_in_flight_and_no_more_than_allowed(client: Client) -> None:
    leaves = [b"%d" % number for number in range(256 * 40)]
    chance = random.Random(4)  # noqa: S311 - delays of a test
    async with TileLog(leaves) as server:

        async def delay(_request: web.Request) -> None:
            await asyncio.sleep(chance.random() * 0.02)

        server.intercept = delay
        log = RekorV2("o", server.url, client, in_flight=5)
        assert leaves_of(await read(log, 0, len(leaves), len(leaves))) == leaves
        assert 1 < server.busiest <= 5


async def test_a_reader_that_stops_early_leaves_nothing_running(tiles: TileLog, client: Client) -> None:
    async def delay(_request: web.Request) -> None:
        await asyncio.sleep(0.01)

    tiles.intercept = delay
    ours = asyncio.all_tasks()
    async with aclosing(RekorV2("o", tiles.url, client).blocks(0, 900, 900)) as pieces:
        async for _ in pieces:
            break
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() - ours if "_bundle" in repr(task)]


async def test_a_changed_tile_is_seen_by_a_fresh_proof_and_kept_from_then_on(tiles: TileLog, client: Client) -> None:
    log = RekorV2("o", tiles.url, client)
    path = tile_path(0, 1)
    good = tiles.files[path]
    tiles.files[path] = bytes(32) + good[32:]
    assert (await log.inclusion_proof(256, 900)).leaf_hash == bytes(32)
    tiles.files[path] = good
    assert (await log.inclusion_proof(256, 900)).leaf_hash == bytes(32)
    fresh = await log.inclusion_proof(256, 900, fresh=True)
    verify_inclusion(leaf_hash(LEAVES[256]), 256, 900, fresh.hashes, tiles.root(900))
    assert (await log.inclusion_proof(256, 900)) == fresh


async def test_fresh_blocks_pass_by_caches(tiles: TileLog, client: Client) -> None:
    asked: list[str | None] = []

    async def note(request: web.Request) -> None:
        asked.append(request.headers.get("cache-control"))

    log = RekorV2("o", tiles.url, client)
    await log.checkpoint()
    tiles.intercept = note
    await read(log, 0, 300, 900, fresh=True)
    assert asked[-2:] == ["no-cache", "no-cache"]


@pytest.mark.parametrize("broken", [b"", b"x", bytes(31), bytes(256 * 32 - 1), bytes(256 * 32 + 1)])
async def test_a_hash_tile_of_a_wrong_length_is_refused_and_not_kept(
    tiles: TileLog, client: Client, broken: bytes
) -> None:
    log = RekorV2("o", tiles.url, client)
    path = tile_path(0, 0)
    good = tiles.files[path]
    tiles.files[path] = broken
    with pytest.raises((FormatError, OversizeError)):
        await log.inclusion_proof(5, 900)
    tiles.files[path] = good
    proof = await log.inclusion_proof(5, 900)
    verify_inclusion(leaf_hash(LEAVES[5]), 5, 900, proof.hashes, tiles.root(900))


def test_published_sizes_of_the_recording_grow() -> None:
    assert all(first < second for first, second in pairwise(V2_SIZES))
