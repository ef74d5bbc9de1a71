"""The exit status of a pass: the gravest of what is open, and a failed run is not a log that lies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.cli.run import Exit
from monitor.cli.watching import status
from monitor.model.finding import Category, Severity
from monitor.model.log import FollowedLog, LogState, Mode, Protocol
from monitor.poll import LogReport, PollReport
from monitor.watch.follow import Pass
from tests.unit.alerts.examples import incident

if TYPE_CHECKING:
    from monitor.model.incident import Incident

LOG = FollowedLog("log.example", Protocol.REKOR_V2, "https://log.example", Mode.COMPLETE, LogState.ACTIVE)
CLEAN = PollReport((LogReport(LOG, Pass()),), 0, ())
FORKED = incident(category=Category.INTEGRITY, severity=Severity.CRITICAL)
UNSIGNED = incident(category=Category.INTEGRITY, severity=Severity.LOW)
BRANCH = incident(category=Category.IDENTITY, severity=Severity.CRITICAL)
SILENT = incident(category=Category.OPERATIONAL, severity=Severity.MEDIUM)


@pytest.mark.parametrize(
    ("open_", "expected"),
    [
        ([], Exit.CLEAN),
        ([SILENT], Exit.OPERATIONAL),
        ([SILENT, UNSIGNED], Exit.FINDINGS),
        ([UNSIGNED, BRANCH], Exit.FINDINGS),
        ([BRANCH, SILENT, FORKED], Exit.INTEGRITY),
    ],
)
def test_the_gravest_open_incident_decides(open_: list[Incident], expected: Exit) -> None:
    assert status(CLEAN, open_) is expected


def test_what_could_not_be_read_or_told_is_not_clean() -> None:
    assert status(replace(CLEAN, unreached=(("log.example", "refused"),)), []) is Exit.OPERATIONAL
    assert status(replace(CLEAN, undelivered=1), []) is Exit.OPERATIONAL
    assert status(replace(CLEAN, logs=()), []) is Exit.OPERATIONAL
    holed = LogReport(LOG, Pass(), ("the log does not give leaf 7: oversize",))
    assert status(replace(CLEAN, logs=(holed,)), []) is Exit.OPERATIONAL
