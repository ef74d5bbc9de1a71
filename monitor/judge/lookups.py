"""Settles what became of looking for the entries of our certificates, and tells of those that signed nothing in public.

It works from state: an entry that turns up later takes the finding back, and running it twice changes nothing. Whether all was read
in which an entry could stand is decided by who reads, never here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.model.entry import Trust
from monitor.model.lookup import LookupState
from monitor.rules import integrity
from monitor.rules.integrity import UNLOGGED, LoggedCertificate, certificate_subject
from monitor.store import entries, findings, issuances, lookups

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.lookup import Lookup
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx


async def review(tx: Tx, policy: Policy, now: datetime) -> int:
    """Close the lookups that are decided; return how many findings are new."""
    for found in await lookups.settle_found(tx, now):
        await findings.withdraw(tx, UNLOGGED, certificate_subject(found.issuance), now)
    open_ = await lookups.unsettled(tx)
    due = [each for each in open_ if each.read_at is not None and now - each.read_at >= policy.deadline(UNLOGGED)]
    told = await lookups.unsettled(tx, LookupState.UNLOGGED)
    signing = await issuances.signing(tx, {each.run for each in (*due, *told) if each.run is not None})
    for each in (*due, *told):
        if each.run in signing:
            await lookups.close(tx, each.issuance, LookupState.EXCUSED, now, before=each.state)
            await findings.withdraw(tx, UNLOGGED, certificate_subject(each.issuance), now)
    new = []
    for each in due:
        shown = await _shown(tx, each) if each.run not in signing else None
        if shown is not None and await lookups.close(tx, each.issuance, LookupState.UNLOGGED, now):
            new.append(integrity.unlogged(each, shown, policy))
    return len(await findings.put(tx, new, now, entry_id=None))


async def _shown(tx: Tx, lookup: Lookup) -> LoggedCertificate | None:
    """The certificate as its log has it; None where that was disproven, or its authority is trusted no more."""
    row = await entries.row(tx, lookup.entry_id)
    if row is None or row.disproven:
        return None
    for signer in await entries.signers_of(tx, lookup.entry_id):
        vouched = signer.verdict is not None and signer.verdict.trust is Trust.TRUSTED
        if vouched and signer.certificate is not None:
            return LoggedCertificate(signer.certificate, row.log, row.index, signer.event, row.signed_at)
    return None
