"""A Rekor v1 log of a hundred million entries in one shard that grows by the clock: what following and bisecting cost.

Its entries repeat with a period and are made when asked for; planted ones are real and can be searched for. Every proof,
promise and checkpoint holds. It tells no lies: for those there is the small log.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from monitor.errors import ProofError
from monitor.testbed.bodies import hashedrekord_v1
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.keys import LogKey, text64
from monitor.testbed.periodic import PeriodicTree
from monitor.testbed.server import LoopbackServer
from monitor.testbed.v1_index import index_keys
from monitor.testbed.v1_routes import V1Routes
from monitor.tlog.checkpoint import checkpoint_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from hashlib import _Hash

    from monitor.testbed.server import Handler

STRANGERS: Final = 64
"""Certificates that the entries of a period are spread over."""
_MICROSECOND: Final = timedelta(microseconds=1)
_DIGEST: Final = ECDSA(Prehashed(SHA256()))


@dataclass(frozen=True, slots=True)
class GiantShard:
    """The one shard."""

    tree: PeriodicTree = field(repr=False)
    tree_id: int = 0x108E9186E8C5677A


@dataclass(frozen=True, slots=True)
class _Made:
    """A body as replies have it, and the hash so far of what its promise is signed over."""

    text: str = field(repr=False)
    leaf_hash: str
    promised: _Hash = field(repr=False)


class GiantV1(LoopbackServer):
    """The log at `hostname`: `size` entries when it is made, `rate` more a second since then."""

    def __init__(  # noqa: PLR0913  each is one side of its size
        self,
        hostname: str = "rekor-v1.trustacks.test",
        *,
        size: int = 100_000_000,
        rate: float = 200.0,
        period_bits: int = 12,
        bodies: Sequence[bytes] | None = None,
        ca: CertificateAuthority | None = None,
        key: EllipticCurvePrivateKey | None = None,
        latency: float = 0.0,
        ceiling: int | None = None,
        index_off: int | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Make one period: 2^`period_bits` signatures by strangers whom `ca` certified, or the given `bodies`.

        Each reply is `latency` seconds late. More than `ceiling` requests within a second are answered 429. `index_off`
        turns the search off: 501 as a server without it answers, or 404 as a proxy in front of it.
        """
        super().__init__()
        self.hostname = hostname
        self.key = LogKey.ecdsa(hostname, key)
        self.rate = rate
        self.latency = latency
        self.ceiling = ceiling
        self.index_off = index_off
        self.counts: Counter[str] = Counter()
        """Requests by path, `{uuid}` for any id; those over the ceiling are under "429"."""
        self.entries_served = 0
        """Entries in all replies."""
        self._now = now or (lambda: datetime.now(UTC))
        self._began, self._begun_with = self._now(), size
        period = strangers(1 << period_bits, ca) if bodies is None else bodies
        self.tree = PeriodicTree(period)
        self.active = GiantShard(self.tree)
        self._made: list[_Made | None] = [None] * len(period)
        self._made_planted: dict[int, _Made] = {}
        self._at_least = size
        self._planted_keys: dict[int, frozenset[str]] = {}
        self._planted_places: dict[str, int] = {}
        self._places = {self.tree.node(0, index).hex(): index for index in reversed(range(len(period)))}
        self._keys: list[frozenset[str]] = []
        self._recent: deque[float] = deque()
        self._note = (-1, "", "")
        """The newest size that a proof was given for, its checkpoint and its root."""

    # the log

    @property
    def spki(self) -> bytes:
        """The public key, DER."""
        return self.key.spki

    @property
    def key_id(self) -> bytes:
        """The 32 bytes that trusted_root.json calls `keyId`, and entries `logID`."""
        return self.key.log_id

    @property
    def size(self) -> int:
        """Entries by now: never fewer than there were."""
        by_clock = self._begun_with + int((self._now() - self._began) // _MICROSECOND * self.rate / 1_000_000)
        self._at_least = max(self._at_least, by_clock)
        return self._at_least

    @property
    def origin(self) -> str:
        """The origin of its checkpoints."""
        return f"{self.hostname} - {self.active.tree_id}"

    def integrated_time(self, index: int) -> int:
        """Return when an entry was integrated, in seconds: a function of its index and of nothing else."""
        return int(self._began.timestamp() + (index - self._begun_with) / self.rate)

    def append(self, body: bytes) -> int:
        """Add a real entry at the present end; its index."""
        index = self.size
        self.plant(index, body)
        self._at_least = index + 1
        return index

    def plant(self, index: int, body: bytes) -> None:
        """Put a real entry where a periodic one stands, before anyone reads there, or beyond the end, to be grown over."""
        self.tree.plant(index, body)
        self._made_planted[index] = self._making(body, self.tree.node(0, index))
        self._planted_keys[index] = index_keys(body)
        self._planted_places[self.tree.node(0, index).hex()] = index
        self._note = (-1, "", "")

    def uuid(self, index: int) -> str:
        """Return the entry id: tree id and leaf hash, 80 hex digits. A periodic leaf shares it with its repetitions."""
        return f"{self.active.tree_id:016x}{self.tree.node(0, index).hex()}"

    # what the routes show

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the REST interface."""
        V1Routes(self).add_to(router)

    def shown_size(self, _shard: GiantShard) -> int:
        """Return how many leaves there are by now."""
        return self.size

    def shown_inactive(self) -> list[GiantShard]:
        """Return the inactive shards: none."""
        return []

    def by_tree(self, tree_id: int) -> GiantShard | None:
        """Return the shard by its tree id."""
        return self.active if tree_id == self.active.tree_id else None

    def checkpoint(self, _shard: GiantShard | None = None, size: int | None = None) -> bytes:
        """Return a note signed now."""
        size = self.size if size is None else size
        return self.key.note(checkpoint_text(self.origin, size, self.tree.root(size)))

    def by_index(self, index: int, *, singly: bool) -> dict[str, object] | None:  # noqa: ARG002  nothing is denied here
        """Return the entry of an index, a map with one key; None where there is none."""
        size = self.size
        return self._entry(index, size) if index < size else None

    def by_uuid(self, uuid: str, *, singly: bool) -> list[dict[str, object]]:
        """Return the entry of an id; of a periodic leaf the earliest one that still has it."""
        tree, hashed = uuid[:-64], uuid[-64:].lower()
        if tree and int(tree, 16) != self.active.tree_id:
            return []
        index = self._planted_places.get(hashed)
        if index is None:
            index = self._places.get(hashed)
            while index is not None and index in self.tree.planted:
                index += self.tree.period
        entry = None if index is None else self.by_index(index, singly=singly)
        return [] if entry is None else [entry]

    def search(self, keys: Sequence[str], *, every: bool) -> list[str]:
        """Return the ids of the entries that have one of `keys`, or every one of them: each id once."""
        if not self._keys:
            self._keys = [index_keys(self.tree.leaf(place)) for place in self._first_places()]
        wanted, size = set(keys), self.size
        planted = ((index, has) for index, has in sorted(self._planted_keys.items()) if index < size)
        periodic = zip(self._first_places(), self._keys, strict=True)
        return [
            self.uuid(index) for index, has in chain(planted, periodic) if (wanted <= has if every else wanted & has)
        ]

    def _first_places(self) -> list[int]:
        """For each leaf of a period a place where no planted one stands."""
        places = []
        for residue in range(self.tree.period):
            index = residue
            while index in self.tree.planted:
                index += self.tree.period
            places.append(index)
        return places

    def _entry(self, index: int, size: int) -> dict[str, object]:
        made = self._made_planted.get(index) or self._periodic(index % self.tree.period)
        when = self.integrated_time(index)
        promised = made.promised.copy()
        log_id = self.key.log_id.hex()
        promised.update(f'{when},"logID":"{log_id}","logIndex":{index}}}'.encode())
        if self._note[0] != size:
            self._note = size, self.checkpoint(None, size).decode(), self.tree.root(size).hex()
        self.entries_served += 1
        entry = {
            "body": made.text,
            "integratedTime": when,
            "logID": log_id,
            "logIndex": index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": self._note[1],
                    "hashes": self.tree.inclusion_hex(index, size),
                    "logIndex": index,
                    "rootHash": self._note[2],
                    "treeSize": size,
                },
                "signedEntryTimestamp": text64(self._sign(promised.digest())),
            },
        }
        return {f"{self.active.tree_id:016x}{made.leaf_hash}": entry}

    def _periodic(self, residue: int) -> _Made:
        made = self._made[residue]
        if made is None:
            leaf = self.tree.periodic(residue)
            made = self._made[residue] = self._making(leaf, self.tree.periodic_hash(residue))
        return made

    @staticmethod
    def _making(body: bytes, hashed: bytes) -> _Made:
        text = text64(body)
        return _Made(text, hashed.hex(), sha256(b'{"body":"%s","integratedTime":' % text.encode()))

    def _sign(self, digest: bytes) -> bytes:
        key = self.key.key
        if not isinstance(key, EllipticCurvePrivateKey):
            raise ProofError("a Rekor v1 log signs with ECDSA")
        return key.sign(digest, _DIGEST)

    # serving

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.ceiling is not None:
            now = monotonic()
            while self._recent and self._recent[0] <= now - 1:
                self._recent.popleft()
            if len(self._recent) >= self.ceiling:
                self.counts["429"] += 1
                return web.Response(status=429, text="Too Many Requests", headers={"Retry-After": "1"})
            self._recent.append(now)
        if self.latency:
            await asyncio.sleep(self.latency)
        return await super()._middleware(request, handler)

    def _saw(self, request: web.Request) -> None:
        """Count: a list of a million requests would be the largest thing here."""
        resource = request.match_info.route.resource
        self.counts[request.path if resource is None else resource.canonical] += 1


def strangers(count: int, ca: CertificateAuthority | None = None) -> list[bytes]:
    """Return so many hashedrekord bodies over distinct digests, signed by STRANGERS certificates of `ca` or of no one's."""
    ca = ca or CertificateAuthority()
    signers = []
    for number in range(min(STRANGERS, count)):
        key = generate_private_key(SECP256R1())
        claims = replace(Claims(), org="globex", repo=f"svc-{number}", workflow="release.yml", run=str(100 + number))
        signers.append((key, ca.issue(key.public_key(), claims)))
    bodies = []
    for number in range(count):
        key, certificate = signers[number % len(signers)]
        bodies.append(hashedrekord_v1(key, certificate, sha256(b"giant %d" % number).digest()))
    return bodies
