from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import certificate as certificates
from monitor.entries import decode
from monitor.errors import FormatError
from monitor.model.entry import Step, Trust, TrustVerdict
from monitor.model.log import Promise, Protocol
from monitor.trust import root as roots
from monitor.trust.check import check
from monitor.trust.signature import entry_timestamp_bytes
from tests.replay import RECORDING
from tests.unit.entries.recorded import expected, v1_entries, v2_leaves
from tests.unit.trust.issuing import (
    BASIC_CONSTRAINTS,
    CODE_SIGNING,
    NOW,
    SERVER_AUTH,
    USUAL,
    Fulcio,
    Wish,
    as_bytes,
    claim,
    sequence,
    spki,
    usage,
)

FULCIO = Fulcio()
ROOT = roots.parse(as_bytes(FULCIO.trusted_root()))
DATA = b'{"a":"leaf"}'


def verdict(
    der: bytes, root: roots.TrustRoot = ROOT, promise: Promise | None = None, *, signer_verifies: bool | None = True
) -> TrustVerdict:
    return check(certificates.read(der), root, promise=promise, data=DATA, signer_verifies=signer_verifies)


def promised(moment: datetime = NOW + timedelta(seconds=5), *, data: bytes = DATA) -> Promise:
    log_id = hashlib.sha256(spki(FULCIO.log_key)).digest()
    bare = Promise(log_id, moment, 7, "aa", b"")
    signature = FULCIO.log_key.sign(entry_timestamp_bytes(bare, data), ec.ECDSA(hashes.SHA256()))
    return replace(bare, signed_entry_timestamp=signature)


def test_a_certificate_of_the_authority_with_a_timestamp_of_its_log_is_trusted_and_dated_by_that_timestamp() -> None:
    found = verdict(FULCIO.issue(Wish()))
    assert found == TrustVerdict(Trust.TRUSTED, (), NOW + timedelta(milliseconds=137))


def test_every_recorded_signature_gets_the_verdict_its_row_asks_for() -> None:
    root = roots.parse((RECORDING / "trusted_root.json").read_bytes())
    wanted = {
        "certificate of a rogue CA": Trust.UNTRUSTED,
        "self-signed certificate, branch ref": Trust.UNTRUSTED,
        "certificate without SCT": Trust.BROKEN,
        "another signer's entry that carries our public certificate beside its own": Trust.UNTRUSTED,
    }
    seen = 0
    for row in expected():
        for index in row["indexes"]:
            v1 = row["log"] == "v1"
            data, promise = v1_entries()[index] if v1 else (v2_leaves()[index], None)
            decoded = decode.decode(data, Protocol.REKOR_V1 if v1 else Protocol.REKOR_V2)
            (signer,) = decoded.signers
            if signer.certificate is None:
                assert row["label"] == "contributor-flow key in a public log"
                assert signer.verifies is True
                continue
            found = check(signer.certificate, root, promise=promise, data=data, signer_verifies=signer.verifies)
            assert found.trust is wanted.get(row["label"], Trust.TRUSTED), (row["label"], found)
            assert found.within_validity
            assert signer.certificate.san == row["identity"]
            assert signer.certificate.anomalies == ()
            assert (found.issued_at is None) == (row["label"] in wanted)
            if found.trust is Trust.BROKEN:
                assert found.failed == (Step.SCT,)
            seen += 1
    assert seen > 70


def test_another_authority_of_the_same_name_makes_nobody_trusted() -> None:
    found = verdict(Fulcio(ct_key=FULCIO.ct_key).issue(Wish()))
    assert found.trust is Trust.UNTRUSTED
    assert Step.CHAIN in found.failed


def test_a_certificate_issued_by_a_trusted_leaf_is_untrusted() -> None:
    holder = ec.generate_private_key(ec.SECP384R1())
    leaf = Fulcio(issuing_key=holder, ct_key=FULCIO.ct_key)
    assert verdict(leaf.issue(Wish())).trust is Trust.UNTRUSTED


def test_no_timestamp_breaks_a_certificate_that_chains() -> None:
    found = verdict(FULCIO.issue(Wish(stamped=None)))
    assert (found.trust, found.failed, found.issued_at) == (Trust.BROKEN, (Step.SCT,), None)


def test_a_timestamp_by_an_unknown_log_cannot_be_checked() -> None:
    stranger = Fulcio(root_key=FULCIO.root_key, issuing_key=FULCIO.issuing_key)
    found = verdict(stranger.issue(Wish()))
    assert (found.trust, found.failed) == (Trust.UNCHECKED, (Step.SCT,))
    assert "not in the trusted root" in found.detail


def test_an_unknown_log_does_not_excuse_another_failed_check() -> None:
    stranger = Fulcio(root_key=FULCIO.root_key, issuing_key=FULCIO.issuing_key)
    assert verdict(stranger.issue(Wish()), signer_verifies=False).trust is Trust.BROKEN


def test_a_timestamp_over_another_certificate_breaks_it() -> None:
    wish = Wish(extensions=(*USUAL, claim(21, "https://github.com/a/b/actions/runs/1/attempts/1")))
    der = FULCIO.issue(wish)
    resigned = _resigned(der.replace(b"runs/1/", b"runs/2/"))
    found = verdict(resigned)
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.SCT,))


def _resigned(der: bytes) -> bytes:
    """The same certificate content, signed by the authority again."""
    from monitor.entries import der as asn1  # noqa: PLC0415 - the test's scalpel

    tbs, algorithm, _ = asn1.children(asn1.expect(der, asn1.SEQUENCE))
    signature = FULCIO.issuing_key.sign(tbs.encoded, ec.ECDSA(hashes.SHA384()))
    bits = bytes((0x03, len(signature) + 1, 0)) + signature
    return sequence(tbs.encoded, algorithm.encoded, bits)


def test_a_changed_certificate_is_untrusted() -> None:
    assert verdict(FULCIO.issue(Wish()).replace(b"v0.1.2", b"v0.1.3")).trust is Trust.UNTRUSTED


@pytest.mark.parametrize("after", [b"\x00", b"\x00\x00", b"trailing"])
def test_bytes_after_the_list_of_timestamps_break_it(after: bytes) -> None:
    found = verdict(FULCIO.issue(Wish(after_list=after)))
    assert found.trust is Trust.BROKEN
    assert Step.SCT in found.failed


def test_two_lists_of_timestamps_break_it() -> None:
    der = FULCIO.issue(Wish())
    again = certificates.read(der)
    assert again.anomalies == ()
    doubled = FULCIO.issue(Wish(extensions=(*USUAL, ("1.3.6.1.4.1.11129.2.4.2", b"\x04\x02\x00\x00"))))
    assert verdict(doubled).trust is Trust.BROKEN


def test_a_repeated_extension_breaks_it() -> None:
    found = verdict(FULCIO.issue(Wish(extensions=(*USUAL, USUAL[1]))))
    assert found.trust is Trust.BROKEN
    assert Step.USAGE in found.failed


@pytest.mark.parametrize(
    ("window", "step"),
    [
        ({"ca": {"start": "2026-01-01T00:00:00Z", "end": "2026-05-31T23:59:59.999Z"}}, Step.VALIDITY),
        ({"ca": {"start": "2026-06-02T00:00:00Z"}}, Step.VALIDITY),
        ({"ct": {"start": "2026-01-01T00:00:00Z", "end": "2026-05-31T00:00:00Z"}}, Step.SCT),
        ({"ct": {"start": "2026-06-02T00:00:00Z"}}, Step.SCT),
    ],
)
def test_a_key_outside_its_window_breaks_the_certificate(window: dict[str, dict[str, str]], step: Step) -> None:
    found = verdict(FULCIO.issue(Wish()), roots.parse(as_bytes(FULCIO.trusted_root(**window))))
    assert (found.trust, found.failed) == (Trust.BROKEN, (step,))


def test_an_authority_whose_own_certificate_had_expired_breaks_it() -> None:
    fulcio = Fulcio(expires=datetime(2026, 5, 1, tzinfo=UTC))
    found = verdict(fulcio.issue(Wish()), roots.parse(as_bytes(fulcio.trusted_root())))
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.VALIDITY,))


@pytest.mark.parametrize("late", [timedelta(minutes=-2), timedelta(minutes=11), timedelta(days=900)])
def test_a_timestamp_outside_the_certificates_validity_breaks_it(late: timedelta) -> None:
    found = verdict(FULCIO.issue(Wish(stamped=NOW + late)))
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.VALIDITY,))


def test_a_ct_log_whose_clock_is_a_little_behind_is_no_reason() -> None:
    assert verdict(FULCIO.issue(Wish(stamped=NOW - timedelta(seconds=2)))).trust is Trust.TRUSTED


@pytest.mark.parametrize(
    "extensions",
    [USUAL[1:], (usage(SERVER_AUTH), *USUAL[1:]), (*USUAL, (BASIC_CONSTRAINTS, sequence(b"\x01\x01\xff")))],
)
def test_a_certificate_that_is_not_for_signing_code_breaks(extensions: tuple[tuple[str, bytes], ...]) -> None:
    found = verdict(FULCIO.issue(Wish(extensions=extensions)))
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.USAGE,))


def test_code_signing_among_other_purposes_is_code_signing() -> None:
    assert verdict(FULCIO.issue(Wish((usage(SERVER_AUTH, CODE_SIGNING), *USUAL[1:])))).trust is Trust.TRUSTED


def test_a_signature_that_does_not_verify_breaks_and_one_that_cannot_be_checked_does_not() -> None:
    der = FULCIO.issue(Wish())
    assert verdict(der, signer_verifies=False).failed == (Step.SIGNATURE,)
    assert verdict(der, signer_verifies=None).trust is Trust.TRUSTED


def test_the_logs_promise_is_checked_against_the_body_it_was_made_for() -> None:
    der = FULCIO.issue(Wish())
    assert verdict(der, promise=promised()).trust is Trust.TRUSTED
    for broken in (
        promised(data=b"another body"),
        replace(promised(), global_index=8),
        replace(promised(), integrated_time=NOW + timedelta(seconds=6)),
        replace(promised(), signed_entry_timestamp=b""),
        replace(promised(), signed_entry_timestamp=b"\x30\x06\x02\x01\x01\x02\x01\x01"),
    ):
        found = verdict(der, promise=broken)
        assert (found.trust, found.failed) == (Trust.BROKEN, (Step.SET,))


def test_a_promise_by_an_unknown_log_cannot_be_checked() -> None:
    found = verdict(FULCIO.issue(Wish()), promise=replace(promised(), log_id=bytes(32)))
    assert (found.trust, found.failed) == (Trust.UNCHECKED, (Step.SET,))


def test_a_promise_outside_the_logs_window_breaks() -> None:
    root = roots.parse(as_bytes(FULCIO.trusted_root(log={"start": "2026-07-01T00:00:00Z"})))
    assert verdict(FULCIO.issue(Wish()), root, promise=promised()).failed == (Step.SET,)


def test_an_integrated_time_outside_the_certificates_validity_is_said_and_breaks_nothing() -> None:
    for moment, within in ((NOW, True), (NOW + timedelta(minutes=10), True), (NOW + timedelta(minutes=11), False)):
        found = verdict(FULCIO.issue(Wish()), promise=promised(moment))
        assert (found.trust, found.within_validity) == (Trust.TRUSTED, within)


def test_the_signed_entry_timestamp_covers_canonical_json() -> None:
    text = entry_timestamp_bytes(promised(), b"x").decode()
    assert list(json.loads(text)) == ["body", "integratedTime", "logID", "logIndex"]
    assert " " not in text
    assert json.loads(text)["body"] == base64.b64encode(b"x").decode()


ISSUED = FULCIO.issue(Wish())


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(ISSUED) - 1), value=st.integers(0, 255), resign=st.booleans())
def test_no_change_of_a_byte_raises_or_keeps_trust(position: int, value: int, resign: bool) -> None:  # noqa: FBT001 - drawn
    changed = bytearray(ISSUED)
    changed[position] = value
    if bytes(changed) == ISSUED:
        return
    der = bytes(changed)
    try:
        der = _resigned(der) if resign else der
        read = certificates.read(der)
    except (FormatError, ValueError):
        return
    found = check(read, ROOT, promise=None, data=DATA, signer_verifies=True)
    assert found.trust is not Trust.TRUSTED or _content(der) == _content(ISSUED)


def _content(der: bytes) -> bytes:
    """What is signed: there are many valid signatures over it."""
    return x509.load_der_x509_certificate(der).tbs_certificate_bytes
