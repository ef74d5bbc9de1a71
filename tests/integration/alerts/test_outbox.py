from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from monitor.alerts import handling, outbox, wording
from monitor.alerts.ports import OutcomeUnknownError
from monitor.alerts.routing import Route
from monitor.errors import DeliveryError
from monitor.model.finding import Severity
from monitor.model.incident import DeliveryKind, DeliveryState
from monitor.store import health
from tests.integration.alerts.desk import Desk
from tests.unit.alerts.examples import RUN, MemorySink, of_log, of_source, signed, stranger

if TYPE_CHECKING:
    from monitor.model.health import Condition

RUNS = [f"{RUN}{n}" for n in range(100)]


class Killed(BaseException):
    """Ends the program wherever it stands."""


def down(_act: str) -> None:
    raise DeliveryError("cannot connect")


def silent(_act: str) -> None:
    raise OutcomeUnknownError("no answer")


async def failing(desk: Desk, sink: str = "memory") -> Condition | None:
    async with desk.store.read() as tx:
        found = [c for c in await health.conditions(tx) if c.rule == "delivery-failing" and c.source == sink]
    return found[0] if found else None


async def test_the_worst_incident_goes_first_and_equals_in_the_order_of_their_making(any_desk: Desk) -> None:
    for number, rule in enumerate(
        ("unusual-build", "identity-casing", "branch-ref", "late-signature", "foreign-caller")
    ):
        await any_desk.gather(signed(rule, number=number, run=RUNS[number]))
        any_desk.wait(seconds=1)
    await any_desk.deliver()
    told = [post.message.severity for post in any_desk.memory.posts]
    assert told == sorted(told, reverse=True)
    assert "Our identity on a branch" in any_desk.titles()[0]


async def test_an_incident_that_grew_critical_while_it_waited_goes_before_all_lesser_ones(desk: Desk) -> None:
    desk.memory.fail = down
    await desk.tell(signed("unusual-build", number=1, run=RUNS[1]))
    await desk.tell(signed("identity-casing", number=2, run=RUNS[2]))
    await desk.gather(signed("branch-ref", number=1, run=RUNS[1]))
    desk.memory.fail = None
    desk.wait(hours=1)
    await desk.deliver()
    assert desk.memory.posts[0].message.severity is Severity.CRITICAL
    assert desk.memory.posts[0].message.page


async def test_within_an_incident_order_is_kept_whatever_fails(desk: Desk) -> None:
    await desk.tell(signed("unusual-build", number=1))
    desk.memory.fail = silent
    for number, rule in ((2, "late-signature"), (3, "branch-ref"), (4, "unusual-build"), (5, "foreign-caller")):
        await desk.tell(signed(rule, number=number))
        desk.wait(minutes=5)
    desk.memory.fail = None
    await desk.drain()
    sequence = [d for d in await desk.deliveries() if d.kind is not DeliveryKind.STATE]
    assert [d.state for d in sequence] == [DeliveryState.SENT] * len(sequence)
    numbers = [each for d in sequence for each in d.finding_ids]
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    sent = [d.sent_at for d in sequence]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(sent))


async def test_slack_down_for_an_hour_delays_everything_and_loses_nothing(any_desk: Desk) -> None:
    any_desk.memory.fail = down
    for minute in range(60):
        rule = ("unusual-build", "identity-casing", "branch-ref")[minute % 3]
        await any_desk.tell(signed(rule, number=minute, run=RUNS[minute % 10]))
        any_desk.wait(minutes=1)
    assert any_desk.memory.posts == []
    any_desk.memory.fail = None
    await any_desk.drain()
    posts = [p for p in any_desk.memory.posts if p.thread is None]
    assert len(posts) == 10
    assert [p.message.severity for p in posts] == sorted((p.message.severity for p in posts), reverse=True)
    for incident in await any_desk.incidents():
        told = [each for d in await any_desk.deliveries(incident.id) for each in d.finding_ids]
        assert len(told) == incident.count


async def test_a_dead_sink_costs_two_attempts_a_pass_and_backs_off(desk: Desk) -> None:
    desk.memory.fail = down
    await desk.gather(*(signed(number=n, run=RUNS[n]) for n in range(50)))
    for _ in range(20):
        await desk.deliver()
    assert desk.memory.attempts == 2
    hour = desk.now + timedelta(hours=1)
    while desk.now < hour:
        await desk.deliver()
        desk.wait(seconds=10)
    assert desk.memory.attempts < 2 * 70


async def test_a_message_that_never_gets_through_holds_up_no_other(desk: Desk) -> None:
    sink = desk.memory
    poison = "Our identity on a branch"
    real = sink.send

    async def send(message: object, **more: object) -> str | None:
        if poison in getattr(message, "title", ""):
            raise OutcomeUnknownError("no answer")
        return await real(message, **more)  # type: ignore[arg-type]  # passed on as it came

    sink.send = send  # type: ignore[method-assign]  # one message fails for ever
    await desk.gather(signed("branch-ref", number=1, run=RUNS[1]))
    for number in range(2, 8):
        await desk.gather(signed("identity-casing", number=number, run=RUNS[number]))
    for _ in range(30):
        await desk.deliver()
        desk.wait(seconds=30)
    assert len(sink.posts) == 6


async def test_retry_after_is_kept_across_a_restart_and_stops_every_attempt(any_desk: Desk) -> None:
    def limited(_act: str) -> None:
        raise DeliveryError("too many messages", retry_after=120)

    any_desk.memory.fail = limited
    await any_desk.tell(signed(number=1), signed(number=2, run=RUNS[2]))
    assert any_desk.memory.attempts == 1
    again = Desk(any_desk.store, now=any_desk.now)
    again.wait(seconds=119)
    await again.tell(signed(number=3, run=RUNS[3]))
    assert again.memory.attempts == 0
    assert await outbox.next_due(again.store, again.sinks) == any_desk.now + timedelta(seconds=120)
    again.wait(seconds=1)
    assert await again.deliver() == 3


async def test_a_retry_after_without_reason_is_bounded(desk: Desk) -> None:
    def limited(_act: str) -> None:
        raise DeliveryError("too many messages", retry_after=10**9)

    desk.memory.fail = limited
    await desk.tell(signed())
    due = await outbox.next_due(desk.store, desk.sinks)
    assert due == desk.now + desk.options.wait_most


async def test_what_arrived_before_a_kill_is_found_and_not_doubled(any_desk: Desk) -> None:
    def killed() -> None:
        raise Killed

    any_desk.memory.lose = killed
    await any_desk.gather(signed())
    with pytest.raises(Killed):
        await any_desk.deliver()
    any_desk.memory.lose = None
    (claimed,) = await any_desk.deliveries()
    assert (claimed.state, claimed.unknown_outcome, claimed.attempts) == (DeliveryState.PENDING, True, 1)
    assert await any_desk.deliver() == 1
    assert len(any_desk.memory.posts) == 1
    (told,) = await any_desk.deliveries()
    assert (told.state, told.message_id, told.unknown_outcome) == (DeliveryState.SENT, "C1/1.0", False)


async def test_what_did_not_arrive_is_sent_again_and_marked_a_repeat(desk: Desk) -> None:
    desk.memory.fail = silent
    await desk.tell(signed())
    desk.memory.fail = None
    desk.wait(minutes=2)
    await desk.deliver()
    assert [post.repeat for post in desk.memory.posts] == [True]


async def test_where_nobody_can_look_an_unknown_attempt_is_repeated_marked(desk: Desk) -> None:
    webhook = MemorySink(name="memory", edits=False, threads=False)
    desk.route(webhook)
    webhook.lose = lambda: silent("send")
    await desk.tell(signed())
    webhook.lose = None
    desk.wait(minutes=2)
    await desk.deliver()
    assert [post.repeat for post in webhook.posts] == [False, True]


async def test_a_certain_failure_is_sent_again_without_a_mark(desk: Desk) -> None:
    desk.memory.fail = down
    await desk.tell(signed())
    desk.memory.fail = None
    desk.wait(minutes=2)
    await desk.deliver()
    assert [post.repeat for post in desk.memory.posts] == [False]


async def test_a_sink_that_hangs_is_left_and_its_message_looked_for_later(desk: Desk) -> None:
    desk.options = replace(desk.options, attempt_timeout=0.05)
    sink = desk.memory
    real = sink.send

    async def hang(message: object, **more: object) -> str | None:
        await real(message, **more)  # type: ignore[arg-type]  # passed on as it came
        await asyncio.sleep(30)
        return None

    sink.send = hang  # type: ignore[method-assign]  # it takes the message and never answers
    assert await desk.tell(signed()) == 0
    desk.wait(minutes=2)
    assert await desk.deliver() == 1
    assert len(sink.posts) == 1


async def test_one_dead_sink_does_not_delay_another(desk: Desk) -> None:
    dead, well = MemorySink(name="dead", fail=down), MemorySink(name="well")
    desk.route(dead, well)
    assert await desk.tell(*(signed(number=n, run=RUNS[n]) for n in range(5))) == 5
    assert (len(dead.posts), len(well.posts)) == (0, 5)


async def test_a_sinks_own_fault_is_a_failed_attempt_and_not_the_daemons_end(desk: Desk) -> None:
    def broken(_act: str) -> None:
        raise RuntimeError("a bug")

    desk.memory.fail = broken
    assert await desk.tell(signed()) == 0
    condition = await failing(desk)
    assert condition is not None
    assert "a bug" in condition.error


async def test_a_fault_in_wording_still_tells_the_finding(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(wording, "compose", broken)
    assert await desk.tell(signed()) == 1
    assert "Our identity on a branch" in str(desk.memory.posts[0].message.sections)


async def test_a_failing_sink_is_written_into_health_and_its_recovery_too(desk: Desk) -> None:
    desk.memory.fail = down
    await desk.tell(signed())
    condition = await failing(desk)
    assert condition is not None
    assert "cannot connect" in condition.error
    assert condition.failing_since == desk.now
    desk.memory.fail = None
    desk.wait(minutes=2)
    for _ in range(3):
        await desk.deliver()
    condition = await failing(desk)
    assert condition is not None
    assert condition.good_passes >= health.RECOVERED_AFTER


async def test_a_well_and_idle_sink_writes_nothing(desk: Desk) -> None:
    await desk.tell(signed())
    await desk.deliver()
    assert await failing(desk) is None


async def test_what_is_refused_for_good_is_parked_and_reported_until_its_incident_is_resolved(desk: Desk) -> None:
    other = MemorySink(name="other")
    desk.route(desk.memory, other)

    def refused(_act: str) -> None:
        raise DeliveryError("invalid_blocks", permanent=True)

    desk.sinks[0].fail = refused  # type: ignore[attr-defined]  # a memory sink
    await desk.tell(signed())
    assert [d.state for d in await desk.deliveries()] == [DeliveryState.PARKED, DeliveryState.SENT]
    desk.memory.fail = None
    await desk.tell(signed(number=2, run=RUNS[2]))
    condition = await failing(desk)
    assert condition is not None
    assert "refused for good" in condition.error
    assert condition.good_passes == 0
    await handling.resolve(desk.store, 1, "ada", "read elsewhere", desk.now)
    for _ in range(3):
        desk.wait(minutes=2)
        await desk.deliver()
    condition = await failing(desk)
    assert condition is not None
    assert condition.good_passes >= health.RECOVERED_AFTER


async def test_what_follows_a_parked_message_is_still_told(desk: Desk) -> None:
    def refused(_act: str) -> None:
        raise DeliveryError("invalid_blocks", permanent=True)

    desk.memory.fail = refused
    await desk.tell(signed(number=1))
    desk.memory.fail = None
    await desk.tell(signed(number=2))
    (post,) = desk.memory.posts
    assert post.thread is None
    assert "#1" in post.message.title


async def test_what_waits_for_a_sink_that_is_gone_is_told_through_the_first_that_is_there(any_desk: Desk) -> None:
    any_desk.memory.fail = down
    await any_desk.tell(signed(number=1), stranger(2), signed("branch-ref", number=3, run=RUNS[3]))
    slack = MemorySink(name="slack")
    any_desk.route(slack)
    any_desk.wait(minutes=2)
    assert await any_desk.deliver() == 3
    assert [p.message.severity for p in slack.posts] == [Severity.CRITICAL, Severity.CRITICAL, Severity.LOW]
    assert await any_desk.deliver() == 0


async def test_a_sink_that_was_added_learns_of_an_open_incident_as_a_whole(desk: Desk) -> None:
    await desk.tell(signed(number=1))
    late = MemorySink(name="late")
    desk.route(desk.memory, late)
    await desk.tell(signed(number=2))
    (post,) = late.posts
    assert post.thread is None
    assert "These are 2 signatures." in str(post.message.sections)


async def test_a_route_for_the_worst_only_opens_when_an_incident_grows_that_bad(desk: Desk) -> None:
    pager = MemorySink(name="pager")
    desk.sinks = (pager, MemorySink())
    desk.options = replace(desk.options, routes=(Route("pager", Severity.CRITICAL), Route("memory")))
    await desk.tell(signed("unusual-build", number=1))
    assert pager.posts == []
    await desk.tell(signed("branch-ref", number=1))
    assert len(pager.posts) == 1
    assert "Also low" in str(pager.posts[0].message.sections)


async def test_edits_carry_state_and_never_call_anybody(desk: Desk) -> None:
    await desk.tell(signed())
    await handling.acknowledge(desk.store, 1, "ada", "looking", desk.now)
    await desk.deliver()
    ((message_id, edited),) = desk.memory.changed
    assert message_id == "C1/1.0"
    assert edited.state is not None
    assert edited.state.value == "acknowledged"
    assert not edited.page


async def test_a_sink_without_edits_and_threads_is_told_states_as_messages(desk: Desk) -> None:
    webhook = MemorySink(name="memory", edits=False, threads=False)
    desk.route(webhook)
    await desk.tell(signed())
    await handling.resolve(desk.store, 1, "ada", "a drill", desk.now)
    await desk.drain()
    assert [post.thread for post in webhook.posts] == [None, None]
    assert "resolved" in webhook.posts[1].message.title


async def test_a_pass_is_bounded(desk: Desk) -> None:
    desk.options = replace(desk.options, batch=3)
    await desk.put(*(signed(number=n, run=RUNS[n]) for n in range(8)))
    for _ in range(3):
        await desk.gather()
    assert [await desk.deliver() for _ in range(4)] == [3, 3, 2, 0]


async def test_two_passes_at_once_tell_nothing_twice(any_desk: Desk) -> None:
    await any_desk.gather(*(signed(number=n, run=RUNS[n]) for n in range(10)), of_log(), of_source())
    told = await asyncio.gather(any_desk.deliver(), any_desk.deliver(), any_desk.deliver())
    assert sum(told) == 12
    assert len({post.marker for post in any_desk.memory.posts}) == len(any_desk.memory.posts) == 12


async def test_markers_differ_between_databases(desk: Desk) -> None:
    await desk.tell(signed())
    (first,) = desk.memory.posts
    number, _, moment = first.marker.partition(".")
    assert number == "1"
    assert int(moment) == int(desk.now.timestamp() * 1_000_000)


async def test_what_waits_behind_another_is_not_due_before_it(desk: Desk) -> None:
    desk.memory.fail = silent
    await desk.tell(signed("branch-ref", number=1))
    await desk.gather(signed("branch-ref", number=2))
    assert len(await desk.deliveries()) == 2
    assert await outbox.next_due(desk.store, desk.sinks) == desk.now + desk.options.backoff_first
