"""Doing many pieces of work side by side and handing their results out in the order of the pieces.

It bounds how much is held: at most `width` results exist at once, the one in the consumer's hands included.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

Job = TypeVar("Job")
Result = TypeVar("Result")


async def in_order(
    jobs: Iterable[Job], work: Callable[[Job], Coroutine[None, None, Result]], width: Callable[[], int]
) -> AsyncGenerator[Result, None]:
    """Yield `work(job)` of every job, in the order of the jobs, as many in flight as `width()` says at that moment.

    The first failure, in that order, is raised and ends the rest. When the consumer stops early, close the iterator
    (`contextlib.aclosing`): what is still in flight is cancelled then.
    """
    remaining = iter(jobs)
    flying: deque[asyncio.Task[Result]] = deque()
    try:
        while True:
            room = max(1, width()) - len(flying)
            flying.extend(asyncio.ensure_future(work(job)) for job in islice(remaining, max(0, room)))
            if not flying:
                return
            result = await flying[0]
            flying.popleft()
            yield result
            del result
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
