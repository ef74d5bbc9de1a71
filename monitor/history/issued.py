"""What became of the certificates of ours that certificate logs show: all of them, for a coverage statement, or a single one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.entries.merkleleaf import CERTIFICATE, PRECERTIFICATE
from monitor.model.lookup import LookupState
from monitor.store import issuances, lookups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitor.store.certificates import StoredSigner
    from monitor.store.engine import Tx
    from monitor.store.entries import EntryRow

_WORDS: Mapping[LookupState, str] = {
    LookupState.FOUND: "with their signature",
    LookupState.OPEN: "whose signature is looked for",
    LookupState.EXCUSED: "that signed nothing public in a run that signed otherwise",
    LookupState.UNLOGGED: "that signed nothing public",
}
"""In the order in which they are told; a state of which there is none is left out."""


async def statement(tx: Tx) -> str | None:
    """How many certificates of ours there are, and how many of them are in which state; None where there is none."""
    counted = await lookups.counts(tx)
    told = [f"{counted[state]} {words}" for state, words in _WORDS.items() if counted.get(state)]
    return f"{sum(counted.values())} of ours: {', '.join(told)}" if told else None


_CERTIFICATE = "a certificate in a certificate log: it shows that it was issued, not that anything was signed with it"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate in a certificate log. `entries` are the ids of what it signed; `state` is None where nothing is looked for."""

    state: LookupState | None
    entries: tuple[int, ...]
    words: str


async def of_entry(tx: Tx, row: EntryRow, signers: Iterable[StoredSigner]) -> Issued | None:
    """What became of the certificate that an entry shows; None for a signature."""
    if row.kind not in {CERTIFICATE, PRECERTIFICATE}:
        return None
    for signer in signers:
        issuance = signer.certificate.issuance if signer.certificate else ""
        if issuance:
            lookup, signed = await lookups.find(tx, issuance), tuple(await issuances.signed(tx, issuance))
            state = lookup.state if lookup else None
            return Issued(state, signed, f"{_CERTIFICATE}; {_became(state, signed)}")
    return Issued(None, (), f"{_CERTIFICATE}; {_became(None, ())}")


def _became(state: LookupState | None, signed: tuple[int, ...]) -> str:
    if signed:
        return f"what was signed with it: {', '.join(f'entry {each}' for each in signed)}"
    return {
        LookupState.OPEN: "what was signed with it is looked for",
        LookupState.UNLOGGED: "all was read where its signature could stand, and there is none",
        LookupState.EXCUSED: "all was read where its signature could stand, and there is none; its run signed otherwise",
    }.get(state or LookupState.FOUND, "no signature by it is known, and none is looked for")
