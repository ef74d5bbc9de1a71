"""The job table and the life of the loops: APScheduler is the clock, a TaskGroup is the life.

A job only sets a loop's event. Each loop is supervised: an exception is written to `health` and the loop goes on after a backoff. A stop is
obeyed between strides; whatever still runs three seconds later is cancelled, and the process ends by itself soon after, which is
safe because every transaction is whole (P2).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from monitor.errors import LostRaceError, NotLeaderError
from monitor.model.log import LogState
from monitor.rules.digest import PUSH_LAGS
from monitor.store import health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.app import App

_log = structlog.get_logger(__name__)

_CANCEL_AFTER = 3.0
_END_AFTER = 4.5
_BACKOFF_MOST = 60.0
_GOOD_PASSES = 2
"""Good passes after which a trouble counts as over (rules.health)."""


@dataclass(slots=True)
class Loop:
    """One row of the job table. `work` returns whether there is more to do at once; its errors are told under `rule`."""

    name: str
    every: timedelta
    work: Callable[[], Awaitable[bool]]
    rule: str
    due: asyncio.Event = field(default_factory=asyncio.Event)


class Daemon:
    """Runs an opened App until `stop` is set."""

    def __init__(self, app: App, stop: asyncio.Event) -> None:
        self._app = app
        self._stop = stop
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        self._loops: dict[str, Loop] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._met: set[str] = set()
        """The logs that were passed over once."""

    def _table(self) -> list[Loop]:
        watch = self._app.settings.watch
        return [
            Loop("lease", timedelta(seconds=15), self._renew, "rule-failed"),
            Loop("trust", timedelta(hours=1), self._trust, "trust-root-stale"),
            Loop("fleet", watch.poll_interval, self._fleet, "log-unreachable"),
            Loop("backfill", watch.poll_interval, self._backfill, "falling-behind"),
            Loop("registry", self._app.settings.registry.refresh_interval, self._registry, "registry-unreachable"),
            Loop("search", watch.poll_interval, self._search, "log-unreachable"),
            Loop("lookups", watch.poll_interval, self._look_up, "log-unreachable"),
            Loop("notice", timedelta(hours=1), self._notice, "rule-failed"),
            Loop("settle", watch.poll_interval, self._settle, "rule-failed"),
            Loop("review", watch.poll_interval, self._review, "rule-failed"),
            Loop("tell", timedelta(seconds=1), self._tell, "delivery-failing"),
        ]

    async def run(self) -> None:
        """Run every loop until stopped. Raises NotLeaderError when another daemon takes the database."""
        await self._app.expect_configured()
        self._scheduler.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for loop in self._table():
                    self._start(loop)
                await self._stop.wait()
                _log.info("stopping")
                await self._wind_down()
        except* NotLeaderError as group:
            raise group.exceptions[0] from None
        finally:
            self._scheduler.shutdown(wait=False)

    async def _wind_down(self) -> None:
        """Let the loops end between strides, then cancel what still runs."""
        for loop in self._loops.values():
            loop.due.set()
        running = [task for task in asyncio.all_tasks() if task.get_name().startswith("loop:")]
        if running:
            _, late = await asyncio.wait(running, timeout=_CANCEL_AFTER)
            for task in late:
                task.cancel()

    def _start(self, loop: Loop) -> None:
        if self._tasks is None:
            raise RuntimeError("a loop is started while the daemon runs")
        self._loops[loop.name] = loop

        async def wake() -> None:
            loop.due.set()

        self._scheduler.add_job(wake, "interval", seconds=loop.every.total_seconds(), id=loop.name)
        loop.due.set()
        self._tasks.create_task(self._supervised(loop), name=f"loop:{loop.name}")

    async def _supervised(self, loop: Loop) -> None:
        failures = recovering = 0
        while not self._stop.is_set():
            await loop.due.wait()
            loop.due.clear()
            try:
                while not self._stop.is_set() and await loop.work():
                    pass
                failures = 0
                if recovering:
                    await self._tell_health(loop, None)
                    recovering -= 1
            except NotLeaderError:
                raise
            except LostRaceError as error:
                _log.info("lost a race, beginning the pass again", loop=loop.name, error=str(error))
                loop.due.set()
            except Exception as error:  # noqa: BLE001 - whatever happened, the loop goes on and says so
                failures, recovering = failures + 1, _GOOD_PASSES
                _log.exception("loop failed", loop=loop.name, failures=failures)
                await self._tell_health(loop, f"{type(error).__name__}: {error}")
                await self._back_off(failures)
                loop.due.set()

    async def _tell_health(self, loop: Loop, error: str | None) -> None:
        try:
            async with self._app.store.write() as tx:
                await health.report(tx, loop.rule, f"loop:{loop.name}", self._app.tools.clock(), error)
        except Exception:  # noqa: BLE001 - the store itself is out of reach: the log on standard error is all there is
            _log.exception("health could not be written", loop=loop.name)

    async def _back_off(self, failures: int) -> None:
        seconds = min(2.0**failures, _BACKOFF_MOST) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _renew(self) -> bool:
        await self._app.store.renew(self._app.tools.clock())
        return False

    async def _trust(self) -> bool:
        await self._app.refresh_root()
        return False

    async def _fleet(self) -> bool:
        watch = self._app.settings.watch
        for follower in await self._app.muster():
            origin = follower.followed.origin
            every = watch.poll_interval if follower.followed.state is LogState.ACTIVE else watch.ended_interval
            name = f"log:{origin}"
            if name not in self._loops:
                self._start(Loop(name, every, partial(self._follow, origin), "log-unreachable"))
            elif self._loops[name].every != every:
                self._loops[name].every = every
                self._scheduler.reschedule_job(name, trigger="interval", seconds=every.total_seconds())
                self._loops[name].due.set()  # one that has just ended took in something since it was last asked
        return False

    async def _follow(self, origin: str) -> bool:
        follower = self._app.fleet.find(origin)
        if follower is None:
            return False  # the trust root has another log in its place now
        passed = await follower.run_pass(self._stop.is_set)
        if origin not in self._met or (passed.entries and follower.followed.protocol.certificates):
            self._loops["lookups"].due.set()
        if passed.skipped:
            self._loops["backfill"].due.set()
        if origin not in self._met:
            self._loops["search"].due.set()  # what is found is proven under a checkpoint, and now there is one
            self._met.add(origin)
        self._came(passed.entries, passed.findings)
        return passed.error is None and passed.behind > 0 and passed.leaves > 0

    def _came(self, entries: int, findings: int) -> None:
        """Wake those who wait for entries and findings: a hint, for they look by themselves too.

        The registry is read at once, and again when all that explains the entries must lie beside its image.
        """
        if entries:
            registry = self._loops["registry"].due
            registry.set()
            asyncio.get_running_loop().call_later(PUSH_LAGS.total_seconds(), registry.set)
        if findings:
            self._loops["tell"].due.set()

    async def _search(self) -> bool:
        searched = await self._app.search(self._stop.is_set)
        self._came(searched.entries, searched.findings)
        return searched.more

    async def _look_up(self) -> bool:
        searched = await self._app.look_up(self._stop.is_set)
        self._came(searched.entries, searched.findings)
        return searched.more

    async def _backfill(self) -> bool:
        return await self._app.close_gaps(self._stop.is_set)

    async def _registry(self) -> bool:
        return (await self._app.read_registry(self._stop.is_set)).more

    async def _notice(self) -> bool:
        await self._app.compare_notice()
        return False

    async def _settle(self) -> bool:
        await self._app.settle(self._stop.is_set)
        return False

    async def _review(self) -> bool:
        await self._app.review()
        return False

    async def _tell(self) -> bool:
        return await self._app.tell() > 0


async def run(app: App, stop: asyncio.Event) -> None:
    """Run the daemon until `stop` is set, or SIGTERM or SIGINT comes; then it ends within five seconds."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        if not stop.is_set():
            stop.set()
            timer = threading.Timer(_END_AFTER, os._exit, (0,))
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended)
    try:
        await Daemon(app, stop).run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
