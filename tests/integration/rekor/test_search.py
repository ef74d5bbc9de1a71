from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.entries.keys import spki_of
from monitor.model.search import Answer, Fetched, IndexField, Question
from monitor.rekor.search import INDEX_LIMIT, MOST_UUIDS
from monitor.rekor.v1 import RekorV1
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.rekor_v1 import RekorV1 as EmbeddedV1
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.proofs import verify_inclusion
from monitor.watch import questions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from monitor.fetch import Client
    from monitor.model.log import FollowedLog

INDEX = "/api/v1/index"
SUBJECT = Claims().identity()


@pytest.fixture
async def v1() -> AsyncIterator[EmbeddedV1]:
    async with EmbeddedV1() as running:
        yield running


def rekor(v1: EmbeddedV1, client: Client, *, rate: float = 100_000.0) -> RekorV1:
    return RekorV1(v1.url, client, in_flight=8, requests_per_second=rate)


async def asked(server: RekorV1, *wanted: Question) -> list[Answer]:
    return [answer async for answer in server.search(wanted)]


async def fetched(server: RekorV1, log: FollowedLog, uuids: Sequence[str]) -> Fetched:
    pages = [page async for page in server.entries(log, uuids)]
    return Fetched(
        tuple(found for page in pages for found in page.found), tuple(lost for page in pages for lost in page.lost)
    )


def signature(v1: EmbeddedV1, number: int = 0, claims: Claims | None = None, *, bare: bool = False) -> int:
    key = generate_private_key(SECP256R1())
    certificate = None if bare else CertificateAuthority().issue(key.public_key(), claims or Claims())
    return v1.append(v1.hashedrekord_0_0_1(key, certificate, number.to_bytes(32, "big")))


def subject(name: str) -> Question:
    return Question(IndexField.SUBJECT, name)


def uuid(v1: EmbeddedV1, index: int) -> str:
    return v1.active.uuid(index - v1.active.base)


async def test_an_entry_is_found_by_its_subject_its_digest_and_its_key(v1: EmbeddedV1, client: Client) -> None:
    signature(v1, 1, Claims(org="globex"))
    ours = signature(v1, 2)
    key = generate_private_key(SECP256R1())
    bare = v1.append(v1.hashedrekord_0_0_1(key, None, bytes(32)))
    by_digest = Question(IndexField.HASH, f"sha256:{(2).to_bytes(32, 'big').hex()}")
    by_key = questions.of_keys([spki_of(key.public_key())])[0]

    found = await asked(rekor(v1, client), subject(SUBJECT), by_digest, by_key, subject("https://example.com/none"))

    assert [answer.uuids for answer in found] == [(uuid(v1, ours),), (uuid(v1, ours),), (uuid(v1, bare),), ()]
    assert not any(answer.error for answer in found)


async def test_a_watched_key_is_found_by_the_hash_of_its_pem_where_dsse_entries_keep_it(
    v1: EmbeddedV1, client: Client
) -> None:
    key = generate_private_key(SECP256R1())
    index = v1.append(v1.dsse_0_0_1(key, None, b"{}"))
    plain, hashed = await asked(rekor(v1, client), *questions.of_keys([spki_of(key.public_key())]))
    assert plain.uuids == ()
    assert hashed.uuids == (uuid(v1, index),)


@pytest.mark.parametrize("status", [404, 422, 500, 501])
async def test_an_index_that_is_not_there_is_named_with_its_status(v1: EmbeddedV1, client: Client, status: int) -> None:
    v1.reply(status=status, body=b"no", path_prefix=INDEX)
    (answer,) = await asked(rekor(v1, client), subject(SUBJECT))
    assert answer.uuids == ()
    assert f"{INDEX}/retrieve: {status}" in answer.error


async def test_an_html_page_is_no_answer(v1: EmbeddedV1, client: Client) -> None:
    v1.reply(body=b"<html>be right back</html>", path_prefix=INDEX)
    (answer,) = await asked(rekor(v1, client), subject(SUBJECT))
    assert "not JSON" in answer.error
    assert "be right back" in answer.error


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        ({"error": 1}, "a dict"),
        (["zz" * 40], "zzzz"),
        (["ab" * 32], "80 hexadecimal"),
        ([7], "'7'"),
        (["AB" * 40], "80 hexadecimal"),
        (["ab" * 40, None], "None"),
        (["ab" * 40] * (MOST_UUIDS + 1), f"{MOST_UUIDS + 1} entries"),
    ],
)
async def test_what_is_no_list_of_uuids_is_refused_by_name(
    v1: EmbeddedV1, client: Client, reply: object, named: str
) -> None:
    v1.reply(body=json.dumps(reply).encode(), content_type="application/json", path_prefix=INDEX)
    (answer,) = await asked(rekor(v1, client), subject(SUBJECT))
    assert answer.uuids == ()
    assert named in answer.error


async def test_an_answer_of_a_hundred_megabytes_is_not_taken(v1: EmbeddedV1, client: Client) -> None:
    v1.reply(body=b'["' + b"a" * 100_000_000, content_type="application/json", path_prefix=INDEX)
    (answer,) = await asked(rekor(v1, client), subject(SUBJECT))
    assert f"more than {INDEX_LIMIT} bytes" in answer.error


async def test_one_failing_question_leaves_the_others_their_answers_in_order(v1: EmbeddedV1, client: Client) -> None:
    ours = signature(v1)
    found = await asked(rekor(v1, client), subject(SUBJECT), subject("x" * 600), subject(SUBJECT))
    assert [answer.uuids for answer in found] == [(uuid(v1, ours),), (), (uuid(v1, ours),)]
    assert "422" in found[1].error


async def test_null_and_a_repeated_uuid_are_read_as_go_means_them(v1: EmbeddedV1, client: Client) -> None:
    v1.reply(body=b"null", content_type="application/json", path_prefix=INDEX, times=1)
    (nothing,) = await asked(rekor(v1, client), subject(SUBJECT))
    v1.reply(body=json.dumps(["ab" * 40] * 3).encode(), content_type="application/json", path_prefix=INDEX)
    (one,) = await asked(rekor(v1, client), subject(SUBJECT))
    assert (nothing.uuids, nothing.error, one.uuids) == ((), "", ("ab" * 40,))


async def test_entries_are_fetched_by_uuid_ten_at_a_time_with_proofs_that_hold(v1: EmbeddedV1, client: Client) -> None:
    indexes = [signature(v1, number, bare=True) for number in range(23)]
    server = rekor(v1, client)
    (log,) = await server.shards()

    got = await fetched(server, log, [uuid(v1, index) for index in indexes])

    assert [leaf.index for leaf, _ in got.found] == indexes
    assert got.lost == ()
    for leaf, proof in got.found:
        assert proof.note is not None
        under = Checkpoint.parse(proof.note)
        assert leaf.promise is not None
        assert leaf.promise.uuid == uuid(v1, leaf.index)
        verify_inclusion(leaf.hash, leaf.index, under.size, proof.hashes, under.root)
    assert len(list(v1.seen("/api/v1/log/entries"))) == 3


async def test_what_a_page_leaves_out_or_fails_on_is_asked_for_singly(v1: EmbeddedV1, client: Client) -> None:
    indexes = [signature(v1, number, bare=True) for number in range(4)]
    v1.omit(2)
    server = rekor(v1, client)
    (log,) = await server.shards()
    assert len((await fetched(server, log, [uuid(v1, index) for index in indexes])).found) == 4
    v1.reply(status=500, path_prefix="/api/v1/log/entries/retrieve")
    assert len((await fetched(server, log, [uuid(v1, index) for index in indexes])).found) == 4


async def test_an_entry_that_the_log_does_not_have_or_gives_wrongly_is_lost_with_the_reason(
    v1: EmbeddedV1, client: Client
) -> None:
    ours, altered = signature(v1, 1), signature(v1, 2)
    other_shard = uuid(v1, ours)
    v1.rotate()
    signature(v1, 3)
    v1.alter_leaf(altered, b"{}")
    server = rekor(v1, client)
    first, second = await server.shards()

    got = await fetched(server, first, [other_shard, f"{v1.shards[0].uuid(altered)}", f"{other_shard[:16]}{'0' * 64}"])
    wrong = await fetched(server, second, [other_shard])

    assert [leaf.index for leaf, _ in got.found] == [ours]
    assert [reason for _, reason in got.lost] == [
        "its body is not the leaf that its UUID names",
        "the log does not have it",
    ]
    assert "not of" in wrong.lost[0][1]


async def test_questions_keep_the_pace_of_everything_on_the_server(v1: EmbeddedV1, client: Client) -> None:
    server = rekor(v1, client, rate=50)
    began = time.monotonic()
    await asked(server, *[subject(f"https://example.com/{number}") for number in range(20)])
    assert time.monotonic() - began > 19 / 50
