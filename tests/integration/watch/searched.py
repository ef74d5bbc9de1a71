"""A Rekor v1 server that is searched, with a clock that a test moves and lookups that it writes: no certificate log runs here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from monitor.entries.prefilter import Prefilter
from monitor.errors import FetchError
from monitor.judge.intake import Bench
from monitor.model.filters import EntryFilter, Page
from monitor.model.log import Mode
from monitor.model.lookup import Lookup, LookupState
from monitor.rekor.v1 import RekorV1
from monitor.rekor.v2 import RekorV2
from monitor.rules.policy import Policy
from monitor.store import entries, lookups
from monitor.trust import root as trust_root
from monitor.watch.certificates import Certificates
from monitor.watch.fleet import Fleet
from monitor.watch.index import Indexes
from monitor.watch.options import LogOverride, WatchOptions
from monitor.watch.search import Search
from monitor.watch.taking import Tools
from monitor.watch.window import Windows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cryptography.x509 import Certificate

    from monitor.fetch import Client
    from monitor.model.log import Block, FollowedLog, Gap, InclusionProof
    from monitor.store.engine import Store
    from monitor.store.entries import EntryRow
    from monitor.testbed.ca import Claims
    from monitor.testbed.world import World
    from monitor.watch.ports import Log
    from monitor.watch.search import Searched

INDEX = "/api/v1/index"
PAGES = "/api/v1/log/entries"
ALL = 1 << 62


@dataclass
class Clock:
    """The wall clock, moved ahead."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass
class _Silent:
    """A certificate log that nobody reaches: that there is one is all that counts."""

    origin: str

    async def checkpoint(self, *, fresh: bool = False) -> bytes:
        raise FetchError(f"{self.origin} is not asked here ({fresh})")

    async def consistency_proof(self, first: int, second: int, *, fresh: bool = False) -> tuple[bytes, ...]:
        raise FetchError(f"{self.origin} is not asked here ({first}, {second}, {fresh})")

    async def inclusion_proof(self, index: int, size: int, *, fresh: bool = False) -> InclusionProof:
        raise FetchError(f"{self.origin} is not asked here ({index}, {size}, {fresh})")

    async def blocks(
        self, start: int, end: int, size: int, *, fresh: bool = False
    ) -> AsyncGenerator[Block | Gap, None]:
        raise FetchError(f"{self.origin} is not asked here ({start}, {end}, {size}, {fresh})")
        yield


@dataclass
class _Opener:
    client: Client

    def v1(self, url: str) -> RekorV1:
        return RekorV1(url, self.client, requests_per_second=10_000)

    def v2(self, origin: str, url: str) -> Log:
        return RekorV2(origin, url, self.client)

    def ct(self, log: FollowedLog, key_id: bytes) -> Log:
        return _Silent(f"{log.origin} {key_id.hex()}")


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
    wanted: int = 0

    def __post_init__(self) -> None:
        urls = {**self.world.read_urls}
        overrides = tuple(
            LogOverride(origin, read_url=url, mode=self.mode if origin == self.world.v1.hostname else None)
            for origin, url in urls.items()
        )
        self.options = WatchOptions(start=0, logs=overrides)
        prefilter = Prefilter(self.options.words, self.keys)
        self.tools = Tools(self.store, prefilter, self.bench, self.policy, self.clock, self.pass_time)
        self.fleet = Fleet(self.options, _Opener(self.client), self.tools)
        self.indexes = Indexes(self.tools)
        self.windows = Windows(self.store, self.clock)
        self.searching = Search(self.fleet, self.tools, self.indexes, self.options, self.keys)
        self.looking = Certificates(self.fleet, self.tools, self.indexes, self.windows)

    def restarted(self) -> Hunt:
        return replace(self)

    def bench(self) -> Bench:
        return Bench(self.policy, trust_root.parse(self.world.trusted_root_json()), datetime(2020, 1, 1, tzinfo=UTC))

    async def poll(self) -> None:
        """Muster, and ask every log of signatures for its checkpoint."""
        await self.fleet.muster(trust_root.parse(self.world.trusted_root_json()))
        for follower in self.fleet.signature_logs():
            passed = await follower.run_pass(lambda: False)
            assert passed.error is None, passed.error

    async def search(self) -> Searched:
        """Poll, and one pass of the search."""
        await self.poll()
        return await self.searching.run_pass(lambda: False)

    async def look_up(self) -> Searched:
        """Poll, and one pass of the lookups."""
        await self.poll()
        return await self.looking.run_pass(lambda: False)

    async def stored(self) -> list[EntryRow]:
        """Every v1 entry that is kept, the first first."""
        async with self.store.read() as tx:
            rows = await entries.list_entries(tx, EntryFilter(), Page(limit=1000))
        return sorted((row for row in rows if row.log.startswith(self.world.v1.hostname)), key=lambda row: row.id)

    async def indexes_stored(self) -> list[int]:
        return sorted(row.index for row in await self.stored())

    async def issue(self, claims: Claims, *, history: bool = False) -> Certificate:
        """A certificate that a certificate log shows, whose entry is wanted from now on."""
        key = self.world.v1.key.key
        certificate = self.world.ca.issue(key.public_key(), claims)
        await self.want(certificate, claims, history=history)
        return certificate

    async def want(self, certificate: Certificate, claims: Claims, *, history: bool = False) -> Lookup:
        """Look for the entry of a certificate. What shows it stands in the v2 log here, in place of a certificate log."""
        async with self.store.read() as tx:
            rows = await entries.list_entries(tx, EntryFilter(), Page(limit=1))
        if not rows:
            self.world.sign("v2")
            await self.poll()
            return await self.want(certificate, claims, history=history)
        self.wanted += 1
        lookup = Lookup(
            issuance=sha256(b"issuance %d" % self.wanted).hexdigest(),
            entry_id=rows[0].id,
            subject=claims.identity(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            run=None,
            history=history,
            state=LookupState.OPEN,
            opened_at=self.clock(),
        )
        async with self.store.write() as tx:
            assert await lookups.want(tx, lookup)
        return lookup

    async def lookup(self, lookup: Lookup) -> Lookup:
        async with self.store.read() as tx:
            found = await lookups.find(tx, lookup.issuance)
        assert found is not None
        return found

    def asked(self, path: str) -> int:
        """How many requests of this kind the v1 server has seen."""
        return len(list(self.world.v1.seen(path)))
