from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.reading.ordered import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(-1, 7))
def test_results_come_in_order_and_no_more_are_held_than_the_width(delays: list[int], width: int) -> None:
    held = most = 0

    async def work(job: tuple[int, int]) -> int:
        nonlocal held, most
        held += 1
        most = max(most, held)
        number, delay = job
        for _ in range(delay):
            await asyncio.sleep(0)
        return number

    async def scene() -> list[int]:
        nonlocal held
        results = []
        async for number in in_order(enumerate(delays), work, lambda: width):
            for _ in range(3):  # the consumer is slow: what is in its hands counts
                await asyncio.sleep(0)
            results.append(number)
            held -= 1
        return results

    assert asyncio.run(scene()) == list(range(len(delays)))
    assert most <= max(1, width)


async def test_the_width_may_change_on_the_way() -> None:
    width, busy, seen = 1, 0, []

    async def work(job: int) -> int:
        nonlocal busy
        busy += 1
        seen.append(busy)
        await asyncio.sleep(0.001)
        busy -= 1
        return job

    def widest() -> int:
        return width

    async for job in in_order(range(30), work, widest):
        width = 6 if job < 15 else 1
    assert max(seen) == 6
    assert seen[-5:] == [1] * 5


async def test_the_first_failure_in_order_is_raised_after_what_came_before_it() -> None:
    done: list[int] = []
    cancelled: list[int] = []

    async def work(job: int) -> int:
        if job == 3:
            raise ValueError("three")
        if job == 4:
            raise KeyError("four, earlier")
        try:
            await asyncio.sleep(0.001 if job < 3 else 60)
        except asyncio.CancelledError:
            cancelled.append(job)
            raise
        return job

    with pytest.raises(ValueError, match="three"):
        done.extend([job async for job in in_order(range(10), work, lambda: 8)])
    assert cancelled == [5, 6, 7, 8, 9][: len(cancelled)]
    assert cancelled


async def test_a_consumer_that_stops_early_ends_what_is_under_way_and_takes_no_more_jobs() -> None:
    ended: list[int] = []
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(100):
            taken.append(job)
            yield job

    async def work(job: int) -> int:
        try:
            await asyncio.sleep(0 if job == 0 else 60)
        finally:
            ended.append(job)
        return job

    async with aclosing(in_order(jobs(), work, lambda: 4)) as results:
        async for _ in results:
            break
    assert sorted(ended) == [0, 1, 2, 3]
    assert taken == [0, 1, 2, 3]


async def test_no_jobs_give_no_results() -> None:
    async def work(job: int) -> int:
        return job

    assert [job async for job in in_order((), work, lambda: 4)] == []
