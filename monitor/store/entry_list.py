"""The read side of entries: what every list and export shows of one, under names that stay."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.store.tables import certificates, entries, findings, matches, signers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from monitor.model.entry import Trust
    from monitor.model.filters import EntryFilter, Page
    from monitor.model.finding import Accepted
    from monitor.model.release import DigestStatus
    from monitor.store.connect import Tx


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry as lists show it. The fields' names are what `--format json` and its like promise; only add to them.

    `identity`, `issuer`, `key_id`, `trust` and what follows from a certificate are of the signer that its worst finding is
    about; `run`, `attempt` and `commit` only of a trusted one. `rules` names its findings that stand, `versions` and
    `artifacts` what its digest is expected for.
    """

    id: int
    log: str
    index: int
    global_index: int | None
    uuid: str | None
    leaf_hash: str
    kind: str
    api_version: str
    identity: str | None
    issuer: str | None
    key_id: str | None
    trust: Trust | None
    digest: str | None
    digest_status: DigestStatus
    versions: tuple[str, ...]
    artifacts: tuple[str, ...]
    accepted: Accepted | None
    rules: tuple[str, ...]
    event: str | None
    workflow: str | None
    ref: str | None
    run: str | None
    attempt: int | None
    commit: str | None
    signed_at: datetime | None
    first_seen: datetime
    proven: bool
    disproven: bool
    history: bool


_COMPUTED = frozenset({"versions", "artifacts", "rules", "proven"})
_STORED = tuple(field.name for field in fields(EntryRow) if field.name not in _COMPUTED)


async def list_entries(tx: Tx, narrow: EntryFilter, page: Page) -> list[EntryRow]:
    """List entries in the order in which they were stored."""
    c = entries.c
    statement = _select().where(*_conditions(narrow)).order_by(c.id).limit(page.limit)
    if page.after is not None:
        statement = statement.where(c.id > page.after)
    return await _rows(tx, statement)


async def row(tx: Tx, entry_id: int) -> EntryRow | None:
    """Return one entry as lists show it."""
    found = await _rows(tx, _select().where(entries.c.id == entry_id))
    return found[0] if found else None


def _select() -> sa.Select[Any]:
    return sa.select(*(entries.c[name] for name in _STORED), entries.c.proof_size)


def _conditions(narrow: EntryFilter) -> list[sa.ColumnElement[bool]]:
    c = entries.c
    conditions: list[sa.ColumnElement[bool]] = []
    if narrow.log is not None:
        conditions.append(c.log == narrow.log)
    if narrow.identity is not None:
        named = (
            sa.select(signers.c.entry_id)
            .join(certificates, certificates.c.fingerprint == signers.c.fingerprint)
            .where(signers.c.entry_id == c.id, certificates.c.sans.icontains(narrow.identity, autoescape=True))
        )
        conditions.append(named.exists())
    if narrow.digest is not None:
        matched = sa.select(matches.c.entry_id).where(matches.c.digest == narrow.digest)
        conditions.append(sa.or_(c.digest == narrow.digest, c.id.in_(matched)))
    if narrow.since is not None:
        conditions.append(c.first_seen >= narrow.since)
    if narrow.until is not None:
        conditions.append(c.first_seen < narrow.until)
    return conditions


async def _rows(tx: Tx, statement: sa.Select[Any]) -> list[EntryRow]:
    kept = (await tx.execute(statement)).mappings().all()
    ids = [each["id"] for each in kept]
    rules = await _rules(tx, ids)
    expected = await _expected(tx, ids)
    return [
        EntryRow(
            **{name: each[name] for name in _STORED if name != "leaf_hash"},
            leaf_hash=each["leaf_hash"].hex(),
            versions=tuple(dict.fromkeys(version for version, _artifact in expected[each["id"]])),
            artifacts=tuple(dict.fromkeys(artifact for _version, artifact in expected[each["id"]])),
            rules=tuple(rules[each["id"]]),
            proven=each["proof_size"] is not None and not each["disproven"],
        )
        for each in kept
    ]


async def _rules(tx: Tx, ids: Sequence[int]) -> dict[int, list[str]]:
    c = findings.c
    standing = sa.select(c.entry_id, c.rule).where(c.entry_id.in_(ids), c.withdrawn_at.is_(None))
    rules: dict[int, list[str]] = defaultdict(list)
    for entry_id, rule in await tx.execute(standing.distinct().order_by(c.entry_id, c.rule)):
        rules[entry_id].append(rule)
    return rules


async def _expected(tx: Tx, ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    c = matches.c
    pairs: dict[int, list[tuple[str, str]]] = defaultdict(list)
    statement = sa.select(c.entry_id, c.version, c.artifact).where(c.entry_id.in_(ids))
    for entry_id, version, artifact in await tx.execute(statement.order_by(c.entry_id, c.number)):
        pairs[entry_id].append((version, artifact))
    return pairs
