from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import payloads
from monitor.entries.decode import decode
from monitor.errors import FormatError
from monitor.model.log import ConflictKind, Protocol
from monitor.model.release import ATTESTED, ExpectedHash
from monitor.releases import bundles, statement
from monitor.releases.bundles import Attached, Kind
from monitor.releases.collect import Fetched, unpacked
from monitor.releases.explain import Explained, compare, explain, explained, explains
from monitor.releases.verify import SignatureVerifier, Verdict, Verified, cited_log
from monitor.tlog.merkle import leaf_hash
from monitor.trust import root as roots
from tests.replay import RECORDING
from tests.unit.entries.recorded import v1_entries, v2_leaves
from tests.unit.releases.recorded_registry import fetched

NOW = datetime(2026, 9, 1, tzinfo=UTC)
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
BUNDLES = [each for each in fetched() if bundles.BUNDLE_TYPE.fullmatch(each.media_type)]
LAYERS = [each for each in fetched() if each not in BUNDLES]
V1 = next(each for each in BUNDLES if b"inclusionPromise" in each.blob)
V2 = next(each for each in BUNDLES if b"inclusionPromise" not in each.blob)


@cache
def verifier() -> SignatureVerifier:
    return SignatureVerifier(roots.parse((RECORDING / "trusted_root.json").read_bytes()))


def leaf_at(attached: Attached) -> tuple[bytes, Protocol]:
    """The recorded log's leaf at the place that is cited."""
    cited = attached.cited
    assert cited is not None
    log = cited_log(cited, verifier().root)
    assert log is not None
    if log.protocol is Protocol.REKOR_V1:
        return v1_entries()[cited.index][0], log.protocol
    return v2_leaves()[cited.index], log.protocol


def document(each: Fetched) -> dict[str, Any]:
    made = json.loads(each.blob)
    assert isinstance(made, dict)
    return made


def changed(each: Fetched, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps({**document(each), **fields}).encode()


def entry(each: Fetched) -> dict[str, Any]:
    made = document(each)["verificationMaterial"]["tlogEntries"][0]
    assert isinstance(made, dict)
    return made


def with_entry(each: Fetched, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    material = document(each)["verificationMaterial"]
    kept = {key: value for key, value in {**entry(each), **fields}.items() if value is not None}
    return changed(each, verificationMaterial={**material, "tlogEntries": [kept]})


def test_the_recording_holds_bundles_and_legacy_signatures() -> None:
    assert (len(BUNDLES), len(LAYERS)) == (61, 4)


@pytest.mark.parametrize("each", fetched(), ids=lambda each: each.source[7:19])
async def test_every_recorded_signature_verifies_and_names_the_hash_that_its_log_entry_shows(each: Fetched) -> None:
    found = await explain(each, verifier())
    assert (found.verified, found.why) == (Verified.YES, "")
    assert found.certificate is not None
    assert found.subjects
    assert found.attached is not None
    leaf, protocol = leaf_at(found.attached)
    logged = decode(leaf, protocol).digest
    assert logged is not None
    place = {Protocol.REKOR_V1: 0, Protocol.REKOR_V2: 1}[protocol] if found.kind is Kind.BUNDLE else 0
    assert logged.value == found.payload_hashes[place]
    expected = {subject: {("0.1.2", "runner")} for subject in found.subjects}
    assert logged.value in {hashed.value for hashed in explains(found, expected)}


@pytest.mark.parametrize("each", fetched(), ids=lambda each: each.source[7:19])
async def test_every_recorded_signature_is_the_log_entry_that_it_cites(each: Fetched) -> None:
    found = await explain(each, verifier())
    assert found.attached is not None
    leaf, protocol = leaf_at(found.attached)
    assert compare(found, "log", 5, leaf, protocol) is None


@pytest.mark.parametrize("each", fetched(), ids=lambda each: each.source[7:19])
def test_what_is_kept_of_a_signature_reads_as_before(each: Fetched) -> None:
    assert unpacked(each.packed()) == each.read()


async def test_many_signatures_verify_side_by_side() -> None:
    fresh = SignatureVerifier(verifier().root)
    found = await asyncio.gather(*(fresh.verify(each.read()) for each in fetched()))
    assert set(found) == {Verdict(Verified.YES)}


async def test_an_attestation_says_which_predicate_it_carries_and_a_signature_of_cosigns_own_none() -> None:
    found = [await explain(each, verifier()) for each in fetched()]
    assert {each.predicate for each in found} == {"", "https://slsa.dev/provenance/v1", "https://spdx.dev/Document"}
    attested = next(each for each in found if each.predicate)
    expected = {subject: {("0.1.2", "runner")} for subject in attested.subjects}
    assert {each.how for each in explains(attested, expected)} == {ATTESTED + attested.predicate}
    assert not any(each.how.startswith(ATTESTED) for f in found if not f.predicate for each in explains(f, expected))


async def test_a_signature_by_another_than_its_certificate_is_refused() -> None:
    envelope = document(V1)["dsseEnvelope"]
    forged = {**envelope, "payload": base64.b64encode(b"{}").decode()}
    verdict = await verifier().verify(bundles.read_bundle(changed(V1, dsseEnvelope=forged)))
    assert verdict == Verdict(Verified.NO, "its certificate's key did not make the signature")


@pytest.mark.parametrize("each", [V1, V2], ids=["v1", "v2"])
async def test_a_bundle_that_cites_another_signers_entry_is_refused_though_that_entry_is_proven(each: Fetched) -> None:
    """CVE-2026-22703: cosign before 2.6.2 took any entry."""
    has = b"inclusionPromise" in each.blob
    other = next(o for o in BUNDLES if o is not each and (b"inclusionPromise" in o.blob) is has)
    material = {**document(each)["verificationMaterial"], "tlogEntries": [entry(other)]}
    attached = bundles.read_bundle(changed(each, verificationMaterial=material))
    verdict = await verifier().verify(attached)
    assert verdict.verified is Verified.NO
    assert "of another certificate" in verdict.why
    leaf, protocol = leaf_at(attached)
    conflict = compare(await explained(attached, verifier()), "log", 5, leaf, protocol)
    assert conflict is not None
    assert conflict.kind is ConflictKind.BUNDLE_MISMATCH
    assert dict(conflict.evidence)["leaf"] == leaf


async def test_a_legacy_signature_with_the_promise_of_another_is_refused() -> None:
    mixed = {**LAYERS[0].annotations}
    mixed["dev.sigstore.cosign/bundle"] = LAYERS[1].annotations["dev.sigstore.cosign/bundle"]
    verdict = await verifier().verify(Fetched("s", LAYERS[0].media_type, mixed, LAYERS[0].blob).read())
    assert verdict.verified is Verified.NO
    assert "of another certificate and another signature and another digest" in verdict.why or (
        "of another certificate and another digest" in verdict.why
    )


async def test_a_broken_promise_or_proof_is_refused_by_name() -> None:
    promise = {"signedEntryTimestamp": base64.b64encode(b"0" * 70).decode()}
    no_promise = await verifier().verify(bundles.read_bundle(with_entry(V1, inclusionPromise=promise)))
    assert no_promise.verified is Verified.NO
    assert "signed entry timestamp does not verify" in no_promise.why
    proof = entry(V2)["inclusionProof"]
    assert proof["hashes"]
    for broken in (
        {**proof, "hashes": proof["hashes"][:-1]},
        {**proof, "logIndex": str(int(proof["logIndex"]) - 1)},
        {**proof, "rootHash": base64.b64encode(bytes(32)).decode()},
        {**proof, "checkpoint": {"envelope": proof["checkpoint"]["envelope"].replace("log2026-1", "log2026-2")}},
        {name: value for name, value in proof.items() if name != "checkpoint"},
    ):
        verdict = await verifier().verify(bundles.read_bundle(with_entry(V2, inclusionProof=broken)))
        assert verdict.verified is Verified.NO, broken
        assert "proven" in verdict.why or "proof" in verdict.why
    neither = await verifier().verify(bundles.read_bundle(with_entry(V2, inclusionProof=None)))
    assert neither == Verdict(Verified.NO, "it brings neither a promise nor a proof of its log entry")


async def test_a_bundle_with_a_promise_and_no_proof_is_verified_by_our_own_checks() -> None:
    attached = bundles.read_bundle(with_entry(V1, inclusionProof=None))
    assert (await verifier().verify(attached)).verified is Verified.YES


async def test_what_no_trusted_key_can_tell_is_neither_yes_nor_no() -> None:
    whole = json.loads((RECORDING / "trusted_root.json").read_bytes())
    without_v2 = {**whole, "tlogs": whole["tlogs"][:1]}
    attached = V2.read()
    verdict = await SignatureVerifier(roots.parse(json.dumps(without_v2).encode())).verify(attached)
    assert verdict.verified is Verified.CANNOT_CHECK
    assert verdict.stranger
    assert "not in the trusted root" in verdict.why
    material = {**document(V2)["verificationMaterial"], "publicKey": {"hint": "x"}}
    del material["certificate"]
    verdict = await verifier().verify(bundles.read_bundle(changed(V2, verificationMaterial=material)))
    assert verdict == Verdict(Verified.CANNOT_CHECK, "it is signed with a bare key, without a certificate")


async def test_a_trusted_root_that_sigstore_cannot_load_makes_it_cannot_check_and_still_explains() -> None:
    whole = json.loads((RECORDING / "trusted_root.json").read_bytes())
    newer = roots.parse(json.dumps({**whole, "aFieldOfTheFuture": {}}).encode())
    found = await explained(V2.read(), SignatureVerifier(newer))
    assert found.verified is Verified.CANNOT_CHECK
    assert "sigstore cannot load the trusted root" in found.why
    assert explains(found, {found.subjects[0]: {("0.1.2", "runner")}})


async def test_what_sigstore_alone_sees_is_refused_too() -> None:
    """On v2 only a timestamp says when: here it is over another signature."""
    other = next(each for each in BUNDLES if each is not V2 and b"inclusionPromise" not in each.blob)
    stamps = document(other)["verificationMaterial"]["timestampVerificationData"]
    material = {**document(V2)["verificationMaterial"], "timestampVerificationData": stamps}
    attached = bundles.read_bundle(changed(V2, verificationMaterial=material))
    verdict = await verifier().verify(attached)
    assert (verdict.verified, verdict.stranger) == (Verified.CANNOT_CHECK, True)
    newer = SignatureVerifier(verifier().root, NOW)
    assert await newer.verify(attached, NOW) == verdict
    verdict = await newer.verify(attached, NOW - timedelta(seconds=1))
    assert verdict.verified is Verified.NO
    assert verdict.why.startswith("sigstore does not accept it: ")


async def test_a_signature_that_cannot_be_read_or_had_is_told_and_explains_nothing() -> None:
    unreadable = await explain(Fetched("s", V1.media_type, {}, b"\xff"), verifier())
    assert (unreadable.verified, unreadable.payload_hashes) == (Verified.NO, ())
    too_large = await explain(Fetched("s", V1.media_type, error="of 100 MB"), verifier())
    assert (too_large.verified, too_large.why) == (Verified.CANNOT_CHECK, "of 100 MB")
    assert explains(unreadable, {D1: {("0.1.2", "runner")}}) == explains(too_large, {D1: {("0.1.2", "ui")}}) == ()


async def test_a_cited_entry_that_the_log_does_not_have_is_missing() -> None:
    conflict = compare(await explain(V1, verifier()), "origin", 7, None, Protocol.REKOR_V1)
    assert conflict is not None
    assert (conflict.kind, conflict.log, conflict.index) == (ConflictKind.MISSING, "origin", 7)
    assert dict(conflict.evidence)["bundle"] == V1.blob


async def test_a_leaf_that_says_the_same_in_other_bytes_is_not_what_was_promised() -> None:
    found = await explain(V1, verifier())
    assert found.attached is not None
    leaf, protocol = leaf_at(found.attached)
    conflict = compare(found, "origin", 7, leaf + b" ", protocol)
    assert conflict is not None
    assert "not the entry that it was promised" in conflict.summary
    assert compare(found, "origin", 7, b"no JSON", protocol) is not None


def about(*subjects: str, verified: Verified = Verified.YES) -> Explained:
    return Explained(Kind.BUNDLE, ("a" * 64, "b" * 64), subjects, "https://x/y", None, None, verified, "")


def test_all_subjects_must_be_expected_and_of_one_version() -> None:
    expected = {D1: {("0.1.2", "runner"), ("0.1.1", "runner")}, D2: {("0.1.2", "ui")}}
    both = explains(about(D1, D2), expected)
    assert {each.digest for each in both} == {D1, D2}
    assert {each.value for each in both} == {"a" * 64, "b" * 64}
    assert explains(about(D1, D2), {**expected, D2: {("0.2.0", "ui")}}) == ()
    assert explains(about(D1, "sha256:" + "3" * 64), expected) == ()
    assert explains(about(), expected) == ()
    assert explains(about(D1, verified=Verified.NO), expected) == ()
    assert explains(about(D1), {}) == ()


@given(st.lists(st.sampled_from([D1, D2, "sha256:" + "3" * 64]), min_size=1), st.sets(st.sampled_from(["1", "2"])))
def test_a_foreign_subject_anywhere_spoils_the_explanation(subjects: list[str], versions: set[str]) -> None:
    expected = {D1: {(v, "runner") for v in versions}, D2: {("2", "ui")}}
    found: tuple[ExpectedHash, ...] = explains(about(*subjects), expected)
    common = set.intersection(*({v for v, _ in expected.get(each, ())} for each in subjects))
    assert bool(found) == bool(common)


def told(subject: object, **more: object) -> bytes:
    whole = {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": "https://x/y", **more}
    return json.dumps(whole).encode()


def test_a_statement_names_every_subject_once() -> None:
    subjects = [
        {"digest": {"sha256": D1[7:]}},
        {"name": "n", "digest": {"sha256": D2[7:]}},
        {"digest": {"sha256": D1[7:]}},
    ]
    assert statement.read(told(subjects)) == statement.Statement((D1, D2), "https://x/y")


ONE = [{"digest": {"sha256": "1" * 64}}]


@pytest.mark.parametrize(
    "payload",
    [
        told([]),
        told(None),
        told(ONE * 1025),
        told([*ONE, {"name": "no digest"}]),
        told([*ONE, {"digest": {}}]),
        told([*ONE, {"digest": {"sha512": "1" * 128}}]),
        told([{"digest": {"sha256": "1" * 64, "sha512": "2" * 128}}]),
        told([{"digest": {"sha256": "1" * 63}}]),
        told([{"digest": {"sha256": "A" * 64}}]),
        told([{"digest": {"sha256": "１" * 64}}]),  # noqa: RUF001 - digits, but not ASCII
        told([{"digest": {"SHA256": "1" * 64}}]),
        told(ONE, Subject=ONE),
        told(ONE)[:-1] + ',"\u017fubject":[]}'.encode(),  # what begins with a long s is `subject` to Go
        told(ONE, predicate={"a": {"x": 1, "X": 2}}),
        told(ONE)[:-1] + b',"subject":[]}',
        told(ONE)[:-1] + b',"\\u0073ubject":[]}',
        told(ONE, _type="https://in-toto.io/Statement/v9"),
        told(ONE, predicateType=""),
        told(ONE, predicateType=7),
        b"[]",
        b"",
        b'{"_type": NaN}',
        b"[" * 100_000,
    ],
)
def test_a_payload_that_says_nothing_or_two_things_says_nothing(payload: bytes) -> None:
    with pytest.raises(FormatError):
        statement.read(payload)
    envelope = {
        "payloadType": payloads.STATEMENT_TYPE.decode(),
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": "AAAA"}],
    }
    attached = bundles.read_bundle(changed(V1, dsseEnvelope=envelope))
    assert attached.statement is None
    assert attached.obscure


def test_a_payload_of_another_type_is_no_statement_whatever_it_says() -> None:
    envelope = {**document(V1)["dsseEnvelope"], "payloadType": "text/plain"}
    assert bundles.read_bundle(changed(V1, dsseEnvelope=envelope)).statement is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"cosign container image signature", b"atomic container signature"),
        (b"sha256:", b"sha512:"),
        (b'"critical"', b'"Critical":1,"critical"'),
        (b'"docker-manifest-digest"', b'"digest"'),
        (b"sha256:" + b"f", b"sha256:F"),
    ],
)
def test_a_legacy_payload_is_as_cosign_writes_it_or_says_nothing(old: bytes, new: bytes) -> None:
    assert old in LAYERS[0].blob
    with pytest.raises(FormatError):
        statement.read_simple_signing(LAYERS[0].blob.replace(old, new, 1))


def test_a_legacy_payload_is_known_by_its_own_hash_and_by_no_encoding() -> None:
    found = LAYERS[0].read()
    assert (found.kind, found.signed.hashes) == (Kind.SIG, (hashlib.sha256(LAYERS[0].blob).hexdigest(),))


def as_attestation(each: Fetched) -> Fetched:
    """The same envelope as cosign's older layout keeps it: a layer with the rest in its annotations."""
    made = document(each)
    promised = entry(each)
    der = base64.b64decode(made["verificationMaterial"]["certificate"]["rawBytes"])
    pem = "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der).decode() + "-----END CERTIFICATE-----\n"
    rekor = {
        "SignedEntryTimestamp": promised["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": promised["canonicalizedBody"],
            "integratedTime": int(promised["integratedTime"]),
            "logIndex": int(promised["logIndex"]),
            "logID": base64.b64decode(promised["logId"]["keyId"]).hex(),
        },
    }
    notes = {
        bundles.SIGNATURE: "",
        "dev.sigstore.cosign/certificate": pem,
        "dev.sigstore.cosign/bundle": json.dumps(rekor),
    }
    return Fetched("att", bundles.ENVELOPE_TYPE, notes, json.dumps(made["dsseEnvelope"]).encode())


async def test_an_att_layer_is_verified_by_the_promise_in_its_annotations() -> None:
    layer = as_attestation(V1)
    found = await explain(layer, verifier())
    assert (found.kind, found.verified, found.why) == (Kind.ATT, Verified.YES, "")
    assert found.payload_hashes == (await explain(V1, verifier())).payload_hashes
    assert unpacked(layer.packed()) == layer.read()
    bare = {**layer.annotations}
    del bare["dev.sigstore.cosign/bundle"]
    unlogged = await explain(Fetched("att", layer.media_type, bare, layer.blob), verifier())
    assert (unlogged.verified, unlogged.why) == (Verified.CANNOT_CHECK, "it cites no log entry")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mediaType": "application/json"}, "mediaType"),
        ({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+jsonx"}, "mediaType"),
        ({"verificationMaterial": {}}, "not one certificate"),
        ({"verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}}, "rawBytes"),
        ({"messageSignature": {}}, "not one envelope or message"),
        ({"dsseEnvelope": None}, "not one envelope or message"),
        ({"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": []}}, "signatures"),
        ({"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": [{"sig": "AAAA"}] * 2}}, "signatures"),
        ({"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": [{"sig": ""}]}}, "empty signature"),
    ],
)
def test_a_bundle_that_breaks_its_format_is_refused_where_it_does(change: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        bundles.read_bundle(changed(V1, **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logIndex": "-1"}, "logIndex"),
        ({"logIndex": True}, "logIndex"),
        ({"logIndex": "9" * 30}, "logIndex"),
        ({"integratedTime": str(2**62)}, "integratedTime"),
        ({"canonicalizedBody": "%"}, "canonicalizedBody"),
        ({"inclusionProof": {"treeSize": "1", "rootHash": "", "hashes": ["AAAA"] * 65}}, "hashes"),
    ],
)
def test_a_log_entry_that_breaks_its_format_is_refused_where_it_does(change: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        bundles.read_bundle(with_entry(V1, **change))


def test_the_index_of_a_logs_first_entry_is_left_out_by_protobufs_json_and_read_as_zero() -> None:
    proof = {key: value for key, value in entry(V2)["inclusionProof"].items() if key != "logIndex"}
    (cited,) = bundles.read_bundle(with_entry(V2, logIndex=None, inclusionProof=proof)).entries
    assert cited.index == 0
    assert cited.proof is not None
    assert cited.proof.index == 0


def test_a_bundle_over_the_limit_is_not_parsed() -> None:
    with pytest.raises(FormatError, match="at most"):
        bundles.read_bundle(b" " * (bundles.MAX_BUNDLE + 1))
    with pytest.raises(FormatError, match="at most"):
        bundles.read_layer(bundles.SIMPLE_SIGNING_TYPE, {}, b" " * (bundles.MAX_BUNDLE + 1))


@given(st.binary(max_size=64), st.integers(0, 2**31))
def test_no_bytes_make_the_reader_fail_in_another_way(noise: bytes, place: int) -> None:
    whole = V1.blob
    at = place % len(whole)
    for data in (noise, whole[:at] + noise + whole[at + len(noise) :]):
        for kind in (V1.media_type, bundles.SIMPLE_SIGNING_TYPE, bundles.ENVELOPE_TYPE):
            try:
                attached = bundles.read_layer(kind, LAYERS[0].annotations, data)
            except FormatError:
                continue
            assert attached.statement is not None or attached.obscure


@settings(deadline=None)  # the first one loads sigstore
@given(st.integers(0, 2**31), st.sampled_from([V1, V2, LAYERS[0]]))
async def test_no_flipped_bit_makes_a_signature_mean_something_else(place: int, each: Fetched) -> None:
    """Whatever is flipped: it still says what it said, or our own checks do not say yes."""
    before = each.read()
    blob = bytearray(each.blob)
    blob[place // 8 % len(blob)] ^= 1 << place % 8
    try:
        attached = Fetched("s", each.media_type, each.annotations, bytes(blob)).read()
    except FormatError:
        return
    if (attached.signed, attached.signatures, attached.certificate, attached.entries) == (
        before.signed,
        before.signatures,
        before.certificate,
        before.entries,
    ):
        return
    assert (await verifier().verify(attached)).verified is not Verified.YES or attached.signed == before.signed


def test_a_cited_entry_has_the_leaf_hash_of_its_body() -> None:
    cited = V2.read().cited
    assert cited is not None
    assert cited.leaf_hash == leaf_hash(cited.body)
