from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from monitor.ct import query
from monitor.ct.rfc6962 import CtLog
from monitor.errors import FetchError, FormatError, NotFoundError, RateLimitedError
from monitor.model.log import Gap
from monitor.testbed.ct import CtLog as ServedLog
from monitor.testbed.ct_entry import Submission
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.note import NoteKey, verify
from monitor.tlog.proofs import verify_consistency, verify_inclusion
from monitor.trust import root as trust_root
from tests import reading
from tests.integration.ct.recorded import BASE, SIZE, RecordedCT, replies
from tests.reading import LEFT_OUT, extras_of, gaps_of, leaves_of
from tests.replay import RECORDING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from monitor.fetch import Client
    from monitor.model.log import Block
    from tests.replay import Intercept

TRUSTED = trust_root.parse((RECORDING / "trusted_root.json").read_bytes()).ct_keys[0].log()


@pytest.fixture
async def server() -> AsyncIterator[RecordedCT]:
    async with RecordedCT() as running:
        yield running


def opened(server: RecordedCT, client: Client, *, in_flight: int = 4, rate: float = 100_000.0) -> CtLog:
    return CtLog(TRUSTED.origin, server.base, TRUSTED.key_id, client, in_flight=in_flight, requests_per_second=rate)


async def read(log: CtLog, start: int = 0, end: int = SIZE, size: int = SIZE) -> list[Block | Gap]:
    return await reading.read(log, start, end, size)


def at(what: str, answer: Callable[[web.Request], web.StreamResponse | None], *, times: int = 1 << 30) -> Intercept:
    return reading.on(BASE + what, answer, times=times)


def answering(what: str, text: str) -> Intercept:
    return at(what, lambda _: web.Response(text=text))


def singles(server: RecordedCT) -> list[int]:
    return [int(asked["start"]) for asked in server.asked("get-entries") if asked["start"] == asked["end"]]


async def test_the_recorded_tree_head_is_a_note_that_the_logs_key_verifies(server: RecordedCT, client: Client) -> None:
    checkpoint = Checkpoint.parse(await opened(server, client).checkpoint())
    (verified,) = verify(checkpoint.note, [TRUSTED.key])
    assert (checkpoint.origin, checkpoint.size) == (TRUSTED.origin, SIZE)
    assert verified.timestamp == int(server.head["timestamp"]) // 1000


async def test_all_recorded_leaves_give_the_root_of_the_tree_head(server: RecordedCT, client: Client) -> None:
    log = opened(server, client)
    checkpoint = Checkpoint.parse(await log.checkpoint())
    pieces = await read(log)
    assert not gaps_of(pieces)
    assert tree_root([leaf_hash(leaf) for leaf in leaves_of(pieces)]) == checkpoint.root
    assert extras_of(pieces) == server.extras


@pytest.mark.parametrize("page", [1, 2, 7, 53, 105, 106])
@pytest.mark.parametrize("border", [10, 1000])
@pytest.mark.parametrize("in_flight", [1, 4])
async def test_pages_of_any_size_carry_all_leaves(
    server: RecordedCT, client: Client, page: int, border: int, in_flight: int
) -> None:
    server.page, server.border = page, border
    pieces = await read(opened(server, client, in_flight=in_flight), 3)
    assert not gaps_of(pieces)
    assert leaves_of(pieces) == server.leaves[3:]


async def test_the_size_of_a_page_is_learned_from_the_answers(server: RecordedCT, client: Client) -> None:
    server.page = 8
    log = opened(server, client)
    await read(log)
    before = len(server.requests)
    await read(log)
    assert len(server.requests) - before <= SIZE // 8 + 3


@pytest.mark.parametrize("border", [100, 256, 1000, 4096])
async def test_a_log_is_asked_for_its_own_pages_from_wherever_it_is_read_on(border: int, client: Client) -> None:
    async with ServedLog(page_size=border) as served:
        for number in range(4500):
            served.submit(Submission(1_795_000_000_000 + number, b"certificate %d" % number, (b"issuer",)))
        key_id = NoteKey.tree_head(served.origin, served.spki).key_id
        log = CtLog(served.origin, served.read_url, key_id, client, requests_per_second=100_000.0)
        await read(log, 17, 2321, 4500)
        before = len(list(served.seen(f"{served.base_path}/ct/v1/get-entries")))

        pieces = await read(log, 2321, 4500, 4500)

        asked = len(list(served.seen(f"{served.base_path}/ct/v1/get-entries"))) - before
        assert leaves_of(pieces) == [served.history.entry(index).leaf_input for index in range(2321, 4500)]
        page = min(border, 1000)
        assert asked <= -(-4500 // page) - 2321 // page + 2


async def test_an_answer_cut_at_a_border_of_the_servers_does_not_make_all_pages_small(
    server: RecordedCT, client: Client
) -> None:
    server.page = server.border = 50
    log = opened(server, client)
    await read(log, 48, 53)  # cut to two
    before = len(server.requests)
    await read(log)
    assert len(server.requests) - before <= 4


async def test_a_server_that_gives_more_at_once_again_is_asked_for_more_again(
    server: RecordedCT, client: Client
) -> None:
    server.page = 3
    log = opened(server, client)
    await read(log)
    server.page = 1000
    for _ in range(8):
        await read(log)
    before = len(server.requests)
    await read(log)
    assert len(server.requests) - before <= 4


async def test_a_page_above_its_bound_is_remembered_and_tried_again_ever_more_seldom(
    server: RecordedCT, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.ct.pages.ENTRIES_LIMIT", 60_000)
    monkeypatch.setattr("monitor.ct.pages.PAGE", 32)
    log = opened(server, client, in_flight=1)

    async def too_much() -> int:
        """How many answers of ten readings were above the bound."""
        before = len(server.asked("get-entries"))
        for _ in range(10):
            assert leaves_of(await read(log)) == server.leaves
        asked = [int(each["end"]) - int(each["start"]) + 1 for each in server.asked("get-entries")[before:]]
        return sum(leaves > 8 for leaves in asked)

    first, *_, last = [await too_much() for _ in range(5)]
    assert 0 < first <= 8
    assert last <= 1


@pytest.mark.parametrize("status", [502, 504])
async def test_a_server_that_does_not_answer_for_so_many_in_time_is_asked_for_half_by_the_next_pass(
    server: RecordedCT, client: Client, status: int
) -> None:
    def slow(request: web.Request) -> web.StreamResponse | None:
        wide = int(request.query["end"]) - int(request.query["start"]) >= 80
        return web.Response(status=status, text="upstream took too long") if wide else None

    server.intercept = at("get-entries", slow)
    log = opened(server, client)
    with pytest.raises(FetchError):
        await read(log)
    failures = 1
    while failures < 10:
        try:
            pieces = await read(log)
            break
        except FetchError:
            failures += 1
    assert leaves_of(pieces) == server.leaves
    assert failures <= 5


async def test_more_entries_than_asked_for_are_not_taken(server: RecordedCT, client: Client) -> None:
    server.intercept = at("get-entries", lambda _: web.json_response({"entries": server.entries}))
    assert leaves_of(await read(opened(server, client), 0, 5)) == server.leaves[:5]


async def test_a_range_outside_the_log_is_refused(server: RecordedCT, client: Client) -> None:
    with pytest.raises(ValueError, match="leaves"):
        await anext(opened(server, client).blocks(0, SIZE + 1, SIZE))


async def test_the_recorded_consistency_proofs_are_read_and_verify(server: RecordedCT, client: Client) -> None:
    recorded = replies()
    for name, (_, body) in recorded.items():
        if not name.startswith("get-sth-consistency") or "first=106" in name:
            continue
        first, second = (int(part.partition("=")[2]) for part in name.partition("?")[2].split("&"))
        server.intercept = answering("get-sth-consistency", body)
        proof = await opened(server, client).consistency_proof(first, second)
        verify_consistency(first, second, tree_root(server.hashes[:first]), tree_root(server.hashes[:second]), proof)


async def test_a_replica_that_lags_is_asked_again_on_new_connections(server: RecordedCT, client: Client) -> None:
    lagging = at("get-sth-consistency", lambda _: web.Response(status=400, text="need tree size"), times=2)
    server.intercept = lagging
    assert await opened(server, client).consistency_proof(5, 17)
    assert len(server.asked("get-sth-consistency")) == 3


async def test_a_proof_that_no_replica_has_is_not_found(server: RecordedCT, client: Client) -> None:
    with pytest.raises(NotFoundError):
        await opened(server, client).consistency_proof(5, SIZE + 1)


@pytest.mark.parametrize("size", [1, 2, 3, 64, 65, 105, 106])
async def test_every_leaf_is_proven_at_every_size(server: RecordedCT, client: Client, size: int) -> None:
    log = opened(server, client)
    for index in {0, size // 2, size - 1}:
        proof = await log.inclusion_proof(index, size)
        verify_inclusion(server.hashes[index], index, size, proof.hashes, tree_root(server.hashes[:size]))
        assert (proof.leaf_hash, proof.index, proof.size, proof.note) == (server.hashes[index], index, size, None)


@pytest.mark.parametrize("index", [0, 41, 104, 105])
async def test_a_leaf_whose_bytes_are_wrong_is_proven_by_its_neighbour(
    server: RecordedCT, client: Client, index: int
) -> None:
    server.entries[index] = {"leaf_input": b64encode(b"not the leaf").decode(), "extra_data": ""}
    for size in (index + 1, SIZE):
        proof = await opened(server, client).inclusion_proof(index, size)
        verify_inclusion(server.hashes[index], index, size, proof.hashes, tree_root(server.hashes[:size]))
        assert proof.leaf_hash == server.hashes[index] or size == 1


async def test_a_leaf_that_stands_at_two_places_is_proven_at_each(client: Client) -> None:
    async with RecordedCT() as server:
        server.entries[40] = server.entries[7]
        server.leaves[40] = server.leaves[7]
        proof = await opened(server, client).inclusion_proof(40, SIZE)
        verify_inclusion(server.hashes[7], 40, SIZE, proof.hashes, tree_root(server.hashes))


async def test_equal_neighbours_are_proven_by_entry_and_proof(server: RecordedCT, client: Client) -> None:
    for index in (40, 41):
        server.entries[index], server.leaves[index] = server.entries[7], server.leaves[7]
    proof = await opened(server, client).inclusion_proof(41, SIZE)
    verify_inclusion(server.hashes[7], 41, SIZE, proof.hashes, tree_root(server.hashes))
    server.entry_and_proof = False
    with pytest.raises(NotFoundError, match=r"no proof of leaf 41 of 106"):
        await opened(server, client).inclusion_proof(41, SIZE)


async def test_a_proof_of_a_wrong_shape_is_no_proof_and_no_crash(server: RecordedCT, client: Client) -> None:
    server.entry_and_proof = False
    wrong: tuple[object, ...] = (
        {"leaf_index": 5},
        {"leaf_index": "5", "audit_path": []},
        {"leaf_index": 5, "audit_path": ["AAAA"]},
        {"leaf_index": 5, "audit_path": [b64encode(bytes(32)).decode()] * 65},
        {"leaf_index": 5, "audit_path": ["%"]},
        {"leaf_index": 5, "audit_path": "none"},
        [],
    )
    for reply in wrong:
        server.intercept = answering("get-proof-by-hash", json.dumps(reply))
        with pytest.raises(NotFoundError, match="no proof of leaf 5"):
            await opened(server, client).inclusion_proof(5, SIZE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tree_size", -1),
        ("tree_size", "106"),
        ("tree_size", True),
        ("tree_size", 2**63),
        ("tree_size", None),
        ("timestamp", 1 << 62),
        ("timestamp", 1.5),
        ("sha256_root_hash", "AAAA"),
        ("sha256_root_hash", "*"),
        ("tree_head_signature", ""),
        ("tree_head_signature", None),
        ("tree_head_signature", "A" * 4096),
    ],
)
async def test_what_is_no_tree_head_is_refused(server: RecordedCT, client: Client, field: str, value: object) -> None:
    server.head[field] = value
    with pytest.raises(FormatError, match="get-sth"):
        await opened(server, client).checkpoint()


async def test_an_answer_that_is_twice_no_json_is_the_servers_trouble(server: RecordedCT, client: Client) -> None:
    page = web.Response(text="<html>be right back</html>", content_type="text/html")
    server.intercept = at("get-sth", lambda _: web.Response(text=page.text), times=1)
    assert await opened(server, client).checkpoint()
    server.intercept = at("get-sth", lambda _: web.Response(text=page.text))
    with pytest.raises(FetchError, match="not JSON"):
        await opened(server, client).checkpoint()


@pytest.mark.parametrize("reply", ['{"entries":', "[]", '{"entries":{}}', "{}", "null"])
async def test_a_page_that_is_none_is_the_servers_trouble(server: RecordedCT, client: Client, reply: str) -> None:
    server.intercept = at("get-entries", lambda _: web.Response(text=reply))
    with pytest.raises(FetchError):
        await read(opened(server, client))


async def test_a_leaf_that_is_malformed_is_asked_for_singly_and_then_a_gap(server: RecordedCT, client: Client) -> None:
    server.entries[10] = {"leaf_input": "?", "extra_data": ""}
    server.entries[11] = {"extra_data": ""}
    pieces = await read(opened(server, client))
    assert [(gap.start, gap.end, gap.reason) for gap in gaps_of(pieces)] == [
        (10, 11, "leaf_input is not base64"),
        (11, 12, "leaf_input is missing"),
    ]
    assert leaves_of(pieces) == server.leaves[:10] + server.leaves[12:]
    assert set(singles(server)) == {10, 11}


async def test_a_leaf_that_is_malformed_only_on_its_page_is_no_gap(server: RecordedCT, client: Client) -> None:
    whole = json.loads(json.dumps(server.entries))

    def cut(request: web.Request) -> web.StreamResponse | None:
        start, end = int(request.query["start"]), int(request.query["end"])
        if start == end:
            return None
        return web.json_response({"entries": [{} if i == 20 else whole[i] for i in range(start, end + 1)]})

    server.intercept = at("get-entries", cut)
    pieces = await read(opened(server, client))
    assert leaves_of(pieces) == server.leaves


async def test_a_leaf_that_is_malformed_on_its_page_and_fails_singly_is_a_gap(
    server: RecordedCT, client: Client
) -> None:
    server.entries[20] = {}

    def fail(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=500) if request.query["start"] == request.query["end"] else None

    server.intercept = at("get-entries", fail)
    pieces = await read(opened(server, client))
    assert [(gap.start, gap.end) for gap in gaps_of(pieces)] == [(20, 21)]


async def test_a_leaf_with_unreadable_extra_data_is_kept_without_it(server: RecordedCT, client: Client) -> None:
    entry = server.entries[30]
    assert entry is not None
    server.entries[30] = {**entry, "extra_data": 7}
    pieces = await read(opened(server, client))
    assert leaves_of(pieces) == server.leaves
    assert extras_of(pieces)[30] == b""
    assert extras_of(pieces)[31] == server.extras[31]


@pytest.mark.parametrize("oversize", [0, 52, 105])
async def test_a_page_above_its_bound_is_asked_for_in_smaller_ones_and_a_leaf_above_it_is_a_gap(
    server: RecordedCT, client: Client, oversize: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.ct.pages.ENTRIES_LIMIT", 40_000)
    server.entries[oversize] = {"leaf_input": "A" * 40_000, "extra_data": ""}
    pieces = await read(opened(server, client))
    assert [(gap.start, gap.end, gap.reason) for gap in gaps_of(pieces)] == [(oversize, oversize + 1, "oversize")]
    assert leaves_of(pieces) == server.leaves[:oversize] + server.leaves[oversize + 1 :]


def test_an_entry_may_be_as_large_as_a_page() -> None:
    assert query.ENTRIES_LIMIT == 8 << 20


async def test_leaves_that_are_refused_are_one_gap_that_costs_few_requests(server: RecordedCT, client: Client) -> None:
    server.seen = 90
    pieces = await read(opened(server, client))
    assert [(gap.start, gap.end) for gap in gaps_of(pieces)] == [(90, SIZE)]
    assert leaves_of(pieces) == server.leaves[:90]
    assert len(server.requests) < 30


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_one_leaf_that_the_server_cannot_give_is_one_gap(server: RecordedCT, client: Client, status: int) -> None:
    def refuse(request: web.Request) -> web.StreamResponse | None:
        start, end = int(request.query["start"]), int(request.query["end"])
        return web.Response(status=status, text="cannot read it") if start <= 40 <= end else None

    server.intercept = at("get-entries", refuse)
    pieces = await read(opened(server, client))
    assert [(gap.start, gap.end) for gap in gaps_of(pieces)] == [(40, 41)]
    assert leaves_of(pieces) == server.leaves[:40] + server.leaves[41:]
    assert gaps_of(await read(opened(server, client), 40, 41))[0].end == 41


async def test_a_server_that_refuses_wide_ranges_is_asked_for_narrow_ones(server: RecordedCT, client: Client) -> None:
    def refuse(request: web.Request) -> web.StreamResponse | None:
        wide = int(request.query["end"]) - int(request.query["start"]) >= 16
        return web.Response(status=400, text="too many") if wide else None

    server.intercept = at("get-entries", refuse)
    log = opened(server, client)
    assert leaves_of(await read(log)) == server.leaves
    assert len(server.requests) < 40


async def test_an_answer_without_entries_is_a_gap(server: RecordedCT, client: Client) -> None:
    server.entries[60] = None

    def none(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"entries": []}) if int(request.query["start"]) == 60 else None

    server.page = 10
    server.intercept = at("get-entries", none)
    pieces = await read(opened(server, client), 60, 61)
    assert gaps_of(pieces) == [Gap(60, 61, LEFT_OUT)]


async def test_a_server_that_fails_everywhere_is_in_trouble_and_makes_no_gaps(
    server: RecordedCT, client: Client
) -> None:
    server.intercept = at("get-entries", lambda _: web.Response(status=500))
    with pytest.raises(FetchError) as caught:
        await read(opened(server, client))
    assert caught.value.status == 500


async def test_a_server_that_asks_for_less_is_asked_later_and_less(server: RecordedCT, client: Client) -> None:
    server.page = 5
    server.intercept = at(
        "get-entries", lambda _: web.Response(status=429, headers={"Retry-After": "0"}, text="slow down"), times=1
    )
    assert leaves_of(await read(opened(server, client))) == server.leaves


async def test_a_wait_longer_than_our_patience_ends_the_reading(server: RecordedCT, client: Client) -> None:
    server.intercept = at("get-entries", lambda _: web.Response(status=429, headers={"Retry-After": "60"}))
    with pytest.raises(RateLimitedError):
        await read(opened(server, client))


async def test_no_more_is_in_flight_than_allowed_and_no_faster_than_allowed(server: RecordedCT, client: Client) -> None:
    server.page = 4

    async def slow(_request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(0.005)
        return None

    server.intercept = slow
    began = time.monotonic()
    await read(opened(server, client, in_flight=2, rate=200.0))
    assert server.busiest <= 2
    assert time.monotonic() - began >= (len(server.requests) - 1) / 200.0 * 0.9


async def test_a_reader_that_stops_early_leaves_nothing_in_flight(server: RecordedCT, client: Client) -> None:
    server.page = 1
    blocks = opened(server, client).blocks(0, SIZE, SIZE)
    await anext(blocks)
    await blocks.aclose()
    before = len(server.requests)
    await asyncio.sleep(0.05)
    assert len(server.requests) == before
