"""What is asked of a Rekor v1 server's index, what it answers, and whether its silence says anything.

An index is a hint: what it names is proven before it counts, and what it does not name may be in the log all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.log import InclusionProof, Leaf


class IndexField(StrEnum):
    """By what the index finds entries."""

    SUBJECT = "subject"
    """A subject alternative name, whole; letter case does not count. Servers before 1.5.4 do not know the field."""
    HASH = "hash"
    """`sha256:` and 64 hex digits: of an artifact, a payload, an in-toto subject, or of a key's canonical PEM."""
    KEY = "key"
    """A public key in PEM."""


@dataclass(frozen=True, slots=True)
class Question:
    """One search."""

    field: IndexField
    value: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the index names for a question: UUIDs of 80 hex digits. `error` says why it could not be asked."""

    question: Question
    uuids: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Leaves that were asked for by UUID, each with the unverified proof it came with; `lost` are the rest, with the reason."""

    found: tuple[tuple[Leaf, InclusionProof], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexState:
    """Whether a server's index was last seen to find by subject what is surely in the log, and if not, why not."""

    honoured: bool
    reason: str
    at: datetime
