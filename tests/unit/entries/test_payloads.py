from __future__ import annotations

import hashlib
import json

import pytest

from monitor.entries import decode
from monitor.entries.payloads import SIGN_PREDICATE, pae, predicted, simple_signing
from monitor.model.entry import DigestRole
from monitor.model.log import Protocol
from tests.unit.entries.recorded import expected, v1_entries, v2_leaves

DIGEST = "sha256:" + "ab" * 32
REFERENCE = "ghcr.io/trustacks/any"


def test_thirteen_values_are_predicted_and_one_more_for_each_reference() -> None:
    found = predicted(DIGEST, ["ghcr.io/trustacks/ui", REFERENCE])
    assert len({expected.value for expected in found}) == len(found) == 15
    assert found[0].value == DIGEST.removeprefix("sha256:")
    assert {expected.digest for expected in found} == {DIGEST}
    assert all(len(expected.value) == 64 and expected.how for expected in found)


def test_every_recorded_signature_of_an_image_is_predicted_from_its_digest_and_no_attestation_is() -> None:
    ways = set()
    for row in expected():
        if row["format"] == "submitted directly" or row.get("recursive"):
            continue
        hashes = {found.value: found for found in predicted(row["digest"], [REFERENCE])}
        (index,) = row["indexes"]
        v1 = row["log"] == "v1"
        leaf = v1_entries()[index][0] if v1 else v2_leaves()[index]
        entry = decode.decode(leaf, Protocol.REKOR_V1 if v1 else Protocol.REKOR_V2)
        assert entry.digest is not None
        assert (entry.digest.value in hashes) == (row["attestation"] is None), row["label"]
        if row["attestation"] is None:
            ways.add((entry.kind, entry.digest.role, hashes[entry.digest.value].how))
    assert ways == {
        ("dsse", DigestRole.PAYLOAD, "cosign statement C, spaced"),
        ("hashedrekord", DigestRole.ARTIFACT, "cosign statement C, spaced, pre-authentication encoding"),
        ("hashedrekord", DigestRole.ARTIFACT, f"simple-signing payload for {REFERENCE}"),
    }


def test_a_statement_is_written_as_gos_protojson_writes_it() -> None:
    value = "ab" * 32
    text = (
        '{"_type":"https://in-toto.io/Statement/v1", "subject":[{"digest":{"sha256":"'
        + value
        + '"}, "annotations":{"a":"1", "b":"<\\"\\\\\\n\u00e9\\u0001>"}}], "predicateType":"'
        + SIGN_PREDICATE
        + '", "predicate":{}}'
    )
    found = {e.how: e.value for e in predicted(DIGEST, [], {"b": '<"\\\n\u00e9\x01>', "a": "1"})}
    assert found["cosign statement C, spaced"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_simple_signing_payload_is_written_as_gos_json_writes_it() -> None:
    expected_text = (
        '{"critical":{"identity":{"docker-reference":"index.docker.io/a/b"},"image":{"docker-manifest-digest":"'
        + DIGEST
        + '"},"type":"cosign container image signature"},"optional":null}'
    )
    assert simple_signing(DIGEST, "docker.io/a/b").decode() == expected_text
    annotated = simple_signing(DIGEST, "r", {"z": "<&>\u2028", "a": "1"}).decode()
    assert annotated.endswith('"optional":{"a":"1","z":"\\u003c\\u0026\\u003e\\u2028"}}')
    assert json.loads(annotated)["optional"] == {"a": "1", "z": "<&>\u2028"}


def test_the_pre_authentication_encoding_is_that_of_the_specification() -> None:
    assert (
        pae(b"http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize(
    "digest", ["", "ab" * 32, "sha512:" + "ab" * 64, "sha256:" + "AB" * 32, DIGEST + "\n", "sha256:" + "a" * 63]
)
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match="is not sha256"):
        predicted(digest, [])
