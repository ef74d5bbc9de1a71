from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.alerts import handling
from monitor.alerts import incidents as gathering
from monitor.model.finding import Category, Severity
from monitor.model.incident import DeliveryKind, IncidentState
from monitor.store import findings
from monitor.store.engine import Store
from tests.integration.alerts.desk import Desk
from tests.statements import statements
from tests.unit.alerts.examples import OTHER_RUN, RUN, THIRD_RUN, V1, V2, of_log, of_source, signed, stranger

if TYPE_CHECKING:
    from monitor.model.finding import Finding

POLICY_RUN = {"run": OTHER_RUN, "workflow": "publish-policy.yml"}


async def test_one_act_in_two_logs_by_three_rules_is_one_incident(any_desk: Desk) -> None:
    act = [
        signed(rule, log=log, subject=f"entry:{log}:1:ab#0")
        for log in (V1, V2)
        for rule in ("branch-ref", "unexpected-digest")
    ]
    (incident,) = await any_desk.gather(*act)
    assert incident.count == 4
    assert incident.severity is Severity.CRITICAL
    assert await any_desk.deliver() == 1
    assert [post.thread for post in any_desk.memory.posts] == [None]


async def test_the_worst_finding_heads_the_incident_whichever_came_first(desk: Desk) -> None:
    await desk.gather(signed("unusual-build"))
    (incident,) = await desk.gather(signed("branch-ref"))
    assert incident.severity is Severity.CRITICAL
    assert incident.title.startswith("Our identity on a branch")


async def test_gathering_again_changes_nothing(desk: Desk) -> None:
    await desk.gather(signed(), stranger(2))
    before = (await desk.incidents(), await desk.deliveries(1), await desk.deliveries(2))
    assert await gathering.gather(desk.store, desk.options, desk.now) == 0
    assert await desk.put(signed(), stranger(2)) == []
    await gathering.gather(desk.store, desk.options, desk.now)
    assert (await desk.incidents(), await desk.deliveries(1), await desk.deliveries(2)) == before


async def test_different_runs_are_different_incidents(desk: Desk) -> None:
    assert len(await desk.gather(signed(number=1), signed(number=2, run=OTHER_RUN))) == 2


async def test_the_second_publishing_workflows_run_joins_the_first_and_no_third_does(any_desk: Desk) -> None:
    images, policy = signed(number=1), signed(number=2, **POLICY_RUN)
    third = signed(number=3, run=THIRD_RUN, workflow="publish-policy.yml")
    one, other = await any_desk.gather(images, policy, third)
    assert (one.key, one.joined_key) == (f"run:{RUN}", f"run:{OTHER_RUN}")
    assert other.key == f"run:{THIRD_RUN}"
    assert ("monitor", "joined") in await any_desk.events()
    # And what the joined run signs later belongs there too.
    assert (await any_desk.gather(signed(number=4, **POLICY_RUN)))[0].count == 3


@pytest.mark.parametrize(
    "other",
    [
        signed(number=2, **POLICY_RUN, ref="refs/heads/other"),
        signed(number=2, **POLICY_RUN, commit="0" * 40),
        signed(number=2, run=OTHER_RUN, workflow="other.yml"),
        signed(number=2, run=OTHER_RUN),
        signed(number=2, **POLICY_RUN, ref=None),
        signed(number=2, **POLICY_RUN, trusted=False),
    ],
    ids=[
        "another ref",
        "another commit",
        "no publishing workflow",
        "the same workflow",
        "no ref",
        "an untrusted certificate",
    ],
)
async def test_no_other_run_joins(desk: Desk, other: Finding) -> None:
    assert len(await desk.gather(signed(number=1), other)) == 2


async def test_a_run_joins_nothing_that_is_resolved(desk: Desk) -> None:
    await desk.gather(signed(number=1))
    await handling.resolve(desk.store, 1, "ada", "explained", desk.now)
    _, second = await desk.gather(signed(number=2, **POLICY_RUN))
    assert second.key == f"run:{OTHER_RUN}"


async def test_a_recurrence_of_a_resolved_incident_is_a_new_one_linked_to_it(desk: Desk) -> None:
    await desk.gather(signed(number=1))
    await handling.resolve(desk.store, 1, "ada", "explained", desk.now)
    first, again = await desk.gather(signed(number=2))
    assert first.state is IncidentState.RESOLVED
    assert first.count == 1
    assert (again.previous_id, again.state) == (1, IncidentState.OPEN)
    assert [each.kind for each in await desk.deliveries(2)] == [DeliveryKind.INCIDENT]


async def test_all_history_is_one_incident_with_its_worst_severity_and_one_message_that_calls_nobody(
    desk: Desk,
) -> None:
    old = [signed(number=n, run=f"{RUN}{n}", history=True) for n in range(20)]
    (incident,) = await desk.gather(*old, stranger(99, history=True))
    assert (incident.key, incident.severity, incident.count) == ("baseline", Severity.CRITICAL, 21)
    assert await desk.deliver() == 1
    assert not desk.memory.posts[0].message.page


async def test_later_history_waits_for_company_and_stays_in_the_thread(desk: Desk) -> None:
    await desk.tell(signed(number=1, history=True))
    for number in range(2, 12):
        await desk.gather(signed(number=number, history=True))
        assert await desk.deliver() == 0
        desk.wait(minutes=1)
    desk.wait(hours=1)
    await desk.deliver()
    reply = desk.memory.posts[-1]
    assert len(desk.memory.posts) == 2
    assert (reply.thread, reply.broadcast, reply.message.page) == ("C1/1.0", False, False)
    assert "11 findings" in desk.memory.changed[-1][1].title


async def test_worse_history_is_broadcast_at_once_but_calls_nobody(desk: Desk) -> None:
    await desk.tell(signed("unusual-build", number=1, history=True))
    await desk.tell(signed("branch-ref", number=2, history=True))
    post = desk.memory.posts[-1]
    assert post.broadcast
    assert not post.message.page


async def test_strangers_are_one_incident_a_day_and_never_fold_a_trusted_or_a_critical_one(desk: Desk) -> None:
    storm = [stranger(n) for n in range(50)]
    broken = stranger(90, severity=Severity.CRITICAL)
    made = await desk.gather(*storm, signed(number=80), broken)
    assert {each.key: each.count for each in made} == {f"run:{RUN}": 1, "event:event-90": 1, "day:2026-11-23": 50}
    assert await desk.deliver() == 3
    desk.wait(days=1)
    assert [each.key for each in await desk.gather(stranger(60))][-1] == "day:2026-11-24"


async def test_a_fork_and_an_outage_of_one_log_are_two_incidents(desk: Desk) -> None:
    made = await desk.gather(of_log(), of_source())
    assert {each.category for each in made} == {Category.INTEGRITY, Category.OPERATIONAL}


async def test_a_new_signature_voids_the_acknowledgement_and_another_rule_on_a_known_one_does_not(desk: Desk) -> None:
    await desk.tell(signed("branch-ref", number=1))
    await handling.acknowledge(desk.store, 1, "ada", "looking", desk.now)
    await desk.gather(signed("unexpected-digest", number=1))
    assert (await desk.incident()).state is IncidentState.ACKNOWLEDGED
    await desk.gather(signed("branch-ref", number=2))
    assert (await desk.incident()).state is IncidentState.OPEN
    assert ("monitor", "acknowledgement voided") in await desk.events()


async def test_what_becomes_critical_voids_the_acknowledgement_and_is_a_new_post_that_calls(desk: Desk) -> None:
    await desk.tell(signed("unusual-build", number=1))
    await handling.acknowledge(desk.store, 1, "ada", "looking", desk.now)
    await desk.tell(signed("branch-ref", number=1))
    assert (await desk.incident()).state is IncidentState.OPEN
    post = next(p for p in desk.memory.posts if p.message.page)
    assert post.thread is None
    assert ("monitor", "raised") in await desk.events()


async def test_a_finding_taken_back_before_it_was_gathered_makes_no_incident(desk: Desk) -> None:
    await desk.put(of_source())
    async with desk.store.write() as tx:
        await findings.withdraw(tx, "log-unreachable", of_source().subject, desk.now)
    assert await desk.gather() == []


async def test_the_worst_waiting_finding_is_placed_first(desk: Desk) -> None:
    made = await desk.gather(
        signed("unusual-build", number=1, run=f"{RUN}1"), signed("branch-ref", number=2, run=f"{RUN}2")
    )
    assert [each.severity for each in made] == [Severity.CRITICAL, Severity.LOW]


async def test_a_pass_is_bounded_and_the_next_goes_on(desk: Desk) -> None:
    desk.options = replace(desk.options, batch=7)
    await desk.put(*(signed(number=n) for n in range(20)))
    placed = [await gathering.gather(desk.store, desk.options, desk.now) for _ in range(4)]
    assert placed == [7, 7, 6, 0]


async def test_the_findings_of_one_act_are_placed_with_as_few_statements_as_one(desk: Desk) -> None:
    counts = []
    for run, many in ((RUN, 1), (OTHER_RUN, 60)):
        await desk.put(*(signed(number=100 * many + n, run=run, event=f"{many}.{n}") for n in range(many)))
        with statements() as seen:
            assert await gathering.gather(desk.store, desk.options, desk.now) == many
        counts.append(len(seen))
    assert counts[1] <= counts[0] + 5
    assert [each.count for each in await desk.incidents()] == [1, 60]
    assert len((await desk.deliveries(2))[0].finding_ids) == 60


async def test_findings_placed_at_once_are_told_as_if_they_had_come_one_by_one(desk: Desk, sqlite_url: str) -> None:
    found = [signed("unusual-build", number=1, event="e1"), signed("unusual-build", number=2, event="e2")]
    found += [signed("branch-ref", number=2, event="e2"), stranger(3), stranger(4), of_log("log-forked")]
    found += [replace(signed("branch-ref", number=n, event=f"h{n}"), history=True) for n in range(5, 8)]
    async with await Store.open(f"{sqlite_url}.one") as store:
        single = Desk(store)
        for state in ("before the first message", "after it", "acknowledged"):
            for each in (desk, single):
                each.wait(minutes=1)
                await each.put(
                    *(replace(f, subject=f"{f.subject} {state}", event=f.event and f"{f.event} {state}") for f in found)
                )
            await gathering.gather(desk.store, desk.options, desk.now)
            while await gathering.gather(single.store, replace(single.options, batch=1), single.now):
                pass
            for incident in await desk.incidents():
                assert incident == await single.incident(incident.id), state
                assert await desk.events(incident.id) == await single.events(incident.id), state
                one, other = await desk.deliveries(incident.id), await single.deliveries(incident.id)
                assert [replace(d, id=0) for d in one] == [replace(d, id=0) for d in other], state
            for each in (desk, single):
                await each.deliver()
                if state == "after it":
                    for incident in await each.incidents():
                        await handling.acknowledge(each.store, incident.id, "ada", "on it", each.now)


async def test_a_kill_between_findings_loses_and_repeats_nothing(any_desk: Desk) -> None:
    act = [signed(number=n) for n in range(12)]
    await any_desk.put(*act)
    for _ in range(30):
        task = asyncio.create_task(gathering.gather(any_desk.store, any_desk.options, any_desk.now))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task  # what its exception refers to ends with it
    await gathering.gather(any_desk.store, any_desk.options, any_desk.now)
    (incident,) = await any_desk.incidents()
    assert incident.count == 12
    told = [each for d in await any_desk.deliveries() for each in d.finding_ids]
    assert sorted(told) == list(range(1, 13))


async def test_a_finding_that_grew_worse_is_told_again(desk: Desk) -> None:
    await desk.tell(signed("unusual-build", number=1))
    desk.wait(seconds=5)
    assert await desk.put(replace(signed("unusual-build", number=1), severity=Severity.CRITICAL)) == [1]
    await desk.tell()
    assert (await desk.incident()).severity is Severity.CRITICAL
    assert any(post.message.page for post in desk.memory.posts)


async def test_times_of_an_incident_are_those_of_the_gathering(desk: Desk) -> None:
    (incident,) = await desk.gather(signed())
    assert incident.opened_at == incident.updated_at == desk.now
    desk.wait(minutes=3)
    (later,) = await desk.gather(signed(number=2))
    assert later.opened_at == incident.opened_at
    assert later.updated_at - later.opened_at == timedelta(minutes=3)


async def test_a_certificate_that_signed_nothing_is_no_new_signature_of_its_runs_incident(desk: Desk) -> None:
    await desk.gather(signed(number=1))
    await desk.deliver()
    await handling.acknowledge(desk.store, 1, "ada", "looking", desk.now)
    (incident,) = await desk.gather(signed("unlogged-certificate", number=2, accepted=None, digest=None))
    assert (incident.state, incident.count) == (IncidentState.ACKNOWLEDGED, 2)
    assert [delivery.kind for delivery in await desk.deliveries()][-1] is not DeliveryKind.SIGNATURE
