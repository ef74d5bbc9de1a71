"""Leaves and promises of the recording in tests/fixtures/recording, and what each signing act must come to."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from monitor.model.log import Block, Promise
from monitor.tlog.tiles import split_bundle
from tests.replay import RECORDING

BUNDLES = (("000", 256), ("001.p/201", 201))


def as_block(leaves: list[bytes], *, prefixed: bool = True, start: int = 0) -> Block:
    """Leaves as a block; `prefixed` as in a v2 bundle, with two bytes of length before each."""
    data, starts, ends = bytearray(), [], []
    for leaf in leaves:
        if prefixed:
            data += len(leaf).to_bytes(2, "big")
        starts.append(len(data))
        data += leaf
        ends.append(len(data))
    return Block(start, bytes(data), starts, ends)


@cache
def v2_blocks() -> tuple[Block, ...]:
    blocks = []
    for number, (name, width) in enumerate(BUNDLES):
        data = (RECORDING / "v2/log/tile/entries" / name).read_bytes()
        starts, ends = split_bundle(data, width)
        blocks.append(Block(256 * number, data, starts, ends))
    return tuple(blocks)


@cache
def v2_leaves() -> dict[int, bytes]:
    return {block.start + i: block.leaf(i) for block in v2_blocks() for i in range(len(block))}


@cache
def v1_entries() -> dict[int, tuple[bytes, Promise]]:
    """By global index."""
    found = {}
    for line in (RECORDING / "v1.jsonl").read_text().splitlines():
        request = json.loads(line)
        if "/log/entries" not in request["path"] or request["status"] != 200:
            continue
        reply = json.loads(request["response"])
        for uuid, entry in (pair for item in (reply if isinstance(reply, list) else [reply]) for pair in item.items()):
            promise = Promise(
                bytes.fromhex(entry["logID"]),
                datetime.fromtimestamp(entry["integratedTime"], UTC),
                entry["logIndex"],
                uuid,
                base64.b64decode(entry["verification"]["signedEntryTimestamp"]),
            )
            found[entry["logIndex"]] = (base64.b64decode(entry["body"]), promise)
    return found


@cache
def ct_leaves() -> tuple[tuple[bytes, bytes], ...]:
    """(leaf, extra data) of the whole certificate log."""
    replies = {each["path"]: each for each in map(json.loads, (RECORDING / "ct.jsonl").read_text().splitlines())}
    entries = json.loads(replies["/trustacks/ct/v1/get-entries?start=0&end=105"]["response"])["entries"]
    return tuple((base64.b64decode(each["leaf_input"]), base64.b64decode(each["extra_data"])) for each in entries)


@cache
def expected() -> tuple[dict[str, Any], ...]:
    """The rows of expect.jsonl that stand in a log."""
    rows = [json.loads(line) for line in (RECORDING / "expect.jsonl").read_text().splitlines()]
    return tuple(row for row in rows if row["indexes"])


def contributor_key() -> bytes:
    """The contributor-flow key's DER SubjectPublicKeyInfo."""
    lines = (RECORDING / "contributor.pub").read_text().splitlines()
    return base64.b64decode("".join(lines[1:-1]))
