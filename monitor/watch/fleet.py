"""Which logs are followed: those of the trusted root, ended ones and certificate logs too, and every shard a Rekor v1 server ever listed.

A shard list is an unsigned hint: a shard once seen is followed by its tree for ever, and one that disappears or moves is a conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError
from monitor.judge import intake
from monitor.model.log import Conflict, ConflictKind, FollowedLog, LogState, Protocol
from monitor.model.text import parse_rfc3339, rfc3339
from monitor.store import health, logs, meta
from monitor.watch.checkpoint import Keeper
from monitor.watch.follow import Follower
from monitor.watch.trusted import followable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from datetime import datetime
    from typing import Protocol as Port

    from monitor.model.log import Mode
    from monitor.model.search import Answer, Fetched, Question
    from monitor.trust.root import TrustRoot
    from monitor.watch.follow import Tools
    from monitor.watch.options import LogOverride, WatchOptions
    from monitor.watch.ports import Log
    from monitor.watch.trusted import Followable, Trusted

    class Shards(Port):
        """A Rekor v1 server, which holds several logs."""

        async def shards(self) -> tuple[FollowedLog, ...]:
            """Every shard that it lists, oldest first."""

        def shard(self, log: FollowedLog) -> Log:
            """One of them."""

        def search(self, questions: Iterable[Question]) -> AsyncGenerator[Answer, None]:
            """What its index answers to each, in order; trouble is an answer too."""

        def entries(self, log: FollowedLog, uuids: Sequence[str]) -> AsyncGenerator[Fetched, None]:
            """The entries of a shard by UUID, a few at a time, with unverified proofs. FetchError, FormatError."""

    class Opener(Port):
        """Opens logs; the one place that knows the clients."""

        def v1(self, url: str) -> Shards:
            """A Rekor v1 server."""

        def v2(self, origin: str, url: str) -> Log:
            """A Rekor v2 log."""

        def ct(self, log: FollowedLog, key_id: bytes) -> Log:
            """A certificate log, of either protocol; `key_id` names its key in the notes of its tree heads."""


_log = structlog.get_logger(__name__)
_BEGUN = "watching-since"
_OF_HOST = ("shards", "windows")
"""How the sources of `health` begin that are of a whole Rekor v1 server."""
_UNMET = "not-as-configured"
_SETTINGS = "settings:"
"""How the sources of `health` begin that are what the settings ask of a log, and cannot be done."""


@dataclass(frozen=True, slots=True)
class V1Server:
    """A Rekor v1 server and the followers of its shards, oldest first. All shards of a server run in one mode.

    `listed_at`: it was asked for its shards then, or later, and those that it listed are among these.
    """

    host: str
    server: Shards
    shards: tuple[Follower, ...]
    listed_at: datetime | None = None

    @property
    def mode(self) -> Mode:
        """How much of it is read."""
        return self.shards[-1].followed.mode


class Fleet:
    """Opens a follower for each log as it comes up, and keeps it."""

    def __init__(self, options: WatchOptions, opener: Opener, tools: Tools) -> None:
        self._options = options
        self._opener = opener
        self._tools = tools
        self._followers: dict[str, Follower] = {}
        self._servers: dict[str, Shards] = {}
        self._listed: dict[str, datetime] = {}
        self._unread: set[str] = set()
        self.unreached: dict[str, str] = {}
        """By host (or log), why a server's list of shards could not be had at the last muster, or the settings not be obeyed."""

    async def muster(self, root: TrustRoot) -> list[Follower]:
        """The followers of all logs known now. A server that cannot be asked for its shards leaves those known before."""
        begun = await self._begun()
        now = self._tools.clock()
        wanted = followable(root, self._options, now)
        await self._tell(wanted)
        for trusted in wanted.logs:
            if trusted.protocol is Protocol.REKOR_V1:
                found, rotated = await self._shards(trusted)
            else:
                found = [trusted.followed]
                # A certificate log that the root has had all along is no rotation: an older program did not follow it.
                rotated = begun is not None and (not trusted.protocol.certificates or trusted.begins > begun)
            for followed in found:
                await self._open(followed, trusted, rotated=rotated)
            if trusted.protocol is Protocol.REKOR_V1 and trusted.origin not in self.unreached:
                self._listed[trusted.origin] = now
        self._unread = {log.origin for log in root.logs if log.origin in wanted.left}
        self._unread.update(each for each in root.skipped if each.startswith("tlogs"))
        for origin in wanted.left:
            self._followers.pop(origin, None)
        if begun is None and self._followers:
            async with self._tools.store.write() as tx:
                await meta.set(tx, _BEGUN, rfc3339(now))
        return list(self._followers.values())

    async def _tell(self, wanted: Followable) -> None:
        """What cannot be followed, or not as the settings ask, is trouble of its own: the rest goes on. What is left out is none."""
        refused = {f"{_SETTINGS}{each.origin}": each.refused for each in wanted.logs if each.refused}
        refused |= {f"{_SETTINGS}{name}": why for name, why in wanted.unfollowable}
        self.unreached = {name: why for name, why in self.unreached.items() if not name.startswith(_SETTINGS)} | refused
        async with self._tools.store.write() as tx:
            conditions = await health.conditions(tx)
            told = {each.source for each in conditions if each.source.startswith(_SETTINGS)}
            for source in sorted(told | set(refused)):
                await health.report(tx, _UNMET, source, self._tools.clock(), refused.get(source))
            left = [log for log in await logs.every(tx) if log.origin in wanted.left or _host(log) in wanted.left]
            for log in left:
                await logs.upsert(tx, replace(log, state=LogState.LEFT), self._tools.clock())
            nobody = {f"log:{log.origin}" for log in left} | {
                f"{kind}:{name}" for name in wanted.left for kind in _OF_HOST
            }
            for each in conditions:
                if each.source in nobody:
                    await health.forget(tx, each.rule, each.source)

    def follower(self, origin: str) -> Follower:
        """The follower of one log, as of the last muster."""
        return self._followers[origin]

    def followers(self) -> list[Follower]:
        """The followers of all logs, as of the last muster."""
        return list(self._followers.values())

    def find(self, origin: str) -> Follower | None:
        """The follower of one log; None when it is not followed."""
        return self._followers.get(origin)

    def servers(self) -> list[V1Server]:
        """The Rekor v1 servers, each with the followers of its shards, those with the greater offset last; as of the last muster."""
        followers = list(self._followers.values())
        found = []
        for url, server in self._servers.items():
            mine = [
                each
                for each in followers
                if each.followed.protocol is Protocol.REKOR_V1 and each.followed.url.rstrip("/") == url.rstrip("/")
            ]
            if mine:
                host = _host(mine[0].followed)
                shards = tuple(sorted(mine, key=lambda f: f.followed.offset))
                found.append(V1Server(host, server, shards, self._listed.get(host)))
        return found

    def signature_logs(self) -> list[Follower]:
        """The followers of every log of signatures, as of the last muster."""
        return [each for each in self._followers.values() if not each.followed.protocol.certificates]

    def unlisted(self) -> set[str]:
        """What may hold signatures and is not read at all: left out by the settings, not understood, or a server without a known shard."""
        known = {server.host for server in self.servers()}
        return self._unread | {name for name in self.unreached if not name.startswith(_SETTINGS)} - known

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
        known = {
            origin: replace(log, state=LogState.ENDED) if log.state is LogState.LEFT else log
            for origin, log in known.items()
        }
        current = [replace(log, mode=trusted.mode) for log in (known | {log.origin: log for log in listed}).values()]
        shards = [replace(log, state=LogState.ENDED) if trusted.ended else log for log in current]
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
        log = self._log(followed, trusted)
        if existing is None:
            _log.info("following", log=followed.origin, url=followed.url, state=str(followed.state))
        keeper = Keeper(log, followed, trusted.keys, self._tools.store, self._tools.policy, self._tools.clock)
        start = 0 if rotated and not stored else self._start(trusted.override)
        self._followers[followed.origin] = Follower(log, followed, keeper, self._tools, start)

    def _log(self, followed: FollowedLog, trusted: Trusted) -> Log:
        if followed.protocol is Protocol.REKOR_V1:
            return self._server(followed.url).shard(followed)
        if followed.protocol.certificates:
            return self._opener.ct(followed, trusted.keys[0].key.key_id)
        return self._opener.v2(followed.origin, followed.url)

    def _start(self, override: LogOverride | None) -> int | None:
        start = override.start if override is not None and override.start is not None else self._options.start
        return None if start == "tip" else start

    async def _begun(self) -> datetime | None:
        """Since when this store has followed: a log that comes up later is followed from its first leaf."""
        async with self._tools.store.read() as tx:
            begun = await meta.get(tx, _BEGUN)
        return parse_rfc3339(begun) if begun is not None else None


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
