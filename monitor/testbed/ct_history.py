"""The entries of a certificate transparency log in order: a tree over their leaves and what goes with each leaf.

It knows neither keys nor HTTP. It never alters or forgets an entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.testbed.ct_entry import LogEntry
from monitor.testbed.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class History:
    """The entries of a log in order: a tree over their leaves, what goes with each, where each leaf is."""

    def __init__(self, entries: Iterable[LogEntry] = ()) -> None:
        """Begin with `entries`."""
        self.tree = Tree()
        self._extras: list[bytes] = []
        self.places: dict[bytes, int] = {}
        """Leaf hash → index of the first such leaf."""
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._extras)

    def append(self, entry: LogEntry) -> int:
        """Add an entry; its index."""
        index = self.tree.append(entry.leaf_input)
        self._extras.append(entry.extra)
        self.places.setdefault(self.tree.node(0, index), index)
        return index

    def entry(self, index: int) -> LogEntry:
        """Return an entry. Raises ProofError beyond the end."""
        return LogEntry(self.tree.leaf(index), self._extras[index])

    def entries(self, start: int, end: int) -> Iterator[LogEntry]:
        """Return the entries [start, end)."""
        return (self.entry(index) for index in range(start, end))
