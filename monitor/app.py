"""Opens and closes the rooms, and puts them together: with `opener`, the one place where a class meets a port.

What the daemon does again and again stands here as passes, each bounded and each repeatable.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import structlog
from rich.console import Console

from monitor.alerts import acts, appeared, handling, incidents, outbox
from monitor.alerts.sinks.register import open_sinks, routes
from monitor.config.pinned import with_pinned_ids
from monitor.entries.prefilter import Prefilter
from monitor.errors import FetchError, FormatError, MonitorError, ProofError, SettingsError, TrustRootError
from monitor.fetch import Client
from monitor.judge import lookups, operational
from monitor.judge import releases as judging
from monitor.judge.intake import Bench
from monitor.model.log import Mode
from monitor.model.release import Authority
from monitor.model.text import parse_rfc3339, rfc3339
from monitor.opener import Opener, elsewhere
from monitor.releases import ledger, notice, refresh
from monitor.releases.beside import Examiner
from monitor.releases.registry import Registry
from monitor.releases.verify import SignatureVerifier
from monitor.store import health, ids, meta
from monitor.store.engine import Store
from monitor.trust.source import RootSource
from monitor.watch import cost
from monitor.watch.backfill import Hands, close_gaps
from monitor.watch.certificates import Certificates
from monitor.watch.cited import Cited
from monitor.watch.fleet import Fleet
from monitor.watch.follow import Tools
from monitor.watch.index import Indexes
from monitor.watch.resettle import resettle
from monitor.watch.search import Search
from monitor.watch.trusted import followable
from monitor.watch.window import Windows

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from monitor.config import Settings
    from monitor.trust.root import TrustRoot
    from monitor.watch.follow import Follower
    from monitor.watch.search import Searched

_log = structlog.get_logger(__name__)
_WATCH_FROM = "watch-from"
_ROOT = "trust-root-stale"


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class App:
    """The rooms, opened. Use `async with App(settings) as app`; `lead` claims the database for a daemon.

    Without Slack, alerts are printed on `console`, by default standard output.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        lead: bool = False,
        clock: Callable[[], datetime] = utc_now,
        console: Console | None = None,
    ) -> None:
        self.settings = settings
        self._lead = lead
        self._clock = clock
        self._console = console or Console()
        self._stack = AsyncExitStack()
        self._root: TrustRoot | None = None
        self._refreshed_at: datetime | None = None
        self._asking_root = asyncio.Lock()  # one at a time: they share the files that are kept
        self._examiner: Examiner | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            settings = self.settings
            self.store = await Store.open(settings.database, lock=self._lead)
            stack.push_async_callback(self.store.close)
            async with self.store.read() as tx:
                self.settings = settings = with_pinned_ids(settings, await ids.pinned(tx))
            self.client = await stack.enter_async_context(Client(settings.fetch))
            self.sinks = open_sinks(settings.slack, self._console)
            unpinned = settings.policy.repository_id is None or settings.policy.owner_id is None
            self._alerts = replace(settings.alerts, routes=routes(self.sinks), unpinned=unpinned)
            self._roots = RootSource(settings.trust)
            self._registry = Registry(self.client, settings.registry)
            self._watch_from = await self._first_start()
            prefilter = Prefilter(settings.watch.words, settings.contributor_keys)
            self.tools = Tools(
                self.store,
                prefilter,
                self._bench,
                settings.policy,
                self._clock,
                settings.watch.pass_time.total_seconds(),
            )
            self.fleet = Fleet(settings.watch, Opener(self.client, settings.watch), self.tools)
            indexes = Indexes(self.tools)
            self._search = Search(self.fleet, self.tools, indexes, settings.watch, settings.contributor_keys)
            self._certificates = Certificates(self.fleet, self.tools, indexes, Windows(self.store, self._clock))
            self.hands = Hands(
                self.store,
                elsewhere(settings),
                settings.watch.words,
                settings.contributor_keys,
                settings.watch.backfill_workers,
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _first_start(self) -> datetime:
        """The moment before which signatures are history: set once, kept for ever."""
        async with self.store.write() as tx:
            kept = await meta.set_once(tx, _WATCH_FROM, rfc3339(self._clock()))
        return parse_rfc3339(kept)

    def _bench(self) -> Bench:
        if self._root is None:
            raise TrustRootError("nothing can be judged before there is a trust root", cure="see `config check`")
        return Bench(self.settings.policy, self._root, self._watch_from, self._refreshed_at)

    async def refresh_root(self) -> TrustRoot:
        """The trust root anew; the last good one stays in force when it cannot be had. TrustRootError when there was none ever."""
        try:
            async with self._asking_root:
                if self._root is None:
                    self._root = await self._roots.load()
                asked = self._clock()
                fresh = await self._roots.refresh()
        except TrustRootError as problem:
            await self._report_root(str(problem))
            if self._root is None:
                raise
            return self._root
        if fresh.skipped and self._refreshed_at is None:
            _log.warning("parts of the trust root are not understood", skipped=fresh.skipped)
        self._root, self._refreshed_at = fresh, asked
        await self._report_root(None)
        return self._root

    async def _report_root(self, error: str | None) -> None:
        async with self.store.write() as tx:
            await health.report(tx, _ROOT, "trust-root", self._clock(), error)

    async def expect_configured(self) -> None:
        """Take in the digests and release files that the settings name."""
        policy = self.settings.policy
        for file in self.settings.expected:
            await ledger.import_releases(
                self.store,
                file,
                policy,
                authority=Authority.APPROVED,
                author="settings",
                reason=file.name,
                now=self._clock(),
            )
        await ledger.predict_again(self.store, policy, self._clock())
        if not self.settings.registry.repositories:
            async with self.store.write() as tx:
                await refresh.forget_hosts(tx, ())

    async def muster(self) -> list[Follower]:
        """The followers of every log known now."""
        return await self.fleet.muster(self._root or await self.refresh_root())

    async def search(self, stopping: Callable[[], bool]) -> Searched:
        """One pass over the indexes of the logs that are not read completely, as of the last muster."""
        return await self._search.run_pass(stopping)

    async def look_up(self, stopping: Callable[[], bool]) -> Searched:
        """One pass over the certificates of ours whose entries are still to be found."""
        return await self._certificates.run_pass(stopping)

    async def close_gaps(self, stopping: Callable[[], bool]) -> bool:
        """One bounded pass over what following passed over, log by log; whether more of it can be read at once."""
        more = False
        for follower in self.fleet.followers():
            if follower.followed.mode is not Mode.COMPLETE:
                continue
            try:
                progress = await close_gaps(follower, self.hands, stopping, self.tools.pass_time)
            except (FetchError, FormatError, ProofError, SettingsError) as error:
                # Following the same log meets the same trouble, and tells it.
                _log.warning("a gap could not be read", log=follower.followed.origin, error=str(error))
                continue
            more = more or (progress is not None and progress.leaves > 0 and not progress.done)
        return more

    async def costs(self) -> list[str]:
        """What following costs where it costs much, in sentences, before it begins; nothing while there is no trust root."""
        try:
            root = self._root or await self.refresh_root()
        except TrustRootError:
            return []  # whoever goes on meets it, and tells it
        wanted = followable(root, self.settings.watch, self._clock())
        return cost.complete_v1([(each.origin, each.protocol, each.mode) for each in wanted.logs], self.settings.watch)

    async def read_registry(self, stopping: Callable[[], bool]) -> refresh.RefreshReport:
        """One pass over the registry, and what is judged anew by it. Nothing is asked where the settings name no repository."""
        repositories = self.settings.registry.references
        if not repositories or self._root is None:
            return refresh.RefreshReport()
        policy = self.settings.policy
        report = await refresh.refresh(
            refresh.Tools(
                self.store,
                self._registry,
                repositories,
                self._examining(self._root),
                policy,
                self._clock,
                self._examining_newest,
                Cited(self.fleet, self.tools),
            ),
            stopping,
        )
        return replace(report, findings=report.findings + await self.settle(stopping))

    def _examining(self, root: TrustRoot) -> Examiner:
        now = (root, self._refreshed_at)
        if self._examiner is None or (self._examiner.root, self._examiner.refreshed_at) != now:
            self._examiner = Examiner(self._registry, SignatureVerifier(*now))
        return self._examiner

    async def _examining_newest(self) -> Examiner:
        return self._examining(await self.refresh_root())

    async def compare_notice(self) -> int:
        """Compare the NOTICE file with the settings; how many findings are new. One that cannot be read says nothing, and is logged."""
        if not self.settings.notice:
            return 0
        try:
            return await notice.check(
                self.store, self.client, self.settings.notice, self.settings.policy, self._clock()
            )
        except MonitorError as error:
            _log.warning("the NOTICE file cannot be compared", error=str(error))
            return 0

    async def settle(self, stopping: Callable[[], bool]) -> int:
        """Judge again what is due; how many findings are new. Without a trust root there is nothing to judge by."""
        if self._root is None:
            return 0
        return (await resettle(self.tools, stopping)).findings

    async def review(self) -> int:
        """Make findings of our own health, and tell what recovered; how many findings are new."""
        async with self.store.write() as tx:
            new, recovered = await operational.review(tx, self.settings.policy, self._clock())
            new += (await judging.review(tx, self.settings.policy, self._clock())).findings
            new += await lookups.review(tx, self.settings.policy, self._clock())
        for condition in recovered:
            await handling.recover(self.store, condition.rule, condition.source, self._alerts, self._clock())
            async with self.store.write() as tx:
                await health.recovered(tx, condition.rule, condition.source)
        # What a person did is told in the incident that it closes, not after it.
        await acts.gather(self.store, self._alerts, self._clock())
        await handling.close_explained(self.store, self._clock())
        return new

    async def tell(self) -> int:
        """Make incidents of findings and deliver what is due; how many deliveries were attempted."""
        await incidents.gather(self.store, self._alerts, self._clock())
        await acts.gather(self.store, self._alerts, self._clock())
        await appeared.gather(self.store, self._clock())
        return await outbox.deliver(self.store, self.sinks, self._alerts, self._clock())
