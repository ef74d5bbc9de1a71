"""Which leaves of a Rekor v1 server were integrated in a stretch of time: found by looking at the times of few of them.

The times are the server's word, covered by no tree: whoever asks leaves a margin on both sides. Nothing is proven here, only found;
what lies in the window is read and proven like every other leaf.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.errors import NotFoundError
from monitor.model.log import Block, LogState
from monitor.store import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.store.engine import Store
    from monitor.watch.fleet import V1Server
    from monitor.watch.follow import Follower

_NEAR = 64
"""Leaves by which a border may be off, to the safe side: reading as many costs what finding it would."""
_GUESSES = 4
"""Rounds of guessing where a border lies by the log's growth, before halving only."""
_WIDER = 8
_REMEMBERED = 20_000
_SETTLED = timedelta(minutes=2)
"""A log that is asked this long after a window's end shows all that was integrated in it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Leaves [begin, end) of one shard."""

    follower: Follower
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """The leaves of a stretch of time, as far as they are signed. `whole`: no other can come to be in it."""

    parts: tuple[Part, ...]
    whole: bool


@dataclass(slots=True)
class _Bracket:
    """Where the first leaf after a moment lies: above `low`, not above `high`; with the times there, where they are known."""

    low: int
    high: int
    low_time: datetime | None = None
    high_time: datetime | None = None

    @property
    def middle(self) -> int:
        return (self.low + self.high) // 2

    def guess(self, moment: datetime) -> int:
        """Where it lies if the log grew evenly in between."""
        if self.low_time is None or self.high_time is None or self.high_time <= self.low_time:
            return self.middle
        share = (moment - self.low_time) / (self.high_time - self.low_time)
        return self.low + round(min(max(share, 0.0), 1.0) * (self.high - self.low))

    def within(self, index: int) -> int:
        return min(max(index, self.low + 1), self.high - 1)

    def narrow(self, index: int, time: datetime, moment: datetime) -> None:
        if time > moment:
            self.high, self.high_time = index, time
        else:
            self.low, self.low_time = index, time


@dataclass(slots=True)
class Windows:
    """Finds windows. It remembers the times it saw, for they never change; a restart looks again."""

    store: Store
    clock: Callable[[], datetime]
    _times: dict[str, dict[int, datetime]] = field(default_factory=dict)

    async def find(self, server: V1Server, first: datetime, last: datetime) -> Window:
        """The leaves integrated in [first, last], and some beside them. Raises FetchError and FormatError."""
        parts: list[Part] = []
        whole = True
        for follower in reversed(server.shards):
            settled = _settled(follower, server, last)
            target = await follower.target()
            size = target.size if target else 0
            begun = await self._border(follower, first - timedelta(microseconds=1), size) if size else _Bracket(-1, 0)
            end = size
            ended = False
            if size and self.clock() > last:
                border = await self._border(follower, last, size)
                end, ended = border.high, border.high < size
            if begun.low + 1 < end:
                parts.append(Part(follower, begun.low + 1, end))
            whole = whole and (ended or settled)
            if begun.low >= 0:
                break
        return Window(tuple(reversed(parts)), whole)

    async def _border(self, follower: Follower, moment: datetime, size: int) -> _Bracket:
        """Where the first of `size` leaves integrated after `moment` lies, to within a few; `high` is `size` when there is none."""
        bracket = self._known(follower, moment, size)
        seen = await self._seen(follower, moment)
        if bracket.low < seen < bracket.high:
            with suppress(NotFoundError):
                bracket.narrow(*await self._time(follower, seen, bracket), moment)
        if bracket.high == size and bracket.low < size - 1:
            at, time = await self._time(follower, size - 1, _Bracket(bracket.low, size))
            bracket.narrow(at, time, moment)
            if time <= moment:
                return _Bracket(at, size, time)
        width = _NEAR // 2
        for _round in range(_GUESSES):
            if bracket.high - bracket.low <= _NEAR:
                break
            middle = bracket.guess(moment)
            for probe in (middle - width, middle + width):
                if bracket.low < probe < bracket.high:
                    bracket.narrow(*await self._time(follower, probe, bracket), moment)
            width *= _WIDER
        while bracket.high - bracket.low > _NEAR:
            bracket.narrow(*await self._time(follower, bracket.middle, bracket), moment)
        return bracket

    def _known(self, follower: Follower, moment: datetime, size: int) -> _Bracket:
        """The narrowest bracket that needs no asking: between leaves looked at before."""
        bracket = _Bracket(-1, size)
        for index, time in self._times.get(follower.followed.origin, {}).items():
            if time <= moment and index > bracket.low:
                bracket.low, bracket.low_time = index, time
            elif time > moment and index < bracket.high:
                bracket.high, bracket.high_time = index, time
        return bracket if bracket.low < bracket.high else _Bracket(-1, size)  # its times do not grow

    async def _seen(self, follower: Follower, moment: datetime) -> int:
        """The last leaf that was signed at `moment` by our clock, -1 where none was seen: a guess, for that clock may be wrong."""
        async with self.store.read() as tx:
            seen = await logs.seen_by(tx, follower.followed.origin, moment)
        return seen.size - 1 if seen is not None else -1

    async def _time(self, follower: Follower, index: int, bracket: _Bracket) -> tuple[int, datetime]:
        """When a leaf was integrated, or one beside it within the bracket; NotFoundError when the log gives none of them."""
        times = self._times.setdefault(follower.followed.origin, {})
        if len(times) > _REMEMBERED:
            times.clear()
        for beside in (index, index + 1, index - 1, index + 2, index - 2):
            if not bracket.low < beside < bracket.high:
                continue
            if beside in times:
                return beside, times[beside]
            async with aclosing(follower.log.blocks(beside, beside + 1, beside + 1)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Block) and piece.promises:
                        times[beside] = piece.promises[0].integrated_time
                        return beside, times[beside]
        raise NotFoundError(
            f"{follower.followed.origin} gives neither leaf {index} nor those beside it: when it grew there cannot be told",
            cure="nothing: it is asked for again",
        )


def _settled(follower: Follower, server: V1Server, last: datetime) -> bool:
    """Whether a shard was asked when it had all that it will ever have of a window that is over at `last`.

    What was asked for before may lack leaves of it, whatever is signed since. One that ended has all, asked as such or later.
    """
    if follower.followed.state is LogState.ENDED:
        return follower.reached is not None
    return _after(follower.reached, last) and _after(server.listed_at, last)


def _after(moment: datetime | None, last: datetime) -> bool:
    return moment is not None and moment > last + _SETTLED
