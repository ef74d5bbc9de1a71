"""Opens and closes the rooms, and is the one place where a class meets a port.

What the daemon does again and again stands here as passes, each bounded and each repeatable.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import structlog
from rich.console import Console

from monitor.alerts import acts, appeared, handling, incidents, outbox
from monitor.alerts.sinks.register import open_sinks, routes
from monitor.config.pinned import with_pinned_ids
from monitor.ct.rfc6962 import CtLog
from monitor.ct.static import StaticCtLog
from monitor.entries.prefilter import Prefilter
from monitor.errors import FetchError, FormatError, MonitorError, ProofError, SettingsError, TrustRootError
from monitor.fetch import Client
from monitor.judge import lookups, operational
from monitor.judge import releases as judging
from monitor.judge.intake import Bench
from monitor.model.log import Mode, Protocol
from monitor.model.release import Authority
from monitor.model.text import parse_rfc3339, rfc3339
from monitor.rekor import v2
from monitor.rekor.v1 import RekorV1
from monitor.rekor.v2 import RekorV2
from monitor.releases import ledger, notice, refresh
from monitor.releases.beside import Examiner
from monitor.releases.registry import Registry
from monitor.releases.verify import SignatureVerifier
from monitor.store import deliveries, health, ids, meta
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
    from monitor.model.log import FollowedLog
    from monitor.trust.root import TrustRoot
    from monitor.watch.backfill import Opening, Progress
    from monitor.watch.follow import Follower, Pass
    from monitor.watch.options import WatchOptions
    from monitor.watch.ports import Log
    from monitor.watch.search import Searched

_log = structlog.get_logger(__name__)
_WATCH_FROM = "watch-from"
_ROOT = "trust-root-stale"


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class LogReport:
    """What one pass over one log came to."""

    log: FollowedLog
    passed: Pass


@dataclass(frozen=True, slots=True)
class PollReport:
    """What one pass over everything came to. `unreached` are servers that could not be read, and why."""

    logs: tuple[LogReport, ...]
    new_findings: int
    unreached: tuple[tuple[str, str], ...]
    undelivered: int = 0


class Opener:
    """Opens logs with the clients that speak their protocols."""

    def __init__(self, client: Client, options: WatchOptions) -> None:
        self._client = client
        self._options = options

    def v1(self, url: str) -> RekorV1:
        """A Rekor v1 server."""
        options = self._options
        return RekorV1(
            url, self._client, in_flight=options.v1_in_flight, requests_per_second=options.v1_requests_per_second
        )

    def v2(self, origin: str, url: str) -> Log:
        """A Rekor v2 log."""
        return RekorV2(origin, url, self._client, in_flight=self._options.v2_in_flight)

    def ct(self, log: FollowedLog, key_id: bytes) -> Log:
        """A certificate log, of either protocol."""
        rate, in_flight = self._options.ct_requests_per_second, self._options.ct_in_flight
        if log.protocol is Protocol.STATIC_CT:
            return StaticCtLog(log.origin, log.url, self._client, in_flight=in_flight)
        return CtLog(log.origin, log.url, key_id, self._client, in_flight=in_flight, requests_per_second=rate)


def _together(last: Pass, before: Pass | Progress) -> Pass:
    """Two passes as one, which ends as the last did."""
    return replace(
        last,
        leaves=before.leaves + last.leaves,
        entries=before.entries + last.entries,
        findings=before.findings + last.findings,
    )


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
            self._alerts = replace(settings.alerts, routes=routes(self.sinks))
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
                self._opening,
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

    def _opening(self, followed: FollowedLog) -> Opening | None:
        """How another process opens a log; those that are read in pages keep their ceiling in this one."""
        if followed.protocol is not Protocol.REKOR_V2:
            return None
        return partial(v2.opened, followed.origin, followed.url, self.settings.fetch, self.settings.watch.v2_in_flight)

    def _bench(self) -> Bench:
        if self._root is None:
            raise TrustRootError("nothing can be judged before there is a trust root", cure="see `config check`")
        return Bench(self.settings.policy, self._root, self._watch_from, self._refreshed_at)

    async def refresh_root(self) -> TrustRoot:
        """The trust root anew; the last good one stays in force when it cannot be had. TrustRootError when there was none ever."""
        try:
            if self._root is None:
                self._root = await self._roots.load()
            fresh = await self._roots.refresh()
        except TrustRootError as problem:
            await self._report_root(str(problem))
            if self._root is None:
                raise
            return self._root
        if fresh.skipped and self._refreshed_at is None:
            _log.warning("parts of the trust root are not understood", skipped=fresh.skipped)
        self._root, self._refreshed_at = fresh, self._clock()
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
        if self._examiner is None or self._examiner.root is not self._root:
            self._examiner = Examiner(self._registry, SignatureVerifier(self._root))
        policy = self.settings.policy
        report = await refresh.refresh(
            refresh.Tools(
                self.store,
                self._registry,
                repositories,
                self._examiner,
                policy,
                self._clock,
                Cited(self.fleet, self.tools),
            ),
            stopping,
        )
        await self.settle(stopping)
        return report

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

    async def _follow_to_the_end(self, follower: Follower, stopping: Callable[[], bool]) -> Pass:
        """Pass after pass until the log is read to its newest checkpoint, and what was passed over on the way is read too."""
        passed = await follower.run_pass(stopping)
        while passed.behind and passed.error is None and passed.leaves and not stopping():
            again = await follower.run_pass(stopping)
            passed = _together(again, passed)
            if not again.leaves:
                break
        if not passed.skipped or passed.error is not None or stopping():
            return passed
        try:
            closed = await close_gaps(follower, self.hands, stopping)
        except (FetchError, FormatError, ProofError, SettingsError) as error:
            return replace(passed, error=str(error))
        last = await follower.run_pass(stopping)  # says what is left, so that the log is well again where nothing is
        return _together(last, passed if closed is None else _together(passed, closed))

    async def poll(self, stopping: Callable[[], bool] = lambda: False) -> PollReport:
        """One pass over everything: every log to its newest checkpoint, then judge, review and tell."""
        await self.refresh_root()
        await self.expect_configured()
        reports = []
        for follower in await self.muster():
            passed = await self._follow_to_the_end(follower, stopping)
            reports.append(LogReport(follower.followed, passed))
        registry = await self.read_registry(stopping)
        while registry.more and not stopping():
            registry = await self.read_registry(stopping)
        searched = [await self.search(stopping)]
        while searched[-1].more and not stopping():
            searched.append(await self.search(stopping))
        searched.append(await self.look_up(stopping))
        while searched[-1].more and not stopping():
            searched.append(await self.look_up(stopping))
        drifted = await self.compare_notice()
        settled = await self.settle(stopping)
        reviewed = await self.review()
        while await self.tell():
            pass
        found = settled + reviewed + drifted + registry.findings + sum(each.findings for each in searched)
        found += sum(report.passed.findings for report in reports)
        async with self.store.read() as tx:
            unreached = (*self.fleet.unreached.items(), *registry.errors.items())
            undelivered = sum([await deliveries.waiting(tx, sink.name) for sink in self.sinks])
        return PollReport(tuple(reports), found, unreached, undelivered)
