"""The little DER (X.690) that is read by hand: what the certificate library will not show of a certificate it refuses to interpret.

It never interprets a value, and never looks past the length that the bytes themselves state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from monitor.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
SEQUENCE = 0x30
CONSTRUCTED = 0x20

_LONG_FORM = 0x80
_HIGH_TAG = 0x1F
_MAX_LENGTH_OCTETS = 4
_ARC_BITS = 7
_ARC_MORE = 0x80
_MAX_ARC = 1 << 63
_FIRST_ARC = 40
_MAX_OID = 64


class Element(NamedTuple):
    """One tag, its content, and the whole of its encoding."""

    tag: int
    content: bytes
    encoded: bytes


def read(data: bytes) -> Element:
    """The one element that `data` is. FormatError when anything follows it."""
    element, end = _at(data, 0)
    if end != len(data):
        raise FormatError("bytes after a DER element")
    return element


def expect(data: bytes, tag: int) -> bytes:
    """The content of the one element that `data` is, which has the given tag. FormatError."""
    element = read(data)
    if element.tag != tag:
        raise FormatError(f"DER tag {element.tag:#04x} instead of {tag:#04x}")
    return element.content


def children(content: bytes) -> Iterator[Element]:
    """The elements that `content` is made of. FormatError when it is not."""
    position = 0
    while position < len(content):
        element, position = _at(content, position)
        yield element


def encoded(tag: int, content: bytes) -> bytes:
    """One element of a single-octet tag, its length in the only form that DER allows."""
    size = len(content)
    if size < _LONG_FORM:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(octets))) + octets + content


@lru_cache(maxsize=1024)
def oid(content: bytes) -> str:
    """An object identifier's content (at most 64 bytes) in dotted form. FormatError."""
    if not 0 < len(content) <= _MAX_OID or content[-1] & _ARC_MORE:
        raise FormatError("an object identifier that is empty, too long or breaks off")
    arcs: list[int] = []
    arc = 0
    for octet in content:
        arc = arc << _ARC_BITS | octet & (_ARC_MORE - 1)
        if arc >= _MAX_ARC:
            raise FormatError("an object identifier's arc is too large")
        if not octet & _ARC_MORE:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // _FIRST_ARC, 2)
    return ".".join(str(a) for a in (first, arcs[0] - _FIRST_ARC * first, *arcs[1:]))


def _at(data: bytes, start: int) -> tuple[Element, int]:
    if len(data) - start < 2:  # noqa: PLR2004 - a tag and a length
        raise FormatError("a DER element that breaks off")
    tag, length, position = data[start], data[start + 1], start + 2
    if tag & _HIGH_TAG == _HIGH_TAG:
        raise FormatError("a DER tag of several octets")
    if length >= _LONG_FORM:
        octets = length - _LONG_FORM
        if not 0 < octets <= _MAX_LENGTH_OCTETS:
            raise FormatError("a DER length that is indefinite or too large")
        length = int.from_bytes(data[position : position + octets], "big")
        position += octets
        if length < _LONG_FORM or length.bit_length() <= 8 * (octets - 1):
            raise FormatError("a DER length that is not minimal")
    end = position + length
    if end > len(data):
        raise FormatError("a DER element that breaks off")
    return Element(tag, data[position:end], data[start:end]), end
