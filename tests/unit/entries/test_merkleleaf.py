from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import certificate, decode, issuance, merkleleaf
from monitor.entries.merkleleaf import CONTRADICTED
from monitor.errors import FormatError
from monitor.model.log import Protocol
from tests.unit.entries.recorded import ct_leaves
from tests.unit.trust.issuing import NOW, WORKFLOW, Fulcio, Wish, chained, merkle_leaf, spki

if TYPE_CHECKING:
    from monitor.model.entry import Certificate, DecodedEntry

CT = Protocol.RFC6962
FULCIO = Fulcio()
LEAF, EXTRA = FULCIO.logged(Wish())
STAMPED = NOW + timedelta(milliseconds=137)


def held(entry: DecodedEntry) -> Certificate:
    (signer,) = entry.signers
    assert signer.certificate is not None
    assert (signer.signature, signer.verifies, entry.digest) == (b"", None, None)
    return signer.certificate


@pytest.mark.parametrize("protocol", [Protocol.RFC6962, Protocol.STATIC_CT])
def test_a_precertificate_is_an_entry_of_one_signer_and_no_digest(protocol: Protocol) -> None:
    entry = decode.decode(LEAF, protocol, EXTRA)
    found = held(entry)
    assert (entry.protocol, entry.kind, entry.api_version) == (protocol, "precertificate", "v1")
    assert (found.san, found.anomalies) == (WORKFLOW, ())
    assert entry.stamp is not None
    assert entry.stamp.timestamp == STAMPED
    assert entry.stamp.issuer_key_hash == merkleleaf.parse(LEAF).issuer_key_hash


def test_it_keeps_the_signature_that_the_log_serves_beside_it() -> None:
    found = held(decode.decode(LEAF, CT, EXTRA))
    loaded = x509.load_der_x509_certificate(found.der)
    loaded.verify_directly_issued_by(x509.load_der_x509_certificate(FULCIO.issuing))


@pytest.mark.parametrize(
    "extra", [b"", b"\x00\x00\x00", EXTRA[:200], chained(b"no certificate"), chained(b"\x30\x00")], ids=range(5)
)
def test_without_that_signature_it_is_wrapped_and_says_the_same(extra: bytes) -> None:
    signed, wrapped = held(decode.decode(LEAF, CT, EXTRA)), held(decode.decode(LEAF, CT, extra))
    assert x509.load_der_x509_certificate(wrapped.der).signature == b""
    assert replace(wrapped, der=signed.der) == signed


def test_another_precertificate_beside_it_changes_nothing_but_is_told() -> None:
    _, other = FULCIO.logged(Wish(serial=b"\x02"))
    found = held(decode.decode(LEAF, CT, other))
    assert found.anomalies == (CONTRADICTED,)
    assert found.serial == held(decode.decode(LEAF, CT, EXTRA)).serial


def test_a_certificate_is_taken_as_it_is() -> None:
    der = FULCIO.issue(Wish())
    entry = decode.decode(merkle_leaf(der, NOW, extensions=b"index"), CT, b"whatever")
    assert (entry.kind, held(entry)) == ("certificate", certificate.read(der))
    assert entry.stamp is not None
    assert entry.stamp.issuer_key_hash is None


def test_the_signer_is_named_by_the_key_in_the_certificate() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf, extra = FULCIO.logged(Wish(), key=key)
    (signer,) = decode.decode(leaf, CT, extra).signers
    assert signer.spki == spki(key)


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (LEAF[:11], "breaks off"),
        (b"\x01" + LEAF[1:], "unknown version 1"),
        (b"\x00\x07" + LEAF[2:], "unknown leaf type 7"),
        (LEAF[:10] + b"\x80\x00" + LEAF[12:], "unknown entry type 32768"),
        (LEAF[:2] + b"\xff" * 8 + LEAF[10:], "beyond the year 9999"),
        (LEAF[:40], "breaks off"),
        (LEAF[:-1], "breaks off"),
        (LEAF + b"\x00", "1 bytes after"),
        (merkle_leaf(b"no certificate", NOW), "not a certificate"),
        (merkle_leaf(b"\x30\x00", NOW, bytes(32)), "breaks off"),
        (merkle_leaf(b"", NOW, bytes(32)), "breaks off"),
    ],
    ids=range(11),
)
def test_what_is_no_leaf_of_a_known_kind_is_refused_by_name(leaf: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        decode.decode(leaf, CT, EXTRA)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255), st.binary(max_size=60))
def test_changed_bytes_are_read_or_refused_and_nothing_else(place: int, octet: int, extra: bytes) -> None:
    leaf = LEAF[:place] + bytes((octet,)) + LEAF[place + 1 :]
    try:
        entry = decode.decode(leaf, CT, extra)
    except FormatError:
        return
    held(entry)
    assert merkleleaf.common(leaf, 0, len(leaf))


def test_every_recorded_leaf_is_read_and_is_the_precertificate_beside_it() -> None:
    for leaf, extra in ct_leaves():
        entry = decode.decode(leaf, CT, extra)
        found = held(entry)
        loaded = x509.load_der_x509_certificate(found.der)
        assert (entry.kind, found.anomalies) == ("precertificate", ())
        assert loaded.signature
        assert issuance.bare(loaded.tbs_certificate_bytes) == merkleleaf.parse(leaf).content
        assert merkleleaf.common(leaf, 0, len(leaf))
