from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.ct.static import StaticCtLog
from monitor.errors import FetchError, FormatError, RateLimitedError
from monitor.testbed.ct import CtLog as ServedLog
from monitor.testbed.ct_entry import Submission, leaf_index_extension
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.note import NoteKey, verify
from monitor.tlog.proofs import verify_consistency, verify_inclusion
from monitor.tlog.tiles import data_path, tile_path
from tests import reading
from tests.reading import extras_of, gaps_of, leaves_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.fetch import Client
    from monitor.model.log import Block, Gap

SIZE = 600
SUBMISSIONS = [
    Submission(1_795_000_000_000 + number, b"certificate %d" % number, (b"issuer", b"root"), *precertificate)
    for number in range(SIZE)
    for precertificate in [(bytes(32), b"precertificate %d" % number) if number % 3 else ()]
]
LEAVES = [submission.leaf(leaf_index_extension(number)) for number, submission in enumerate(SUBMISSIONS)]


@pytest.fixture
async def server() -> AsyncIterator[ServedLog]:
    log = ServedLog(style="static", origin="ct.example.test/2026")
    for submission in SUBMISSIONS:
        log.submit(submission)
    async with log:
        yield log


def opened(server: ServedLog, client: Client, *, in_flight: int = 4) -> StaticCtLog:
    return StaticCtLog(server.origin, server.read_url + "/", client, in_flight=in_flight, requests_per_second=100_000.0)


async def read(log: StaticCtLog, start: int = 0, end: int = SIZE, size: int = SIZE) -> list[Block | Gap]:
    return await reading.read(log, start, end, size)


def places_of(pieces: list[Block | Gap]) -> list[tuple[int, int]]:
    return [(gap.start, gap.end) for gap in gaps_of(pieces)]


def reasons_of(pieces: list[Block | Gap]) -> set[str]:
    return {gap.reason for gap in gaps_of(pieces)}


def served(
    server: ServedLog,
    path: str,
    body: bytes = b"",
    *,
    status: int = 200,
    kind: str = "application/octet-stream",
    times: int | None = None,
) -> None:
    """Answer this at paths that begin so."""
    headers = {"Retry-After": "60"} if status == 429 else {}
    prefix = f"{server.base_path}/{path}"
    server.reply(status=status, body=body, content_type=kind, headers=headers, times=times, path_prefix=prefix)


def asked(server: ServedLog, path: str) -> int:
    return len(list(server.seen(f"{server.base_path}/{path}")))


def tile(start: int, end: int, *, without: int | None = None) -> bytes:
    held = [LEAVES[index][2:] + SUBMISSIONS[index].tile_extra() for index in range(start, end) if index != without]
    return b"".join(held)


async def test_the_checkpoint_is_the_note_that_the_logs_key_signed(server: ServedLog, client: Client) -> None:
    checkpoint = Checkpoint.parse(await opened(server, client).checkpoint())
    assert (checkpoint.origin, checkpoint.size) == ("ct.example.test/2026", SIZE)
    assert verify(checkpoint.note, [NoteKey.tree_head(server.origin, server.spki)])


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("in_flight", [1, 4])
async def test_all_leaves_give_the_root_of_the_checkpoint(
    server: ServedLog, client: Client, *, gzip: bool, in_flight: int
) -> None:
    server.gzip = gzip
    log = opened(server, client, in_flight=in_flight)
    pieces = await read(log)
    assert leaves_of(pieces) == LEAVES
    root = Checkpoint.parse(await log.checkpoint()).root
    assert tree_root([leaf_hash(leaf) for leaf in leaves_of(pieces)]) == root


async def test_what_stands_beside_a_leaf_is_in_the_form_of_rfc6962_with_no_chain(
    server: ServedLog, client: Client
) -> None:
    pieces = await read(opened(server, client))
    extras = extras_of(pieces)
    for submission, extra in zip(SUBMISSIONS, extras, strict=True):
        size = len(submission.precertificate).to_bytes(3, "big")
        assert extra == (size + submission.precertificate if submission.issuer_key_hash else b"") + bytes(3)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (255, 257), (300, 310), (511, 600), (599, 600)])
async def test_any_range_is_cut_out_of_its_tiles(server: ServedLog, client: Client, start: int, end: int) -> None:
    assert leaves_of(await read(opened(server, client), start, end)) == LEAVES[start:end]


async def test_a_range_outside_the_log_is_refused(server: ServedLog, client: Client) -> None:
    with pytest.raises(ValueError, match="leaves"):
        await anext(opened(server, client).blocks(0, SIZE + 1, SIZE))


@pytest.mark.parametrize("size", [100, 300, 511, 600])
async def test_an_older_size_is_read_from_full_tiles_where_partial_ones_are_gone(
    server: ServedLog, client: Client, size: int
) -> None:
    server.hide_partials()
    log = opened(server, client)
    assert leaves_of(await read(log, 0, size, size)) == LEAVES[:size]
    proof = await log.inclusion_proof(size - 1, size)
    root = tree_root([leaf_hash(leaf) for leaf in LEAVES[:size]])
    verify_inclusion(leaf_hash(LEAVES[size - 1]), size - 1, size, proof.hashes, root)


@pytest.mark.parametrize(("first", "second"), [(1, 600), (256, 600), (300, 512), (599, 600)])
async def test_consistency_is_proven_from_the_tiles(server: ServedLog, client: Client, first: int, second: int) -> None:
    proof = await opened(server, client).consistency_proof(first, second)
    roots = [tree_root([leaf_hash(leaf) for leaf in LEAVES[:size]]) for size in (first, second)]
    verify_consistency(first, second, roots[0], roots[1], proof)


async def test_a_tile_that_is_not_there_is_a_gap_over_its_leaves(server: ServedLog, client: Client) -> None:
    served(server, data_path(1), status=404)
    pieces = await read(opened(server, client), 250, 600)
    assert places_of(pieces) == [(256, 512)]
    assert reasons_of(pieces) == {"not found"}


async def test_a_tile_above_its_bound_is_a_gap_over_its_leaves(
    server: ServedLog, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pad(5, 100_000)
    monkeypatch.setattr("monitor.ct.static.DATA_LIMIT", 60_000)  # taken when the log is opened
    pieces = await read(opened(server, client))
    assert places_of(pieces) == [(0, 256)]
    assert reasons_of(pieces) == {"oversize"}


async def test_a_tile_cut_short_on_its_way_is_read_again_whole(server: ServedLog, client: Client) -> None:
    served(server, data_path(0), tile(0, 256)[:5000], times=1)
    assert leaves_of(await read(opened(server, client))) == LEAVES


async def test_of_a_tile_that_breaks_off_the_leaves_before_are_given(server: ServedLog, client: Client) -> None:
    served(server, data_path(1), tile(256, 400) + b"\0\0")
    pieces = await read(opened(server, client))
    assert places_of(pieces) == [(400, 512)]
    assert leaves_of(pieces) == LEAVES[:400] + LEAVES[512:]
    (reason,) = reasons_of(pieces)
    assert reason.startswith("malformed data tile: leaf 144 of 256")


async def test_a_leaf_that_a_tile_leaves_out_is_the_only_gap(server: ServedLog, client: Client) -> None:
    server.omit(300)
    pieces = await read(opened(server, client))
    assert places_of(pieces) == [(300, 301)]
    assert leaves_of(pieces) == LEAVES[:300] + LEAVES[301:]


async def test_bytes_after_a_tiles_last_leaf_take_no_leaf_away(server: ServedLog, client: Client) -> None:
    served(server, data_path(0), tile(0, 256) + b"more")
    assert leaves_of(await read(opened(server, client))) == LEAVES


async def test_without_its_hash_tile_a_broken_tile_gives_what_can_be_told(server: ServedLog, client: Client) -> None:
    served(server, data_path(0), tile(0, 10))
    served(server, tile_path(0, 0), status=404)
    pieces = await read(opened(server, client), 0, 256)
    assert places_of(pieces) == [(10, 256)]
    assert leaves_of(pieces) == LEAVES[:10]


async def test_a_hash_tile_of_a_wrong_length_makes_no_proof(server: ServedLog, client: Client) -> None:
    served(server, tile_path(0, 0), bytes(31))
    with pytest.raises(FormatError):
        await opened(server, client).inclusion_proof(3, SIZE)


async def test_a_server_in_trouble_makes_no_gaps(server: ServedLog, client: Client) -> None:
    served(server, "tile/", status=503)
    with pytest.raises(FetchError):
        await read(opened(server, client))
    server.heal()
    served(server, "tile/", b"<html></html>", kind="text/html")
    with pytest.raises(FetchError):
        await read(opened(server, client))


async def test_a_wait_longer_than_our_patience_ends_the_reading(server: ServedLog, client: Client) -> None:
    served(server, "tile/", status=429)
    with pytest.raises(RateLimitedError):
        await read(opened(server, client))
    assert asked(server, "tile/") <= 4


async def test_only_what_a_size_implies_is_asked_for(server: ServedLog, client: Client) -> None:
    await read(opened(server, client), 0, 300, 300)
    assert [seen.path.rpartition("/tile/")[2] for seen in server.seen(f"{server.base_path}/")] == [
        "data/000",
        "data/001.p/44",
    ]
