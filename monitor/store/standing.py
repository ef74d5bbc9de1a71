"""What stands in the store of entries that are judged again, so that a judgement which changes nothing need not be written anew.

Of most entries a new revision says what the last one said. Whatever is not exactly as it would be written counts as changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.store.certificates import signer_rows
from monitor.store.entries import judged, match_rows
from monitor.store.findings import stored as stored_finding
from monitor.store.sql import chunks
from monitor.store.tables import certificates, entries, findings, matches, signers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from monitor.model.entry import LogEntry
    from monitor.model.finding import Finding
    from monitor.model.judgement import Judgement
    from monitor.store.connect import Tx

_ROWS = 500
_JUDGED = (
    *("signed_at", "at", "digest", "digest_role", "identity", "issuer", "key_id", "trust", "event"),
    *("ref", "workflow", "run", "attempt", "commit", "accepted", "digest_status", "history"),
)
"""The columns of `entries` that a judgement writes, but for its revision and its time, which move on all the same."""
_COLUMNS = tuple(entries.c[name] for name in _JUDGED)


@dataclass(slots=True)
class Standing:
    """What is kept of one entry's last judgement."""

    judged: Mapping[str, Any]
    signers: list[Mapping[str, Any]] = field(default_factory=list)
    issuances: list[str] = field(default_factory=list)
    matches: list[Mapping[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ever: set[str] = field(default_factory=set)
    """Every rule that was found of it, and holds no more or still does."""

    def says(self, entry_id: int, entry: LogEntry, judgement: Judgement, now: datetime) -> bool:
        """Whether writing `judgement` would change nothing but the revision."""
        return (
            self.judged.items() <= judged(entry, judgement, now).items()
            and self.details(entry_id, entry, judgement)
            and sorted(self.findings, key=_place) == sorted(judgement.findings, key=_place)
        )

    def details(self, entry_id: int, entry: LogEntry, judgement: Judgement) -> bool:
        """Whether what is kept of signers, certificates and releases is what writing `judgement` would keep."""
        issuances = [held.issuance for signer in entry.signers if (held := signer.certificate) is not None]
        return (
            self.signers == signer_rows(entry_id, entry)
            and self.issuances == issuances
            and self.matches == match_rows(entry_id, judgement)
        )


def _place(finding: Finding) -> tuple[str, str]:
    return (finding.rule, finding.subject)


async def of(tx: Tx, ids: Collection[int]) -> dict[int, Standing]:
    """Return what stands of these entries, by their ids."""
    found: dict[int, Standing] = {}
    for chunk in chunks(ids, _ROWS):
        kept = await tx.execute(sa.select(entries.c.id, *_COLUMNS).where(entries.c.id.in_(chunk)))
        for row in kept.mappings():
            found[row["id"]] = Standing({name: row[name] for name in _JUDGED})
        held = sa.select(signers, certificates.c.issuance).outerjoin(
            certificates, signers.c.fingerprint == certificates.c.fingerprint
        )
        of_entry = signers.c.entry_id.in_(chunk)
        for row in (await tx.execute(held.where(of_entry).order_by(signers.c.entry_id, signers.c.number))).mappings():
            standing = found[row["entry_id"]]
            standing.signers.append({column.name: row[column.name] for column in signers.c})
            if row["fingerprint"] is not None:
                standing.issuances.append(row["issuance"] or "")
        matched = sa.select(matches).where(matches.c.entry_id.in_(chunk)).order_by(matches.c.entry_id, matches.c.number)
        for row in (await tx.execute(matched)).mappings():
            found[row["entry_id"]].matches.append(dict(row))
        told = sa.select(findings).where(findings.c.entry_id.in_(chunk))
        for row in (await tx.execute(told)).mappings():
            standing = found[row["entry_id"]]
            standing.ever.add(row["rule"])
            if row["withdrawn_at"] is None:
                standing.findings.append(stored_finding(row).finding)
    return found


async def confirm(tx: Tx, ids: Collection[int], revision: str, now: datetime) -> None:
    """Say that these entries were judged by `revision` too, which says what the last one said."""
    for chunk in chunks(ids, _ROWS):
        again = sa.update(entries).where(entries.c.id.in_(chunk)).values(revision=revision, judged_at=now)
        await tx.execute(again)
