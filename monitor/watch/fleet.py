"""Which logs are followed: those of the trusted root, ended ones too, and every shard that a Rekor v1 server ever listed.

A shard list is an unsigned hint: a shard once seen is followed by its tree for ever, and one that disappears or moves is a conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError
from monitor.judge import intake
from monitor.model.log import Conflict, ConflictKind, FollowedLog, LogState, Mode, Protocol
from monitor.model.text import rfc3339
from monitor.store import health, logs, meta
from monitor.watch.checkpoint import Keeper
from monitor.watch.follow import Follower
from monitor.watch.keys import LogKey

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol as Port

    from monitor.trust.root import TrustedLog, TrustRoot
    from monitor.watch.follow import Tools
    from monitor.watch.options import WatchOptions
    from monitor.watch.ports import Log

    class Shards(Port):
        """A Rekor v1 server, which holds several logs."""

        async def shards(self) -> tuple[FollowedLog, ...]:
            """Every shard that it lists, oldest first."""

        def shard(self, log: FollowedLog) -> Log:
            """One of them."""

    class Opener(Port):
        """Opens logs; the one place that knows the clients."""

        def v1(self, url: str) -> Shards:
            """A Rekor v1 server."""

        def v2(self, origin: str, url: str) -> Log:
            """A Rekor v2 log."""


_log = structlog.get_logger(__name__)
_BEGUN = "watching-since"


@dataclass(frozen=True, slots=True)
class Trusted:
    """One log of the trusted root under the settings' word on it."""

    origin: str
    protocol: Protocol
    url: str
    mode: Mode
    keys: tuple[LogKey, ...]
    ended: bool


def followed_of(root: TrustRoot, options: WatchOptions, now: datetime) -> list[Trusted]:
    """The logs of the trusted root that are followed, each once with all of its keys; not those that the settings ignore."""
    by_origin: dict[str, list[TrustedLog]] = {}
    for log in root.logs:
        by_origin.setdefault(log.origin, []).append(log)
    found = []
    for origin, same in by_origin.items():
        override = options.override(origin)
        if override is not None and override.ignore:
            continue
        newest = max(same, key=lambda log: log.start)
        found.append(
            Trusted(
                origin,
                (override and override.protocol) or newest.protocol,
                (override and override.read_url) or newest.base_url,
                (override and override.mode) or Mode.COMPLETE,
                tuple(LogKey(log.key, log.start, log.end) for log in same),
                newest.end is not None and newest.end <= now,
            )
        )
    return found


class Fleet:
    """Opens a follower for each log as it comes up, and keeps it."""

    def __init__(self, options: WatchOptions, opener: Opener, tools: Tools) -> None:
        self._options = options
        self._opener = opener
        self._tools = tools
        self._followers: dict[str, Follower] = {}
        self._servers: dict[str, Shards] = {}
        self.unreached: dict[str, str] = {}
        """By host, why a server's list of shards could not be had at the last muster."""

    async def muster(self, root: TrustRoot) -> list[Follower]:
        """The followers of all logs known now. A server that cannot be asked for its shards leaves those known before."""
        begun = await self._begun()
        for trusted in followed_of(root, self._options, self._tools.clock()):
            if trusted.protocol is Protocol.REKOR_V2:
                found, rotated = [self._tile_log(trusted)], begun
            else:
                found, rotated = await self._shards(trusted)
            for followed in found:
                await self._open(followed, trusted, rotated=rotated)
        if not begun and self._followers:
            async with self._tools.store.write() as tx:
                await meta.set(tx, _BEGUN, rfc3339(self._tools.clock()))
        return list(self._followers.values())

    def follower(self, origin: str) -> Follower:
        """The follower of one log, as of the last muster."""
        return self._followers[origin]

    @staticmethod
    def _tile_log(trusted: Trusted) -> FollowedLog:
        state = LogState.ENDED if trusted.ended else LogState.ACTIVE
        return FollowedLog(trusted.origin, trusted.protocol, trusted.url, trusted.mode, state)

    async def _shards(self, trusted: Trusted) -> tuple[list[FollowedLog], bool]:
        """The server's shards and those it once listed; and whether it had listed any before, so that another one is a rotation."""
        async with self._tools.store.read() as tx:
            known = {log.origin: log for log in await logs.every(tx) if _host(log) == trusted.origin}
        source = f"shards:{trusted.origin}"
        listed: tuple[FollowedLog, ...] = ()
        error: str | None = None
        try:
            listed = await self._server(trusted.url).shards()
        except (FetchError, FormatError) as problem:
            error = str(problem)
        listed = tuple(log for log in listed if _host(log) == trusted.origin)
        if error is None and not listed:
            error = f"{trusted.url} lists no shard of {trusted.origin}"
        self.unreached.pop(trusted.origin, None)
        if error is not None:
            self.unreached[trusted.origin] = error
        async with self._tools.store.write() as tx:
            now = self._tools.clock()
            await health.report(tx, "log-unreachable", source, now, error)
            if error is None:
                for conflict in _changed(known, listed):
                    await intake.conflict(tx, conflict, self._tools.policy, now)
        current = known | {log.origin: replace(log, mode=trusted.mode) for log in listed}
        shards = [replace(log, state=LogState.ENDED) if trusted.ended else log for log in current.values()]
        return shards, bool(known)

    def _server(self, url: str) -> Shards:
        if url not in self._servers:
            self._servers[url] = self._opener.v1(url)
        return self._servers[url]

    async def _open(self, followed: FollowedLog, trusted: Trusted, *, rotated: bool) -> None:
        """A follower for a log new to us, or one whose state or address moved."""
        existing = self._followers.get(followed.origin)
        if existing is not None and existing.followed == followed and existing.keys == trusted.keys:
            return
        async with self._tools.store.write() as tx:
            stored = any(log.origin == followed.origin for log in await logs.every(tx))
            await logs.upsert(tx, followed, self._tools.clock())
        if followed.protocol is Protocol.REKOR_V1:
            log = self._server(followed.url).shard(followed)
        else:
            log = self._opener.v2(followed.origin, followed.url)
        if existing is None:
            _log.info("following", log=followed.origin, url=followed.url, state=str(followed.state))
        keeper = Keeper(log, followed, trusted.keys, self._tools.store, self._tools.policy, self._tools.clock)
        start = 0 if rotated and not stored else self._start(trusted.origin)
        self._followers[followed.origin] = Follower(log, followed, keeper, self._tools, start)

    def _start(self, origin: str) -> int | None:
        override = self._options.override(origin)
        start = override.start if override is not None and override.start is not None else self._options.start
        return None if start == "tip" else start

    async def _begun(self) -> bool:
        """Whether this store has followed before: a log that comes up later is followed from its first leaf."""
        async with self._tools.store.read() as tx:
            return await meta.get(tx, _BEGUN) is not None


def _host(log: FollowedLog) -> str:
    """The name under which the trusted root has a log: of a v1 shard, the server's host name."""
    return log.origin.partition(" - ")[0]


def _changed(known: dict[str, FollowedLog], listed: tuple[FollowedLog, ...]) -> list[Conflict]:
    """Where a server's shard list contradicts what it said before: a shard gone, or its place in the global index moved."""
    now = {log.origin: log for log in listed}
    found = []
    for origin, log in known.items():
        if origin not in now:
            found.append(
                Conflict(
                    ConflictKind.SHARDS_CHANGED,
                    origin,
                    "gone",
                    f"{_host(log)} no longer lists its shard {log.tree_id}, which it listed before",
                )
            )
        elif now[origin].offset != log.offset:
            found.append(
                Conflict(
                    ConflictKind.SHARDS_CHANGED,
                    origin,
                    f"moved:{now[origin].offset}",
                    f"{_host(log)} lists its shard {log.tree_id} from global index {now[origin].offset}; before, from {log.offset}",
                )
            )
    return found
