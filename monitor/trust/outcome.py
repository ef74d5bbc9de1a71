"""How one check of a certificate came out: it held, it failed, or what is needed to tell is not in the trust root."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

if TYPE_CHECKING:
    from datetime import datetime


REFUSALS = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises on certificates that break their format."""


class Result(Enum):
    """The three ways a check can end (P6: "cannot check" is neither of the others)."""

    HELD = "held"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check's result and, where it did not hold, why. `time` is what a verified timestamp says."""

    result: Result
    why: str = ""
    time: datetime | None = None


HELD = Outcome(Result.HELD)


def failed(why: str) -> Outcome:
    """The check failed."""
    return Outcome(Result.FAILED, why)


def unknown(why: str) -> Outcome:
    """It cannot be told."""
    return Outcome(Result.UNKNOWN, why)
