"""The expected tag set: digests that somebody vouches for, and every hash under which one of them may stand in a log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.errors import LostRaceError
from monitor.model.release import (
    VOUCHING,
    Authority,
    Expectations,
    ExpectedDigest,
    ExpectedHash,
    Match,
    Withdrawal,
)
from monitor.store import health, meta
from monitor.store.sql import chunks, insert
from monitor.store.tables import expected_digests, expected_hashes, operator_events, tag_observations, withdrawals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from monitor.model.health import Condition
    from monitor.store.connect import Tx

UNREACHABLE = "registry-unreachable"
"""The health condition of a registry, whose source is `registry:` and its host."""
REGISTRY = "registry:"
_GENERATION = "generation"
_ROWS = 500


async def add_digests(tx: Tx, digests: Sequence[ExpectedDigest], hashes: Sequence[ExpectedHash], now: datetime) -> int:
    """Add what is not known yet and return how many rows that was; any at all begins a new generation."""
    added = 0
    for chunk in chunks(digests, _ROWS):
        statement = insert(tx, expected_digests).values([_digest_row(digest, now) for digest in chunk])
        returned = await tx.execute(statement.on_conflict_do_nothing().returning(expected_digests.c.id))
        added += len(returned.all())
    for hash_chunk in chunks(hashes, _ROWS):
        rows = [{"value": each.value, "digest": each.digest, "how": each.how} for each in hash_chunk]
        statement = insert(tx, expected_hashes).values(rows)
        returned = await tx.execute(statement.on_conflict_do_nothing().returning(expected_hashes.c.value))
        added += len(returned.all())
    if added:
        await begin_generation(tx)
    return added


async def dispute(tx: Tx, digest: ExpectedDigest, author: str, reason: str) -> None:
    """Have one row make nothing expected any more, on somebody's word; the caller begins a new generation."""
    c = expected_digests.c
    names = ("version", "artifact", "digest", "kind", "authority")
    here = [c[name] == getattr(digest, name) for name in names]
    values = {"authority": Authority.DISPUTED, "author": author, "reason": reason}
    await tx.execute(sa.update(expected_digests).where(*here).values(values))


def _digest_row(digest: ExpectedDigest, now: datetime) -> dict[str, Any]:
    return {
        "version": digest.version,
        "artifact": digest.artifact,
        "digest": digest.digest,
        "kind": digest.kind,
        "authority": digest.authority,
        "author": digest.author,
        "reason": digest.reason,
        "added_at": now,
    }


async def begin_generation(tx: Tx) -> None:
    """Have every entry judged again: what is expected has changed, or whom to ask."""
    await meta.set(tx, _GENERATION, str(await generation(tx) + 1))


async def generation(tx: Tx) -> int:
    """Return a number that grows whenever what is expected changes."""
    return int(await meta.get(tx, _GENERATION) or 0)


async def expectations(tx: Tx, value: str | None, sufficient: frozenset[Authority] = VOUCHING) -> Expectations:
    """Return what is known about one logged hash (64 hex digits), or, for None, what is expected at all.

    `complete` counts the digests for which the word of one of `sufficient` stands. It and `sources` leave out those that are only
    claimed or observed: they explain, and never silence.
    """
    return (await every_expectation(tx, [value], sufficient))[value]


async def every_expectation(
    tx: Tx, values: Iterable[str | None], sufficient: frozenset[Authority] = VOUCHING
) -> dict[str | None, Expectations]:
    """Return `expectations` of many logged hashes at once; each holds until something is written of releases or registries."""
    wanted = set(values)
    matches = await _matches(tx, [value for value in wanted if value is not None])
    c = expected_digests.c
    vouching = sa.select(c.version, c.artifact, c.authority).where(c.authority.in_(sorted(VOUCHING))).distinct()
    vouched = (await tx.execute(vouching)).all()
    complete = frozenset((row.version, row.artifact) for row in vouched if row.authority in sufficient)
    hosts = await registries(tx)
    unknown = Expectations(
        (),
        complete,
        sources=bool(vouched or hosts),
        registry=bool(hosts),
        unreachable=any(each.failing_since is not None and each.good_passes == 0 for each in hosts),
        asked_at=known_until(hosts),
    )
    found: dict[str | None, Expectations] = dict.fromkeys(wanted, unknown)
    for value, mine in matches.items():
        seen = await _tag_first_seen(tx, mine)
        found[value] = replace(unknown, matches=tuple(mine), tag_first_seen=seen)
    return found


async def _matches(tx: Tx, values: Iterable[str]) -> dict[str, list[Match]]:
    """Return, by logged hash, the digests that may be logged under it."""
    c, h = expected_digests.c, expected_hashes.c
    columns = (c.version, c.artifact, c.digest, c.authority, h.how, c.added_at.label("since"))
    joined = sa.select(h.value, *columns).join_from(expected_hashes, expected_digests, c.digest == h.digest)
    found: dict[str, list[Match]] = {}
    for chunk in chunks(values, _ROWS):
        for row in (await tx.execute(joined.where(h.value.in_(chunk)).order_by(c.id, h.how))).mappings():
            match = {name: of for name, of in row.items() if name != "value"}
            found.setdefault(row["value"], []).append(Match(**match))
    return found


async def registries(tx: Tx) -> list[Condition]:
    """Return how each registry fares that was ever asked and not forgotten."""
    every = await health.conditions(tx)
    return [each for each in every if each.rule == UNREACHABLE and each.source.startswith(REGISTRY)]


def known_until(hosts: Sequence[Condition]) -> datetime | None:
    """Return until when all of these registries are known; None where one never answered, or there is none."""
    answered = [each.last_success for each in hosts if each.last_success is not None]
    return min(answered) if answered and len(answered) == len(hosts) else None


async def _tag_first_seen(tx: Tx, matches: Sequence[Match]) -> datetime | None:
    """When the tag of the release that a digest belongs to was first seen; of several releases, the first."""
    t = tag_observations.c
    places = {(match.artifact, match.version) for match in matches if match.authority in VOUCHING}
    moments = []
    for artifact, version in sorted(places):
        statement = sa.select(t.first_seen).where(t.tag == version, t.artifact == artifact).order_by(t.id).limit(1)
        moments.append(await tx.scalar(statement))
    return min((moment for moment in moments if moment is not None), default=None)


async def withdraw(tx: Tx, withdrawal: Withdrawal) -> bool:
    """Keep the word that a version is pulled; False when it was withdrawn before, which stays as it was."""
    values = {
        "version": withdrawal.version,
        "at": withdrawal.at,
        "author": withdrawal.author,
        "reason": withdrawal.reason,
        "advisory": withdrawal.advisory,
    }
    statement = insert(tx, withdrawals).values(values).on_conflict_do_nothing(index_elements=["version"])
    return await tx.scalar(statement.returning(withdrawals.c.version)) is not None


async def withdrawn(tx: Tx) -> list[Withdrawal]:
    """Return every withdrawal, the first first."""
    c = withdrawals.c
    statement = sa.select(c.version, c.at, c.author, c.reason, c.advisory).order_by(c.at, c.version)
    return [Withdrawal(**row) for row in (await tx.execute(statement)).mappings()]


async def hashes(tx: Tx, digest: str) -> list[ExpectedHash]:
    """Return every hash under which a digest may stand in a log, as far as is known."""
    h = expected_hashes.c
    statement = sa.select(h.value, h.digest, h.how).where(h.digest == digest).order_by(h.how, h.value)
    return [ExpectedHash(**row) for row in (await tx.execute(statement)).mappings()]


async def every_hash(tx: Tx) -> list[ExpectedHash]:
    """Return every hash under which any expected digest may stand in a log, as far as is known."""
    h = expected_hashes.c
    statement = sa.select(h.value, h.digest, h.how).order_by(h.digest, h.how, h.value)
    return [ExpectedHash(**row) for row in (await tx.execute(statement)).mappings()]


@dataclass(frozen=True, slots=True)
class ReleaseWord:
    """What somebody did to a release, kept among the acts of operators."""

    id: int
    at: datetime
    who: str
    what: str
    version: str
    detail: str


async def untold(tx: Tx, acts: Sequence[str], limit: int) -> list[ReleaseWord]:
    """Return at most `limit` of these acts on releases that have no incident yet, the first first: they are a queue, as findings are."""
    e = operator_events.c
    waiting = (e.release.is_not(None), e.incident_id.is_(None), e.what.in_(acts))
    statement = sa.select(e.id, e.at, e.who, e.what, e.release.label("version"), e.detail).where(*waiting)
    rows = (await tx.execute(statement.order_by(e.id).limit(limit))).mappings()
    return [ReleaseWord(**row) for row in rows]


async def told(tx: Tx, event_id: int, incident_id: int) -> None:
    """Put an act into the incident that tells of it. LostRaceError when it is in one already."""
    e = operator_events.c
    free = (e.id == event_id, e.incident_id.is_(None))
    if (await tx.execute(sa.update(operator_events).where(*free).values(incident_id=incident_id))).rowcount != 1:
        raise LostRaceError(f"act {event_id} has an incident already", cure="nothing: the pass is begun again")


async def known_hashes(tx: Tx, values: Iterable[str]) -> set[tuple[str, str]]:
    """Return the (value, digest) pairs that are kept of these values, whatever the way."""
    h = expected_hashes.c
    found: set[tuple[str, str]] = set()
    for chunk in chunks(values, _ROWS):
        rows = await tx.execute(sa.select(h.value, h.digest).where(h.value.in_(chunk)))
        found.update((row.value, row.digest) for row in rows)
    return found


async def record(tx: Tx, version: str, who: str, what: str, detail: str, now: datetime) -> None:
    """Keep who did what to a release, and why, for the timeline."""
    row = {"at": now, "who": who, "what": what, "release": version, "detail": detail}
    await tx.execute(sa.insert(operator_events).values(row))


async def versions(tx: Tx) -> list[str]:
    """Return every version that has an expected digest, in the order in which they were first added."""
    c = expected_digests.c
    rows = await tx.execute(sa.select(c.version).group_by(c.version).order_by(sa.func.min(c.id)))
    return list(rows.scalars())


async def digests(tx: Tx, version: str | None = None) -> list[ExpectedDigest]:
    """Return the expected digests of one version, or of all, in the order in which they were added."""
    c = expected_digests.c
    statement = sa.select(c.version, c.artifact, c.digest, c.kind, c.authority, c.author, c.reason).order_by(c.id)
    if version is not None:
        statement = statement.where(c.version == version)
    return [ExpectedDigest(**row) for row in (await tx.execute(statement)).mappings()]
