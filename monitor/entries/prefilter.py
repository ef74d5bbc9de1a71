"""Which leaves could bear the owner's name in any letter case, or a watched key (P5). It parses only what is not as every log writes it.

It may keep a leaf for nothing; it never drops one that a full parse would match, and never one of a form that it does not know.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import repeat
from typing import TYPE_CHECKING

import pybase64

from monitor.entries import decode, kinds, merkleleaf, patterns, scanner
from monitor.entries.encoding import WHITESPACE
from monitor.entries.keys import core
from monitor.errors import FormatError
from monitor.model.log import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.model.log import Block

_V2_PREFIXES = (
    b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":',
    b'{"apiVersion":"0.0.2","kind":"dsse","spec":{"dsseV002":',
)
_V1_PREFIXES = tuple(
    f'{{"apiVersion":"{version}","kind":"{kind}","spec":{{'.encode()
    for kind, version, protocol in kinds.known()
    if protocol is Protocol.REKOR_V1
)
_PREFIXES = {Protocol.REKOR_V1: _V1_PREFIXES, Protocol.REKOR_V2: _V2_PREFIXES}
"""How canonical JSON (RFC 8785) of a kind we read begins."""

_SHORTEST = 32
"""A base64 text shorter than this holds no certificate and no key."""
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % _SHORTEST)
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ASCII = 0x80
_NESTING = 4
"""A v1 leaf holds JSON in which base64 holds PEM in which base64 holds DER."""


class Prefilter:
    """Looks for `words` (ASCII, 4 to 64 characters, any letter case) and `keys` (DER SubjectPublicKeyInfo). ValueError for another word."""

    def __init__(self, words: Iterable[str], keys: Iterable[bytes] = ()) -> None:
        expressions = [e for word in words for e in patterns.of_word(_checked(word))]
        expressions += [e for key in keys for e in patterns.of_bytes(core(key))]
        if not expressions:
            raise ValueError("nothing to look for")
        self._scanner = scanner.build(expressions)

    def candidates(self, block: Block, protocol: Protocol) -> list[int]:
        """Offsets in the block, in order, of the leaves that may bear a word or a key, or that cannot be read."""
        found = self._in_raw(block)
        if protocol is Protocol.REKOR_V1:
            found |= self._in_strings(block)
        found.update(
            i for i in _uncommon(block, protocol) if i not in found and self._concerns(block.leaf(i), protocol)
        )
        return sorted(found)

    def matches_text(self, data: bytes) -> bool:
        """Whether `data` bears a word or key in any form we know of: plain, JSON-escaped, base64 of base64, over lines."""
        return any(self._scanner.spans(form) for form in _forms(data))

    def _concerns(self, leaf: bytes, protocol: Protocol) -> bool:
        try:
            decode.decode(leaf, protocol)
        except FormatError:
            return True
        return self.matches_text(leaf)

    def _in_raw(self, block: Block) -> set[int]:
        """Scan the block as it came: the length prefixes between leaves can add a match, never hide one."""
        found: set[int] = set()
        for first, last in self._scanner.spans(block.data):
            found.update(range(max(_leaf_at(block.starts, first), 0), _leaf_at(block.starts, last) + 1))
        return found

    def _in_strings(self, block: Block) -> set[int]:
        """Scan what the strings of v1's leaves hold: PEM, whose base64 runs over lines."""
        buffer = bytearray()
        starts: list[int] = []
        for i in range(len(block)):
            starts.append(len(buffer))
            for text in block.leaf(i).split(b'"'):
                if len(text) >= _SHORTEST and (content := _unbase64(text)):
                    buffer += b"\n" + content + b"\n" + content.translate(None, WHITESPACE)
        return {_leaf_at(starts, last) for _, last in self._scanner.spans(bytes(buffer))}


def _checked(word: str) -> str:
    if not patterns.WORD.fullmatch(word):
        raise ValueError(f"{word!r} cannot be looked for: 4 to 64 printable ASCII characters without spaces")
    return word


def _leaf_at(starts: Sequence[int], position: int) -> int:
    """The last leaf that begins at or before a position: -1 before the first."""
    return bisect_right(starts, position) - 1


def _uncommon(block: Block, protocol: Protocol) -> list[int]:
    """The leaves that do not begin as canonical JSON of a kind we read, or hold a backslash (which could hide anything).

    Of a certificate log those that are not cut as its leaves are: a certificate's names stand in DER as they are.
    """
    data, starts, ends = block.data, block.starts, block.ends
    if protocol.certificates:
        return merkleleaf.uncommon(data, starts, ends)
    prefixes = _PREFIXES[protocol]
    common = list(map(data.startswith, repeat(prefixes), starts, ends))
    if b"\\" not in data and all(common):
        return []
    found = {i for i, is_common in enumerate(common) if not is_common}
    position = data.find(b"\\")
    while position >= 0:
        leaf = _leaf_at(starts, position)
        if leaf >= 0 and position < ends[leaf]:
            found.add(leaf)
            position = ends[leaf] - 1
        position = data.find(b"\\", position + 1)
    return sorted(found)


def _forms(data: bytes) -> Iterator[bytes]:
    """The data, and all that is found by taking off JSON escapes, white space and base64, in any order, to a depth of four."""
    layer = [data]
    for _ in range(_NESTING):
        below: list[bytes] = []
        for form in layer:
            texts = {form, _unescape(form)} if b"\\" in form else {form}
            texts |= {text.translate(None, WHITESPACE) for text in texts}
            yield from texts
            below += [c for text in texts for run in _RUN.findall(text) if (c := _unbase64(run))]
        layer = list(dict.fromkeys(below))


def _unescape(text: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        if match[1]:
            code = int(match[1], 16)
            return bytes((code,)) if code < _ASCII else b"?"
        return _ESCAPED.get(match[2], match[2])

    return _ESCAPE.sub(plain, text)


def _unbase64(text: bytes) -> bytes:
    """What a base64 text holds, in either alphabet, padded or not; nothing where it is none."""
    body = text.rstrip(b"=").translate(_URL_SAFE)
    body = body[:-1] if len(body) % 4 == 1 else body
    try:
        return pybase64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except ValueError:
        return b""
