"""Searches Rekor v1 by its index for whatever may be ours: all of it once at the start, then what is new at once and the rest in turn.

It brings in the history of the known releases with few requests. It never says that something is not in a log.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from monitor.model.log import Mode
from monitor.model.search import IndexField
from monitor.store import releases, tags
from monitor.watch import questions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.model.search import Question
    from monitor.watch.fleet import Fleet, V1Server
    from monitor.watch.index import Indexes
    from monitor.watch.options import WatchOptions
    from monitor.watch.taking import Tools

_log = structlog.get_logger(__name__)

_AGAIN_A_PASS = 20
"""Questions that were asked before, a pass: with those of the lookups well below two requests a second."""
_AT_ONCE = 64
"""Questions between two looks at the time."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What a pass came to. `more`: there are questions that were never asked; `errors` are the servers' troubles, by host."""

    entries: int = 0
    findings: int = 0
    more: bool = False
    errors: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Asked:
    """When each question was last asked of one server, as a number that grows."""

    turn: int = 0
    at: dict[Question, int] = field(default_factory=dict)

    def note(self, asked: Sequence[Question]) -> None:
        self.turn += 1
        self.at.update(dict.fromkeys(asked, self.turn))

    def due(self, wanted: Sequence[Question]) -> list[Question]:
        """Every one that was never asked, and so many of the others, of names and of hashes alike those asked longest ago."""
        self.at = {question: self.at[question] for question in wanted if question in self.at}
        new = [question for question in wanted if question not in self.at]
        known = sorted(self.at, key=self.at.__getitem__)
        left = max(0, _AGAIN_A_PASS - len(new))
        by_hash = [question for question in known if question.field is IndexField.HASH]
        others = [question for question in known if question.field is not IndexField.HASH]
        some = others[: max(left // 2, left - len(by_hash))]
        return [*new, *some, *by_hash[: left - len(some)]]


class Search:
    """Asks the indexes of all servers that are not read completely."""

    def __init__(
        self, fleet: Fleet, tools: Tools, indexes: Indexes, options: WatchOptions, keys: Sequence[bytes] = ()
    ) -> None:
        self._fleet = fleet
        self._tools = tools
        self._indexes = indexes
        self._options = options
        self._keys = questions.of_keys(keys)
        self._asked: dict[str, _Asked] = {}

    async def run_pass(self, stopping: Callable[[], bool]) -> Searched:
        """One bounded pass over every server. What goes wrong with an index is told in its state, not raised."""
        deadline = time.monotonic() + self._tools.pass_time
        passed = Searched()
        for server in self._fleet.servers():
            if server.mode is Mode.COMPLETE or stopping():
                continue
            passed = _sum(passed, await self._server(server, lambda: stopping() or time.monotonic() >= deadline))
        return passed

    async def _server(self, server: V1Server, stopping: Callable[[], bool]) -> Searched:
        index = self._indexes.of(server)
        state = await index.state(server)
        asked = self._asked.setdefault(server.host, _Asked())
        due = asked.due(await self._wanted())
        entries = findings = 0
        errors: list[str] = []
        at = 0
        while at < len(due) and not errors and not stopping():
            gain = await index.ask(server, due[at : at + _AT_ONCE], stopping)
            asked.note(gain.asked)
            at += len(gain.asked)
            entries, findings = entries + gain.entries, findings + gain.findings
            errors += gain.errors
        if errors:
            _log.warning("the index cannot be asked", server=server.host, error=errors[-1], honoured=state.honoured)
        told = ((server.host, errors[-1]),) if errors else ()
        return Searched(entries, findings, at < len(due) and not errors, told)

    async def _wanted(self) -> list[Question]:
        async with self._tools.store.read() as tx:
            names = [*await releases.versions(tx), *await tags.names(tx)]
            expected = questions.hashes(await releases.digests(tx), await releases.every_hash(tx))
        subjects = questions.subjects(self._tools.policy, self._options.search_branches, names)
        return list(dict.fromkeys([*subjects, *self._keys, *expected]))


def _sum(one: Searched, other: Searched) -> Searched:
    return Searched(
        one.entries + other.entries,
        one.findings + other.findings,
        one.more or other.more,
        (*one.errors, *other.errors),
    )
