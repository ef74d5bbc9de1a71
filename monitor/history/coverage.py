"""What is watched, log by log, and what is not: a list without rows is evidence only beside this statement.

It reports what the store says and how old that is. "Not asked lately" is never shown as protected (P6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.model.filters import Page
from monitor.model.log import CheckpointStatus, LogState, Mode, title, titled, uncovered
from monitor.model.lookup import LookupState
from monitor.model.text import number, rfc3339
from monitor.store import health, logs, lookups, searches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

    from monitor.model.health import Condition
    from monitor.model.log import Coverage, Cursor, FollowedLog, Hole, Protocol, StoredCheckpoint
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx

_ASKED = "log-unreachable"
_LOG = "log:"
"""How the sources of `health` begin that are logs."""
_SETTINGS = "settings:"
"""How those begin that are what the settings ask of a log, and cannot be done."""
_MOST = 10_000
_SHOWN = 5
_UNLOGGED = "unlogged-certificate"
_READING = 2
"""The deadline runs from when a certificate's minutes are read whole, which takes hours at the ceiling: so often it may pass before."""
_BY_NAME = "untrusted certificates and bare keys are seen only by its index (search): absence proves nothing of them"
IGNORED = "it is followed no more: the settings say so"
_SEARCHED = "it is not read: what its index shows is found, absence proves nothing"


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log, and how far it is watched.

    `start` is the first index that is watched and `since` when that began; every leaf of [start, position) is proven under a
    signed root, holes aside. `behind` counts leaves that are signed and not read yet; `asked_at` is when the log last answered.
    `gaps` says in sentences what would not be seen; `protected` says that this is at most what was just signed. `limits` says what
    the log's mode does not show even when all is well. Start, position and backlog are those of a log that is read completely.
    """

    log: str
    protocol: Protocol
    mode: Mode
    state: LogState
    protected: bool
    since: datetime | None
    start: int | None
    position: int | None
    size: int | None
    behind: int | None
    asked_at: datetime | None
    holes: int
    quarantined: int
    unrelated: int
    retries: int
    contradictions: int
    gaps: tuple[str, ...]
    url: str
    tree_id: str | None
    limits: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        called = title(self.log, self.url)
        return f"certificate log {called}" if self.protocol.certificates else called


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a log is asked, by whether it still grows, and by rule how long trouble may last before it counts."""

    active: timedelta
    ended: timedelta
    deadline: Callable[[str], timedelta]


async def statement(tx: Tx, patience: Patience, now: datetime, ignored: Sequence[str] = ()) -> list[LogRow]:
    """One row a log, in the order of their origins. `ignored` names logs that are followed no more, as the settings name them."""
    conditions = await health.conditions(tx)
    every = [log for log in await logs.every(tx) if log.state is not LogState.LEFT]
    rows = {log.origin: await _row(tx, log, conditions, patience, now) for log in every}
    certificate_logs = [row for row in rows.values() if row.protocol.certificates]
    for row in rows.values():
        if row.mode is Mode.CERTIFICATES:
            led = led_by(certificate_logs, grows=row.state is LogState.ACTIVE)
            gaps = (*row.gaps, *led.gaps, *await _sought(tx, patience, now))
            limits = (*row.limits, *await _looked_up(tx, row.log))
            rows[row.log] = replace(row, protected=not gaps, since=led.since, gaps=gaps, limits=limits)
    for log in every:
        if any(log.is_called(name) for name in ignored):
            rows[log.origin] = replace(rows[log.origin], protected=False, gaps=(IGNORED,), limits=())
    return list(rows.values())


@dataclass(frozen=True, slots=True)
class Led:
    """How far the certificate logs can be relied on, where they lead to the entries: since when, and why not."""

    since: datetime | None
    gaps: tuple[str, ...]


def led_by(certificate_logs: Sequence[LogRow], *, grows: bool) -> Led:
    """What the certificate logs' rows mean for a log that is followed by them, and `grows` or has ended.

    One that has ended and never answered leads nowhere, and need not: it takes in no certificate any more.
    """
    certificate_logs = [row for row in certificate_logs if row.state is not LogState.ENDED or row.size is not None]
    gaps = [f"the {row.title} is not protected" for row in certificate_logs if not row.protected]
    if not certificate_logs:
        gaps = ["no certificate log is followed: nothing leads to its entries"]
    elif grows and all(row.state is LogState.ENDED for row in certificate_logs):
        gaps.append("every certificate log that is followed has ended: nothing leads to its new entries")
    began = [row.since for row in certificate_logs]
    since = None if None in began or not began else max(each for each in began if each is not None)
    return Led(since, tuple(gaps))


async def missing(tx: Tx, origin: str) -> tuple[str, ...]:
    """Which leaves a log does not give, in sentences."""
    return tuple(_missing(await logs.holes(tx, origin, _MOST)))


async def troubles(tx: Tx, patience: Patience, now: datetime) -> list[str]:
    """What fails beside the logs themselves, in sentences: trust root, delivery, shard lists, our own loops."""
    others = [each for each in await health.conditions(tx) if not each.source.startswith(_LOG)]
    titles = {log.origin: log.title for log in await logs.every(tx)}
    told = []
    for each in others:
        source = titled(each.source, titles).removeprefix(_SETTINGS)
        told += [f"{source}: {said}" for said in _failing([each], patience, now)]
    return told


def unchecked(policy: Policy, *, digests: bool, ignored: Iterable[str]) -> Iterator[str]:
    """What the settings leave unchecked, in sentences. `digests`: something says which digests releases may carry."""
    if policy.repository_id is None or policy.owner_id is None:
        yield (
            "repository and owner ids are not set: foreign-repository judges names only "
            "(`ids list` shows those that our releases carry, `ids pin` accepts them)"
        )
    if not policy.contributor_keys:
        yield "no contributor-flow key is set: contributor-key never fires"
    if not digests:
        yield "no release's digests are known (`releases import`, or [[release]] in the settings): the digest rules never fire"
    for origin in ignored:
        yield f"{origin} is not followed: the settings say so"


async def _row(tx: Tx, log: FollowedLog, conditions: Sequence[Condition], patience: Patience, now: datetime) -> LogRow:
    origin, complete = log.origin, log.mode is Mode.COMPLETE
    cursor = await logs.cursor(tx, origin) if complete else None
    newest = await _newest(tx, origin)
    first = await logs.list_checkpoints(tx, origin, Page(limit=1))
    holes = await logs.holes(tx, origin, _MOST)
    conflicts = await logs.conflicts(tx, origin, Page(limit=_MOST))
    counters = await logs.counters(tx, origin)
    mine = [each for each in conditions if each.source == f"{_LOG}{origin}"]
    asked = max((each.last_success for each in mine if each.rule == _ASKED and each.last_success), default=None)
    size = newest.size if newest else None
    behind = max(0, (size or 0) - cursor.position) if cursor else None
    gaps = (
        *(_unwatched(cursor, await logs.coverage(tx, origin)) if complete else ()),
        *([_SEARCHED] if log.mode is Mode.SEARCH else []),
        *_missing(holes),
        *([f"the log contradicts itself ({len(conflicts)}): nothing past that is proven"] if conflicts else []),
        *_stale(log, asked, mine, patience, now),
        *_failing(mine, patience, now),
    )
    return LogRow(
        log=origin,
        protocol=log.protocol,
        mode=log.mode,
        state=log.state,
        protected=not gaps,
        since=first[0].checkpoint.first_seen if first and cursor else None,
        start=cursor.started_at if cursor else None,
        position=cursor.position if cursor else None,
        size=size,
        behind=behind,
        asked_at=asked,
        holes=sum(hole.end - hole.begin for hole in holes),
        quarantined=counters.get("quarantined", 0),
        unrelated=counters.get("unrelated", 0),
        retries=counters.get("retries", 0),
        contradictions=len(conflicts),
        gaps=(
            *gaps,
            *([f"the newest {number(behind, 'leaf is', 'leaves are')} signed and not read yet"] if behind else []),
        ),
        url=log.url,
        tree_id=log.tree_id,
        limits=(_BY_NAME,) if log.mode is Mode.CERTIFICATES else (),
    )


async def _sought(tx: Tx, patience: Patience, now: datetime) -> Iterable[str]:
    """Certificates whose entry should have been found, or all places read where it could stand, long before now."""
    allowed = _READING * patience.deadline(_UNLOGGED)
    overdue = [
        each
        for each in await lookups.unsettled(tx)
        if not each.history and each.read_at is None and now - each.opened_at > allowed
    ]
    if not overdue:
        return ()
    oldest = rfc3339(overdue[0].not_before.replace(microsecond=0))
    return (f"{_lacking(len(overdue))}, long after the first was issued ({oldest})",)


def _lacking(certificates: int) -> str:
    return number(
        certificates,
        "certificate of ours still lacks its entry, which is looked for",
        "certificates of ours still lack their entries, which are looked for",
    )


async def _looked_up(tx: Tx, origin: str) -> tuple[str, ...]:
    """How entries are looked for now: whether the server's index stood its test, and how many certificates still lack theirs."""
    state = await searches.index_state(tx, origin.partition(" - ")[0])
    index = []
    if state is None:
        index.append("whether its index finds entries by name was not tested yet")
    elif not state.honoured:
        index.append(
            f"its index does not find entries by name ({state.reason}): the minutes of each certificate are read instead"
        )
    sought = (await lookups.counts(tx)).get(LookupState.OPEN, 0)
    waiting = [_lacking(sought)] if sought else []
    return (*index, *waiting)


async def _newest(tx: Tx, origin: str) -> StoredCheckpoint | None:
    """The greatest checkpoint that does not conflict, proven consistent or not yet."""
    consistent = await logs.newest(tx, origin)
    seen = await logs.with_status(tx, origin, CheckpointStatus.SEEN, _MOST)
    return max((each for each in (consistent, *seen) if each), key=lambda each: each.size, default=None)


def _unwatched(cursor: Cursor | None, covered: Iterable[Coverage]) -> Iterator[str]:
    if cursor is None:
        yield "nothing of it was read yet"
        return
    gaps = uncovered(covered, cursor.started_at, cursor.position)
    for begin, end in gaps[:_SHOWN]:
        which = f"leaves {begin} to {end - 1} were" if end - begin > 1 else f"leaf {begin} was"
        yield f"{which} not read: the newest came first, this is still to be read"
    if len(gaps) > _SHOWN:
        rest = gaps[_SHOWN:]
        yield f"and {sum(end - begin for begin, end in rest)} more in {number(len(rest), 'gap')} (`coverage show`)"


def _missing(holes: Sequence[Hole]) -> Iterator[str]:
    for hole in holes[:_SHOWN]:
        several = hole.end - hole.begin > 1
        which = f"leaves {hole.begin} to {hole.end - 1}" if several else f"leaf {hole.begin}"
        yield f"the log does not give {which}: {hole.reason}"
    if len(holes) > _SHOWN:
        yield f"and {number(len(holes) - _SHOWN, 'more hole')} (`coverage show`)"


def _stale(
    log: FollowedLog, asked: datetime | None, mine: Iterable[Condition], patience: Patience, now: datetime
) -> Iterator[str]:
    allowed = (patience.active if log.state is LogState.ACTIVE else patience.ended) + patience.deadline(_ASKED)
    if asked is None:
        yield "it has never answered"
    elif now - asked > allowed:
        failed = [each.last_failure for each in mine if each.rule == _ASKED and each.last_failure]
        tried = any(now - each <= allowed for each in failed)
        yield f"it was last read at {rfc3339(asked.replace(microsecond=0))}{'' if tried else ': is the monitor running?'}"


def _failing(conditions: Iterable[Condition], patience: Patience, now: datetime) -> Iterator[str]:
    for each in conditions:
        since = each.failing_since if each.good_passes == 0 else None
        never = each.last_success is None
        if since is not None and (never or now - since >= patience.deadline(each.rule)):
            yield f"{each.rule} since {rfc3339(since.replace(microsecond=0))}: {each.error}"
