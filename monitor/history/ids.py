"""What ids the certificates of our releases carry: a proposal for a person, never a decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.entry import Claim
from monitor.model.finding import Category
from monitor.model.release import DigestStatus
from monitor.store import certificates, signatures

if TYPE_CHECKING:
    from monitor.store.connect import Tx


@dataclass(frozen=True, slots=True)
class Proposal:
    """One pair of ids, and how many expected signatures carry it. `entry` is the first of them."""

    repository_id: str
    owner_id: str
    signatures: int
    entry: int


async def proposals(tx: Tx) -> list[Proposal]:
    """The ids in trusted signatures of expected digests at release tags that fire no identity rule, the most frequent first."""
    counted: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], int] = {}
    for row in await signatures.every(tx):
        if row.status is not DigestStatus.EXPECTED or Category.IDENTITY in row.wrong:
            continue
        for signer in await certificates.signers_of(tx, row.entry_id):
            claims = signer.certificate.claims if signer.certificate else {}
            pair = claims.get(Claim.REPOSITORY_ID, ""), claims.get(Claim.OWNER_ID, "")
            if all(pair):
                counted[pair] += 1
                first.setdefault(pair, row.entry_id)
    return [Proposal(*pair, count, first[pair]) for pair, count in counted.most_common()]
