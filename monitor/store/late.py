"""What came to be seen after an alarm that it was not there: tags that show an unknown digest, entries that a log had kept back.

Of standing findings in incidents that are not resolved. It joins what other files of this room keep, and keeps nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.incident import IncidentState
from monitor.model.log import uncovered
from monitor.model.release import InLog, TagObservation
from monitor.store import cursors
from monitor.store.sql import chunks
from monitor.store.tables import bundles, expected_hashes, findings, holes, incidents, tag_observations

if TYPE_CHECKING:
    from monitor.model.log import Coverage
    from monitor.store.connect import Tx

_SHA256 = "sha256:"
_ROWS = 500


@dataclass(frozen=True, slots=True)
class LateTag:
    """A stretch of a tag that began after a finding about what it shows, in an incident that is not resolved."""

    incident_id: int
    seen: TagObservation


async def late_tags(tx: Tx, rule: str) -> list[LateTag]:
    """Return the tags that came to show what standing findings of a rule are about, in the order in which they were seen."""
    f, i, h, t = findings.c, incidents.c, expected_hashes.c, tag_observations.c
    standing = (f.rule == rule, f.withdrawn_at.is_(None), i.state != IncidentState.RESOLVED)
    about = sa.select(f.incident_id, f.found_at, f.digest.label("image")).join_from(
        findings, incidents, f.incident_id == i.id
    )
    explained = (
        sa.select(f.incident_id, f.found_at, h.digest.label("image"))
        .join_from(findings, incidents, f.incident_id == i.id)
        .join(expected_hashes, h.value == sa.func.substr(f.digest, len(_SHA256) + 1))
    )
    alarms = sa.union(about.where(*standing), explained.where(*standing)).subquery().c
    columns = (t.artifact, t.tag, t.digest, t.first_seen, t.last_seen, t.gone_at)
    statement = (
        sa.select(alarms.incident_id, *columns)
        .where(t.digest == alarms.image, t.first_seen > alarms.found_at)
        .order_by(t.id, alarms.incident_id)
        .distinct()
    )
    found = []
    for row in (await tx.execute(statement.add_columns(t.id))).mappings():
        seen = TagObservation(**{column.name: row[column.name] for column in columns})
        found.append(LateTag(row["incident_id"], seen))
    return found


@dataclass(frozen=True, slots=True)
class LateEntries:
    """Entries [begin, end) of a log that findings in this incident missed, and that are all there by now."""

    incident_id: int
    log: str
    begin: int
    end: int


async def late_entries(tx: Tx, rule: str) -> list[LateEntries]:
    """Return the entries that came to be there after standing findings of a rule had missed them; those in a row as one.

    One that a signature beside an artifact cites is there once it is found to be that very entry; any other once its place is read.
    """
    f, i = findings.c, incidents.c
    missed = sa.select(f.incident_id, f.log, f.index.label("place"), f.subject, f.digest).join_from(
        findings, incidents, f.incident_id == i.id
    )
    standing = (f.rule == rule, f.withdrawn_at.is_(None), f.index.is_not(None), i.state != IncidentState.RESOLVED)
    rows = (await tx.execute(missed.where(*standing).order_by(f.incident_id, f.log, f.index))).all()
    places = {log: await _Place.of(tx, log) for log in {row.log for row in rows}}
    confirmed = await _confirmed(tx, {row.digest for row in rows if row.digest})
    runs: list[tuple[LateEntries, bool]] = []
    for row in rows:
        place = places[row.log]
        cited = any(row.subject.endswith(f":{each}") for each in confirmed.get(row.digest, ()))
        there = cited if row.digest else place.read(row.place)
        new = LateEntries(row.incident_id, row.log, row.place, place.ends.get(row.place, row.place + 1))
        last, before = runs[-1] if runs else (new, True)
        if runs and (last.incident_id, last.log) == (new.incident_id, new.log) and new.begin <= last.end:
            runs[-1] = (replace(last, end=max(last.end, new.end)), before and there)
        else:
            runs.append((new, there))
    return [run for run, there in runs if there]


@dataclass(frozen=True, slots=True)
class _Place:
    """What is read of one log: its proven ranges, where its holes end, and which are open, in order."""

    ranges: list[Coverage]
    ends: dict[int, int]
    open: list[int]

    @staticmethod
    async def of(tx: Tx, log: str) -> _Place:
        h = holes.c
        rows = (await tx.execute(sa.select(h.begin, h.end, h.filled_at).where(h.log == log).order_by(h.begin))).all()
        ends = {row.begin: row.end for row in rows}
        return _Place(await cursors.coverage(tx, log), ends, [row.begin for row in rows if row.filled_at is None])

    def read(self, index: int) -> bool:
        before = bisect_right(self.open, index)
        hole = before > 0 and index < self.ends[self.open[before - 1]]
        return not hole and not uncovered(self.ranges, index, index + 1)


async def _confirmed(tx: Tx, digests: set[str]) -> dict[str, list[str]]:
    """How the subjects end of findings about entries that signatures beside these digests cite, where they were found since."""
    c = bundles.c
    found: dict[str, list[str]] = {}
    for chunk in chunks(sorted(digests), _ROWS):
        where = (c.digest.in_(chunk), c.in_log == InLog.CONFIRMED, c.leaf_hash.is_not(None))
        for row in await tx.execute(sa.select(c.digest, c.leaf_hash).where(*where)):
            found.setdefault(row.digest, []).append(row.leaf_hash.hex()[:16])
    return found
