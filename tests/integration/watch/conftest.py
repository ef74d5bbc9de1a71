"""A harness that follows the testbed's logs with the real clients, the real rooms and the real database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from monitor.entries.prefilter import Prefilter
from monitor.fetch import Client, FetchOptions
from monitor.judge import operational
from monitor.judge.intake import Bench
from monitor.model.filters import FindingFilter, Page
from monitor.rules.policy import Policy
from monitor.store import findings, logs
from monitor.testbed.giant import GiantV1
from monitor.testbed.world import World
from monitor.trust import root as trust_root
from monitor.watch.fleet import Fleet
from monitor.watch.follow import Tools
from monitor.watch.options import WatchOptions
from tests.clock import Clock
from tests.integration.watch.searched import Hunt
from tests.opener import Opener, overrides_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.model.finding import Finding
    from monitor.model.log import Cursor, Mode
    from monitor.store.engine import Store
    from monitor.watch.follow import Pass


@dataclass
class Watch:
    """The rooms around one world and one store, with a clock that a test moves. A new one on the same store is a restart."""

    world: World
    store: Store
    client: Client
    policy: Policy = field(default_factory=Policy)
    options: WatchOptions = field(default_factory=lambda: WatchOptions(start=0))
    ahead: timedelta = timedelta(0)
    watch_from: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    only: str = ""
    certificates: bool = False
    """Rekor v1 in its default mode beside the certificate log; otherwise complete, and the certificate log left out."""
    modes: dict[str, Mode] = field(default_factory=dict)
    """What the settings ask of a log, whether it can be done or not."""
    refreshed_at: datetime | None = None

    def __post_init__(self) -> None:
        self.tools = Tools(self.store, Prefilter(self.options.words), self.bench, self.policy, self.now)
        self.fleet = Fleet(self.options, Opener(self.client), self.tools)

    def restarted(self) -> Watch:
        return replace(self)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def bench(self) -> Bench:
        return Bench(self.policy, trust_root.parse(self.world.trusted_root_json()), self.watch_from, self.refreshed_at)

    async def poll(self) -> dict[str, Pass]:
        """One pass over every log (whose origin begins with `only`)."""
        root = trust_root.parse(self.world.trusted_root_json())
        overrides = tuple(
            replace(each, mode=self.modes.get(each.origin, each.mode))
            for each in overrides_of(self.world, certificates=self.certificates)
        )
        self.fleet._options = replace(self.options, logs=overrides)
        followers = [f for f in await self.fleet.muster(root) if f.followed.origin.startswith(self.only)]
        return {f.followed.origin: await f.run_pass(lambda: False) for f in followers}

    async def found(self) -> list[Finding]:
        """Every finding of now, the operational ones reviewed first."""
        async with self.store.write() as tx:
            await operational.review(tx, self.policy, self.now())
        async with self.store.read() as tx:
            return [row.finding for row in await findings.list_findings(tx, FindingFilter(), Page(limit=1000))]

    async def rules(self) -> list[str]:
        return sorted(finding.rule for finding in await self.found())

    async def cursor(self, origin: str) -> Cursor:
        async with self.store.read() as tx:
            cursor = await logs.cursor(tx, origin)
        assert cursor is not None
        return cursor

    async def counters(self, origin: str) -> dict[str, int]:
        async with self.store.read() as tx:
            return dict(await logs.counters(tx, origin))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(FetchOptions(attempts=1)) as client:
        yield client


@pytest.fixture
def watch(world: World, store: Store, client: Client) -> Watch:
    return Watch(world, store, client, only="log")


@pytest.fixture
def watch_v1(watch: Watch, world: World) -> Watch:
    watch.only = world.v1.hostname
    return watch


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hunted(clock: Clock) -> AsyncIterator[World]:
    """A world that goes by the clock of the test."""
    async with World(now=clock) as world:
        yield world


@pytest.fixture
async def hunt(hunted: World, store: Store, clock: Clock) -> AsyncIterator[Hunt]:
    async with Client(FetchOptions(attempts=1)) as client:
        yield Hunt(hunted, store, client, clock)


@pytest.fixture
async def giant(hunted: World, clock: Clock) -> AsyncIterator[GiantV1]:
    """A v1 server of a hundred million entries that a Hunt can read in place of the world's own."""
    key = hunted.v1.key.key
    assert isinstance(key, EllipticCurvePrivateKey)
    async with GiantV1(hunted.v1.hostname, key=key, ca=hunted.rogue_ca(), period_bits=8, now=clock) as server:
        yield server
