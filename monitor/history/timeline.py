"""Signatures, findings, incidents, operators' acts, messages and checkpoints on one axis of time, as rows that other tools read.

`message`, `datetime` and `timestamp_desc` are the fields that Timesketch asks of a JSONL import.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import SettingsError
from monitor.model.text import parse_rfc3339, rfc3339
from monitor.store import timeline
from monitor.store.timeline import TimelineKey, TimelineKind

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.engine import Tx

_TIMES = {
    TimelineKind.CHECKPOINT: "Checkpoint first seen",
    TimelineKind.SIGNATURE: "Signature made",
    TimelineKind.FINDING: "Found",
    TimelineKind.INCIDENT: "Incident opened",
    TimelineKind.OPERATOR: "Operator acted",
    TimelineKind.DELIVERY: "Message told",
}


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened. `key` is where it stands, for paging; `ids` are `name=value` pairs that other lists take."""

    datetime: datetime
    timestamp_desc: str
    kind: str
    message: str
    ids: tuple[str, ...]
    key: str


async def events(
    tx: Tx, since: datetime | None, until: datetime | None, after: str | None, limit: int
) -> list[TimelineEvent]:
    """At most `limit` events of [since, until) that follow the one with the key `after`. SettingsError for a key that is none."""
    start = None if after is None else _key(after)
    rows = await timeline.rows(tx, since, until, limit=limit, after=start)
    return [
        TimelineEvent(
            datetime=row.time,
            timestamp_desc=_TIMES[row.key.kind],
            kind=row.kind,
            message=row.what,
            ids=tuple(f"{name}={value}" for name, value in row.ids),
            key=f"{rfc3339(row.time)}/{row.key.kind.label}/{row.key.id}",
        )
        for row in rows
    ]


def _key(text: str) -> TimelineKey:
    time, _, rest = text.partition("/")
    label, _, number = rest.partition("/")
    kind = {each.label: each for each in TimelineKind}.get(label)
    if kind is not None and number.isascii() and number.isdigit():
        with suppress(ValueError):
            return TimelineKey(parse_rfc3339(time), kind, int(number))
    raise SettingsError(f"--after {text!r} is no key of the timeline", cure="give the `key` of a row")
