"""What of each log is proven, range by range, and what is not: the coverage as an auditor takes it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import SettingsError
from monitor.model.log import Mode, uncovered
from monitor.store import logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.model.log import Coverage, FollowedLog
    from monitor.store.engine import Tx

_MOST_HOLES = 10_000


@dataclass(frozen=True, slots=True)
class RangeRow:
    """Leaves [begin, end) of a log, which is read at `url`.

    `kind` is `proven` (under a checkpoint of `size`), `gap`, `hole` or `behind`; `detail` says why.
    A hole lies within what is proven: the log does not give its bytes, only their hash.
    """

    log: str
    kind: str
    begin: int
    end: int
    leaves: int
    size: int | None
    detail: str
    url: str


async def coverage(tx: Tx, origin: str | None = None) -> list[RangeRow]:
    """The ranges of every log, or of those that `origin` may mean, log by log and in order of their leaves.

    SettingsError for a log that is not followed.
    """
    followed = [log for log in await logs.every(tx) if origin is None or log.is_called(origin)]
    if origin is not None and not followed:
        known = ", ".join(log.origin for log in await logs.every(tx)) or "none yet"
        raise SettingsError(f"--log {origin!r} is no log that is followed", cure=f"give one of: {known}")
    rows: list[RangeRow] = []
    for log in followed:
        rows += sorted(await _of_log(tx, log), key=lambda row: (row.begin, row.kind != "proven"))
    return rows


async def _of_log(tx: Tx, log: FollowedLog) -> list[RangeRow]:
    covered = await logs.coverage(tx, log.origin)
    cursor = await logs.cursor(tx, log.origin)
    newest = await logs.newest(tx, log.origin)
    size = newest.size if newest else 0
    rows = [_row(log, "proven", each.begin, each.end, "", each.size) for each in covered]
    rows += [
        _row(log, "hole", hole.begin, hole.end, hole.reason) for hole in await logs.holes(tx, log.origin, _MOST_HOLES)
    ]
    position = cursor.position if cursor and log.mode is Mode.COMPLETE else size
    started_at = cursor.started_at if cursor and log.mode is Mode.COMPLETE else size
    rows += _gaps(log, covered, started_at, position)
    if position < size:
        rows += [
            _row(log, "behind", begin, end, "signed and not read yet")
            for begin, end in uncovered(covered, position, size)
        ]
    return rows


def _gaps(log: FollowedLog, covered: Iterable[Coverage], started_at: int, position: int) -> Iterator[RangeRow]:
    covered = list(covered)
    before = (
        "from before following began"
        if log.mode is Mode.COMPLETE
        else f"mode {log.mode.value}: it is not read completely"
    )
    for begin, end in uncovered(covered, 0, started_at):
        yield _row(log, "gap", begin, end, before)
    for begin, end in uncovered(covered, started_at, position):
        yield _row(log, "gap", begin, end, "passed over for the newest to come first: still to be read")


def _row(log: FollowedLog, kind: str, begin: int, end: int, detail: str, size: int | None = None) -> RangeRow:
    return RangeRow(log.origin, kind, begin, end, end - begin, size, detail, log.url)
