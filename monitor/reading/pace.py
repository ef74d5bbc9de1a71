"""How fast one server is asked: a ceiling on requests a second, and a window of requests in flight that it can shrink.

The window grows by one for each round of answers and is halved when the server asks for less (429, 503), once for all
requests that were under way together. A Retry-After holds every request back. It knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from monitor.errors import FetchError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ASKS_FOR_LESS = frozenset({429, 503})
_FIRST_WINDOW = 4
_COUNTED = 1000
_TOLERANCE = 1e-6


class Pace:
    """A `fetch.Gate` for all requests to one server.

    `requests_per_second` is never exceeded, not even by a burst; `in_flight` is the widest window. A wait that the
    server asked for and that is longer than `patience` seconds is not waited for: `enter` raises RateLimitedError.
    """

    def __init__(
        self,
        requests_per_second: float,
        in_flight: int,
        *,
        patience: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start with a window of four, or less where `in_flight` is less."""
        if requests_per_second <= 0 or in_flight < 1:
            raise ValueError(f"cannot ask {requests_per_second} requests a second, {in_flight} in flight")
        self._interval = 1.0 / requests_per_second
        self._widest = float(in_flight)
        self._window = min(float(_FIRST_WINDOW), self._widest)
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._next_slot = clock()
        self._left: deque[float] = deque(maxlen=max(1, min(int(requests_per_second), _COUNTED)))
        """When the last requests left, of those that a second may see: who was kept from leaving in time must not leave all at once."""
        self._silent_until = clock()
        self._halved_at = float("-inf")

    @property
    def window(self) -> int:
        """How many requests may be in flight now."""
        return int(self._window)

    async def enter(self) -> float:
        """Wait for a place in the window and a slot of the rate; the ticket is the moment of leaving for the server."""
        while self._active >= self.window:
            await self._turn()
        self._active += 1
        try:
            return await self._slot()
        except BaseException:
            self._release()
            raise

    def leave(self, ticket: float, error: BaseException | None) -> None:
        """Give the place back, and let the window follow what the server said."""
        if error is None:
            self._window = min(self._widest, self._window + 1.0 / self._window)
        elif isinstance(error, FetchError) and error.status in _ASKS_FOR_LESS:
            if ticket > self._halved_at:
                self._window = max(1.0, self._window / 2.0)
                self._halved_at = self._clock()
            if isinstance(error, RateLimitedError):
                self._silent_until = max(self._silent_until, self._clock() + error.retry_after)
        self._release()

    async def _slot(self) -> float:
        while True:
            now = self._clock()
            if self._silent_until - now > self._patience:
                left = self._silent_until - now
                raise RateLimitedError(f"the server asked for silence, {left:.0f} s of it are left", retry_after=left)
            at = max(now, self._next_slot, self._silent_until)
            self._next_slot = at + self._interval
            if at > now:
                await self._sleep(at - now)
            while (wait := self._crowded()) > _TOLERANCE:
                await self._sleep(wait)
            if self._silent_until <= self._clock():
                self._left.append(self._clock())
                return self._left[-1]

    def _crowded(self) -> float:
        """Seconds until the last requests to leave are no more than the ceiling allows, however late they were for their slots."""
        if self._left.maxlen is None or len(self._left) < self._left.maxlen:
            return 0.0
        return self._left[0] + self._left.maxlen * self._interval - self._clock()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()  # our turn came while we were being cancelled: it is the next one's
            raise

    def _release(self) -> None:
        self._active -= 1
        self._wake()

    def _wake(self) -> None:
        room = self.window - self._active
        while room > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1
