"""The few DER encodings that certificates, SCTs and timestamps are put together from. Pure; lengths under 64 KiB."""

from __future__ import annotations

import struct
from typing import Final

SHORT: Final = 0x80
ONE_BYTE: Final = 0x100


def tagged(tag: int, value: bytes) -> bytes:
    """Return a tag, a definite length, the value."""
    if len(value) < SHORT:
        length = bytes([len(value)])
    elif len(value) < ONE_BYTE:
        length = bytes([0x81, len(value)])
    else:
        length = b"\x82" + struct.pack(">H", len(value))
    return bytes([tag]) + length + value


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of encoded parts."""
    return tagged(0x30, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """Return a SET OF encoded parts, in DER's order."""
    return tagged(0x31, b"".join(sorted(parts)))


def octets(value: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tagged(0x04, value)


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tagged(0x06, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(arc & 0x7F | 0x80)
    return bytes(reversed(digits))
