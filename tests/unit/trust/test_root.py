from __future__ import annotations

import base64
import copy
import hashlib
import json
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from monitor.errors import TrustRootError
from monitor.model.log import Protocol
from monitor.tlog import note
from monitor.tlog.checkpoint import Checkpoint
from monitor.trust.root import parse
from tests.replay import RECORDING
from tests.unit.trust.issuing import Fulcio, as_bytes, b64

if TYPE_CHECKING:
    from collections.abc import Callable

FULCIO = Fulcio()
SHIPPED = resources.files("sigstore") / "_store"


def test_the_recorded_root_names_both_logs_with_the_keys_that_sign_their_checkpoints() -> None:
    data = (RECORDING / "trusted_root.json").read_bytes()
    root = parse(data)
    v1, v2 = root.logs
    assert (v1.origin, v1.protocol) == ("rekor-v1.trustacks.test", Protocol.REKOR_V1)
    assert (v2.origin, v2.protocol) == ("log2026-1.rekor.trustacks.test", Protocol.REKOR_V2)
    assert v1.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert v1.end is None
    assert root.digest == hashlib.sha256(data).hexdigest()
    assert root.skipped == ()
    assert len(root.authorities[0].certificates) == 2
    checkpoint = Checkpoint.parse((RECORDING / "v2/log/checkpoint").read_bytes())
    assert checkpoint.origin == v2.origin
    assert note.verify(checkpoint.note, [v2.key])
    info = json.loads(json.loads((RECORDING / "v1.jsonl").read_text().splitlines()[0])["response"])
    for shard in (info, *info["inactiveShards"]):
        assert note.verify(Checkpoint.parse(shard["signedTreeHead"].encode()).note, [v1.key])


@pytest.mark.parametrize(
    ("repository", "origins"),
    [
        ("https%3A%2F%2Ftuf-repo-cdn.sigstore.dev", {"rekor.sigstore.dev", "log2025-1.rekor.sigstore.dev"}),
        ("https%3A%2F%2Ftuf-repo-cdn.sigstage.dev", {"rekor.sigstage.dev", "log2025-alpha3.rekor.sigstage.dev"}),
    ],
)
def test_the_public_roots_are_read_whole(repository: str, origins: set[str]) -> None:
    root = parse((SHIPPED / repository / "trusted_root.json").read_bytes())
    assert root.skipped == ()
    assert origins <= {log.origin for log in root.logs}
    for log in root.logs:
        assert (log.protocol is Protocol.REKOR_V1) == log.origin.startswith("rekor.")
        assert log.key.key_id == log.log_id[:4]


def _unknown_fields(root: dict[str, Any]) -> None:
    root["brandNew"] = {"a": 1}
    root["tlogs"][0]["alsoNew"] = []
    root["mediaType"] = "application/vnd.dev.sigstore.trustedroot.v0.9+json"


def _without_windows(root: dict[str, Any]) -> None:
    del root["tlogs"][0]["publicKey"]["validFor"]


@pytest.mark.parametrize("change", [_unknown_fields, _without_windows])
def test_what_is_new_or_optional_does_not_stop_it(change: Callable[[dict[str, Any]], None]) -> None:
    root = FULCIO.trusted_root()
    change(root)
    assert parse(as_bytes(root)).skipped == ()


def test_a_key_of_an_unknown_kind_is_skipped_and_said() -> None:
    root = FULCIO.trusted_root()
    strange = copy.deepcopy(root["tlogs"][0])
    strange["publicKey"].update(rawBytes=b64(b"0\x03\x02\x01\x01"), keyDetails="ML_DSA_65\x1b")
    root["tlogs"].append(strange)
    root["ctlogs"].append(strange)
    read = parse(as_bytes(root))
    assert (len(read.logs), len(read.ct_keys)) == (1, 1)
    assert read.skipped == (
        "tlogs[1].publicKey is a key of an unknown kind (ML_DSA_65\\x1b)",
        "ctlogs[1].publicKey is a key of an unknown kind (ML_DSA_65\\x1b)",
    )


def test_certificates_that_do_not_issue_each_other_are_no_authority() -> None:
    root = FULCIO.trusted_root()
    other = Fulcio().trusted_root()["certificateAuthorities"][0]["certChain"]["certificates"][1]
    broken = copy.deepcopy(root["certificateAuthorities"][0])
    broken["certChain"]["certificates"][1] = other
    root["certificateAuthorities"].append(broken)
    read = parse(as_bytes(root))
    assert len(read.authorities) == 1
    assert "are no chain" in read.skipped[0]


def test_a_v2_origin_is_the_name_that_its_key_id_was_made_of() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for url, origin in (
        ("https://log.example:8443/2026", "log.example:8443/2026"),
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ("https://log.example/", "log.example"),
    ):
        log_id = hashlib.sha256(origin.encode() + b"\n\x01" + key.public_bytes_raw()).digest()
        root = FULCIO.trusted_root()
        root["tlogs"] = [{"baseUrl": url, "publicKey": {"rawBytes": b64(der)}, "logId": {"keyId": b64(log_id)}}]
        (log,) = parse(as_bytes(root)).logs
        assert (log.origin, log.protocol) == (origin, Protocol.REKOR_V2)
        assert log.key.key_id == log_id[:4]


def test_a_checkpoint_key_id_of_its_own_is_used() -> None:
    root = FULCIO.trusted_root()
    root["tlogs"][0]["checkpointKeyId"] = {"keyId": b64(b"\x01\x02\x03\x04")}
    (log,) = parse(as_bytes(root)).logs
    assert log.key.key_id == b"\x01\x02\x03\x04"
    assert len(log.log_id) == 32


def _set(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(root: dict[str, Any]) -> None:
        at: Any = root
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("tlogs", value=[]), "names no transparency log"),
        (_set("certificateAuthorities", value=[]), "names no certificate authority"),
        (_set("tlogs", value={}), "not an array"),
        (_set("tlogs", 0, "publicKey", "rawBytes", value="%%%"), "not base64"),
        (_set("tlogs", 0, "logId", "keyId", value=b64(b"abc")), "3 bytes"),
        (_set("tlogs", 0, "baseUrl", value="nothing"), "names no host"),
        (_set("tlogs", 0, "publicKey", "validFor", value={"start": "yesterday"}), "validFor"),
        (_set("tlogs", 0, "publicKey", "validFor", value={"start": "2026-01-01T00:00:00"}), "time zone"),
        (_set("certificateAuthorities", 0, "certChain", "certificates", value=[]), "no chain"),
        (_set("mediaType", value="application/json"), "mediaType"),
    ],
)
def test_a_root_that_cannot_be_used_is_refused_by_name(change: Callable[[dict[str, Any]], None], said: str) -> None:
    root = FULCIO.trusted_root()
    change(root)
    with pytest.raises(TrustRootError, match=said) as refused:
        parse(as_bytes(root))
    assert refused.value.cure


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b'{"tlogs":[],"tlogs":[]}', b"[" * 100_000, b"\xff", b" " * (5 << 20)]
)
def test_what_is_no_root_is_refused(data: bytes) -> None:
    with pytest.raises(TrustRootError):
        parse(data)


def test_an_elliptic_curve_that_signs_no_notes_is_skipped() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    root = FULCIO.trusted_root()
    root["tlogs"].append({**root["tlogs"][0], "publicKey": {"rawBytes": base64.b64encode(der).decode()}})
    read = parse(as_bytes(root))
    assert len(read.logs) == 1
    assert len(read.skipped) == 1
