"""A word as a regular expression over text that may carry it: plain, in any letter case, or inside base64 at any byte alignment.

The base64 of a word whose letters may each be large or small is a sequence of character classes: what cannot be known of a character
(bits of the bytes before and after the word) is left free, so the expression never misses, and seldom errs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Bytes = Sequence[frozenset[int]]
    """For each byte of a word, the values it may have."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE = {62: b"-", 63: b"_"}
_SIX, _EIGHT = 6, 8
_ALIGNMENTS = range(3)


def of_word(word: str) -> list[bytes]:
    """Expressions for an ASCII word in any letter case: plain, and base64 at each alignment."""
    values = [frozenset({ord(c.lower()), ord(c.upper())}) for c in word]
    return [_plain(values), *_base64(values)]


def of_bytes(value: bytes) -> list[bytes]:
    """Expressions for exact bytes: plain, hexadecimal in either case, and base64 at each alignment."""
    values = [frozenset({b}) for b in value]
    digits = [frozenset({ord(c.lower()), ord(c.upper())}) for c in value.hex()]
    return [_plain(values), _plain(digits), *_base64(values)]


def _plain(values: Bytes) -> bytes:
    return b"".join(_class(sorted(allowed)) for allowed in values)


def _base64(values: Bytes) -> Iterator[bytes]:
    for alignment in _ALIGNMENTS:
        first, last = _EIGHT * alignment, _EIGHT * (alignment + len(values))
        places = range(first // _SIX, (last + _SIX - 1) // _SIX)
        yield b"".join(_character(values, alignment, place) for place in places)


def _character(values: Bytes, alignment: int, place: int) -> bytes:
    """The characters that may stand for bits [6 × place, 6 × place + 6) of a text in which the word begins at byte `alignment`."""
    covered = {_SIX * place // _EIGHT, (_SIX * place + _SIX - 1) // _EIGHT}
    known = [(at, values[at - alignment]) for at in covered if 0 <= at - alignment < len(values)]
    fitting: list[int] = []
    for sextet in range(64):
        if all(any(_agree(sextet, place, byte, at) for byte in allowed) for at, allowed in known):
            fitting.append(_ALPHABET[sextet])
            fitting += _URL_SAFE.get(sextet, b"")
    return _class(fitting)


def _agree(sextet: int, place: int, byte: int, at: int) -> bool:
    """Whether a character's bits and a byte's bits are the same where both cover the text."""
    low, high = max(_SIX * place, _EIGHT * at), min(_SIX * (place + 1), _EIGHT * (at + 1))
    width = high - low
    mine = sextet >> (_SIX * (place + 1) - high) & ((1 << width) - 1)
    return mine == byte >> (_EIGHT * (at + 1) - high) & ((1 << width) - 1)


def _class(allowed: Sequence[int]) -> bytes:
    escaped = b"".join(b"\\x%02x" % value for value in allowed)
    return escaped if len(allowed) == 1 else b"[" + escaped + b"]"


WORD = re.compile(r"[!-~]{4,64}")
"""What can be looked for: printable ASCII without spaces, long enough to be rare."""
