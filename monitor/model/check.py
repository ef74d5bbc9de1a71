"""What trying one dependency came to: one line for whoever sets the monitor up, and what they can do about it.

Each room's `probe` makes them, the doctor puts them in order, and an edge prints them. A check never holds a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.errors import MonitorError


class CheckState(StrEnum):
    """What became of a check, as it is shown."""

    OK = "ok"
    FAILED = "FAILED"
    NOT_SET = "not set"
    """Nothing is broken, and something is not watched or not told: the check says what."""
    SKIPPED = "skipped"
    """It could not be tried, and the check says why: neither good nor bad."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `said` is what came back, raw; `cure` what the operator can do, where something can be done."""

    name: str
    state: CheckState
    said: str
    cure: str = ""


def ok(name: str, said: str) -> Check:
    """It works."""
    return Check(name, CheckState.OK, said)


def failed(name: str, said: str, cure: str) -> Check:
    """It does not, and this helps."""
    return Check(name, CheckState.FAILED, said, cure)


def refused(name: str, error: MonitorError, otherwise: str) -> Check:
    """It raised one of our errors; `otherwise` is the cure where the error knows none."""
    return Check(name, CheckState.FAILED, str(error), error.cure or otherwise)


def not_set(name: str, said: str, cure: str = "") -> Check:
    """The settings leave it out, and this is what that costs."""
    return Check(name, CheckState.NOT_SET, said, cure)


def skipped(name: str, why: str) -> Check:
    """It was not tried."""
    return Check(name, CheckState.SKIPPED, why)
