"""The signers of stored entries and what was found of each; a certificate is kept once, by its fingerprint, for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from monitor.model.entry import Certificate, SanKind, Step, Trust, TrustVerdict
from monitor.store.sql import insert
from monitor.store.tables import certificates, signers

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.entry import JudgedSigner, LogEntry
    from monitor.store.connect import Tx


@dataclass(frozen=True, slots=True)
class StoredSigner:
    """One signer of a stored entry. `event` is its signing event, `key_id` the SHA-256 of its key in hex."""

    number: int
    event: str
    key_id: str
    certificate: Certificate | None
    verifies: bool | None
    verdict: TrustVerdict | None


async def keep(tx: Tx, certificate: Certificate, now: datetime) -> None:
    """Keep a certificate, or know it already."""
    row = {
        "fingerprint": certificate.fingerprint,
        "der": certificate.der,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "names": [[kind.value, name] for kind, name in certificate.names],
        "sans": "\n".join(name for _kind, name in certificate.names),
        "claims": {str(arc): claim for arc, claim in certificate.claims.items()},
        "anomalies": list(certificate.anomalies),
        "first_seen": now,
        "issuance": certificate.issuance or None,
    }
    statement = insert(tx, certificates).values(row)
    again = {"issuance": statement.excluded.issuance}  # one that was kept before this was read of it
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["fingerprint"], set_=again, where=certificates.c.issuance.is_(None)
        )
    )


async def add_signers(tx: Tx, entry_id: int, entry: LogEntry, now: datetime) -> None:
    """Keep an entry's signers as judged, and its certificates, those beside the signers' own included."""
    beside = entry.decoded.other_certificates
    for held in (*(signer.certificate for signer in entry.signers), *beside):
        if held:
            await keep(tx, held, now)
    if rows := signer_rows(entry_id, entry):
        await tx.execute(sa.insert(signers), rows)


def signer_rows(entry_id: int, entry: LogEntry) -> list[dict[str, Any]]:
    """What is kept of an entry's signers as judged, a row each."""
    return [_signer_row(entry_id, number, entry, signer) for number, signer in enumerate(entry.signers)]


def _signer_row(entry_id: int, number: int, entry: LogEntry, judged: JudgedSigner) -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "entry_id": entry_id,
        "number": number,
        "event": entry.event(judged.signer),
        "key_id": judged.signer.key_id,
        "fingerprint": judged.certificate.fingerprint if judged.certificate else None,
        "verifies": judged.signer.verifies,
        "trust": verdict.trust if verdict else None,
        "failed": [step.value for step in verdict.failed] if verdict else [],
        "issued_at": verdict.issued_at if verdict else None,
        "within_validity": verdict.within_validity if verdict else None,
        "detail": verdict.detail if verdict else "",
    }


async def signers_of(tx: Tx, entry_id: int) -> list[StoredSigner]:
    """Return the signers of an entry with their certificates and verdicts, in the entry's order."""
    joined = signers.outerjoin(certificates, signers.c.fingerprint == certificates.c.fingerprint)
    statement = (
        sa.select(
            signers,
            *(column.label(f"cert_{column.name}") for column in certificates.c),
        )
        .select_from(joined)
        .where(signers.c.entry_id == entry_id)
        .order_by(signers.c.number)
    )
    return [_stored(row) for row in (await tx.execute(statement)).mappings()]


async def certificate(tx: Tx, fingerprint: str) -> Certificate | None:
    """Return a kept certificate."""
    columns = (column.label(f"cert_{column.name}") for column in certificates.c)
    statement = sa.select(*columns).where(certificates.c.fingerprint == fingerprint)
    row = (await tx.execute(statement)).mappings().one_or_none()
    return _certificate(row) if row else None


def _stored(row: sa.RowMapping) -> StoredSigner:
    verdict = None
    if row["trust"] is not None:
        verdict = TrustVerdict(
            trust=Trust(row["trust"]),
            failed=tuple(Step(step) for step in row["failed"]),
            issued_at=row["issued_at"],
            within_validity=row["within_validity"],
            detail=row["detail"],
        )
    return StoredSigner(
        number=row["number"],
        event=row["event"],
        key_id=row["key_id"],
        certificate=_certificate(row) if row["cert_der"] is not None else None,
        verifies=row["verifies"],
        verdict=verdict,
    )


def _certificate(row: sa.RowMapping) -> Certificate:
    return Certificate(
        der=row["cert_der"],
        issuer=row["cert_issuer"],
        serial=row["cert_serial"],
        not_before=row["cert_not_before"],
        not_after=row["cert_not_after"],
        names=tuple((SanKind(kind), name) for kind, name in row["cert_names"]),
        claims={int(arc): claim for arc, claim in row["cert_claims"].items()},
        anomalies=tuple(row["cert_anomalies"]),
        issuance=row["cert_issuance"] or "",
    )
