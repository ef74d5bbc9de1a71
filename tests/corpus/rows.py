"""Finds, in the corpus that MONITOR_CORPUS names, each row's leaf and what stands beside it in the row's own file.

Whatever the file is (bundle, API reply, source code), a leaf is base64 in it, known by its leaf hash.
"""

from __future__ import annotations

import base64
import json
import os
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import MonitorError, ProofError
from monitor.model.log import Promise, Protocol
from monitor.tlog import note
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import leaf_hash
from monitor.tlog.proofs import verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.trust.root import TrustRoot

CORPUS = os.environ.get("MONITOR_CORPUS", "")
Row = dict[str, Any]

_RUN = re.compile(rb"[A-Za-z0-9+/_\-]{40,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def rows() -> list[Row]:
    """The manifest, or nothing where there is no corpus."""
    if not CORPUS:
        return []
    return [json.loads(line) for line in (Path(CORPUS) / "manifest.jsonl").read_text().splitlines()]


def name(row: Row) -> str:
    return f"{row['repo']}:{row['path']}:{row['leaf_hash'][:8]}"


def protocol(row: Row) -> Protocol:
    return Protocol.REKOR_V1 if row["rekor"] == "v1" else Protocol.REKOR_V2


def body(row: Row) -> bytes:
    return _bodies(row["file"])[row["leaf_hash"]]


@cache
def _bodies(file: str) -> dict[str, bytes]:
    return dict(_found((Path(CORPUS) / file).read_bytes(), 1))


def _found(data: bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    unwrapped = re.sub(rb"\s+", b"", data)
    spellings = {
        data,
        data.replace(b"\\n", b""),
        data.replace(b"\\u003d", b"=").replace(b"\\/", b"/"),
        unwrapped,
        re.sub(rb'"\s*\+?\s*"', b"", data),
    }
    for text in spellings:
        for run in _RUN.findall(text):
            try:
                content = base64.b64decode(run.translate(_URL_SAFE) + b"=" * (-len(run) % 4), validate=True)
            except ValueError:
                continue
            yield leaf_hash(content).hex(), content
            if depth and b"Body" in content:
                yield from _found(content, depth - 1)


def beside(row: Row) -> dict[str, Any]:
    """The log's answer that the row's leaf stands in (a bundle's transparency log entry)."""
    text = (Path(CORPUS) / row["file"]).read_text(errors="replace")
    for value in (inner for outer in _json_in(text) for inner in _objects(outer)):
        encoded = value.get("canonicalizedBody")
        if isinstance(encoded, str) and leaf_hash(base64.b64decode(encoded)).hex() == row["leaf_hash"]:
            return value
    raise LookupError(f"no log entry around {name(row)}")


def _json_in(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            yield value
        except ValueError:
            at += 1
        at = text.find("{", at)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _objects(child)


def promise(entry: dict[str, Any]) -> Promise | None:
    signature = (entry.get("inclusionPromise") or {}).get("signedEntryTimestamp")
    if not signature:
        return None
    integrated = datetime.fromtimestamp(int(entry["integratedTime"]), UTC)
    log_id = base64.b64decode(entry["logId"]["keyId"])
    return Promise(log_id, integrated, int(entry["logIndex"]), "", base64.b64decode(signature))


def included(entry: dict[str, Any], leaf: bytes, root: TrustRoot) -> bool:
    """Whether the entry's own inclusion proof leads to a checkpoint signed by a log of `root`."""
    try:
        proof = entry["inclusionProof"]
        checkpoint = Checkpoint.parse(proof["checkpoint"]["envelope"].encode())
        note.verify(checkpoint.note, [log.key for log in root.logs])
        if (checkpoint.size, checkpoint.root) != (int(proof["treeSize"]), base64.b64decode(proof["rootHash"])):
            raise ProofError("the proof is for another tree")
        hashes = tuple(base64.b64decode(value) for value in proof.get("hashes", ()))
        verify_inclusion(leaf_hash(leaf), int(proof["logIndex"]), checkpoint.size, hashes, checkpoint.root)
    except (KeyError, TypeError, ValueError, MonitorError):
        return False
    return True
