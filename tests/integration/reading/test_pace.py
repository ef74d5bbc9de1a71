from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import FetchError, RateLimitedError
from monitor.reading.pace import Pace

OVERLOADED = FetchError("503", status=503)


class Clock:
    """Time that passes only while somebody sleeps, to the earliest of the moments that are slept for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    async def run(self) -> None:
        """Let everybody go on until nobody sleeps any more."""
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self._sleepers:
                return
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            moment, future = self._sleepers.pop(0)
            self.now = max(self.now, moment)
            if not future.done():
                future.set_result(None)


def paced(clock: Clock, rate: float = 10.0, in_flight: int = 8) -> Pace:
    return Pace(rate, in_flight, clock=clock, sleep=clock.sleep)


@given(
    rate=st.floats(0.5, 50.0),
    in_flight=st.integers(1, 12),
    refusals=st.lists(st.sampled_from([None, OVERLOADED, FetchError("x", status=500)]), max_size=30),
)
def test_no_second_ever_sees_more_requests_than_the_ceiling(
    rate: float, in_flight: int, refusals: list[FetchError | None]
) -> None:
    async def scene() -> list[float]:
        clock = Clock()
        pace = paced(clock, rate, in_flight)
        sent: list[float] = []

        async def request(outcome: FetchError | None) -> None:
            ticket = await pace.enter()
            sent.append(clock.now)
            await asyncio.sleep(0)
            pace.leave(ticket, outcome)

        async with asyncio.TaskGroup() as group:
            for outcome in [*refusals, *[None] * 30]:
                group.create_task(request(outcome))
            await clock.run()
        return sent

    sent = asyncio.run(scene())
    assert all(later - earlier >= 1 / rate - 1e-6 for earlier, later in itertools.pairwise(sent))


class Tardy(Clock):
    """A clock on a busy machine: who sleeps is woken late, and those who slept meanwhile all at once."""

    async def run(self) -> None:
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self._sleepers:
                return
            self.now = max(self.now, min(moment for moment, _ in self._sleepers)) + 0.35
            due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.now]
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.now]
            for _, future in due:
                future.set_result(None)


@pytest.mark.parametrize("rate", [20.0, 2.5, 0.7])
async def test_requests_that_are_late_do_not_make_up_for_it_beyond_the_ceiling(rate: float) -> None:
    clock = Tardy()
    pace = paced(clock, rate, 16)
    sent: list[float] = []

    async def request() -> None:
        ticket = await pace.enter()
        sent.append(clock.now)
        await clock.sleep(0.1)
        pace.leave(ticket, None)

    async with asyncio.TaskGroup() as group:
        for _ in range(120):
            group.create_task(request())
        await clock.run()

    allowed = max(1, int(rate))
    assert len(sent) == 120
    assert all(later - earlier >= allowed / rate - 1e-5 for earlier, later in zip(sent, sent[allowed:], strict=False))


async def test_the_window_grows_by_one_for_each_round_of_answers_up_to_its_width() -> None:
    clock = Clock()
    pace = paced(clock, 1e9, 6)
    sizes = [pace.window]
    for _ in range(60):
        pace.leave(await entered(pace, clock), None)
        sizes.append(pace.window)
    assert sizes[0] == 4
    assert sizes[-1] == 6
    assert sizes == sorted(sizes)
    assert sizes.index(5) >= 4


async def entered(pace: Pace, clock: Clock) -> float:
    task = asyncio.ensure_future(pace.enter())
    await clock.run()
    return await task


async def test_a_refusal_halves_the_window_once_for_all_that_were_under_way_and_never_below_one() -> None:
    clock = Clock()
    pace = paced(clock, 1e9, 16)
    for _ in range(300):
        pace.leave(await entered(pace, clock), None)
    assert pace.window == 16
    under_way = [await entered(pace, clock) for _ in range(16)]
    clock.now += 1
    for ticket in under_way:
        pace.leave(ticket, OVERLOADED)
    assert pace.window == 8
    for expected in (4, 2, 1, 1):
        clock.now += 1
        pace.leave(await entered(pace, clock), RateLimitedError("429", retry_after=0.0, status=429))
        assert pace.window == expected


async def test_other_failures_leave_the_window_as_it_is() -> None:
    clock = Clock()
    pace = paced(clock)
    for error in (FetchError("x"), FetchError("x", status=500), ValueError("x"), asyncio.CancelledError()):
        pace.leave(await entered(pace, clock), error)
    assert pace.window == 4


async def test_a_retry_after_holds_back_every_request_even_those_already_waiting() -> None:
    clock = Clock()
    pace = paced(clock, 1.0, 8)
    first = await entered(pace, clock)
    sent: list[float] = []

    async def request() -> None:
        ticket = await pace.enter()
        sent.append(clock.now)
        pace.leave(ticket, None)

    tasks = [asyncio.ensure_future(request()) for _ in range(3)]
    await asyncio.sleep(0)
    told = clock.now
    pace.leave(first, RateLimitedError("429", retry_after=30.0, status=429))
    await clock.run()
    await asyncio.gather(*tasks)
    assert len(sent) == 3
    assert min(sent) >= told + 30.0


async def test_a_silence_longer_than_our_patience_is_an_error_at_once_and_ends_by_itself() -> None:
    clock = Clock()
    pace = paced(clock)
    pace.leave(await entered(pace, clock), RateLimitedError("429", retry_after=3600.0, status=429))
    for _ in range(20):
        with pytest.raises(RateLimitedError, match="asked for silence"):
            await pace.enter()
    clock.now += 3600
    pace.leave(await entered(pace, clock), None)


async def test_no_more_requests_are_under_way_than_the_window_is_wide() -> None:
    clock = Clock()
    pace = paced(clock, 1e9, 3)
    tickets = [await entered(pace, clock) for _ in range(3)]
    late = asyncio.ensure_future(pace.enter())
    await clock.run()
    assert not late.done()
    pace.leave(tickets[0], None)
    await clock.run()
    assert late.done()


async def test_places_of_cancelled_requests_are_not_lost() -> None:
    clock = Clock()
    pace = paced(clock, 1e9, 1)
    ticket = await entered(pace, clock)
    for moment in ("before its turn", "as its turn comes"):
        waiting = [asyncio.ensure_future(pace.enter()) for _ in range(2)]
        await clock.run()
        if moment == "before its turn":
            waiting[0].cancel()
            pace.leave(ticket, None)
        else:
            pace.leave(ticket, None)
            waiting[0].cancel()
        await clock.run()
        assert waiting[0].cancelled()
        ticket = await asyncio.wait_for(waiting[1], 1)
    slow = paced(clock, 0.1, 1)
    slow.leave(await entered(slow, clock), None)
    sleeping = asyncio.ensure_future(slow.enter())
    await asyncio.sleep(0)
    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    await asyncio.wait_for(entered(slow, clock), 1)


@pytest.mark.parametrize(("rate", "in_flight"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_a_pace_that_would_never_ask_is_refused(rate: float, in_flight: int) -> None:
    with pytest.raises(ValueError, match="cannot ask"):
        Pace(rate, in_flight)
