"""From a candidate leaf to an entry whose signers are checked. Pure but for its speed: a certificate costs milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.entries import decode
from monitor.errors import FormatError
from monitor.model.entry import JudgedSigner, LogEntry, Trust
from monitor.model.log import QuarantinedLeaf
from monitor.trust import check

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.entries.prefilter import Prefilter
    from monitor.judge.intake import Bench
    from monitor.model.entry import LogStamp, Signer, TrustVerdict
    from monitor.model.log import Leaf


@dataclass(frozen=True, slots=True)
class Reading:
    """One candidate, read: an entry, or a leaf that cannot be read."""

    leaf: Leaf
    entry: LogEntry | None
    quarantined: QuarantinedLeaf | None


def read(leaf: Leaf, bench: Bench, prefilter: Prefilter, first_seen: datetime) -> Reading:
    """Decode `leaf` and check its signers against the trust root. Never raises on foreign bytes: what cannot be read is quarantined."""
    try:
        decoded = decode.decode(leaf.data, leaf.protocol, leaf.extra)
    except FormatError as error:
        ours = prefilter.matches_text(leaf.data)
        lost = QuarantinedLeaf(leaf.log, leaf.index, leaf.hash, str(error), leaf.data, ours)
        return Reading(leaf, None, lost)
    signers = tuple(
        JudgedSigner(signer, _verdict(signer, decoded.stamp, leaf, bench, first_seen)) for signer in decoded.signers
    )
    entry = LogEntry(leaf.log, leaf.index, leaf.hash, leaf.data, decoded, signers, leaf.promise, first_seen, leaf.extra)
    return Reading(leaf, entry, None)


def _verdict(
    signer: Signer, stamp: LogStamp | None, leaf: Leaf, bench: Bench, first_seen: datetime
) -> TrustVerdict | None:
    if signer.certificate is None:
        return None
    if stamp is not None:
        return check.check_logged(signer.certificate, bench.root, stamp)
    verdict = check.check(
        signer.certificate, bench.root, promise=leaf.promise, data=leaf.data, signer_verifies=signer.verifies
    )
    if verdict.trust is Trust.UNCHECKED and bench.refreshed_at is not None and bench.refreshed_at > first_seen:
        return replace(verdict, trust=Trust.BROKEN)  # a root newer than the entry does not know that key either
    return verdict
