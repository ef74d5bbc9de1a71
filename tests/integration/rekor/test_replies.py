from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import FormatError
from monitor.rekor import replies
from monitor.tlog.merkle import leaf_hash
from tests.replay import ReplayV1

if TYPE_CHECKING:
    from monitor.model.log import InclusionProof

RECORDED = ReplayV1()
NAMES = [replies.ShardName.of(shard.origin, shard.tree_id) for shard in RECORDED.shards]
WHOLE = json.dumps(RECORDED.entries[130])

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
paths = st.sampled_from(
    [
        ("body",),
        ("integratedTime",),
        ("logID",),
        ("logIndex",),
        ("verification",),
        ("verification", "signedEntryTimestamp"),
        ("verification", "inclusionProof"),
        ("verification", "inclusionProof", "checkpoint"),
        ("verification", "inclusionProof", "hashes"),
        ("verification", "inclusionProof", "logIndex"),
        ("verification", "inclusionProof", "treeSize"),
    ]
)


def read(reply: object) -> list[tuple[replies.Entry, InclusionProof]]:
    found = []
    for uuid, record in replies.records(reply):
        entry = replies.entry(uuid, record, NAMES[1])
        assert leaf_hash(entry.body).hex() == uuid[16:]
        replies.offset_of(record)
        found.append((entry, replies.inclusion(entry, record)))
    return found


def test_a_recorded_entry_is_read() -> None:
    ((entry, proof),) = read(json.loads(WHOLE))
    assert (entry.index, proof.index, entry.promise.global_index) == (9, 9, 130)
    assert entry.body == RECORDED.body(130)


@given(paths, values)
def test_whatever_stands_in_a_part_of_a_record_it_is_read_or_refused_by_name(
    path: tuple[str, ...], value: object
) -> None:
    reply = json.loads(WHOLE)
    (record,) = reply.values()
    part: dict[str, Any] = record
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with suppress(FormatError):
        read(reply)


@given(values)
def test_whatever_json_a_server_answers_it_is_read_or_refused_by_name(value: object) -> None:
    for reader in (read, replies.shard_heads, replies.consistency_hashes):
        with suppress(FormatError):
            reader(value)


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_whatever_bytes_a_server_answers_they_are_json_or_refused(body: bytes) -> None:
    with suppress(FormatError):
        replies.load(body)


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[1,]", b'"\xff"', b"[" * 5000, b'{"a": 1} x', b'"\\ud800"'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError, match="not JSON"):
        replies.load(body)


@given(st.integers(1, 2**63 - 1))
def test_a_trees_uuids_begin_with_its_id_in_sixteen_digits(tree_id: int) -> None:
    prefix = replies.ShardName.of("o", str(tree_id)).prefix
    assert (len(prefix), int(prefix, 16)) == (16, tree_id)
