"""A Rekor v1 log: shards of Trillian trees behind a REST interface, and every lie that such a log can tell.

The active checkpoint is signed anew for each request, as the real server does. Indexes are global over the shards,
proofs are per shard. A lie is told until `tell_the_truth`, or for a number of times. Nothing is checked before it is
logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from monitor.testbed.bodies import canonical, dsse_v1, foreign_v1, hashedrekord_v1
from monitor.testbed.keys import LogKey, text64
from monitor.testbed.server import LoopbackServer
from monitor.testbed.shard import Shard
from monitor.testbed.v1_routes import V1Routes
from monitor.tlog.checkpoint import checkpoint_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiohttp import web
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from monitor.testbed.tree import Tree


@dataclass(slots=True)
class _Lies:
    """What is shown in place of the truth. Keys are global indexes; a count of None holds until taken back."""

    bodies: dict[int, tuple[bytes, int | None]] = field(default_factory=dict)
    omitted: dict[int, bool] = field(default_factory=dict)
    """Index → whether it is denied singly too."""
    shown_index: dict[int, int] = field(default_factory=dict)
    swapped: dict[int, int] = field(default_factory=dict)
    hidden_shards: set[int] = field(default_factory=set)
    shards_reversed: bool = False
    old_size: int | None = None


class RekorV1(LoopbackServer):
    """The log at `hostname`: the origin of its notes is "<hostname> - <tree id>", their signatures are by the host."""

    def __init__(
        self,
        hostname: str = "rekor-v1.trustacks.test",
        *,
        key: EllipticCurvePrivateKey | None = None,
        tree_id: int | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Begin with one empty shard, the tree `tree_id` or any."""
        super().__init__()
        self.hostname = hostname
        self.index_off: int | None = None
        """Set to 501 (a server without the index) or 404 to refuse every search."""
        self.key = LogKey.ecdsa(hostname, key)
        self._now = now or (lambda: datetime.now(UTC))
        self._signing = self.key
        self._shards = [_shard(0, tree_id)]
        self._honest: Tree | None = None
        self._lies = _Lies()
        self._last_note: tuple[tuple[object, ...], bytes] | None = None

    # the honest log

    @property
    def spki(self) -> bytes:
        """The public key, DER."""
        return self.key.spki

    @property
    def key_id(self) -> bytes:
        """The 32 bytes that trusted_root.json calls `keyId`, and entries `logID`."""
        return self.key.log_id

    @property
    def shards(self) -> Sequence[Shard]:
        """Every shard, oldest first; the last one is active."""
        return self._shards

    @property
    def active(self) -> Shard:
        """The shard that grows."""
        return self._shards[-1]

    @property
    def size(self) -> int:
        """Leaves of all shards: the next global index."""
        return self.active.base + len(self.active.tree)

    def origin(self, shard: Shard | None = None) -> str:
        """Return the origin of a shard's checkpoints, by default the active one's."""
        return f"{self.hostname} - {(shard or self.active).tree_id}"

    def append(self, body: bytes, *, when: datetime | None = None) -> int:
        """Add an entry to the active shard, integrated at `when` (by default now); its global index."""
        return self.active.base + self.active.add(body, int((when or self._now()).timestamp()))

    def append_many(self, bodies: Iterable[bytes], *, when: datetime | None = None) -> range:
        """Add entries; their global indexes."""
        start, seconds = self.size, int((when or self._now()).timestamp())
        for body in bodies:
            self.active.add(body, seconds)
        return range(start, self.size)

    def rotate(self, *, tree_id: int | None = None) -> Shard:
        """Freeze the active shard and begin a new one, which is returned."""
        self.active.final_note = self.checkpoint(self.active)
        self._shards.append(_shard(self.size, tree_id))
        self._honest = None
        return self.active

    def checkpoint(self, shard: Shard | None = None, size: int | None = None) -> bytes:
        """Return a signed note of a shard, by default the active one, at a size, by default the one it shows."""
        shard = shard or self.active
        if shard.final_note is not None and size in (None, len(shard.tree)):
            return shard.final_note
        size = self.shown_size(shard) if size is None else size
        return self._signing.note(checkpoint_text(self.origin(shard), size, shard.tree.root(size)))

    @staticmethod
    def hashedrekord_0_0_1(key: EllipticCurvePrivateKey, certificate: x509.Certificate | None, digest: bytes) -> bytes:
        """Return the body of a signature over `digest`."""
        return hashedrekord_v1(key, certificate, digest)

    @staticmethod
    def dsse_0_0_1(key: EllipticCurvePrivateKey, certificate: x509.Certificate | None, payload: bytes) -> bytes:
        """Return the body of a signed in-toto statement."""
        return dsse_v1(key, certificate, payload)

    # lies

    def alter_leaf(self, index: int, body: bytes, *, times: int | None = None) -> None:
        """Show another body for an entry, with a valid SET over it; id, proof and tree stay those of the true one."""
        self._lies.bodies[index] = body, times

    def omit(self, index: int, *, also_singly: bool = False) -> None:
        """Leave an entry out of pages; `also_singly` denies it to whoever asks for it by index or id as well."""
        self._lies.omitted[index] = also_singly

    def lie_about_index(self, index: int, shown: int) -> None:
        """State another global index in an entry (and in its SET)."""
        self._lies.shown_index[index] = shown

    def answer_with(self, index: int, other: int) -> None:
        """Give another entry, true in itself, to whoever asks for this index."""
        self._lies.swapped[index] = other

    def serve_old(self, size: int) -> None:
        """Behave as when the active shard had `size` leaves: an old replica."""
        self._lies.old_size = size

    def fork(self, at: int, leaves: Sequence[bytes] | None = None) -> None:
        """Serve another history of the active shard from its leaf `at` on, by the same key and as long."""
        shard = self.active
        if leaves is None:
            leaves = [foreign_v1(f"fork {index}") for index in range(at, len(shard.tree))]
        self._honest = self._honest or shard.tree
        branch = shard.tree.branch(at)
        branch.extend(leaves)
        shard.show(branch, int(self._now().timestamp()))

    def sign_with(self, key: EllipticCurvePrivateKey, *, keep_key_id: bool = False) -> None:
        """Sign notes and SETs with another key, under its own id or, keeping the id, so that signatures are bad."""
        other = LogKey.ecdsa(self.hostname, key)
        self._signing = other.posing_as(self.key) if keep_key_id else other

    def hide_shard(self, tree_id: int) -> None:
        """Leave an inactive shard out of the list; its entries stay where they are."""
        self._lies.hidden_shards.add(tree_id)

    def reorder_shards(self) -> None:
        """List the inactive shards newest first."""
        self._lies.shards_reversed = True

    def tell_the_truth(self) -> None:
        """Take back every lie, fork and planned failure."""
        self.heal()
        if self._honest is not None:
            honest, self._honest = self._honest, None
            self.active.show(honest, int(self._now().timestamp()))
        self._signing, self._lies, self.index_off = self.key, _Lies(), None

    # what the routes show

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the REST interface."""
        V1Routes(self).add_to(router)

    def shown_size(self, shard: Shard) -> int:
        """Return how many leaves a shard admits to."""
        size = len(shard.tree)
        return min(size, self._lies.old_size) if shard is self.active and self._lies.old_size is not None else size

    def shown_inactive(self) -> list[Shard]:
        """Return the inactive shards as listed."""
        shown = [shard for shard in self._shards[:-1] if shard.tree_id not in self._lies.hidden_shards]
        return shown[::-1] if self._lies.shards_reversed else shown

    def by_tree(self, tree_id: int) -> Shard | None:
        """Return a shard by its tree id."""
        return next((shard for shard in self._shards if shard.tree_id == tree_id), None)

    def by_index(self, index: int, *, singly: bool) -> dict[str, object] | None:
        """Return the entry shown for a global index, a map with one key; None where there is none."""
        if self._denied(index, singly=singly):
            return None
        index = self._lies.swapped.get(index, index)
        shard = next((shard for shard in reversed(self._shards) if shard.base <= index), self._shards[0])
        local = index - shard.base
        return self._entry(shard, local) if 0 <= local < self.shown_size(shard) else None

    def by_uuid(self, uuid: str, *, singly: bool) -> list[dict[str, object]]:
        """Return the entries of an id: for 80 hex digits one; for 64 (a leaf hash alone) one of each shard that has it."""
        tree, hashed = uuid[:-64], bytes.fromhex(uuid[-64:])
        found = []
        for shard in (self.active, *self._shards[:-1]):
            local = shard.places.get(hashed) if not tree or shard.tree_id == int(tree, 16) else None
            if local is None or local >= self.shown_size(shard) or self._denied(shard.base + local, singly=singly):
                continue
            found.append(self._entry(shard, local))
        return found

    def search(self, keys: Sequence[str], *, every: bool) -> list[str]:
        """Return the ids of the entries that have one of `keys`, or every one of them."""
        found: list[str] = []
        wanted = set(keys)
        for shard in self._shards:
            indexed = enumerate(shard.indexed()[: self.shown_size(shard)])
            found += [shard.uuid(local) for local, has in indexed if (wanted <= has if every else wanted & has)]
        return found

    def _entry(self, shard: Shard, local: int) -> dict[str, object]:
        """Return one entry as the server words it, with an inclusion proof to the newest checkpoint of its shard."""
        index = shard.base + local
        size = self.shown_size(shard)
        promised: dict[str, object] = {
            "body": text64(self._body(index, shard.tree.leaf(local))),
            "integratedTime": shard.times[local],
            "logID": self.key.log_id.hex(),
            "logIndex": self._lies.shown_index.get(index, index),
        }
        proof = {
            "checkpoint": self._proof_note(shard, size).decode(),
            "hashes": [node.hex() for node in shard.tree.inclusion(local, size)],
            "logIndex": local,
            "rootHash": shard.tree.root(size).hex(),
            "treeSize": size,
        }
        stamp = text64(self._signing.sign(canonical(promised)))
        verification = {"inclusionProof": proof, "signedEntryTimestamp": stamp}
        return {shard.uuid(local): {**promised, "verification": verification}}

    def _proof_note(self, shard: Shard, size: int) -> bytes:
        """Return a signed note for a proof; the last one again while nothing changed, for a signature costs the most."""
        state = (shard.tree_id, size, shard.tree.root(size), self._signing)
        if self._last_note is None or self._last_note[0] != state:
            self._last_note = state, self.checkpoint(shard)
        return self._last_note[1]

    def _body(self, index: int, true: bytes) -> bytes:
        body, times = self._lies.bodies.get(index, (true, None))
        if times == 0:
            return true
        if times is not None:
            self._lies.bodies[index] = body, times - 1
        return body

    def _denied(self, index: int, *, singly: bool) -> bool:
        also_singly = self._lies.omitted.get(index)
        return also_singly is not None and (also_singly or not singly)


def _shard(base: int, tree_id: int | None) -> Shard:
    return Shard(base) if tree_id is None else Shard(base, tree_id)
