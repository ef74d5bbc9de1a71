from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.alerts.incidents import key
from monitor.model.finding import Category, Finding, Severity
from tests.unit.alerts.examples import NOW, RUN, V1, V2, of_log, of_source, signed, stored, stranger

QUARANTINED = Finding(
    "entry-quarantined",
    Severity.LOW,
    Category.INTEGRITY,
    f"entry:{V2}:9:aa",
    "An entry cannot be read.",
    log=V2,
    index=9,
)
RELEASE = Finding(
    "tag-moved", Severity.CRITICAL, Category.RELEASE, "release:0.1.2:runner", "It moved.", version="0.1.2"
)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        pytest.param(signed(history=True), "baseline", id="history is the baseline's, whatever it is"),
        pytest.param(stranger(history=True), "baseline", id="a stranger's history too"),
        pytest.param(stranger(), "day:2026-11-23", id="an untrusted certificate is the day's"),
        pytest.param(
            stranger(severity=Severity.HIGH), "day:2026-11-23", id="also where a setting raised it, below critical"
        ),
        pytest.param(
            stranger(severity=Severity.CRITICAL), "event:event-1", id="a critical one is never folded into the day"
        ),
        pytest.param(
            stranger(severity=Severity.CRITICAL, run=RUN),
            "event:event-1",
            id="what nobody vouches for names no run of ours",
        ),
        pytest.param(QUARANTINED, "day:2026-11-23", id="an unreadable leaf is the day's"),
        pytest.param(RELEASE, "release:0.1.2", id="a release finding is its version's"),
        pytest.param(signed(version="0.1.2"), f"run:{RUN}", id="a trusted certificate is its run's, not its version's"),
        pytest.param(signed("unexpected-digest"), f"run:{RUN}", id="whatever the rule"),
        pytest.param(
            signed("unlogged-certificate"), f"run:{RUN}", id="integrity findings about a certificate included"
        ),
        pytest.param(of_log("bundle-mismatch", run=RUN), f"run:{RUN}", id="a bundle is its run's"),
        pytest.param(
            signed("contributor-key", run=None, trusted=False), "event:event-1", id="a bare key is its signing event's"
        ),
        pytest.param(signed(run=None), "event:event-1", id="a trusted signer without a run claim too"),
        pytest.param(of_log(), f"log:{V2}", id="a fork is its log's"),
        pytest.param(of_source(), f"source:{V2}", id="a server that is down is its source's: it has not lied"),
        pytest.param(of_source(source="mail@example"), "source:mail@example", id="a source may hold an @"),
    ],
)
def test_the_first_key_that_applies_in_section_8s_order(finding: Finding, expected: str) -> None:
    assert key(stored(finding)) == expected


def test_one_act_in_two_logs_has_one_key() -> None:
    assert key(stored(signed(log=V1))) == key(stored(signed(log=V2)))


def test_two_attempts_of_a_run_are_one_act() -> None:
    assert key(stored(signed(attempt=1))) == key(stored(signed(attempt=2)))


def test_the_day_is_ours_and_not_the_strangers_to_choose() -> None:
    backdated = stranger(signed_at=NOW - timedelta(days=400))
    assert key(stored(backdated)) == "day:2026-11-23"


def test_a_day_begins_at_midnight_utc() -> None:
    last = datetime(2026, 11, 23, 23, 59, 59, 999_999, tzinfo=UTC)
    assert key(stored(stranger(), last)) == "day:2026-11-23"
    assert key(stored(stranger(), last + timedelta(microseconds=1))) == "day:2026-11-24"
