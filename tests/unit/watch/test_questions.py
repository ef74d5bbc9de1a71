from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.entries.payloads import predicted
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.model.search import IndexField, Question
from monitor.rules.policy import Policy
from monitor.watch import questions

DIGEST = f"sha256:{'5a' * 32}"
REPOSITORY = "https://github.com/TruStacks/trustacks-mvp/.github/workflows"


def test_every_workflow_is_asked_for_on_every_branch_and_release_and_on_no_other_tag() -> None:
    asked = questions.subjects(
        Policy(), ["main"], ["0.1.2", "latest", "sha256-ab.sig", "0.10.0", "0.1.2", "0.3", "v0.4.0"]
    )
    assert [question.value.removeprefix(REPOSITORY) for question in asked] == [
        "/publish-images.yml@refs/heads/main",
        "/publish-policy.yml@refs/heads/main",
        "/publish-images.yml@refs/tags/v0.10.0",
        "/publish-policy.yml@refs/tags/v0.10.0",
        "/publish-images.yml@refs/tags/v0.1.2",
        "/publish-policy.yml@refs/tags/v0.1.2",
    ]
    assert {question.field for question in asked} == {IndexField.SUBJECT}


def test_a_name_that_no_index_takes_is_not_asked_for() -> None:
    assert questions.subject("") is None
    assert questions.subject("x" * 513) is None
    assert questions.subject("x" * 512) is not None


def test_a_digest_is_asked_for_itself_and_as_every_payload_that_v1_logs_never_as_an_encoding() -> None:
    expected = ExpectedDigest("0.1.2", "ui", DIGEST, DigestKind.TAG, Authority.PINNED)
    known = predicted(DIGEST, ["ghcr.io/trustacks/ui"])
    asked = questions.hashes([expected], known)
    assert asked[0] == Question(IndexField.HASH, DIGEST)
    assert len(asked) == 1 + 6 + 1
    encoded = {f"sha256:{each.value}" for each in known if "encoding" in each.how}
    assert len(encoded) == 6
    assert encoded.isdisjoint(question.value for question in asked)


def test_a_watched_key_is_asked_for_as_rekor_writes_it_whatever_its_kind() -> None:
    keys = (
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    )
    for key in keys:
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert questions.of_keys([der]) == [
            Question(IndexField.KEY, pem.decode()),
            Question(IndexField.HASH, f"sha256:{hashlib.sha256(pem).hexdigest()}"),
        ]
