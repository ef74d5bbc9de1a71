"""Searching a Rekor v1 server beside a certificate log, with a clock that a test moves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.entries.prefilter import Prefilter
from monitor.judge.intake import Bench
from monitor.model.filters import EntryFilter, Page
from monitor.model.log import Mode
from monitor.model.lookup import Lookup, LookupState
from monitor.rules.policy import Policy
from monitor.store import entries, logs, lookups
from monitor.testbed.ca import Claims
from monitor.trust import root as trust_root
from monitor.watch.certificates import Certificates
from monitor.watch.fleet import Fleet
from monitor.watch.index import Indexes
from monitor.watch.options import WatchOptions
from monitor.watch.search import Search
from monitor.watch.taking import Tools
from monitor.watch.window import Windows
from tests.opener import Opener, overrides_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

    from monitor.fetch import Client
    from monitor.model.log import Coverage
    from monitor.store.engine import Store
    from monitor.store.entries import EntryRow
    from monitor.testbed.giant import GiantV1
    from monitor.testbed.world import World
    from monitor.watch.fleet import V1Server
    from monitor.watch.search import Searched
    from tests.clock import Clock

INDEX = "/api/v1/index"
PAGES = "/api/v1/log/entries"
RETRIEVE = f"{PAGES}/retrieve"
BRANCH = Claims(ref="refs/heads/feature")
"""A ref that no search knows beforehand: only its certificate leads to it."""


@dataclass
class Hunt:
    """The rooms that search around one world and one store. A new one on the same store is a restart."""

    world: World
    store: Store
    client: Client
    clock: Clock
    mode: Mode = Mode.CERTIFICATES
    policy: Policy = field(default_factory=Policy)
    keys: tuple[bytes, ...] = ()
    pass_time: float = 60.0
    watch_from: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    rate: float = 10_000
    """Requests a second that v1 servers are asked at most."""
    giant: GiantV1 | None = None
    """Read in place of the world's own v1 server."""
    tip: bool = False
    """Whether logs are followed from where they stand, not from their beginning."""

    def __post_init__(self) -> None:
        mode = self.mode
        host = self.world.v1.hostname
        url = self.giant.url if self.giant else self.world.v1.url
        overrides = tuple(
            replace(each, mode=mode, read_url=url) if each.origin == host else each
            for each in overrides_of(self.world, certificates=True)
        )
        self.options = WatchOptions(start="tip" if self.tip else 0, logs=overrides)
        prefilter = Prefilter(self.options.words, self.keys)
        self.tools = Tools(self.store, prefilter, self.bench, self.policy, self.clock, self.pass_time)
        self.fleet = Fleet(self.options, Opener(self.client, self.rate), self.tools)
        self.indexes = Indexes(self.tools)
        self.windows = Windows(self.store, self.clock)
        self.searching = Search(self.fleet, self.tools, self.indexes, self.options, self.keys)
        self.looking = Certificates(self.fleet, self.tools, self.indexes, self.windows)

    def restarted(self) -> Hunt:
        return replace(self)

    def bench(self) -> Bench:
        return Bench(self.policy, trust_root.parse(self.world.trusted_root_json()), self.watch_from)

    async def poll(self) -> None:
        """Muster, and follow every log."""
        for follower in await self.fleet.muster(trust_root.parse(self.world.trusted_root_json())):
            passed = await follower.run_pass(lambda: False)
            assert passed.error is None, passed.error

    @property
    def server(self) -> V1Server:
        """The v1 server, as of the last poll."""
        (server,) = self.fleet.servers()
        return server

    async def search(self) -> Searched:
        """Poll, and one pass of the search."""
        await self.poll()
        return await self.searching.run_pass(lambda: False)

    async def look_up(self) -> Searched:
        """Poll, and one pass of the lookups."""
        await self.poll()
        return await self.looking.run_pass(lambda: False)

    def say(self, uuids: Sequence[str] = ()) -> None:
        """Let the index answer this to everything; a server that does not know subjects answers nothing at all."""
        body = json.dumps(list(uuids)).encode()
        self.world.v1.reply(body=body, content_type="application/json", path_prefix=INDEX)

    def issue(self, claims: Claims = BRANCH) -> Certificate:
        """A certificate of ours that signs nothing."""
        return self.world.ca.issue(generate_private_key(SECP256R1()).public_key(), claims)

    async def stored(self) -> list[EntryRow]:
        """Every v1 entry that is kept, the first first."""
        async with self.store.read() as tx:
            rows = await entries.list_entries(tx, EntryFilter(), Page(limit=1000))
        return sorted((row for row in rows if row.log.startswith(self.world.v1.hostname)), key=lambda row: row.id)

    async def indexes_stored(self) -> list[int]:
        return sorted(row.index for row in await self.stored())

    async def lookups(self) -> list[Lookup]:
        """Every lookup, settled by what is stored, the certificate issued first first."""
        async with self.store.write() as tx:
            await lookups.settle_found(tx, self.clock())
            return await lookups.unsettled(tx, *LookupState)

    async def states(self) -> list[LookupState]:
        return [lookup.state for lookup in await self.lookups()]

    async def read_at_last(self) -> list[bool]:
        """Pass after the certificates are over: whether all was read in which each one's entry could stand."""
        self.clock.move(minutes=14)
        await self.look_up()
        return [lookup.read_at is not None for lookup in await self.lookups()]

    async def covered(self) -> list[Coverage]:
        """What is proven of the active shard."""
        async with self.store.read() as tx:
            return await logs.coverage(tx, self.world.v1.origin())

    def asked(self, path: str) -> int:
        """How many requests of this kind the v1 server has seen."""
        return len(list(self.world.v1.seen(path)))
