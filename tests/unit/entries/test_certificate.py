from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import certificate, keys
from monitor.entries.certificate import read, read_pem
from monitor.errors import FormatError
from monitor.model.entry import SanKind
from tests.unit.entries.recorded import expected, v2_leaves
from tests.unit.entries.test_prefilter import pem
from tests.unit.trust.issuing import (
    CODE_SIGNING,
    FULCIO,
    ISSUER,
    NOW,
    SAN,
    USUAL,
    WORKFLOW,
    Fulcio,
    Wish,
    claim,
    oid,
    raw_claim,
    san,
    spki,
    tlv,
    uri,
    usage,
    utf8,
)

CA = Fulcio()


def issued(*extensions: tuple[str, bytes]) -> bytes:
    return CA.issue(Wish((usage(CODE_SIGNING), *extensions), stamped=None))


def test_a_fulcio_certificate_is_read_with_every_claim_raw_and_der() -> None:
    raw = {n: f"raw {n}" for n in range(1, 7)}
    der = {n: f"der {n}" for n in range(8, 25)}
    listed = [raw_claim(n, text) for n, text in raw.items()] + [claim(n, text) for n, text in der.items()]
    found = read(issued(san(uri(WORKFLOW)), *listed))
    assert found.claims == raw | der
    assert found.names == ((SanKind.URI, WORKFLOW),)
    assert found.issuer == "CN=sigstore-intermediate"
    assert found.serial == "11223344556677889900"
    assert (found.not_before, found.not_after) == (NOW, NOW + timedelta(minutes=10))
    assert found.anomalies == ()


def test_raw_and_der_claims_that_disagree_are_both_kept() -> None:
    found = read(issued(raw_claim(1, "https://evil.example"), claim(8, ISSUER)))
    assert (found.claims[1], found.claims[8]) == ("https://evil.example", ISSUER)


def test_a_claim_of_a_later_fulcio_is_kept() -> None:
    found = read(issued(claim(200, "new"), (f"{FULCIO}.201", b"\xff\xfe")))
    assert found.claims == {200: "new", 201: "\\xff\\xfe"}
    assert found.anomalies == ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"bare", "bare"),
        (tlv(0x16, b"ia5"), "\x16\x03ia5"),
        (utf8("tail") + b"\x00", "\x0c\x04tail\x00"),
        (b"\x0c\x81\x02ab", "\x0c\\x81\x02ab"),
        (b"", ""),
        (tlv(0x0C, b"\xff"), "\\xff"),
    ],
)
def test_a_claim_in_another_form_than_fulcios_is_an_anomaly(value: bytes, shown: str) -> None:
    found = read(issued((f"{FULCIO}.8", value)))
    assert found.claims[8] == shown
    assert len(found.anomalies) == 1
    assert ".8" in found.anomalies[0]


def test_a_repeated_claim_keeps_the_first_and_says_so() -> None:
    found = read(issued(claim(12, "https://github.com/a/b"), claim(12, "https://github.com/TruStacks/trustacks-mvp")))
    assert found.claims[12] == "https://github.com/a/b"
    assert found.anomalies == (f"extension {FULCIO}.12 is repeated",)


def test_names_of_a_repeated_extension_are_all_kept() -> None:
    found = read(issued(san(uri("https://a")), san(uri("https://b"))))
    assert [value for _, value in found.names] == ["https://a", "https://b"]
    assert found.anomalies == (f"extension {SAN} is repeated",)


def test_several_names_of_every_kind_keep_their_order() -> None:
    user = tlv(0xA0, oid(f"{FULCIO}.7"), tlv(0xA0, utf8("user!example.com")))
    other = tlv(0xA0, oid("1.2.3"), tlv(0xA0, utf8("x")))
    names = (
        tlv(0x81, b"a@b"),
        tlv(0x82, b"host"),
        uri("https://c"),
        tlv(0x87, b"\x7f\0\0\1"),
        user,
        other,
        tlv(0x88, b"\x2a"),
    )
    found = read(issued(san(*names)))
    assert found.names == (
        (SanKind.EMAIL, "a@b"),
        (SanKind.DNS, "host"),
        (SanKind.URI, "https://c"),
        (SanKind.IP, "127.0.0.1"),
        (SanKind.OTHER, "user!example.com"),
        (SanKind.OTHER, other.hex()),
        (SanKind.OTHER, "88012a"),
    )
    assert found.san == "a@b"
    assert found.anomalies == ()


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "https://github.com/\u202eTruStacks", "\x1b[2J", "<!channel>"])
def test_a_name_is_kept_raw(text: str) -> None:
    found = read(issued(san(uri(text))))
    assert found.san == text
    assert bool(found.anomalies) == (not text.isascii())


def test_bytes_that_are_no_text_are_shown_and_can_be_stored() -> None:
    found = read(issued(san(tlv(0x86, b"https://\xff\xfe")), raw_claim(1, "x"), (f"{FULCIO}.2", b"\xc3\x28")))
    assert found.san == "https://\\xff\\xfe"
    assert found.claims[2] == "\\xc3("
    for text in (found.san, *found.claims.values()):
        assert text.encode("utf-8")


@pytest.mark.parametrize("value", [b"", b"\x30\x03\x86\x05a", b"\x04\x00", b"\x30\x80\x00\x00"])
def test_names_that_cannot_be_read_are_an_anomaly(value: bytes) -> None:
    found = read(issued((SAN, value)))
    assert found.names == ()
    assert found.anomalies


@pytest.mark.parametrize("serial", [b"\xff\x01", b"\x80" + bytes(19)])
def test_a_negative_serial_number_hides_nothing(serial: bytes) -> None:
    found = read(CA.issue(Wish(serial=serial)))
    assert found.serial.startswith("-")
    assert found.san == WORKFLOW


def test_a_large_extension_is_read_and_a_too_large_certificate_is_refused() -> None:
    assert read(issued(san(uri(WORKFLOW)), ("1.2.3.4", bytes(100_000)))).san == WORKFLOW
    with pytest.raises(FormatError, match="at most"):
        read(issued(("1.2.3.4", bytes(300_000))))


def test_anomalies_are_bounded() -> None:
    found = read(issued(*((f"1.2.3.{n % 100}", b"x") for n in range(200))))
    assert len(found.anomalies) == 16


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"text", bytes(100)])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(FormatError):
        read(der)


def test_bytes_after_a_certificate_are_refused() -> None:
    with pytest.raises(FormatError, match="not a certificate"):
        read(issued() + b"\x00")


def test_a_pem_gives_the_signer_first_and_keeps_what_cannot_be_read_beside_it() -> None:
    first, second = issued(san(uri("https://a"))), issued(san(uri("https://b")))
    found = read_pem(pem("CERTIFICATE", first) + pem("CERTIFICATE", b"\x30\x00") + pem("CERTIFICATE", second))
    assert [c.san for c in found] == ["https://a", "", "https://b"]
    assert found[1].anomalies[0].startswith("cannot be read")
    assert found[1].der == b"\x30\x00"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no PEM"),
        (pem("PUBLIC KEY", b"x"), "no certificate"),
        (pem("CERTIFICATE", b"\x30\x00"), "not a certificate"),
        (pem("CERTIFICATE", issued()) * 11, "more than 10"),
        (b"-----BEGIN CERTIFICATE-----\nMII", "breaks off"),
        (b"-----BEGIN CERTIFICATE-----\nMI*I\n-----END CERTIFICATE-----", "base64"),
        (b"-----BEGIN CERTIFICATE-----\nMIII\n-----END PUBLIC KEY-----", "ends as another"),
        (b"-----BEGIN CERTIFICATE-----" * 200_000, "breaks off"),
    ],
)
def test_a_pem_without_a_signers_certificate_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read_pem(data)


def test_the_key_of_a_certificate_is_its_spki_in_its_usual_form() -> None:
    holder = ec.generate_private_key(ec.SECP256R1())
    assert certificate.spki(CA.issue(Wish(), holder)) == spki(holder)
    assert keys.core(spki(holder)) == holder.public_key().public_numbers().x.to_bytes(32, "big")


def test_every_recorded_certificate_says_what_its_row_says() -> None:
    from monitor.entries import decode  # noqa: PLC0415 - only here
    from monitor.model.log import Protocol  # noqa: PLC0415

    for row in expected():
        for index in row["indexes"] if row["log"] == "v2" else ():
            found = decode.decode(v2_leaves()[index], Protocol.REKOR_V2).signers[0].certificate
            assert (found.san if found else None) == row["identity"]
            if found and "issuer" in row:
                assert found.oidc_issuer == row["issuer"]
                assert found.claims[1] == found.claims[8]
                assert found.run == f"{found.claims[12]}/actions/runs/{row['run']}"


ISSUED = CA.issue(Wish(USUAL))


@settings(max_examples=500, deadline=None)
@given(position=st.integers(0, len(ISSUED) - 1), replaced=st.binary(max_size=3))
def test_no_change_of_bytes_raises_anything_but_a_refusal(position: int, replaced: bytes) -> None:
    changed = ISSUED[:position] + replaced + ISSUED[position + 1 :]
    try:
        found = read(changed)
        certificate.spki(changed)
    except FormatError:
        return
    assert len(found.anomalies) <= 16
