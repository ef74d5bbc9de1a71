from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.alerts.tell import MAX_FINDINGS, kind_of, merged
from monitor.model.finding import Severity
from monitor.model.incident import Delivery, DeliveryKind, DeliveryState
from tests.unit.alerts.examples import NOW, incident

LOW = incident(severity=Severity.LOW)
HIGH = incident(severity=Severity.HIGH)
CRITICAL = incident(severity=Severity.CRITICAL)
DAY_LOW = incident(key="day:2026-11-23", severity=Severity.LOW)
BASELINE = incident(key="baseline", severity=Severity.LOW, history=True)

WAITING = Delivery(
    id=1,
    incident_id=12,
    sink="slack",
    kind=DeliveryKind.EVENT,
    severity=Severity.LOW,
    sequence=2,
    finding_ids=(1,),
    state=DeliveryState.PENDING,
    attempts=0,
    next_attempt=NOW,
    created_at=NOW,
)


def test_what_makes_an_incident_critical_is_a_post_of_its_own() -> None:
    assert kind_of(HIGH, CRITICAL, fresh=False) is DeliveryKind.ESCALATION
    assert kind_of(HIGH, CRITICAL, fresh=True) is DeliveryKind.ESCALATION


def test_a_new_signature_is_broadcast_and_another_rule_on_a_known_one_is_not() -> None:
    assert kind_of(CRITICAL, CRITICAL, fresh=True) is DeliveryKind.SIGNATURE
    assert kind_of(CRITICAL, CRITICAL, fresh=False) is DeliveryKind.EVENT
    assert kind_of(LOW, HIGH, fresh=False) is DeliveryKind.EVENT


@pytest.mark.parametrize("quiet", [DAY_LOW, BASELINE])
def test_quiet_incidents_speak_in_their_thread_and_broadcast_only_what_is_worse(quiet: object) -> None:
    assert isinstance(quiet, type(LOW))
    assert kind_of(quiet, quiet, fresh=True) is DeliveryKind.EVENT
    assert kind_of(quiet, replace(quiet, severity=Severity.CRITICAL), fresh=True) is DeliveryKind.SIGNATURE


def test_what_waits_takes_more_and_is_told_the_louder_way() -> None:
    assert merged(WAITING, DeliveryKind.EVENT) is DeliveryKind.EVENT
    assert merged(WAITING, DeliveryKind.SIGNATURE) is DeliveryKind.SIGNATURE
    assert merged(WAITING, DeliveryKind.ESCALATION) is DeliveryKind.ESCALATION
    first = replace(WAITING, kind=DeliveryKind.INCIDENT)
    assert merged(first, DeliveryKind.ESCALATION) is DeliveryKind.INCIDENT


def test_notices_states_and_full_deliveries_take_nothing() -> None:
    assert merged(replace(WAITING, finding_ids=()), DeliveryKind.EVENT) is None
    assert merged(replace(WAITING, kind=DeliveryKind.STATE), DeliveryKind.EVENT) is None
    assert merged(replace(WAITING, finding_ids=tuple(range(MAX_FINDINGS))), DeliveryKind.EVENT) is None
