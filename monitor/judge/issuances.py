"""Joins the certificates in certificate logs to the entries they signed, and says of which an entry is to be looked for.

It asks the store and writes to it in the caller's transaction; whichever of the two is taken in first, they end as one signing event.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.model.lookup import Lookup, LookupState
from monitor.rules import subject
from monitor.store import issuances, lookups

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.entry import Certificate, LogEntry
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx


async def joined(tx: Tx, entry: LogEntry) -> LogEntry:
    """Return the entry with the event of what it signed, where it is a certificate log's and that is known."""
    if not entry.decoded.protocol.certificates:
        return entry
    for certificate in _trusted(entry):
        event = await issuances.event(tx, certificate.issuance)
        if event is not None:
            return replace(entry, joined=event)
    return entry


async def kept(tx: Tx, entry_id: int, entry: LogEntry, policy: Policy, now: datetime, *, history: bool) -> None:
    """Do what follows from an entry that is stored: a signature joins its certificates, a certificate of ours is looked for."""
    if entry.decoded.protocol.certificates:
        for certificate in _trusted(entry):
            about = subject.read(certificate, policy)
            if about.in_scope:
                await lookups.want(tx, _lookup(entry_id, certificate, about.identity, now, history=history))
        return
    for signer in entry.signers:
        if signer.trusted and signer.certificate and signer.certificate.issuance:
            await issuances.join(tx, signer.certificate.issuance, entry.event(signer.signer))


def _trusted(entry: LogEntry) -> list[Certificate]:
    held = (signer.certificate for signer in entry.signers if signer.trusted)
    return [certificate for certificate in held if certificate is not None and certificate.issuance]


def _lookup(entry_id: int, certificate: Certificate, identity: str, now: datetime, *, history: bool) -> Lookup:
    return Lookup(
        certificate.issuance,
        entry_id,
        identity,
        certificate.not_before,
        certificate.not_after,
        certificate.run,
        history,
        LookupState.OPEN,
        now,
    )
