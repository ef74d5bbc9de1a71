from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.entries import der
from monitor.entries.encoding import base64_bytes, hex_bytes, pem_blocks
from monitor.errors import FormatError
from tests.unit.entries.test_prefilter import pem
from tests.unit.trust.issuing import oid, tlv


@given(data=st.binary(max_size=200), url_safe=st.booleans(), padded=st.booleans())
def test_base64_is_read_in_both_alphabets_padded_or_not(data: bytes, *, url_safe: bool, padded: bool) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    assert base64_bytes(text if padded else text.rstrip("=")) == data


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA=", "AAA==", "A===", "AA\nAA", "AA AA", "AA=A", "ÄAAA", "AA*A", "===="]
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        base64_bytes(text)


@given(st.binary(min_size=1, max_size=40))
def test_hexadecimal_is_read_in_both_cases(data: bytes) -> None:
    assert hex_bytes(data.hex()) == hex_bytes(data.hex().upper()) == data


@pytest.mark.parametrize("text", ["", "a", "ab cd", "0x", "zz", "\uff11\uff12"])
def test_what_is_not_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        hex_bytes(text)


def test_headers_and_text_around_pem_blocks_are_passed_over() -> None:
    headed = pem("CERTIFICATE", b"content").replace(b"-----\n", b"-----\nProc-Type: 4,ENCRYPTED\nX: -\n\n", 1)
    assert pem_blocks(b"before\n" + headed + b"between" + pem("PUBLIC KEY", b"key")) == (
        ("CERTIFICATE", b"content"),
        ("PUBLIC KEY", b"key"),
    )


@given(st.integers(0, 5000), st.sampled_from([0x04, 0x30, 0x86, 0xA3]))
def test_a_der_element_is_read_whole_and_nothing_after_it(size: int, tag: int) -> None:
    encoded = tlv(tag, bytes(size))
    assert der.read(encoded) == (tag, bytes(size), encoded)
    assert der.expect(encoded, tag) == bytes(size)
    with pytest.raises(FormatError, match="after"):
        der.read(encoded + b"\x00")
    with pytest.raises(FormatError, match="breaks off"):
        der.read(encoded[:-1])
    with pytest.raises(FormatError, match="instead of"):
        der.expect(encoded, 0x02)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x04",
        b"\x04\x80\x00\x00",
        b"\x04\x81\x01a",
        b"\x04\x82\x00\x80" + bytes(128),
        b"\x1f\x81\x01\x00",
        b"\x04\x85" + bytes(9),
    ],
)
def test_der_that_is_not_distinguished_is_refused(encoded: bytes) -> None:
    with pytest.raises(FormatError):
        der.read(encoded)


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**40), max_size=6))
def test_an_object_identifier_is_read_in_dotted_form(first: int, second: int, rest: list[int]) -> None:
    dotted = ".".join(str(arc) for arc in (first, second, *rest))
    assert der.oid(der.expect(oid(dotted), der.OBJECT_IDENTIFIER)) == dotted


@pytest.mark.parametrize("content", [b"", b"\x2a\x86", b"\x2a" + b"\x01" * 64, b"\x2a" + b"\xff" * 12 + b"\x01"])
def test_an_object_identifier_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        der.oid(content)
