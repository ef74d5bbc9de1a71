"""Tries everything that the monitor depends on, each by itself: settings, disk, database, clock, trust root, logs, registry, Slack.

It changes nothing, keeps nothing and alerts nobody, and one failure hides no other. A new dependency is one more function in
`PROBES`; what is asked of it stands in its own room's `probe`.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from monitor.alerts.sinks import slack_probe
from monitor.app import utc_now
from monitor.config.pinned import with_pinned_ids
from monitor.config.unset import unset
from monitor.errors import FetchError, MonitorError
from monitor.fetch import Client
from monitor.model.check import Check, failed, not_set, ok, refused, skipped
from monitor.opener import Opener
from monitor.releases import probe as registry_probe
from monitor.store import ids, releases
from monitor.store import probe as database_probe
from monitor.store.engine import Store
from monitor.trust import probe as trust_probe
from monitor.trust.source import REPOSITORIES
from monitor.watch import probe as log_probe
from monitor.watch.trusted import followable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from datetime import datetime

    from monitor.config import Settings
    from monitor.fetch import FetchOptions
    from monitor.trust.root import TrustRoot
    from monitor.watch.trusted import Trusted

    Rooted = tuple[TrustRoot | None, tuple[Check, ...]]
    Probe = Callable[["Visit"], Coroutine[None, None, tuple[Check, ...]]]

LIMIT = 20.0
"""Seconds for one check: a busy machine must not look broken."""
MOST_SKEW = 60.0
"""Seconds by which this machine's clock may differ from the servers'."""
_ANY_STATUS = frozenset(range(200, 600))


@dataclass(frozen=True, slots=True)
class Visit:
    """What the probes of one visit share. `rooted` is the trust root with its checks, tried once for all who need it."""

    settings: Settings
    fetch: FetchOptions
    clock: Callable[[], datetime]
    limit: float
    rooted: asyncio.Task[Rooted]

    async def root(self) -> TrustRoot | None:
        """The trust root; None when none can be had."""
        return (await asyncio.shield(self.rooted))[0]


async def examine(
    settings: Settings, *, clock: Callable[[], datetime] = utc_now, limit: float = LIMIT
) -> AsyncIterator[Check]:
    """Try everything, side by side, and yield what came of it in the order of `PROBES`; `limit` is in seconds, for each check."""
    fetch = replace(
        settings.fetch,
        attempts=1,
        timeout=min(settings.fetch.timeout, limit),
        connect_timeout=min(settings.fetch.connect_timeout, limit),
    )
    rooted = asyncio.create_task(trust_probe.probe(settings.trust, limit))
    visit = Visit(settings, fetch, clock, limit, rooted)
    tasks = [asyncio.create_task(probe(visit)) for probe in PROBES]
    try:
        for task in tasks:
            for check in await task:
                yield check
    finally:
        for each in (rooted, *tasks):
            each.cancel()
        await asyncio.gather(rooted, *tasks, return_exceptions=True)


async def _tried(name: str, work: Awaitable[tuple[Check, ...]], limit: float) -> tuple[Check, ...]:
    """What a check came to, whatever became of it."""
    try:
        async with asyncio.timeout(limit):
            return await work
    except TimeoutError:
        return (failed(name, f"no answer within {limit:g} s", "check the network and the server"),)
    except MonitorError as error:
        return (refused(name, error, "report this"),)
    except Exception as error:  # noqa: BLE001 - a fault of one check must not hide what the others found
        return (failed(name, f"{type(error).__name__}: {error}", "report this: it is a fault of the monitor"),)


async def _each(tried: Iterator[Awaitable[tuple[Check, ...]]]) -> tuple[Check, ...]:
    return tuple([check for found in await asyncio.gather(*tried) for check in found])


async def _settings(visit: Visit) -> tuple[Check, ...]:
    settings, digests = visit.settings, False
    with suppress(MonitorError, TimeoutError):  # the database has a check of its own
        async with (
            asyncio.timeout(visit.limit),
            await Store.open(settings.database, create=False) as store,
            store.read() as tx,
        ):
            settings = with_pinned_ids(settings, await ids.pinned(tx))
            digests = bool((await releases.expectations(tx, None)).sources)
    read = f"read from {settings.file}" if settings.file else "no file: TruStacks' own, built in"
    return ok("settings", read), *(not_set("settings", note) for note in unset(settings, digests=digests))


async def _state(visit: Visit) -> tuple[Check, ...]:
    directory = visit.settings.state_dir
    reason = database_probe.unusable(directory)
    if reason:
        cure = "give the monitor's user a directory there that it may write, or name another: state_dir (systemd: StateDirectory=)"
        return (failed("state directory", f"{directory} cannot be written: {reason}", cure),)
    there = "can be written" if directory.is_dir() else "is not there yet, and can be made"
    return (ok("state directory", f"{directory} {there}"),)


async def _database(visit: Visit) -> tuple[Check, ...]:
    return await _tried("database", database_probe.probe(visit.settings.database, visit.clock()), visit.limit)


async def _clock(visit: Visit) -> tuple[Check, ...]:
    servers = sorted(set(_servers(visit.settings, await visit.root(), visit.clock())))
    return await _tried("clock", _compared(visit, servers), 2 * visit.limit)


def _servers(settings: Settings, root: TrustRoot | None, now: datetime) -> Iterator[str]:
    """Every server that the monitor asks, as `scheme://host:port/`."""
    found = [REPOSITORIES.get(settings.trust.source, settings.trust.source)]
    found += [log.url for log in followable(root, settings.watch, now).logs] if root else []
    registry = settings.registry
    for reference in registry.references.values():
        found.append(f"{'http' if registry.insecure(reference.host) else 'https'}://{reference.host}")
    if settings.slack.token:
        found.append(settings.slack.api)
    for url in found:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"}:
            yield f"{parts.scheme}://{parts.netloc}/"


async def _compared(visit: Visit, servers: list[str]) -> tuple[Check, ...]:
    async with Client(visit.fetch) as client:
        asked = await asyncio.gather(*(_ahead(client, url, visit.clock) for url in servers))
    ahead = [each for each in asked if each is not None]
    if not ahead:
        return (skipped("clock", f"none of the {len(servers)} servers asked said what time it is"),)
    middle = median(ahead)
    gave = f"the time that {len(ahead)} of {len(servers)} servers gave"
    if abs(middle) <= MOST_SKEW:
        return (ok("clock", f"within {max(2, math.ceil(abs(middle)))} s of {gave}"),)
    said = f"this machine's clock is {abs(middle):.0f} s {'ahead of' if middle > 0 else 'behind'} {gave}"
    return (failed("clock", said, "set the clock (NTP): certificates, checkpoints and deadlines are judged by it"),)


async def _ahead(client: Client, url: str, clock: Callable[[], datetime]) -> float | None:
    """By how many seconds our clock is ahead of a server's `Date`, which is whole seconds; None when it gives none."""
    try:
        headers = (await client.head(url, also=_ANY_STATUS)).headers
        date = parsedate_to_datetime(headers["date"])
        age = headers.get("age", "")
        return (clock() - date).total_seconds() - (float(age) if age.isascii() and age.isdigit() else 0.0)
    except (FetchError, KeyError, ValueError, TypeError):
        return None


async def _trust_root(visit: Visit) -> tuple[Check, ...]:
    async def checks() -> tuple[Check, ...]:
        return (await asyncio.shield(visit.rooted))[1]

    return await _tried("trust root", checks(), 2 * visit.limit)


async def _logs(visit: Visit) -> tuple[Check, ...]:
    root, options = await visit.root(), visit.settings.watch
    if root is None:
        return (skipped("logs", "there is no trust root to say which logs there are, and by which keys they sign"),)
    now = visit.clock()
    ignored = [log.origin for log in options.logs if log.ignore]

    async def ask(trusted: Trusted) -> tuple[Check, ...]:
        async with Client(visit.fetch) as client:
            return await log_probe.checkpoints(Opener(client, options), trusted, now)

    wanted = followable(root, options, now)
    found = await _each(_tried(log_probe.name(each.origin, each.url), ask(each), visit.limit) for each in wanted.logs)
    refused = [(each.origin, each.refused) for each in wanted.logs if each.refused]
    wrong = [failed(log_probe.name(name), why, "correct [[watch.logs]] in the settings") for name, why in refused]
    lost = [
        failed(log_probe.name(name), why, "write or correct its table under [[watch.logs]]")
        for name, why in wanted.unfollowable
    ]
    return (
        *found,
        *wrong,
        *lost,
        *(skipped(log_probe.name(origin), "not followed: the settings say so") for origin in ignored),
    )


async def _indexes(visit: Visit) -> tuple[Check, ...]:
    root, options = await visit.root(), visit.settings.watch
    if root is None:
        return ()  # the logs say why

    async def ask(trusted: Trusted) -> tuple[Check, ...]:
        async with Client(visit.fetch) as client:
            return await log_probe.index(Opener(client, options), trusted, visit.clock())

    wanted = followable(root, options, visit.clock()).logs
    return await _each(_tried(log_probe.index_name(each.origin), ask(each), visit.limit) for each in wanted)


async def _registry(visit: Visit) -> tuple[Check, ...]:
    options = visit.settings.registry
    if not options.repositories:
        lost = "no repository (registry.repositories): only release files and `releases import` say what may be signed"
        return (not_set("registry", lost),)

    async def ask(repository: str) -> tuple[Check, ...]:
        async with Client(visit.fetch) as client:
            return await registry_probe.tags(client, options, references[repository])

    references = {str(reference): reference for reference in options.references.values()}
    return await _each(
        _tried(registry_probe.name(reference), ask(each), visit.limit) for each, reference in references.items()
    )


async def _slack(visit: Visit) -> tuple[Check, ...]:
    options = replace(visit.settings.slack, timeout=max(1, min(visit.settings.slack.timeout, int(visit.limit))))
    return await _tried("Slack", slack_probe.probe(options), 2 * visit.limit)


async def _proxies(visit: Visit) -> tuple[Check, ...]:
    async def ways() -> tuple[Check, ...]:
        async with Client(visit.fetch):  # refuses what is no proxy's URL
            named = getproxies()
        by = [f"{scheme} by {_host(named[scheme])}" for scheme in ("https", "http") if named.get(scheme)]
        besides = f"; not by it: {named['no']} (Slack is asked by it all the same)" if by and named.get("no") else ""
        return (ok("proxies", f"{', '.join(by)}{besides}" if by else "none: every server is asked directly"),)

    return await _tried("proxies", ways(), visit.limit)


def _host(url: str) -> str:
    """A proxy without its credentials."""
    return url.rpartition("@")[2].rpartition("://")[2].rstrip("/")


PROBES: tuple[Probe, ...] = (
    _settings,
    _state,
    _database,
    _clock,
    _trust_root,
    _logs,
    _indexes,
    _registry,
    _slack,
    _proxies,
)
"""In the order in which they are told."""
