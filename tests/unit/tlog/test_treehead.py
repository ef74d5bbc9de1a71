"""RFC 6962 tree heads as notes: what a log signed is what a reader of the note verifies."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import BadSignatureError, FormatError
from monitor.tlog import note, treehead
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.note import NoteKey
from tests.replay import RECORDING

_KEY = generate_private_key(SECP256R1())
_SPKI = _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
_ORIGIN = sha256(_SPKI).hexdigest()
_READER = NoteKey.tree_head(_ORIGIN, _SPKI)


def _signed(timestamp: int, size: int, root: bytes) -> bytes:
    signature = _KEY.sign(treehead.signed_bytes(timestamp, size, root), ECDSA(SHA256()))
    return b"\x04\x03" + struct.pack(">H", len(signature)) + signature


def _note(timestamp: int, size: int, root: bytes) -> bytes:
    return treehead.note(_ORIGIN, _READER.key_id, timestamp, size, root, _signed(timestamp, size, root))


@given(
    st.integers(min_value=0, max_value=treehead.MAX_TIMESTAMP),
    st.integers(min_value=0, max_value=2**63 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_every_signed_tree_head_is_a_note_that_verifies_and_says_the_same(
    timestamp: int, size: int, root: bytes
) -> None:
    checkpoint = Checkpoint.parse(_note(timestamp, size, root))
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (_ORIGIN, size, root)
    (verified,) = note.verify(checkpoint.note, [_READER])
    assert verified.timestamp == timestamp // 1000


@pytest.mark.parametrize("part", ["time", "size", "root"])
def test_a_tree_head_does_not_verify_when_any_part_of_it_is_another(part: str) -> None:
    signature = _signed(1_700_000_000_000, 7, bytes(32))
    time, size, root = 1_700_000_000_000 + (part == "time"), 7 + (part == "size"), bytes(31) + bytes([part == "root"])
    forged = treehead.note(_ORIGIN, _READER.key_id, time, size, root, signature)
    with pytest.raises(BadSignatureError):
        note.verify(Checkpoint.parse(forged).note, [_READER])


def test_lines_that_a_tree_head_does_not_sign_are_refused() -> None:
    text, separator, line = _note(1, 7, bytes(32)).decode().rpartition("\n\n")
    with pytest.raises(BadSignatureError, match="does not cover"):
        note.verify(Checkpoint.parse(f"{text}\nextension{separator}{line}".encode()).note, [_READER])


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 40])
def test_a_tree_head_that_breaks_off_does_not_verify(cut: int) -> None:
    whole = _signed(1, 7, bytes(32))
    with pytest.raises(BadSignatureError):
        note.verify(
            Checkpoint.parse(treehead.note(_ORIGIN, _READER.key_id, 1, 7, bytes(32), whole[:cut])).note, [_READER]
        )


@pytest.mark.parametrize(("size", "time", "root"), [(2**63, 1, bytes(32)), (1, -1, bytes(32)), (1, 1, bytes(31))])
def test_what_no_tree_head_says_is_no_note(size: int, time: int, root: bytes) -> None:
    with pytest.raises(FormatError):
        treehead.note(_ORIGIN, _READER.key_id, time, size, root, b"x")


def test_the_recorded_tree_head_of_a_real_log_verifies() -> None:
    row = json.loads((RECORDING / "ct.jsonl").read_text().splitlines()[0])
    head = json.loads(row["response"])
    root = json.loads((RECORDING / "trusted_root.json").read_text())
    spki = b64decode(root["ctlogs"][0]["publicKey"]["rawBytes"])
    key = NoteKey.tree_head(sha256(spki).hexdigest(), spki)
    raw = treehead.note(
        key.name,
        key.key_id,
        head["timestamp"],
        head["tree_size"],
        b64decode(head["sha256_root_hash"]),
        b64decode(head["tree_head_signature"]),
    )
    checkpoint = Checkpoint.parse(raw)
    assert note.verify(checkpoint.note, [key])[0].timestamp == head["timestamp"] // 1000
    assert checkpoint.size == head["tree_size"]
