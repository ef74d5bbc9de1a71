from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts import parts, wording
from monitor.alerts.message import Link, Paragraph, Step
from monitor.alerts.options import AlertOptions
from monitor.alerts.parts import duration
from monitor.alerts.sinks.slack_blocks import item_lines
from monitor.alerts.wording import Said, compose
from monitor.model.finding import Accepted, Fact, Severity
from monitor.model.incident import DeliveryKind, IncidentState
from monitor.model.rulebook import RULES
from tests.unit.alerts.examples import COMMIT, NOW, RUN, V1, V2, incident, of_log, of_source, signed, stranger, telling

if TYPE_CHECKING:
    from monitor.alerts.message import Message
    from monitor.alerts.wording import Telling
    from monitor.model.finding import Finding

OPTIONS = AlertOptions(security_contact="security@example.test", links={"Runbook": "https://example.test/runbook"})
BRANCH = signed("branch-ref", summary="publish-images.yml signed from the branch 'main'.")
DIGEST = signed("unexpected-digest", summary="publish-images.yml signed an unknown digest.", accepted=Accepted.YES)


def words(message: Message) -> str:
    return "\n".join(line for s in message.sections for line in (s.heading, *item_lines(s)))


def headings(message: Message) -> list[str]:
    return [section.heading for section in message.sections if section.heading]


def test_a_message_is_in_section_8s_order() -> None:
    assert headings(compose(telling(DIGEST, BRANCH), OPTIONS)) == [
        "Would customers' verification accept it?",
        "Can customers reach it?",
        "Expected, and seen",
        "When and where",
        "Who made it",
        "First steps",
    ]


def test_the_worst_finding_heads_the_message_and_every_other_rule_has_a_line() -> None:
    first = compose(telling(BRANCH, DIGEST), OPTIONS).sections[0].items
    assert first[0] == Paragraph("publish-images.yml signed from the branch 'main'.", strong=True)
    assert Paragraph("Also critical: publish-images.yml signed an unknown digest.") in first


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((Accepted.NO, Accepted.YES), "YES. "),
        ((Accepted.NO, Accepted.IF_TIMESTAMPED), "YES, if it was timestamped"),
        ((Accepted.NO, None), "NO. "),
    ],
)
def test_the_worst_answer_for_customers_is_given(answers: tuple[Accepted | None, ...], expected: str) -> None:
    message = compose(telling(*(replace(BRANCH, accepted=answer) for answer in answers)), OPTIONS)
    section = next(s for s in message.sections if s.heading.startswith("Would customers"))
    assert expected in "\n".join(item_lines(section))


def test_what_customers_refuse_says_nothing_of_reach() -> None:
    assert "Can customers reach it?" not in headings(compose(telling(BRANCH), OPTIONS))


def test_reach_is_never_claimed_where_no_registry_was_read() -> None:
    assert "No release that we know carries it" in words(compose(telling(DIGEST), OPTIONS))


def test_times_are_utc_and_the_delay_is_told() -> None:
    assert "2026-11-23T02:59:18Z, told 42 s later" in words(compose(telling(BRANCH), OPTIONS))


def test_a_signature_in_rekor_v1_has_its_uuid_and_the_public_search_and_one_in_v2_has_neither() -> None:
    v1 = compose(telling(replace(BRANCH, log=V1, uuid="24296fb24b8ad77a", global_index=284)), OPTIONS)
    assert Link("Public search", "https://search.sigstore.dev/?logIndex=284") in [
        i for s in v1.sections for i in s.items
    ]
    assert "UUID: 24296fb24b8ad77a" in words(v1)
    assert "search.sigstore.dev" not in words(compose(telling(replace(BRANCH, log=V2)), OPTIONS))


def test_a_private_rekor_v1_is_not_in_the_public_search() -> None:
    private = replace(BRANCH, log="rekor.internal - 1", uuid="24296fb24b8ad77a", global_index=284)
    assert "search.sigstore.dev" not in words(compose(telling(private), OPTIONS))


def test_run_attempt_and_commit_are_there() -> None:
    items = [i for s in compose(telling(BRANCH), OPTIONS).sections for i in s.items]
    assert Link("Run (attempt 1)", RUN) in items
    assert Fact("commit", COMMIT) in items


def test_first_steps_are_the_rulebooks_with_contact_and_links() -> None:
    steps = compose(telling(BRANCH), OPTIONS).sections[-1].items
    assert [i.text for i in steps if isinstance(i, Step)][:-1] == list(RULES["branch-ref"].first_steps)
    assert Fact("security contact", "security@example.test") in steps
    assert Link("Runbook", "https://example.test/runbook") in steps


def test_a_fact_that_four_places_state_alike_is_told_once() -> None:
    places = tuple(Fact(f"ref ({n})", "refs/heads/main", "a version tag") for n in range(4))
    message = compose(telling(replace(BRANCH, facts=places)), OPTIONS)
    assert words(message).count("expected a version tag") == 1
    assert "ref (0) and 3 other places" in words(message)


def test_only_new_critical_posts_call_the_group() -> None:
    assert compose(telling(BRANCH), OPTIONS).page
    assert compose(telling(BRANCH, kind=DeliveryKind.ESCALATION), OPTIONS).page
    assert compose(telling(BRANCH, kind=DeliveryKind.SIGNATURE), OPTIONS).page
    assert not compose(telling(BRANCH, kind=DeliveryKind.STATE), OPTIONS).page
    assert not compose(telling(BRANCH, kind=DeliveryKind.EVENT), OPTIONS).page
    assert not compose(telling(BRANCH, incident=incident(severity=Severity.HIGH)), OPTIONS).page


def test_an_incident_that_was_over_before_it_could_be_told_calls_nobody() -> None:
    assert not compose(telling(BRANCH, incident=incident(state=IncidentState.RESOLVED)), OPTIONS).page


def test_the_baseline_is_one_message_with_its_worst_severity_that_calls_nobody() -> None:
    old = tuple(signed(number=n, history=True, summary="Our identity on a branch.") for n in range(9))
    base = incident(key="baseline", history=True, title=wording.quiet_title("baseline", 9), count=9)
    message = compose(telling(*old, incident=base), OPTIONS)
    assert message.severity is Severity.CRITICAL
    assert not message.page
    assert "critical: Our identity on a branch. (×9)" in words(message)
    assert "9 findings from before watching began" in message.title
    assert "ids pin" not in words(message)
    many = compose(telling(*old, incident=base, total=500), replace(OPTIONS, unpinned=True))
    assert "critical: Our identity on a branch.\n" in words(many) + "\n"  # the nine at hand are not all there are
    assert "`trustacks-monitor ids list` shows those that our releases carry, `ids pin` accepts them" in words(many)


def test_strangers_are_one_message_a_day_with_a_count() -> None:
    day = incident(key="day:2026-11-23", severity=Severity.LOW, title=wording.quiet_title("day:2026-11-23", 3), count=3)
    message = compose(telling(*(stranger(n) for n in range(3)), incident=day), OPTIONS)
    assert "3 untrusted or unreadable entries on 2026-11-23" in message.title
    assert "3 findings" in words(message)
    assert "Customers' verification refuses them." in words(message)


def test_of_an_unreadable_entry_nobody_says_that_customers_refuse_it_or_that_it_needs_no_answer() -> None:
    day = incident(
        key="day:2026-11-23", severity=Severity.MEDIUM, title=wording.quiet_title("day:2026-11-23", 2), count=2
    )
    told = words(compose(telling(stranger(1), of_log("entry-quarantined"), incident=day), OPTIONS))
    assert "what is unreadable was not checked" in told
    assert "refuses them" not in told
    assert "need no answer" not in told


def test_a_fork_says_nothing_of_verification_or_of_a_run() -> None:
    message = compose(telling(of_log()), OPTIONS)
    assert headings(message) == ["When and where", "First steps"]


def test_trouble_of_ours_names_the_source_and_the_last_error() -> None:
    trouble = of_source()
    assert wording.title(trouble) == f"A log does not answer: {V2}"
    assert "last error: HTTP 503" in words(compose(telling(trouble), OPTIONS))


def test_who_resolved_it_and_why_stands_in_the_notice() -> None:
    said = (Said(NOW, "ada", "resolved", "a drill"),)
    closed = incident(state=IncidentState.RESOLVED)
    message = compose(telling(kind=DeliveryKind.EVENT, incident=closed, said=said), OPTIONS)
    assert "Resolved by ada at 2026-11-23T03:00:00Z: a drill" in words(message)
    assert message.state is IncidentState.RESOLVED
    assert not message.page


def test_a_recurrence_names_the_incident_before_it() -> None:
    assert "incident #7 was resolved" in words(compose(telling(BRANCH, incident=incident(previous_id=7)), OPTIONS))


def test_an_incident_whose_findings_were_all_taken_back_says_so() -> None:
    assert "taken back" in words(compose(telling(incident=incident(count=2)), OPTIONS))


def test_several_signatures_are_counted_and_each_has_its_place() -> None:
    message = compose(telling(*(signed(number=n) for n in range(3))), OPTIONS)
    assert "These are 3 signatures." in words(message)
    assert all(f"{V2}, index {n}" in words(message) for n in range(3))


CT = "ct.example/2026"
ISSUED = signed("branch-ref", log=CT, digest=None, accepted=Accepted.IF_TIMESTAMPED)


def of_certificates(*findings: Finding, **changes: Any) -> Telling:  # noqa: ANN401 - any field
    return telling(*findings, certificate_logs={CT: CT}, **changes)


def test_a_certificate_alone_is_called_one_and_what_it_signed_is_said_to_be_looked_for() -> None:
    message = compose(of_certificates(ISSUED), OPTIONS)
    said = words(message)
    assert parts.SOUGHT in said
    assert parts.ANSWERS_BEFORE[Accepted.IF_TIMESTAMPED] in said
    assert "not known before" in said
    assert f"certificate log: {CT}, index 1" in said.replace("*", "")
    assert "issued: 2026-11-23T02:59:18Z" in said.replace("*", "")
    steps = next(section for section in message.sections if section.heading == "First steps")
    assert steps.items[0] == Step(parts.LOOK)


def test_with_its_signature_it_is_told_as_that_and_both_places_are_named() -> None:
    both = signed("branch-ref", accepted=Accepted.YES)
    said = words(compose(of_certificates(ISSUED, both), OPTIONS)).replace("*", "")
    assert parts.SOUGHT not in said
    assert parts.LOOK not in said
    assert "YES. " in said
    assert f"certificate log: {CT}, index 1" in said
    assert f"log: {V2}, index 1" in said
    assert f"logged hash: {both.digest}" in said
    assert "signed: 2026" in said


def test_of_a_certificate_that_is_refused_no_reach_is_asked() -> None:
    said = words(compose(of_certificates(replace(ISSUED, accepted=Accepted.NO)), OPTIONS))
    assert parts.ANSWERS_BEFORE[Accepted.NO] in said
    assert "Can customers reach it?" not in said


def test_one_that_signed_nothing_public_is_no_longer_looked_for() -> None:
    found = signed("unlogged-certificate", log=CT, digest=None, accepted=None)
    said = words(compose(of_certificates(found), OPTIONS))
    assert parts.SOUGHT not in said
    assert parts.LOOK not in said


def test_a_log_that_is_named_by_its_id_is_called_by_its_address() -> None:
    origin, called = "dd" * 32, "ctfe.example/2022 (dddddddd…)"
    found = replace(ISSUED, log=origin, summary=f"It stands in {origin}.")
    opened = incident(title=f"A log does not answer: {origin}")
    message = compose(telling(found, incident=opened, certificate_logs={origin: called}), OPTIONS)
    assert message.title.endswith(f"A log does not answer: {called}")
    assert f"It stands in {called}." in words(message)
    assert f"certificate log: {called}, index 1" in words(message).replace("*", "")


def test_a_new_certificate_in_the_thread_is_called_one() -> None:
    reply = compose(of_certificates(ISSUED, kind=DeliveryKind.SIGNATURE), OPTIONS)
    assert reply.title.startswith("New certificate in #12")
    assert compose(telling(BRANCH, kind=DeliveryKind.SIGNATURE), OPTIONS).title.startswith("New signature in #12")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_the_rulebook_can_be_worded(rule: str) -> None:
    finding = signed(rule)
    for kind in DeliveryKind:
        message = compose(telling(finding, kind=kind), OPTIONS)
        assert RULES[rule].title in message.title or message.sections


@settings(deadline=None)
@given(st.text(), st.text(), st.text(), st.sampled_from(DeliveryKind))
def test_wording_takes_any_foreign_text(identity: str, fact: str, run: str, kind: DeliveryKind) -> None:
    finding = replace(BRANCH, identity=identity, facts=(Fact("ref", fact, fact),), run=run, summary=identity)
    assert compose(telling(finding, kind=kind), OPTIONS).sections


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (42, "42 s"), (90, "1 min 30 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (86_405, "1 d")],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: int, expected: str) -> None:
    assert duration(timedelta(seconds=seconds)) == expected
