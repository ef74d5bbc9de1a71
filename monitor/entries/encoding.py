"""Base64, hexadecimal and PEM as foreign bytes carry them. Strict about what is not text of the format; never guesses."""

from __future__ import annotations

import re

import pybase64

from monitor.errors import FormatError

MAX_PEM_BLOCKS = 10
"""Rekor reads no more certificates than this from one PEM."""

WHITESPACE = b" \t\r\n\v\f"

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_URL_SAFE = str.maketrans("-_", "+/")
_BEGIN = b"-----BEGIN "
_END = b"-----END "
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")


def base64_bytes(text: str) -> bytes:
    """The bytes of a base64 text in the standard or the URL-safe alphabet, padded or not (as protojson reads it). FormatError."""
    if not text.isascii() or not _BASE64.fullmatch(text):
        raise FormatError("not base64")
    body = text.rstrip("=").translate(_URL_SAFE)
    padding = len(text) - len(body)
    if len(body) % 4 == 1 or (padding and (len(body) + padding) % 4):
        raise FormatError("base64 of an impossible length")
    return pybase64.b64decode(body + "=" * (-len(body) % 4), validate=True)


def hex_bytes(text: str) -> bytes:
    """The bytes of a hexadecimal text in either case. FormatError."""
    try:
        if text.isascii() and text.isalnum():
            return bytes.fromhex(text)
    except ValueError:
        pass
    raise FormatError("not hexadecimal")


def pem_blocks(pem: bytes) -> tuple[tuple[str, bytes], ...]:
    """The (label, content) of each PEM block (RFC 7468), at most ten. Headers and text around blocks are passed over, as Go does.

    FormatError when there is no block, or one that cannot be read.
    """
    blocks: list[tuple[str, bytes]] = []
    start = pem.find(_BEGIN)
    while start >= 0:
        if len(blocks) == MAX_PEM_BLOCKS:
            raise FormatError(f"more than {MAX_PEM_BLOCKS} PEM blocks")
        match = _LABEL.match(pem, start)
        end = pem.find(_END, start)
        if match is None or end < match.end():
            raise FormatError("a PEM block that breaks off")
        label = match[1].decode()
        closing = b"-----END " + match[1] + b"-----"
        if not pem.startswith(closing, end):
            raise FormatError(f"a PEM block {label} that ends as another")
        blocks.append((label, _pem_content(label, pem[match.end() : end])))
        start = pem.find(_BEGIN, end + len(closing))
    if not blocks:
        raise FormatError("no PEM block")
    return tuple(blocks)


def _pem_content(label: str, body: bytes) -> bytes:
    lines = (line for line in body.splitlines() if b":" not in line)
    try:
        return base64_bytes(b"".join(lines).translate(None, WHITESPACE).decode("ascii"))
    except (FormatError, UnicodeDecodeError):
        raise FormatError(f"PEM block {label} does not hold base64") from None
