"""Makes logs as large as asked out of recorded leaves: each leaf of its recorded length, with a digest of its own.

The recording's leaves that name TruStacks are left out, so that a made log holds exactly as many of ours as were put in.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monitor.entries.prefilter import Prefilter
from monitor.model.log import Block, Protocol
from monitor.testbed.ca import CertificateAuthority
from monitor.testbed.keys import LogKey
from monitor.testbed.trust_root import ListedLog, trusted_root
from monitor.tlog.checkpoint import checkpoint_text
from monitor.tlog.merkle import CompactRange, hash_leaves, tree_root
from monitor.tlog.tiles import TILE_WIDTH, bundle_path, split_bundle, tile_path

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDING: Final = Path(__file__).parent.parent / "fixtures" / "recording" / "v2" / "log" / "tile" / "entries"
V2_ORIGIN: Final = "log2026-1.rekor.trustacks.test"
V1_HOST: Final = "rekor-v1.trustacks.test"
_DIGEST: Final = b'"digest":"'
_DIGEST_LENGTH: Final = 44
_WORDS: Final = ("TruStacks",)


@dataclass(frozen=True, slots=True)
class TileLog:
    """A Rekor v2 log in files below `folder`, of `size` leaves and `volume` bytes of bundles."""

    folder: Path
    trusted_root: Path
    size: int
    volume: int


@cache
def templates() -> tuple[tuple[bytes, bytes], ...]:
    """The recorded leaves of strangers, cut where their digest stands."""
    leaves: list[bytes] = []
    for file in sorted(path for path in RECORDING.rglob("*") if path.is_file()):
        data = file.read_bytes()
        width = int(file.name) if file.parent.name.endswith(".p") else TILE_WIDTH
        starts, ends = split_bundle(data, width)
        block = Block(0, data, tuple(starts), tuple(ends))
        ours = set(Prefilter(_WORDS).candidates(block, Protocol.REKOR_V2))
        leaves += [block.leaf(i) for i in range(len(block)) if i not in ours]
    cuts = [(leaf, leaf.index(_DIGEST) + len(_DIGEST)) for leaf in dict.fromkeys(leaves) if _DIGEST in leaf]
    return tuple((leaf[:at], leaf[at + _DIGEST_LENGTH :]) for leaf, at in cuts)


def leaf(index: int) -> bytes:
    """Leaf `index` of every made log."""
    held = templates()
    before, after = held[index % len(held)]
    return before + base64.b64encode(hashlib.sha256(b"leaf %d" % index).digest()) + after


def bundle(start: int, width: int = TILE_WIDTH) -> bytes:
    """An entry bundle of the leaves from `start` on."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in map(leaf, range(start, start + width)))


def blocks(size: int) -> Iterator[tuple[bytes, int]]:
    """The bundles of a log of `size` leaves, with their widths."""
    for start in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - start)
        yield bundle(start, width), width


def tile_log(folder: Path, size: int) -> TileLog:
    """Write a log of `size` leaves, with its tiles, its checkpoint and a trusted root that lists it."""
    base = folder / "api" / "v2"
    whole, volume = CompactRange.empty(), 0
    level: list[bytes] = []
    for index, (data, width) in enumerate(blocks(size)):
        starts, ends = split_bundle(data, width)
        hashes = hash_leaves(data, starts, ends)
        whole, volume = whole.extend(hashes), volume + len(data)
        _write(base / bundle_path(index, width), data)
        _write(base / tile_path(0, index, width), b"".join(hashes))
        if width == TILE_WIDTH:
            level.append(tree_root(hashes))
    height = 1
    while level:
        for index in range(0, len(level), TILE_WIDTH):
            part = level[index : index + TILE_WIDTH]
            _write(base / tile_path(height, index // TILE_WIDTH, len(part)), b"".join(part))
        full = len(level) - len(level) % TILE_WIDTH
        level = [tree_root(level[index : index + TILE_WIDTH]) for index in range(0, full, TILE_WIDTH)]
        height += 1
    key = LogKey.ed25519(V2_ORIGIN)
    _write(base / "checkpoint", key.note(checkpoint_text(V2_ORIGIN, size, whole.root())))
    return TileLog(folder, _trusted(folder, V2_ORIGIN, key), size, volume)


def _trusted(folder: Path, host: str, key: LogKey) -> Path:
    ca = CertificateAuthority()
    path = folder / "trusted_root.json"
    _write(path, trusted_root([ca], [ListedLog(host, key, ca.start)]))
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def v1_bodies(size: int) -> Iterator[bytes]:
    """Bodies of a Rekor v1 log: hashedrekord 0.0.1 with the certificates of the recorded leaves."""
    for index in range(size):
        spec = json.loads(leaf(index))["spec"]["hashedRekordV002"]
        der = spec["signature"]["verifier"].get("x509Certificate", {}).get("rawBytes", "")
        lines = "\n".join(der[at : at + 64] for at in range(0, len(der), 64))
        pem = f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
        record = {
            "data": {"hash": {"algorithm": "sha256", "value": base64.b64decode(spec["data"]["digest"]).hex()}},
            "signature": {
                "content": spec["signature"]["content"],
                "publicKey": {"content": base64.b64encode(pem.encode()).decode()},
            },
        }
        body = {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": record}
        yield json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
