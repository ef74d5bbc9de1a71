from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pybase64
import pytest
from aiohttp import web

from monitor.errors import FetchError, FormatError, NotFoundError, RateLimitedError
from monitor.model.log import Block, FollowedLog, Gap, LogState, Mode, Protocol
from monitor.rekor.query import PAGE_LIMIT
from monitor.rekor.v1 import RekorV1, RekorV1Shard
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import verify_consistency, verify_inclusion
from tests.reading import LEFT_OUT, gaps_of, html, leaves_of, on, read
from tests.replay import ReplayV1

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from monitor.fetch import Client


PAGE = "/api/v1/log/entries/retrieve"
SINGLE = "/api/v1/log/entries"


@pytest.fixture
async def server() -> AsyncIterator[ReplayV1]:
    async with ReplayV1() as running:
        yield running


def rekor(server: ReplayV1, client: Client, *, rate: float = 100_000.0, in_flight: int = 8) -> RekorV1:
    return RekorV1(server.url, client, in_flight=in_flight, requests_per_second=rate)


def followed(server: ReplayV1, number: int, *, offset: int | None = None) -> FollowedLog:
    shard = server.shards[number]
    return FollowedLog(
        origin=shard.origin,
        protocol=Protocol.REKOR_V1,
        url=server.url,
        mode=Mode.COMPLETE,
        state=LogState.ENDED if number == 0 else LogState.ACTIVE,
        tree_id=shard.tree_id,
        offset=shard.offset if offset is None else offset,
    )


def first_shard(server: ReplayV1, client: Client) -> RekorV1Shard:
    return rekor(server, client).shard(followed(server, 0))


def recorded(server: ReplayV1, number: int) -> list[bytes]:
    shard = server.shards[number]
    return [server.body(index) for index in range(shard.offset, shard.offset + shard.size)]


def changed(server: ReplayV1, index: int, change: Callable[[dict[str, Any]], None], *, uuid: str | None = None) -> None:
    """Alter the record at a global index, on its page and singly."""
    ((was, record),) = server.entries[index].items()
    record = json.loads(json.dumps(record))
    change(record)
    server.entries[index] = {was if uuid is None else uuid: record}


async def test_the_shards_are_listed_oldest_first_with_their_offsets(server: ReplayV1, client: Client) -> None:
    logs = await rekor(server, client).shards()
    assert logs == (followed(server, 0), followed(server, 1))
    assert [(log.state, log.offset) for log in logs] == [(LogState.ENDED, 0), (LogState.ACTIVE, 121)]


@pytest.mark.parametrize("number", [0, 1])
async def test_all_leaves_of_a_recorded_shard_give_the_root_of_its_checkpoint(
    server: ReplayV1, client: Client, number: int
) -> None:
    shard = rekor(server, client).shard(followed(server, number))
    checkpoint = Checkpoint.parse(await shard.checkpoint())
    pieces = await read(shard, 0, checkpoint.size, checkpoint.size)
    assert not gaps_of(pieces)
    assert leaves_of(pieces) == recorded(server, number)
    assert tree_root([leaf_hash(leaf) for leaf in leaves_of(pieces)]) == checkpoint.root
    assert checkpoint.origin == shard.origin
    assert {len(page) for page in server.pages} <= set(range(1, 11))


async def test_what_the_log_promises_beside_a_leaf_comes_with_it(server: ReplayV1, client: Client) -> None:
    shard = rekor(server, client).shard(followed(server, 1))
    (block,) = await read(shard, 3, 8, 34)
    assert isinstance(block, Block)
    for at, promise in enumerate(block.promises):
        index = 121 + 3 + at
        ((uuid, record),) = server.entries[index].items()
        assert (promise.uuid, promise.global_index) == (uuid, index)
        assert promise.integrated_time == datetime.fromtimestamp(int(str(record["integratedTime"])), UTC)
        assert promise.log_id.hex() == record["logID"]
        assert len(promise.signed_entry_timestamp) > 64


@pytest.mark.parametrize("number", [0, 1])
async def test_every_recorded_inclusion_proof_verifies_under_the_note_it_brings(
    server: ReplayV1, client: Client, number: int
) -> None:
    shard = rekor(server, client).shard(followed(server, number))
    for index, leaf in enumerate(recorded(server, number)):
        proof = await shard.inclusion_proof(index, server.shards[number].size)
        assert proof.note is not None
        checkpoint = Checkpoint.parse(proof.note)
        assert (checkpoint.origin, checkpoint.size, proof.index) == (shard.origin, proof.size, index)
        verify_inclusion(leaf_hash(leaf), index, proof.size, proof.hashes, checkpoint.root)
        assert proof.leaf_hash == leaf_hash(leaf)


@pytest.mark.parametrize("number", [0, 1])
async def test_consistency_proofs_verify_whatever_root_the_server_names(
    server: ReplayV1, client: Client, number: int
) -> None:
    shard = rekor(server, client).shard(followed(server, number))
    hashes = server.shards[number].hashes
    for first, second in ((1, 2), (1, 34), (7, 21), (16, 32), (33, 34)):
        proof = await shard.consistency_proof(first, second)
        verify_consistency(first, second, tree_root(hashes[:first]), tree_root(hashes[:second]), proof)


async def test_a_replica_that_lags_behind_is_asked_again(server: ReplayV1, client: Client) -> None:
    lagging = {"code": 400, "message": "the tree size requested(30) was greater than what is currently observable(20)"}
    server.intercept = on("/api/v1/log/proof", lambda _: web.json_response(lagging, status=400), times=2)
    assert await rekor(server, client).shard(followed(server, 1)).consistency_proof(5, 30)
    server.intercept = on("/api/v1/log/proof", lambda _: web.json_response(lagging, status=400))
    with pytest.raises(FetchError, match="currently observable"):
        await rekor(server, client).shard(followed(server, 1)).consistency_proof(5, 30)


@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 5), (6, 5), (-1, 5)])
async def test_a_consistency_proof_that_the_server_cannot_give_is_not_asked_for(
    server: ReplayV1, client: Client, first: int, second: int
) -> None:
    with pytest.raises(ValueError, match="no consistency proof"):
        await first_shard(server, client).consistency_proof(first, second)
    assert server.requests == []


@pytest.mark.parametrize(
    "reply", [{}, [], {"hashes": "x"}, {"hashes": ["zz"]}, {"hashes": [1]}, {"hashes": ["ab" * 32] * 65}]
)
async def test_a_consistency_proof_in_another_shape_is_a_format_error(
    server: ReplayV1, client: Client, reply: object
) -> None:
    server.intercept = on("/api/v1/log/proof", lambda _: web.json_response(reply))
    shard = first_shard(server, client)
    if reply == {}:
        assert (
            await shard.consistency_proof(1, 2) == ()
        )  # no hashes at all prove nothing, and that is for others to see
    else:
        with pytest.raises(FormatError):
            await shard.consistency_proof(1, 2)


async def test_a_shard_that_is_not_listed_any_more_is_not_found_and_may_come_back(
    server: ReplayV1, client: Client
) -> None:
    shard = first_shard(server, client)
    before = await shard.checkpoint()
    inactive = server.info["inactiveShards"]
    gone: list[list[object] | None] = [None, []]
    for absent in gone:
        server.info["inactiveShards"] = absent
        with pytest.raises(NotFoundError, match="no shard 'rekor-v1"):
            await shard.checkpoint()
    server.info["inactiveShards"] = inactive
    assert await shard.checkpoint(fresh=True) == before


LISTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no object": lambda _: [],
    "no active tree": lambda info: info.pop("treeID"),
    "tree id is a number": lambda info: info.update(treeID=5),
    "tree id is no number": lambda info: info.update(treeID="five", signedTreeHead="x - five\n1\n"),
    "tree id of another shard": lambda info: info.update(treeID="5"),
    "tree id too large": lambda info: info.update(treeID="9" * 30, signedTreeHead="x - " + "9" * 30 + "\n1\n"),
    "size is text": lambda info: info.update(treeSize="34"),
    "size is negative": lambda info: info.update(treeSize=-1),
    "size is true": lambda info: info.update(treeSize=True),
    "head is missing": lambda info: info.pop("signedTreeHead"),
    "head is one line": lambda info: info.update(signedTreeHead="x - 8039277826150379323"),
    "shards are an object": lambda info: info.update(inactiveShards={}),
    "a shard is null": lambda info: info.update(inactiveShards=[None]),
    "one tree twice": lambda info: info["inactiveShards"].append(dict(info["inactiveShards"][0])),
}


@pytest.mark.parametrize("attack", LISTS)
async def test_a_shard_list_that_breaks_its_format_is_refused(server: ReplayV1, client: Client, attack: str) -> None:
    result = LISTS[attack](server.info)
    if attack == "no object":
        server.intercept = on("/api/v1/log", lambda _: web.json_response(result))
    with pytest.raises(FormatError, match="GET http"):
        await rekor(server, client).shards()


async def test_an_entry_left_out_of_a_page_is_asked_for_singly(server: ReplayV1, client: Client) -> None:
    async def leave_out(request: web.Request) -> web.StreamResponse | None:
        if request.path != PAGE:
            return None
        indexes = (await request.json())["logIndexes"]
        return web.json_response([server.entries[index] for index in indexes if index % 4])

    server.intercept = leave_out
    pieces = await read(first_shard(server, client), 0, 121, 121)
    assert leaves_of(pieces) == recorded(server, 0)
    assert f"{SINGLE}?logIndex=8" in server.requests
    assert f"{SINGLE}?logIndex=9" not in server.requests


async def test_an_entry_that_the_log_does_not_have_is_a_gap_of_one_leaf(server: ReplayV1, client: Client) -> None:
    for index in (0, 14, 15, 120):
        del server.entries[index]
    pieces = await read(first_shard(server, client), 0, 121, 121)
    assert gaps_of(pieces) == [Gap(index, index + 1, LEFT_OUT) for index in (0, 14, 15, 120)]
    missing = {0, 14, 15, 120}
    assert leaves_of(pieces) == [server.body(index) for index in range(121) if index not in missing]


async def test_the_order_of_a_page_does_not_matter(server: ReplayV1, client: Client) -> None:
    async def shuffle(request: web.Request) -> web.StreamResponse | None:
        if request.path != PAGE:
            return None
        indexes = (await request.json())["logIndexes"]
        page = [server.entries[index] for index in reversed(indexes)]
        return web.json_response([page[0], *page, {}, 5, None, {"x": 1}])

    server.intercept = shuffle
    assert leaves_of(await read(first_shard(server, client), 5, 100, 121)) == recorded(server, 0)[5:100]


def proof_of(record: dict[str, Any]) -> dict[str, Any]:
    proof: dict[str, Any] = record["verification"]["inclusionProof"]
    return proof


def set_promise(record: dict[str, Any], value: object) -> None:
    record["verification"]["signedEntryTimestamp"] = value


LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another leaf": (
        lambda r: r.update(body=pybase64.b64encode(b"forged").decode()),
        "not the leaf that its UUID names",
    ),
    "a body cut short": (lambda r: r.update(body=r["body"][:-4]), "not the leaf that its UUID names"),
    "a body that is no base64": (lambda r: r.update(body="*" + r["body"]), "body is not base64"),
    "a body with line breaks": (lambda r: r.update(body=r["body"][:4] + "\n" + r["body"][4:]), "body is not base64"),
    "a body beyond ASCII": (lambda r: r.update(body="é"), "body is not base64"),
    "no body": (lambda r: r.pop("body"), "body is missing"),
    "a body that is a list": (lambda r: r.update(body=[1]), "body is a list"),
    "another index": (lambda r: proof_of(r).update(logIndex=99), "leaf 99"),
    "an index over all shards": (lambda r: proof_of(r).update(logIndex=121 + 34), "leaf 155"),
    "a negative index": (lambda r: proof_of(r).update(logIndex=-1), "logIndex is a int"),
    "an index that is text": (lambda r: proof_of(r).update(logIndex="13"), "logIndex is a str"),
    "an index that is true": (lambda r: proof_of(r).update(logIndex=True), "logIndex is a bool"),
    "no verification": (lambda r: r.pop("verification"), "verification is missing"),
    "verification is null": (lambda r: r.update(verification=None), "verification is missing"),
    "no proof": (lambda r: r["verification"].pop("inclusionProof"), "inclusionProof is missing"),
    "no checkpoint": (lambda r: proof_of(r).pop("checkpoint"), "checkpoint is missing"),
    "another log's checkpoint": (
        lambda r: proof_of(r).update(checkpoint="x" + proof_of(r)["checkpoint"]),
        "checkpoint in its proof is not of",
    ),
    "no promise": (lambda r: r["verification"].pop("signedEntryTimestamp"), "signedEntryTimestamp is missing"),
    "a promise that is no base64": (lambda r: set_promise(r, "!!!"), "signedEntryTimestamp is not base64"),
    "no log id": (lambda r: r.pop("logID"), "logID is missing"),
    "a log id that is none": (lambda r: r.update(logID="zz" * 32), "logID is a str"),
    "no time": (lambda r: r.pop("integratedTime"), "integratedTime is missing"),
    "a time beyond all years": (lambda r: r.update(integratedTime=10**15), "integratedTime is a int"),
    "a time with a fraction": (lambda r: r.update(integratedTime=1.5), "integratedTime is a float"),
    "no global index": (lambda r: r.pop("logIndex"), "logIndex is missing"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_reply_that_contradicts_itself_is_a_gap_with_the_reason_and_the_rest_is_read(
    server: ReplayV1, client: Client, lie: str
) -> None:
    change, reason = LIES[lie]
    changed(server, 121 + 13, lambda record: void(change(record)))
    shard = rekor(server, client).shard(followed(server, 1))
    pieces = await read(shard, 0, 34, 34)
    (gap,) = gaps_of(pieces)
    assert (gap.start, gap.end) == (13, 14)
    assert reason in gap.reason
    whole = recorded(server, 1) if "body" not in lie and "leaf" not in lie else None
    assert len(leaves_of(pieces)) == 33
    assert whole is None or leaves_of(pieces) == whole[:13] + whole[14:]
    with pytest.raises(FormatError):
        await shard.inclusion_proof(13, 34)


def void(_value: object) -> None:
    """Drop what a change of a dict returns."""


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (lambda uuid: "0" * 16 + uuid[16:], "its UUID is of tree 0"),
        (lambda uuid: uuid[16:], "not 80 hexadecimal digits"),
        (lambda uuid: uuid[:-1] + ("0" if uuid[-1] != "0" else "1"), "not the leaf that its UUID names"),
        (lambda uuid: uuid.upper(), "not 80 hexadecimal digits"),
        (lambda _: "", "not 80 hexadecimal digits"),
        (lambda uuid: uuid + "\n", "not 80 hexadecimal digits"),
    ],
)
async def test_a_uuid_of_another_tree_or_leaf_is_refused(
    server: ReplayV1, client: Client, forge: Callable[[str], str], reason: str
) -> None:
    ((uuid, _),) = server.entries[121 + 13].items()
    changed(server, 121 + 13, lambda _: None, uuid=forge(uuid))
    (gap,) = gaps_of(await read(rekor(server, client).shard(followed(server, 1)), 0, 34, 34))
    assert gap.start == 13
    assert reason in gap.reason


async def test_another_entry_of_the_same_tree_in_a_leafs_place_is_a_gap(server: ReplayV1, client: Client) -> None:
    server.entries[50] = server.entries[60]
    pieces = await read(first_shard(server, client), 0, 121, 121)
    assert gaps_of(pieces) == [Gap(50, 51, "the log answered with leaf 60")]
    # A page of one such reply alone must not make us believe in another offset either.
    shard = first_shard(server, client)
    assert gaps_of(await read(shard, 50, 51, 121)) == [Gap(50, 51, "the log answered with leaf 60")]
    assert not gaps_of(await read(shard, 51, 121, 121))


@pytest.mark.parametrize(("number", "error"), [(1, 3), (0, 7), (0, 50)])
async def test_a_wrong_offset_is_put_right_once_from_the_replies(
    server: ReplayV1, client: Client, number: int, error: int
) -> None:
    log = followed(server, number, offset=server.shards[number].offset + error)
    shard = rekor(server, client, in_flight=1).shard(log)
    size = server.shards[number].size
    assert leaves_of(await read(shard, 0, 20, size)) == recorded(server, number)[:20]
    assert len(server.pages) == 3, "asked with the wrong offset once"
    assert (await shard.inclusion_proof(3, size)).leaf_hash == leaf_hash(recorded(server, number)[3])


async def test_an_offset_that_leads_into_another_shard_makes_gaps(server: ReplayV1, client: Client) -> None:
    shard = rekor(server, client).shard(followed(server, 1, offset=0))
    gaps = gaps_of(await read(shard, 0, 5, 34))
    assert [gap.start for gap in gaps] == [0, 1, 2, 3, 4]
    assert all("its UUID is of tree 6938692350066500902" in gap.reason for gap in gaps)


async def test_one_entry_that_the_server_cannot_read_fails_its_page_and_is_a_gap_alone(
    server: ReplayV1, client: Client
) -> None:
    async def poisoned(request: web.Request) -> web.StreamResponse | None:
        bad = "logIndex=42" in request.query_string or (
            request.path == PAGE and 42 in (await request.json())["logIndexes"]
        )
        return web.json_response({"code": 500, "message": "backend"}, status=500) if bad else None

    server.intercept = poisoned
    for start, end in ((0, 121), (42, 43)):
        pieces = await read(first_shard(server, client), start, end, 121)
        (gap,) = gaps_of(pieces)
        assert (gap.start, gap.end) == (42, 43)
        assert "500" in gap.reason
        assert len(leaves_of(pieces)) == end - start - 1


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("end", [1, 121])
async def test_a_server_that_fails_for_every_entry_is_in_trouble(
    server: ReplayV1,
    client: Client,
    everything: bool,  # noqa: FBT001 - a parameter of the test
    end: int,
) -> None:
    async def down(request: web.Request) -> web.StreamResponse | None:
        return html(500) if everything or request.path.startswith(SINGLE) else None

    server.intercept = down
    if end == 1 and not everything:
        (gap,) = gaps_of(await read(first_shard(server, client), 0, 1, 121))
        assert "500" in gap.reason
        return
    with pytest.raises(FetchError) as caught:
        await read(first_shard(server, client), 0, end, 121)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.json_response({"code": 611, "message": "at most 10 items"}, status=422), FetchError),
        (lambda: html(502), FetchError),
        (lambda: html(403), FetchError),
        (lambda: html(404), NotFoundError),
        (lambda: web.Response(status=429, headers={"Retry-After": "0"}), RateLimitedError),
        (lambda: web.Response(status=503, headers={"Retry-After": "60"}), RateLimitedError),
        (html, FetchError),
        (lambda: web.Response(body=b""), FetchError),
        (lambda: web.json_response({"a": 1}), FetchError),
        (lambda: web.Response(body=b"[" * 100_000), FetchError),
        (lambda: web.Response(body=b"[NaN]"), FetchError),
    ],
)
async def test_trouble_with_pages_ends_the_reading_and_makes_no_gap(
    server: ReplayV1, client: Client, answer: Callable[[], web.Response], error: type[FetchError]
) -> None:
    server.intercept = on(PAGE, lambda _: answer())
    with pytest.raises(error) as caught:
        await read(first_shard(server, client), 0, 121, 121)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", [PAGE, "/api/v1/log", "/api/v1/log/proof", SINGLE])
async def test_one_answer_that_is_no_json_is_asked_for_again_past_caches(
    server: ReplayV1, client: Client, path: str
) -> None:
    server.intercept = on(path, lambda _: html(), times=1)
    shard = first_shard(server, client)
    await shard.checkpoint()
    await shard.consistency_proof(3, 100)
    await shard.inclusion_proof(3, 121)
    assert not gaps_of(await read(shard, 0, 10, 121))


@pytest.mark.parametrize("path", ["/api/v1/log", "/api/v1/log/proof", SINGLE])
async def test_what_never_is_json_is_a_fetch_error_that_shows_it(server: ReplayV1, client: Client, path: str) -> None:
    server.intercept = on(path, lambda _: html())
    shard = first_shard(server, client)
    asking: dict[str, Callable[[], Awaitable[object]]] = {
        "/api/v1/log": shard.checkpoint,
        "/api/v1/log/proof": partial(shard.consistency_proof, 3, 100),
        SINGLE: partial(shard.inclusion_proof, 3, 121),
    }
    with pytest.raises(FetchError, match=r"text/html.*be right back"):
        await asking[path]()


async def test_a_page_over_its_bound_is_split_into_single_entries(server: ReplayV1, client: Client) -> None:
    server.intercept = on(PAGE, lambda _: web.Response(body=b" " * (PAGE_LIMIT + 1)), times=1)
    assert leaves_of(await read(first_shard(server, client), 0, 30, 121)) == recorded(server, 0)[:30]


async def test_the_order_is_kept_with_many_in_flight_and_no_more_than_allowed(server: ReplayV1, client: Client) -> None:
    chance = random.Random(4)  # noqa: S311 - delays of a test

    async def delay(_request: web.Request) -> None:
        await asyncio.sleep(chance.random() * 0.02)

    server.intercept = delay
    shard = rekor(server, client, in_flight=5).shard(followed(server, 0))
    assert leaves_of(await read(shard, 0, 121, 121)) == recorded(server, 0)
    assert 1 < server.busiest <= 5


async def test_a_server_that_asks_for_less_gets_less_and_is_read_to_the_end(server: ReplayV1, client: Client) -> None:
    left = 6

    async def busy(_request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        await asyncio.sleep(0.002)
        left -= 1
        return web.Response(status=429, headers={"Retry-After": "0"}) if left >= 4 else None

    log = rekor(server, client, in_flight=16)
    shard = log.shard(followed(server, 0))
    await read(shard, 0, 121, 121)
    before = log.window
    server.intercept = busy
    assert leaves_of(await read(shard, 0, 20, 121)) == recorded(server, 0)[:20]
    assert log.window <= before / 2 + 1


async def test_the_ceiling_on_requests_holds_over_all_shards_of_a_server(server: ReplayV1, client: Client) -> None:
    log = rekor(server, client, rate=200.0, in_flight=16)
    shards = [log.shard(followed(server, number)) for number in (0, 1)]
    begun = time.monotonic()
    await asyncio.gather(read(shards[0], 0, 121, 121), read(shards[1], 0, 34, 34), log.shards())
    took = time.monotonic() - begun
    assert len(server.requests) == 13 + 4 + 1
    assert took >= (len(server.requests) - 1) / 200.0


async def test_a_leaf_that_the_log_does_not_have_has_no_proof(server: ReplayV1, client: Client) -> None:
    del server.entries[7]
    with pytest.raises(NotFoundError):
        await first_shard(server, client).inclusion_proof(7, 121)


@pytest.mark.parametrize(
    "change", [{"hashes": ["00"]}, {"hashes": 5}, {"hashes": ["ab" * 32] * 65}, {"treeSize": -1}, {"treeSize": None}]
)
async def test_an_inclusion_proof_that_is_none_is_a_format_error_but_the_leaf_is_read(
    server: ReplayV1, client: Client, change: dict[str, object]
) -> None:
    changed(server, 7, lambda record: proof_of(record).update(change))
    with pytest.raises(FormatError, match="leaf 7 of 121"):
        await first_shard(server, client).inclusion_proof(7, 121)
    assert not gaps_of(await read(first_shard(server, client), 0, 121, 121))


@pytest.mark.parametrize("tree_id", [None, "", "x", "-5", "0x12", "9" * 19, "1" * 40])
async def test_a_shard_without_a_tree_id_is_refused(server: ReplayV1, client: Client, tree_id: str | None) -> None:
    with pytest.raises(FormatError, match="tree id"):
        rekor(server, client).shard(replace(followed(server, 0), tree_id=tree_id))


@pytest.mark.parametrize(("start", "end", "size"), [(-1, 1, 5), (3, 2, 5), (0, 6, 5)])
async def test_leaves_outside_the_signed_size_are_never_asked_for(
    server: ReplayV1, client: Client, start: int, end: int, size: int
) -> None:
    with pytest.raises(ValueError, match="of a log of 5"):
        await read(first_shard(server, client), start, end, size)
    assert server.requests == []
