"""A monitor over the embedded Sigstore and its registry: the real clients and rooms, one database, a clock that a test moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from monitor.entries.prefilter import Prefilter
from monitor.judge import operational
from monitor.judge import releases as judging
from monitor.judge.intake import Bench
from monitor.model.filters import FindingFilter, Page
from monitor.releases import refresh
from monitor.releases.beside import Examiner
from monitor.releases.registry import Registry, RegistryOptions
from monitor.releases.verify import SignatureVerifier
from monitor.rules.policy import Policy
from monitor.store import findings
from monitor.testbed.world import RELEASED
from monitor.trust import root as trust_root
from monitor.watch.fleet import Fleet
from monitor.watch.follow import Tools
from monitor.watch.options import LogOverride, WatchOptions
from monitor.watch.resettle import resettle
from tests.opener import Opener, overrides_of

if TYPE_CHECKING:
    from monitor.fetch import Client
    from monitor.model.finding import Finding
    from monitor.releases.refresh import RefreshReport
    from monitor.store.engine import Store
    from monitor.testbed.world import World
    from tests.clock import Clock


@dataclass
class Monitor:
    world: World
    store: Store
    client: Client
    clock: Clock
    policy: Policy = field(default_factory=Policy)
    start: Literal["tip"] | int = 0
    stale: bool = False
    """The newest trust root cannot be had."""

    def __post_init__(self) -> None:
        self.root = trust_root.parse(self.world.trusted_root_json())
        self.options = WatchOptions(start=self.start, logs=overrides_of(self.world))
        watch_from = datetime(2020, 1, 1, tzinfo=UTC)
        self.tools = Tools(
            self.store,
            Prefilter(self.options.words),
            lambda: Bench(self.policy, self.root, watch_from),
            self.policy,
            self.clock,
        )
        self.fleet = Fleet(self.options, Opener(self.client), self.tools)
        host = self.world.registry.host
        asked = RegistryOptions(
            repositories={artifact: f"{host}/trustacks/{artifact}" for artifact in RELEASED}, insecure_hosts=(host,)
        )
        self.registry = Registry(self.client, asked)
        self.refreshing = refresh.Tools(
            self.store,
            self.registry,
            asked.references,
            Examiner(self.registry, SignatureVerifier(self.root)),
            self.policy,
            self.clock,
            self.newest,
        )

    async def newest(self) -> Examiner:
        """The examiner under the world's trust root of this moment, as far as it can be had."""
        if not self.stale:
            asked = self.clock()
            self.root = trust_root.parse(self.world.trusted_root_json())
            others = (key.log_id.hex() for key in self.root.ct_keys if key.log_id.hex() != self.world.ct.origin)
            ignored = (LogOverride(log_id, ignore=True) for log_id in others)
            options = replace(self.options, logs=(*overrides_of(self.world), *ignored))
            self.fleet = Fleet(options, Opener(self.client), self.tools)
            examiner = Examiner(self.registry, SignatureVerifier(self.root, asked))
            self.refreshing = replace(self.refreshing, examiner=examiner)
        return self.refreshing.examiner

    async def follow(self) -> None:
        for follower in await self.fleet.muster(self.root):
            passed = await follower.run_pass(lambda: False)
            assert passed.error is None

    async def refresh(self) -> RefreshReport:
        """One pass over the registry, and what follows from it."""
        report = await refresh.refresh(self.refreshing)
        await resettle(self.tools, lambda: False)
        await self.review()
        return report

    async def review(self) -> None:
        await resettle(self.tools, lambda: False)
        async with self.store.write() as tx:
            await judging.review(tx, self.policy, self.clock())
            await operational.review(tx, self.policy, self.clock())

    async def poll(self) -> RefreshReport:
        await self.follow()
        return await self.refresh()

    async def findings(self) -> list[Finding]:
        async with self.store.read() as tx:
            return [row.finding for row in await findings.list_findings(tx, FindingFilter(), Page(limit=1000))]

    async def rules(self) -> list[str]:
        return sorted(each.rule for each in await self.findings())
