"""Looks for the entry that each certificate of ours signed: by Rekor v1's index, then in the ten minutes it was valid.

The index is asked first because it is quick; where it does not stand its test, or has not found the entry when the certificate is over,
every leaf of those minutes is read and proven. Only that, in every log where the entry could stand, counts as having looked everywhere.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, FormatError, NotFoundError, ProofError
from monitor.model.entry import parse_workflow_name
from monitor.model.log import LogState, Mode, uncovered
from monitor.model.lookup import LookupState
from monitor.model.release import release_version
from monitor.store import health, logs, lookups, reading, releases
from monitor.watch import questions
from monitor.watch.search import Searched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from monitor.model.lookup import Lookup
    from monitor.model.search import Question
    from monitor.watch.fleet import Fleet, V1Server
    from monitor.watch.follow import Follower
    from monitor.watch.index import Indexes
    from monitor.watch.taking import Tools
    from monitor.watch.window import Window, Windows

_log = structlog.get_logger(__name__)

MARGIN = timedelta(seconds=30)
"""On both sides of a certificate's validity: by how much the clocks of the authority and of the log may differ."""
SETTLED = timedelta(minutes=2)
"""After a certificate's end: a log asked then shows what was signed with it, and an index has what it will ever have."""
_TOLD_TO = timedelta(seconds=1)
"""How exactly a certificate tells when it begins: nothing is signed with it before that second is over."""
_STILL_SIGNS = timedelta(minutes=5)
_READ_ON = timedelta(days=1)
"""A certificate whose entry is found is read on for this long where the index is not honoured: it may have signed more."""
_LONGEST = timedelta(hours=1)
"""Fulcio's certificates are valid for ten minutes. Of one valid for longer than this the first hour is read, and never called all."""
_NEW = timedelta(hours=1)
_AGAIN = timedelta(days=1)
"""What an index did not have an hour after the certificate was over is asked for again so much later."""
_HISTORY_A_PASS = 20
_HISTORY_SETTLED = 500
_HASHES_AGAIN = timedelta(minutes=2)
_HASHES_A_PASS = 40
_ITS_OWN = (NotFoundError, FormatError, ProofError)
"""Trouble of one place in a log, where the server answers: what lies elsewhere is read all the same."""


@dataclass(slots=True)
class _Pass:
    """What one pass works on, and what it has come to."""

    now: datetime
    stopping: Callable[[], bool]
    due: list[Lookup]
    signing: set[str]
    history: list[Lookup]
    """Of what was issued before watching began: those to ask the indexes for."""
    whole_history: list[Lookup]
    """Of the same: those for which nothing need be read where all logs were read from their beginning."""
    history_asked: int = 0
    entries: int = 0
    findings: int = 0
    errors: dict[str, str] = field(default_factory=dict)

    def found(self, lookup: Lookup) -> bool:
        return lookup.state is LookupState.FOUND or lookup.issuance in self.signing


class Certificates:
    """Looks up the certificates that the store says are wanted."""

    def __init__(self, fleet: Fleet, tools: Tools, indexes: Indexes, windows: Windows) -> None:
        self._fleet = fleet
        self._tools = tools
        self._indexes = indexes
        self._windows = windows
        self._hashed: dict[tuple[str, str], datetime] = {}

    async def run_pass(self, stopping: Callable[[], bool]) -> Searched:
        """One bounded pass. What goes wrong with a server is told in the report and in its state, not raised."""
        deadline = time.monotonic() + self._tools.pass_time
        passed = await self._begin(lambda: stopping() or time.monotonic() >= deadline)
        if not passed.due and not passed.history and not passed.whole_history:
            return Searched()
        servers = self._fleet.servers()
        whole: list[set[str]] = []
        for server in servers:
            if server.mode is Mode.COMPLETE:
                continue
            due = [each for each in passed.due if not all(_over(shard, each.not_before) for shard in server.shards)]
            read = {each.issuance for each in passed.due} - {each.issuance for each in due}
            if due or passed.history:
                doubted = await self._ask(server, due, passed)
                # What is only searched is never read whole.
                read |= await self._read(server, due, doubted, passed) if server.mode is Mode.CERTIFICATES else set()
            whole.append(read)
        await self._settle(servers, whole, passed)
        more = (passed.stopping() or passed.history_asked == _HISTORY_A_PASS) and not stopping()
        return Searched(passed.entries, passed.findings, more, tuple(passed.errors.items()))

    async def _begin(self, stopping: Callable[[], bool]) -> _Pass:
        now = self._tools.clock()
        async with self._tools.store.read() as tx:
            due = await lookups.sought(tx, now - _READ_ON)
            history = await lookups.unasked(tx, now - _AGAIN, _HISTORY_A_PASS)
            whole_history = await lookups.unread_history(tx, _HISTORY_SETTLED)
            return _Pass(now, stopping, due, await lookups.signing(tx), history, whole_history)

    async def _ask(self, server: V1Server, due: Iterable[Lookup], passed: _Pass) -> set[str]:
        """Ask the index; return the issuances about which its silence says nothing."""
        index = self._indexes.of(server)
        honoured = (await index.state(server)).honoured
        current = [each for each in due if _to_ask(each, passed)]
        by_question: dict[Question, list[str]] = defaultdict(list)
        for lookup in (*current, *passed.history):
            question = questions.subject(lookup.subject)
            if question is not None:
                by_question[question].append(lookup.issuance)
        gain = await index.ask(server, list(by_question), passed.stopping)
        answered = [question for question in gain.asked if question not in gain.failed]
        done = [issuance for question in answered for issuance in by_question[question]]
        passed.history_asked += len({each.issuance for each in passed.history} & set(done))
        async with self._tools.store.write() as tx:
            await lookups.searched(tx, done, passed.now)
        async with self._tools.store.read() as tx:
            passed.signing = await lookups.signing(tx)
        missing = [each for each in current if not passed.found(each)]
        by_hash = await index.ask(server, await self._hashes(missing, passed.now), passed.stopping)
        passed.entries += gain.entries + by_hash.entries
        passed.findings += gain.findings + by_hash.findings
        errors = [*gain.errors, *by_hash.errors]
        if errors:
            passed.errors[server.host] = errors[-1]
        return {each.issuance for each in current} - set(done) if honoured else {each.issuance for each in due}

    async def _hashes(self, missing: Iterable[Lookup], now: datetime) -> list[Question]:
        """What the workflow of a certificate's subject may have signed of the release that its tag names."""
        policy = self._tools.policy
        found: dict[Question, None] = {}
        for lookup in missing:
            name = parse_workflow_name(lookup.subject)
            version = release_version(name.ref) if name else None
            workflow = policy.publishing(name)
            if version is None or workflow is None or len(found) >= _HASHES_A_PASS:
                continue
            key = (workflow, str(version))
            if now - self._hashed.get(key, now - _HASHES_AGAIN) < _HASHES_AGAIN:
                continue
            self._hashed[key] = now
            async with self._tools.store.read() as tx:
                mine = [
                    each
                    for each in await releases.digests(tx, str(version))
                    if each.artifact in policy.workflows[workflow]
                ]
                known = [known for each in mine for known in await releases.hashes(tx, each.digest)]
            found.update(dict.fromkeys(questions.hashes(mine, known)))
        return list(found)[:_HASHES_A_PASS]

    async def _read(self, server: V1Server, due: Iterable[Lookup], doubted: set[str], passed: _Pass) -> set[str]:
        """Read the windows that have to be, as far as time allows; the issuances whose window is read whole."""
        wanted = [each for each in due if self._to_read(each, doubted, passed)]
        windows: dict[str, Window] = {}
        errors: list[str] = []
        try:
            for lookup in wanted:
                if passed.stopping():
                    break
                last = min(lookup.not_after, lookup.not_before + _LONGEST) + MARGIN
                try:
                    windows[lookup.issuance] = await self._windows.find(server, lookup.not_before - MARGIN, last)
                except _ITS_OWN as problem:
                    errors.append(str(problem))
            errors += await self._spans(windows.values(), passed)
        except FetchError as problem:
            errors.append(str(problem))
        had = {issuance for issuance, window in windows.items() if await self._had(window)}
        whole = {issuance for issuance in had if windows[issuance].whole}
        # The log shows more of these minutes than it did when they were read.
        torn = [each.issuance for each in wanted if each.read_at and each.issuance in windows.keys() - had]
        if torn:
            async with self._tools.store.write() as tx:
                await lookups.not_whole(tx, torn)
        late = [each for each in wanted if passed.now > each.not_after + SETTLED and each.issuance not in whole]
        await self._tell(server, len(late), errors[-1] if errors else None, passed)
        return whole & {each.issuance for each in wanted if each.not_after - each.not_before <= _LONGEST}

    async def _tell(self, server: V1Server, late: int, error: str | None, passed: _Pass) -> None:
        """Windows that could have been read by now and are not: how many, and why."""
        behind = (
            f"the minutes of {late} certificates are still to be read{f': {error}' if error else ''}" if late else None
        )
        if error is not None:
            passed.errors[server.host] = error
            _log.warning("certificates' minutes cannot be read", server=server.host, error=error)
        async with self._tools.store.write() as tx:
            await health.report(tx, "falling-behind", f"windows:{server.host}", passed.now, behind)

    @staticmethod
    def _to_read(lookup: Lookup, doubted: set[str], passed: _Pass) -> bool:
        """At once where the index is not to be relied on; else when it had its time and has not found the entry."""
        if lookup.issuance in doubted:
            return passed.now >= lookup.not_before
        return not passed.found(lookup) and passed.now > lookup.not_after + SETTLED

    async def _spans(self, windows: Iterable[Window], passed: _Pass) -> list[str]:
        """Read the leaves of all windows, each once; what went wrong. One place that cannot be proven does not hold up the others."""
        ranges: dict[Follower, list[tuple[int, int]]] = defaultdict(list)
        for window in windows:
            for part in window.parts:
                ranges[part.follower].append((part.begin, part.end))
        errors: list[str] = []
        for follower, wanted in ranges.items():
            for begin, end in _merged(wanted):
                if passed.stopping():
                    return errors
                try:
                    read = await follower.span(begin, end, passed.stopping)
                except _ITS_OWN as error:
                    errors.append(str(error))
                    continue
                passed.entries += read.entries
                passed.findings += read.findings
        return errors

    async def _had(self, window: Window) -> bool:
        """Whether all of a window is proven, and its bytes were had: what a log keeps back may be the very entry."""
        async with self._tools.store.read() as tx:
            for part in window.parts:
                if not await reading.whole(tx, part.follower.followed.origin, part.begin, part.end):
                    return False
        return True

    async def _settle(self, servers: Sequence[V1Server], whole: Sequence[set[str]], passed: _Pass) -> None:
        """Note the certificates for which every log was read in which their entry could stand."""
        if self._fleet.unlisted() or not self._fleet.signature_logs():
            return
        by_host = {server.host: server for server in servers}
        complete = [each for each in self._fleet.signature_logs() if each.followed.mode is Mode.COMPLETE]
        done = []
        old = passed.whole_history if not whole and await self._from_the_beginning(complete) else []
        for lookup in (*passed.due, *old):
            past = lookup.not_after + SETTLED
            listed = all(
                server.listed_at is not None and server.listed_at > past
                for server in by_host.values()
                if server.mode is Mode.COMPLETE
            )
            if (
                listed
                and all(lookup.issuance in each for each in whole)
                and await self._read_past(complete, lookup, past)
            ):
                done.append(lookup.issuance)
        if done:
            async with self._tools.store.write() as tx:
                await lookups.read_whole(tx, done, passed.now)

    async def _read_past(self, complete: Iterable[Follower], lookup: Lookup, past: datetime) -> bool:
        """Whether these logs are read whole from the certificate's issuance to `past`; one that ended before need not be."""
        wanted = [each for each in complete if not _over(each, lookup.not_before)]
        if not all(each.reached is not None and each.reached > past for each in wanted):
            return False
        async with self._tools.store.read() as tx:
            for each in wanted:
                if not await reading.whole_since(tx, each.followed.origin, lookup.not_before + _TOLD_TO):
                    return False
        return True

    async def _from_the_beginning(self, followers: Iterable[Follower]) -> bool:
        """Whether all of these logs are read from their first leaf on, without a gap."""
        async with self._tools.store.read() as tx:
            for each in followers:
                cursor = await logs.cursor(tx, each.followed.origin)
                if cursor is None or uncovered(await logs.coverage(tx, each.followed.origin), 0, cursor.position):
                    return False
        return True


def _to_ask(lookup: Lookup, passed: _Pass) -> bool:
    """At each pass while an index may have more than before; later now and then, so that what is in no log costs little."""
    if passed.found(lookup):
        return passed.now <= lookup.not_after + _STILL_SIGNS
    if lookup.read_at is not None:
        return False
    lately = lookup.searched_at is not None and passed.now - lookup.searched_at < _AGAIN
    return passed.now <= lookup.not_after + _NEW or not lately


def _over(follower: Follower, moment: datetime) -> bool:
    """Whether a log had ended before `moment`, as the trusted root has it: it takes in nothing that is valid from then on."""
    ends = [key.ends for key in follower.keys]
    return follower.followed.state is LogState.ENDED and all(end is not None and end < moment for end in ends)


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged
