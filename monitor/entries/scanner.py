"""Many expressions over one run of bytes in one call: hyperscan, or google-re2 where hyperscan has no wheel."""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scanner(Protocol):
    """Where any of the expressions matches."""

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """(first, last) byte of matches, such that each match shares its last byte, or overlaps, with one of them."""


class Hyperscan:
    """Reports every end of every match. One scan at a time: its scratch space is shared."""

    def __init__(self, expressions: Sequence[bytes]) -> None:
        import hyperscan  # noqa: PLC0415 - optional, and 30 ms to load: only a process that scans needs it

        self._database = hyperscan.Database()
        self._database.compile(expressions=list(expressions), flags=0)
        self._lock = threading.Lock()

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """The last byte of every match, twice: hyperscan does not say where a match begins."""
        found: list[tuple[int, int]] = []

        def matched(_expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((end - 1, end - 1))

        with self._lock:
            self._database.scan(data, match_event_handler=matched)
        return found


class Re2:
    """Reports matches from the left that do not overlap."""

    def __init__(self, expressions: Sequence[bytes]) -> None:
        re2 = importlib.import_module("re2")  # it has no type stubs

        self._expression = re2.compile(b"|".join(expressions))

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """First and last byte of each match."""
        return [(match.start(), match.end() - 1) for match in self._expression.finditer(data)]


def build(expressions: Sequence[bytes]) -> Scanner:
    """Compile the expressions, for the fastest engine there is."""
    try:
        return Hyperscan(expressions)
    except ImportError:
        return Re2(expressions)
