"""One shard of a Rekor v1 log: its tree, when each leaf was integrated, and the ways to find a leaf again.

It knows neither keys nor HTTP, and nothing of the other shards but where they end.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.testbed.tree import Tree
from monitor.testbed.v1_index import index_keys

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Shard:
    """One tree. `base` is the global index of its first leaf; `times` are the integrated times, in seconds."""

    base: int
    tree_id: int = field(default_factory=lambda: secrets.randbits(62) | 1 << 62)
    """As Trillian makes them: positive, 63 bits."""
    tree: Tree = field(default_factory=Tree, repr=False)
    times: list[int] = field(default_factory=list, repr=False)
    places: dict[bytes, int] = field(default_factory=dict, repr=False)
    """Leaf hash → local index of the first such leaf."""
    keys: list[frozenset[str]] = field(default_factory=list, repr=False)
    """Search keys of the leaves indexed so far."""
    final_note: bytes | None = field(default=None, repr=False)
    """The checkpoint of a shard that is no longer active, signed once."""

    def add(self, body: bytes, when: int) -> int:
        """Add a leaf; its index in this shard."""
        local = self.tree.append(body)
        self.times.append(when)
        self.places.setdefault(self.tree.node(0, local), local)
        return local

    def uuid(self, local: int) -> str:
        """Return the entry id: tree id and leaf hash, 80 hex digits."""
        return f"{self.tree_id:016x}{self.tree.node(0, local).hex()}"

    def indexed(self) -> Sequence[frozenset[str]]:
        """Return the search keys of every leaf, reading those that were added since the last time."""
        self.keys.extend(index_keys(self.tree.leaf(local)) for local in range(len(self.keys), len(self.tree)))
        return self.keys

    def show(self, tree: Tree, late: int) -> None:
        """Put another tree in the place of this one; leaves that are new are integrated at `late`."""
        self.tree = tree
        self.keys.clear()
        self.places.clear()
        for local in range(len(tree)):
            self.places.setdefault(tree.node(0, local), local)
        self.times += [late] * (len(tree) - len(self.times))
