"""A certificate of ours that a certificate log shows, and the search for the entry it signed in a signature log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class LookupState(StrEnum):
    """What became of looking for a certificate's entry."""

    OPEN = "open"
    FOUND = "found"
    """An entry of a signature log is signed with it."""
    UNLOGGED = "unlogged"
    """Everything in which its entry could stand was read, and it is nowhere."""
    EXCUSED = "excused"
    """The same; but the same run signed another entry, so that a failed step explains it."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One issuance (`Certificate.issuance`) that a certificate log shows; `entry_id` is its entry there.

    `searched_at` is when the indexes were last asked for it, `read_at` when all was read in which its entry could stand.
    `history`: it was issued before watching began.
    """

    issuance: str
    entry_id: int
    subject: str
    not_before: datetime
    not_after: datetime
    run: str | None
    history: bool
    state: LookupState
    opened_at: datetime
    searched_at: datetime | None = None
    read_at: datetime | None = None
    closed_at: datetime | None = None
