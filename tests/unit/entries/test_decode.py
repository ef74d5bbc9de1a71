from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import kinds
from monitor.entries.decode import decode
from monitor.errors import FormatError
from monitor.model.entry import DecodedEntry, DigestRole
from monitor.model.log import Protocol
from tests.unit.entries.recorded import v1_entries, v2_leaves
from tests.unit.entries.test_prefilter import b64, canonical, pem, v1_leaf, v2_leaf
from tests.unit.trust.issuing import WORKFLOW, Fulcio, Wish, oid, san, sequence, spki, tlv, uri

V1, V2 = Protocol.REKOR_V1, Protocol.REKOR_V2
CA = Fulcio()
HOLDER = ec.generate_private_key(ec.SECP256R1())
DER = CA.issue(Wish(), HOLDER)
CERTIFICATE = b64(pem("CERTIFICATE", DER))
PUBLIC_KEY = b64(pem("PUBLIC KEY", spki(HOLDER)))
PGP = b64(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF==\n-----END PGP PUBLIC KEY BLOCK-----\n")
DIGEST = hashlib.sha256(b"artifact").digest()
HASH = {"algorithm": "sha256", "value": DIGEST.hex()}
SIGNATURE = HOLDER.sign(DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def v1(kind: str, spec: dict[str, Any], version: str = "0.0.1") -> DecodedEntry:
    return decode(canonical({"apiVersion": version, "kind": kind, "spec": spec}), V1)


def time_stamp() -> bytes:
    imprint = sequence(sequence(oid("2.16.840.1.101.3.4.2.1")), tlv(0x04, DIGEST))
    info = sequence(b"\x02\x01\x01", oid("1.2.3"), imprint)
    encapsulated = sequence(oid("1.2.840.113549.1.9.16.1.4"), tlv(0xA0, tlv(0x04, info)))
    signed = sequence(b"\x02\x01\x03", tlv(0x31), encapsulated, tlv(0xA0, DER), tlv(0x31))
    return sequence(sequence(b"\x02\x01\x00"), sequence(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed)))


SIMPLE = {"content": b64(SIGNATURE), "publicKey": {"content": CERTIFICATE}}
SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("hashedrekord", "0.0.1"): {"data": {"hash": HASH}, "signature": SIMPLE},
    ("dsse", "0.0.1"): {"payloadHash": HASH, "signatures": [{"signature": b64(SIGNATURE), "verifier": CERTIFICATE}]},
    ("intoto", "0.0.1"): {"content": {"hash": HASH, "payloadHash": HASH}, "publicKey": CERTIFICATE},
    ("intoto", "0.0.2"): {
        "content": {
            "envelope": {"signatures": [{"publicKey": CERTIFICATE, "sig": b64(b64(SIGNATURE).encode())}]},
            "hash": HASH,
            "payloadHash": HASH,
        }
    },
    ("rekord", "0.0.1"): {"data": {"hash": HASH}, "signature": {**SIMPLE, "format": "x509"}},
    ("cose", "0.0.1"): {"data": {"payloadHash": HASH}, "publicKey": CERTIFICATE},
    ("alpine", "0.0.1"): {"package": {"hash": HASH}, "publicKey": {"content": CERTIFICATE}},
    ("jar", "0.0.1"): {"archive": {"hash": HASH}, "signature": SIMPLE},
    ("rpm", "0.0.1"): {"package": {"hash": HASH}, "publicKey": {"content": PGP}},
    ("helm", "0.0.1"): {"chart": {"hash": HASH}, "publicKey": {"content": PGP}},
    ("rfc3161", "0.0.1"): {"tsr": {"content": b64(time_stamp())}},
    ("tuf", "0.0.1"): {"root": {"content": {"signed": {"keys": {}}}}},
}
NAMELESS = {"rpm", "helm", "rfc3161", "tuf"}


def test_every_kind_that_is_registered_is_tested() -> None:
    v2_kinds = {("hashedrekord", "0.0.2", V2), ("dsse", "0.0.2", V2)}
    assert set(kinds.known()) == {(kind, version, V1) for kind, version in SPECS} | v2_kinds


@pytest.mark.parametrize(("kind", "version"), SPECS)
def test_a_v1_entry_of_each_kind_gives_its_signer_and_digest(kind: str, version: str) -> None:
    found = v1(kind, SPECS[kind, version], version)
    assert (found.kind, found.api_version, found.protocol) == (kind, version, V1)
    if kind not in NAMELESS:
        (signer,) = found.signers
        assert signer.certificate is not None
        assert signer.certificate.san == WORKFLOW
        assert signer.spki == spki(HOLDER)
        assert signer.signature in (SIGNATURE, b"")
        assert signer.verifies is (True if kind == "hashedrekord" else None)
    else:
        assert [signer.spki for signer in found.signers] == ([b""] if kind in {"rpm", "helm"} else [])
    if kind == "tuf":
        assert found.digest is None
    else:
        assert str(found.digest) == f"sha256:{DIGEST.hex()}"
    if kind == "rfc3161":
        assert [c.san for c in found.other_certificates] == [WORKFLOW]


@pytest.mark.parametrize(("kind", "role"), [("hashedrekord", DigestRole.ARTIFACT), ("dsse", DigestRole.PAYLOAD)])
def test_a_v2_entry_gives_its_signer_and_digest(kind: str, role: DigestRole) -> None:
    found = decode(canonical(v2_leaf(b64(DER), kind)), V2)
    (signer,) = found.signers
    assert signer.certificate is not None
    assert signer.certificate.san == WORKFLOW
    assert found.digest is not None
    assert (found.digest.algorithm, found.digest.role) == ("sha256", role)
    bare = decode(canonical(v2_leaf(b64(spki(HOLDER)), kind, bare=True)), V2).signers[0]
    assert (bare.spki, bare.certificate) == (spki(HOLDER), None)


@pytest.mark.parametrize(("kind", "version"), [*SPECS, ("novel\x1bty", "0.0.1")])
def test_a_kind_in_the_wrong_kind_of_log_or_of_another_version_is_refused_by_name(kind: str, version: str) -> None:
    leaf = canonical({"apiVersion": version, "kind": kind, "spec": SPECS.get((kind, version), {})})
    with pytest.raises(FormatError, match=r"unknown kind|spec: has no") as refused:
        decode(leaf, V2)
    assert "\x1b" not in str(refused.value)
    with pytest.raises(FormatError, match="unknown kind"):
        decode(leaf.replace(version.encode(), b"9.9.9", 1), V1)


def _hashed(algorithm: str, digest: bytes, signature: bytes, key: bytes) -> bool | None:
    data = {"hash": {"algorithm": algorithm, "value": digest.hex()}}
    signed = {"content": b64(signature), "publicKey": {"content": b64(pem("PUBLIC KEY", key))}}
    return v1("hashedrekord", {"data": data, "signature": signed}).signers[0].verifies


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
@pytest.mark.parametrize("hashed", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_a_signature_over_the_logged_hash_is_verified(curve: ec.EllipticCurve, hashed: hashes.HashAlgorithm) -> None:
    key = ec.generate_private_key(curve)
    digest = hashlib.new(hashed.name, b"artifact").digest()
    signature = key.sign(digest, ec.ECDSA(utils.Prehashed(hashed)))
    assert _hashed(hashed.name, digest, signature, spki(key)) is True
    assert _hashed(hashed.name, hashlib.new(hashed.name, b"other").digest(), signature, spki(key)) is False
    assert _hashed(hashed.name, digest, signature[:-1], spki(key)) is False
    assert _hashed(hashed.name, digest, b"", spki(key)) is False
    assert _hashed(hashed.name, digest, signature, spki(ec.generate_private_key(curve))) is False


def test_rsa_signatures_are_verified_in_the_padding_that_the_entry_names() -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    prehashed = utils.Prehashed(hashes.SHA256())
    plain = key.sign(DIGEST, padding.PKCS1v15(), prehashed)
    pss = key.sign(DIGEST, padding.PSS(padding.MGF1(hashes.SHA256()), 32), prehashed)
    assert _hashed("sha256", DIGEST, plain, public) is True
    for details, signature, verifies in (
        ("PKIX_RSA_PKCS1V15_2048_SHA256", plain, True),
        ("PKIX_RSA_PSS_2048_SHA256", pss, True),
        ("PKIX_RSA_PSS_2048_SHA256", plain, False),
    ):
        leaf: Any = v2_leaf(b64(public), "hashedrekord", bare=True)
        entry = leaf["spec"]["hashedRekordV002"]
        entry["data"]["digest"] = b64(DIGEST)
        entry["signature"]["content"] = b64(signature)
        entry["signature"]["verifier"]["keyDetails"] = details
        assert decode(canonical(leaf), V2).signers[0].verifies is verifies


def test_a_signature_that_nobody_here_can_check_is_not_called_false() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert _hashed("sha512", bytes(64), bytes(64), der) is None
    assert _hashed("sha1", bytes(20), SIGNATURE, spki(HOLDER)) is None
    assert _hashed("blake3", bytes(32), SIGNATURE, spki(HOLDER)) is None


def test_one_signer_that_cannot_be_read_does_not_hide_the_others() -> None:
    good = {"signature": b64(SIGNATURE), "verifier": CERTIFICATE}
    bad = {"signature": b64(SIGNATURE), "verifier": b64(pem("CERTIFICATE", b"\x30\x00"))}
    found = v1("dsse", {"payloadHash": HASH, "signatures": [bad, good]})
    assert [signer.spki for signer in found.signers] == [b"", spki(HOLDER)]
    assert found.signers[1].certificate is not None
    with pytest.raises(FormatError, match=r"spec\.signatures\[0\]\.verifier: not a certificate"):
        v1("dsse", {"payloadHash": HASH, "signatures": [bad, bad]})


def test_certificates_beside_the_signers_are_kept_and_sign_nothing() -> None:
    other = CA.issue(Wish((san(uri("https://other.example")),)))
    content = b64(pem("CERTIFICATE", DER) + pem("CERTIFICATE", other) + pem("CERTIFICATE", b"junk"))
    found = decode(canonical(v1_leaf(content, "hashedrekord")), V1)
    assert len(found.signers) == 1
    assert [c.san for c in found.other_certificates] == ["https://other.example", ""]
    bare = decode(canonical(v1_leaf(b64(base64.b64decode(PUBLIC_KEY) + pem("CERTIFICATE", DER)), "hashedrekord")), V1)
    assert bare.signers[0].certificate is None
    assert [c.san for c in bare.other_certificates] == [WORKFLOW]


def _change(*path: str | int, value: object) -> bytes:
    leaf: Any = v1_leaf(CERTIFICATE, "hashedrekord")
    at = leaf
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return canonical(leaf)


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        (b"", "not JSON"),
        (b"\x01" + bytes(96), "not JSON"),
        (b"null", "not an object"),
        (b"[]", "not an object"),
        (b'{"kind":"hashedrekord"}', "has no apiVersion"),
        (b'{"kind":1,"apiVersion":"0.0.1","spec":{}}', "kind: not a string"),
        (b'{"kind":"a","kind":"b"}', "same key twice"),
        (b'{"kind":"a","Kind":"b"}', "equal but for case"),
        (b'{"kind":NaN}', "not JSON"),
        (b'{"kind":1e999}', "not JSON"),
        (b'{"kind":"\\ud800"}', "not JSON"),
        (b'{"kind":"\xff"}', "not JSON"),
        (b'{"kind":"a"}{}', "not JSON"),
        (b'\xef\xbb\xbf{"kind":"a"}', "not JSON"),
        (b"[" * 500 + b"]" * 500, "nested deeper|not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested deeper"),
        (b'{"a":' + b"1" * 5000 + b"}", "not JSON"),
        (b" " * (8 << 20) + b"{}", "at most"),
        (_change("spec", value=None), "has no spec"),
        (_change("spec", "data", value=[]), "spec.data: not an object"),
        (_change("spec", "data", "hash", "value", value="zz"), "spec.data.hash.value: not hexadecimal"),
        (_change("spec", "data", "hash", "value", value="ab"), "1 bytes are no sha256 hash"),
        (_change("spec", "data", "hash", "value", value="ab " * 31 + "ab"), "not hexadecimal"),
        (_change("spec", "data", "hash", "algorithm", value=""), "no name"),
        (_change("spec", "data", "hash", "algorithm", value="sha\n256"), "no name"),
        (_change("spec", "signature", "content", value="%"), "spec.signature.content: not base64"),
        (_change("spec", "signature", "content", value="A"), "impossible length"),
        (_change("spec", "signature", "content", value="AAAA="), "impossible length"),
        (_change("spec", "signature", "publicKey", "content", value=b64(b"no pem")), "publicKey.content: no PEM block"),
        (_change("spec", "signature", "publicKey", "content", value=b64(pem("PUBLIC KEY", b"x"))), "not a public key"),
        (_change("spec", "signature", "publicKey", "content", value=PGP), "instead of a certificate"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_place(leaf: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        decode(leaf, V1)


def test_a_v2_leaf_of_two_kinds_or_two_keys_is_refused() -> None:
    two: Any = v2_leaf(b64(DER), "hashedrekord")
    two["spec"]["dsseV002"] = {}
    with pytest.raises(FormatError, match="more than one kind"):
        decode(canonical(two), V2)
    keys: Any = v2_leaf(b64(DER), "hashedrekord")
    keys["spec"]["hashedRekordV002"]["signature"]["verifier"]["publicKey"] = {"rawBytes": b64(spki(HOLDER))}
    with pytest.raises(FormatError, match="not one certificate or public key"):
        decode(canonical(keys), V2)


def test_too_many_signers_are_refused_and_never_cut() -> None:
    signature = {"signature": b64(SIGNATURE), "verifier": PUBLIC_KEY}
    assert len(v1("dsse", {"payloadHash": HASH, "signatures": [signature] * 64}).signers) == 64
    for count in (0, 65):
        with pytest.raises(FormatError, match="values in an array"):
            v1("dsse", {"payloadHash": HASH, "signatures": [signature] * count})


def test_every_recorded_leaf_is_decoded_and_every_hashedrekord_verifies() -> None:
    for leaf in v2_leaves().values():
        assert all(signer.verifies for signer in decode(leaf, V2).signers)
    for leaf, _ in v1_entries().values():
        found = decode(leaf, V1)
        assert found.kind == "dsse" or all(signer.verifies for signer in found.signers)


FUZZED = [canonical({"apiVersion": v, "kind": k, "spec": s}) for (k, v), s in SPECS.items()]


@settings(max_examples=400, deadline=None)
@given(leaf=st.sampled_from(FUZZED), position=st.integers(0, 10_000), replaced=st.binary(max_size=4), data=st.data())
def test_no_change_of_bytes_raises_anything_but_a_refusal(
    leaf: bytes, position: int, replaced: bytes, data: st.DataObject
) -> None:
    at = position % len(leaf)
    until = data.draw(st.integers(at, min(len(leaf), at + 6)))
    with contextlib.suppress(FormatError):
        decode(leaf[:at] + replaced + leaf[until:], V1)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["hash", "content", "keys", "signed"]), inner)
        ),
        max_leaves=8,
    ),
    st.sampled_from([*SPECS]),
)
def test_no_shape_of_json_raises_anything_but_a_refusal(spec: object, kind: tuple[str, str]) -> None:
    leaf = json.dumps({"apiVersion": kind[1], "kind": kind[0], "spec": spec}).encode()
    with contextlib.suppress(FormatError):
        decode(leaf, V1)
