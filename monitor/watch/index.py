"""The index of one Rekor v1 server as a source: what it names is fetched, proven and taken in; what it does not name proves nothing.

What was fetched once is remembered within bounds, so that entries that are not ours cost one request and not one a poll. Nothing of this
memory is needed: a restart asks again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError
from monitor.store import entries, searches
from monitor.watch import control

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.model.log import Leaf
    from monitor.model.search import Fetched, IndexState, Question
    from monitor.watch.fleet import V1Server
    from monitor.watch.follow import Follower
    from monitor.watch.taking import Tools

_log = structlog.get_logger(__name__)

_TREE_DIGITS = 16
_REMEMBERED = 100_000
_FETCHED_AN_ANSWER = 1_000
"""Entries that are fetched for one answer at most; the rest when it is asked again."""
_LOST_AN_ANSWER = 30
_ERRORS_IN_A_ROW = 3
_TESTED_AGAIN = timedelta(hours=1)
_DOUBTED_AGAIN = timedelta(minutes=5)
_OFF_AGAIN = timedelta(minutes=1)
_LOST_AGAIN = timedelta(seconds=20)
_LOST_AT_MOST = timedelta(hours=1)


@dataclass(slots=True)
class Gain:
    """What asking came to. `asked` questions were tried, `failed` of them for nothing; `errors` say why, or why it stopped."""

    entries: int = 0
    findings: int = 0
    asked: list[Question] = field(default_factory=list)
    failed: set[Question] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Lost:
    """An entry that the index names and the log does not give, or not with a proof: how often it was tried, and when it is again."""

    tries: int
    again: datetime


class Index:
    """Asks one server's index. Safe to use from several tasks."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._state: IndexState | None = None
        self._answers = True
        self._doubtful = False
        self._testing = asyncio.Lock()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lost: OrderedDict[bytes, _Lost] = OrderedDict()

    async def state(self, server: V1Server) -> IndexState:
        """How it stands the positive control: tested anew every hour, and soon after it failed or an answer was an error."""
        async with self._testing:
            now = self._tools.clock()
            state = self._state
            lasts = _TESTED_AGAIN if state is not None and state.honoured else _DOUBTED_AGAIN
            lasts = lasts if self._answers else _OFF_AGAIN
            if state is not None and not self._doubtful and now - state.at < lasts:
                return state
            tested = await control.check(server, self._tools.store, now)
            self._state, self._answers, self._doubtful = tested.state, tested.answers, False
            if state is None or self._state.honoured != state.honoured:
                _log.info("index tested", server=server.host, honoured=self._state.honoured, reason=self._state.reason)
            async with self._tools.store.write() as tx:
                await searches.set_index_state(tx, server.host, self._state)
            return self._state

    async def ask(self, server: V1Server, asked: Sequence[Question], stopping: Callable[[], bool]) -> Gain:
        """Ask, and take in what is named. It ends between answers once `stopping` says so, and when the index only fails.

        One that failed its last test by saying nothing at all is not asked before the next one.
        """
        gain = Gain()
        if not self._answers and self._state is not None:
            gain.errors.append(self._state.reason)
            return gain
        row = 0
        async with aclosing(server.server.search(asked)) as answers:
            async for answer in answers:
                gain.asked.append(answer.question)
                if answer.error:
                    row += 1
                    self._doubtful = True
                    gain.failed.add(answer.question)
                    gain.errors.append(answer.error)
                else:
                    row = 0
                    await self._take(server, answer.uuids, gain)
                if row == _ERRORS_IN_A_ROW or stopping():
                    break
        return gain

    async def _take(self, server: V1Server, uuids: Sequence[str], gain: Gain) -> None:
        """Fetch, prove and take in the entries that are new to us."""
        fresh = await self._fresh(uuids)
        trees = {f"{int(each.followed.tree_id or 0):0{_TREE_DIGITS}x}": each for each in server.shards}
        for tree in dict.fromkeys(uuid[:_TREE_DIGITS] for uuid in fresh):
            mine = [uuid for uuid in fresh if uuid.startswith(tree)]
            follower = trees.get(tree)
            if follower is None:
                for uuid in mine:  # a shard that is new may not be listed yet
                    self._lose(uuid, "its tree is not followed", server.host)
            else:
                await self._fetch(server, follower, mine, gain)

    async def _fetch(self, server: V1Server, follower: Follower, uuids: Sequence[str], gain: Gain) -> None:
        lost = 0
        try:
            async with aclosing(server.server.entries(follower.followed, uuids)) as pages:
                async for page in pages:
                    lost += await self._prove(follower, page, gain)
                    if lost >= _LOST_AN_ANSWER:
                        return
        except (FetchError, FormatError) as error:
            gain.errors.append(str(error))

    async def _prove(self, follower: Follower, page: Fetched, gain: Gain) -> int:
        """Take in what proves to be in the log, a page in one transaction; return how much of the page was lost."""
        found = await follower.found(page.found)
        lost = dict(page.lost) | {_uuid(leaf): reason for leaf, reason in found.refused}
        gain.entries += found.taken.entries
        gain.findings += found.taken.findings
        self._remember({_uuid(leaf) for leaf, _ in page.found} - set(lost))
        for uuid, reason in lost.items():
            self._lose(uuid, reason, follower.followed.origin)
        return len(lost)

    async def _fresh(self, uuids: Sequence[str]) -> list[str]:
        """Those that were not fetched yet, or not lately for nothing."""
        now = self._tools.clock()
        unseen = [uuid for uuid in uuids if not self._known(bytes.fromhex(uuid), now)]
        if not unseen:
            return []
        async with self._tools.store.read() as tx:
            stored = await entries.known_uuids(tx, unseen)
        self._remember(stored)
        return [uuid for uuid in unseen if uuid not in stored][:_FETCHED_AN_ANSWER]

    def _known(self, key: bytes, now: datetime) -> bool:
        lost = self._lost.get(key)
        return key in self._seen or (lost is not None and now < lost.again)

    def _remember(self, uuids: Sequence[str] | set[str]) -> None:
        for uuid in uuids:
            self._lost.pop(bytes.fromhex(uuid), None)
            self._seen[bytes.fromhex(uuid)] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _lose(self, uuid: str, reason: str, log: str) -> None:
        """It is asked for again after a while, each time a longer one: a replica may only be late."""
        key = bytes.fromhex(uuid)
        before = self._lost.pop(key, None)
        tries = before.tries + 1 if before else 1
        wait = min(_LOST_AGAIN * 2 ** min(tries - 1, 10), _LOST_AT_MOST)
        self._lost[key] = _Lost(tries, self._tools.clock() + wait)
        if tries == 1:
            _log.warning("the index names an entry that is not had", log=log, uuid=uuid, reason=reason)
        while len(self._lost) > _REMEMBERED:
            self._lost.popitem(last=False)


def _uuid(leaf: Leaf) -> str:
    return leaf.promise.uuid if leaf.promise else ""


class Indexes:
    """The index of each server, by host."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._by_host: dict[str, Index] = {}

    def of(self, server: V1Server) -> Index:
        """The index of one server, always the same."""
        return self._by_host.setdefault(server.host, Index(self._tools))
