"""Remembers answers of registries, so as not to ask for them again: those used last, as many as fit into a bound of bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from monitor.releases.reference import Reference

MAX_KEPT: Final = 32 << 20
"""Bytes of manifests and lists that are kept."""
_OVERHEAD: Final = 512


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer worth keeping: a manifest whose digest was computed, or a page of a list with its validator."""

    digest: str
    content_type: str
    body: bytes = field(repr=False)
    link: str = ""
    etag: str = ""

    @property
    def weight(self) -> int:
        """Bytes that it takes to keep it."""
        return len(self.body) + len(self.link) + _OVERHEAD


class Memory:
    """Answers by repository and what was asked of it: a digest, or the path of a page."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Reference, str], Answer] = OrderedDict()
        self._bytes = 0

    def recall(self, ref: Reference, asked: str) -> Answer | None:
        """Return the answer that was kept, if it still is."""
        kept = self._kept.get((ref, asked))
        if kept is not None:
            self._kept.move_to_end((ref, asked))
        return kept

    def keep(self, ref: Reference, asked: str, answer: Answer) -> None:
        """Keep an answer in the place of an earlier one; what was used longest ago gives way."""
        old = self._kept.pop((ref, asked), None)
        self._bytes += answer.weight - (0 if old is None else old.weight)
        self._kept[ref, asked] = answer
        while self._bytes > MAX_KEPT:
            self._bytes -= self._kept.popitem(last=False)[1].weight
