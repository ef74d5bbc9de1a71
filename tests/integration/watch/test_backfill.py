"""Backfill reads exactly what is missing, proves each chunk by itself, and believes neither the log nor its own workers."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from monitor.errors import SettingsError
from monitor.fetch import FetchOptions
from monitor.model.filters import Page
from monitor.model.log import Protocol
from monitor.rekor import v2
from monitor.store import logs
from monitor.store.engine import Store
from monitor.testbed.ca import Claims
from monitor.watch import backfill
from monitor.watch.backfill import Hands, Progress
from monitor.watch.options import WatchOptions
from monitor.watch.workers import Worker, WorkerLostError
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from monitor.model.log import FollowedLog
    from monitor.testbed.world import World
    from monitor.watch.backfill import Opening
    from monitor.watch.follow import Follower
    from tests.integration.watch.conftest import Watch

BRANCH = Claims(ref="refs/heads/main")
OPTIONS = FetchOptions(attempts=1)
LEVEL = 8


def opening(followed: FollowedLog) -> Opening | None:
    if followed.protocol is not Protocol.REKOR_V2:
        return None
    return partial(v2.opened, followed.origin, followed.url, OPTIONS, 4)


@dataclass
class Heard:
    """Stops after so many pieces, and remembers what it was told."""

    after: int = 1 << 30
    told: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        self.told.append((progress.leaves, progress.missing))

    def stopping(self) -> bool:
        return len(self.told) > self.after


async def tip(watch: Watch, world: World) -> Follower:
    """The log followed from its tip: everything before is history."""
    watch.options = WatchOptions(start="tip")
    await watch.poll()
    return watch.fleet.follower(world.v2.origin)


async def run(
    watch: Watch, follower: Follower, begin: int, end: int, count: int = 0, heard: Heard | None = None
) -> Progress:
    heard = heard or Heard()
    hands = Hands(watch.store, opening, watch.options.words, workers=count, level=LEVEL)
    if not count:
        hands = replace(hands, opening=lambda _: None)
    missing = await backfill.missing(watch.store, follower.followed.origin, begin, end)
    return await backfill.backfill(follower, missing, hands, heard.stopping, heard)


async def covered(watch: Watch, follower: Follower) -> list[tuple[int, int]]:
    async with watch.store.read() as tx:
        return [(each.begin, each.end) for each in await logs.coverage(tx, follower.followed.origin)]


@pytest.mark.parametrize("count", [0, 2])
async def test_history_is_read_proven_and_found_and_following_stays_where_it_is(
    watch: Watch, world: World, count: int
) -> None:
    world.noise(700)
    ours = [world.sign(claims=BRANCH)]
    world.noise(1900)
    ours.append(world.sign(claims=BRANCH))
    world.noise(10)
    follower = await tip(watch, world)
    before = await watch.cursor(world.v2.origin)

    progress = await run(watch, follower, 0, world.v2.size, count)

    assert (progress.workers, progress.leaves, progress.entries, progress.done) == (count, 2612, 2, True)
    assert await covered(watch, follower) == [(0, 2612)]
    assert set(ours) == {f.index for f in await watch.found() if f.rule == "branch-ref"}
    assert before == await watch.cursor(world.v2.origin)
    async with watch.store.read() as tx:
        assert (
            await logs.holes(tx, world.v2.origin, 10),
            await logs.conflicts(tx, world.v2.origin, Page(limit=1)),
        ) == ([], [])


async def test_a_second_run_reads_only_what_the_first_left_and_a_third_reads_nothing(
    watch: Watch, world: World
) -> None:
    world.noise(1500)
    follower = await tip(watch, world)
    first = await run(watch, follower, 100, 1400, heard=Heard(after=3))
    assert 0 < first.leaves < 1300
    asked = len(world.v2.requests)

    second = await run(watch, follower, 100, 1400)

    assert first.leaves + second.leaves == 1300
    assert await covered(watch, follower) == [(100, 1400)]
    assert len(world.v2.requests) > asked
    asked = len(world.v2.requests)
    assert (await run(watch, follower, 100, 1400)).missing == 0
    assert len(world.v2.requests) == asked


async def test_progress_is_told_after_each_piece_and_ends_at_all_of_it(watch: Watch, world: World) -> None:
    world.noise(600)
    follower = await tip(watch, world)
    heard = Heard()
    await run(watch, follower, 10, 600, heard=heard)
    assert heard.told == [(0, 590), (246, 590), (502, 590), (590, 590)]


@pytest.mark.parametrize("count", [0, 1])
async def test_a_leaf_that_the_log_altered_is_named_though_a_worker_read_its_chunk(
    watch: Watch, world: World, count: int
) -> None:
    world.noise(900)
    ours = world.sign(claims=BRANCH)
    world.noise(300)
    world.v2.alter_leaf(300, b'{"apiVersion":"0.0.2"}')
    follower = await tip(watch, world)

    progress = await run(watch, follower, 0, 1201, count)

    assert progress.done
    assert {300} == {f.index for f in await watch.found() if f.rule == "log-rewritten"}
    assert ours in {f.index for f in await watch.found()}


async def test_a_bundle_that_the_log_does_not_have_is_a_hole_though_a_worker_read_its_chunk(
    watch: Watch, world: World
) -> None:
    world.noise(1300)
    world.v2.hide_bundle(2)
    follower = await tip(watch, world)

    progress = await run(watch, follower, 0, 1300, 1)

    assert progress.done
    async with watch.store.read() as tx:
        holes = await logs.holes(tx, world.v2.origin, 1000)
    assert {hole.begin for hole in holes} == set(range(512, 768))


async def test_a_chunk_that_a_worker_read_wrongly_is_not_believed(
    watch: Watch, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.noise(1100)
    ours = world.sign(claims=BRANCH)
    follower = await tip(watch, world)
    read = Worker.read

    async def wrongly(self: Worker, piece: object, size: int) -> object:
        chunk = await read(self, piece, size)  # type: ignore[arg-type] # handed on as it came
        return chunk and replace(chunk, root=bytes(32), candidates=())

    monkeypatch.setattr(Worker, "read", wrongly)
    progress = await run(watch, follower, 0, world.v2.size, 1)

    assert progress.done
    assert {ours} == {f.index for f in await watch.found() if f.rule == "branch-ref"}


async def test_what_is_read_elsewhere_meanwhile_is_not_kept_twice(
    watch: Watch, world: World, database_url: str
) -> None:
    world.noise(500)
    for _ in range(3):
        world.sign(claims=BRANCH)
        world.noise(300)
    follower = await tip(watch, world)
    async with await Store.open(database_url) as second:
        other = replace(watch, store=second)
        theirs = await tip(other, world)
        await asyncio.gather(run(watch, follower, 0, world.v2.size), run(other, theirs, 0, world.v2.size))
    assert await covered(watch, follower) == [(0, world.v2.size)]
    found = [f.index for f in await watch.found() if f.rule == "branch-ref"]
    assert len(found) == 3
    assert len(set(found)) == 3


async def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(
    watch: Watch, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.noise(1500)
    ours = world.sign(claims=BRANCH)
    follower = await tip(watch, world)
    killed: list[int] = []
    read = Worker.read

    async def killing(self: Worker, piece: object, size: int) -> object:
        if not killed and self.pid is not None:
            killed.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return await read(self, piece, size)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(Worker, "read", killing)
    progress = await run(watch, follower, 0, world.v2.size, 1)

    assert len(killed) == 1
    assert progress.done
    assert {ours} == {f.index for f in await watch.found() if f.rule == "branch-ref"}


async def test_workers_that_always_die_leave_the_reading_to_their_parent(
    watch: Watch, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.noise(1500)
    follower = await tip(watch, world)

    async def dying(_self: Worker, _piece: object, _size: int) -> None:
        raise WorkerLostError("out of memory")

    monkeypatch.setattr(Worker, "read", dying)
    assert (await run(watch, follower, 0, 1500, 1)).done
    assert await covered(watch, follower) == [(0, 1500)]


async def test_a_stop_does_not_wait_for_a_worker(watch: Watch, world: World) -> None:
    world.noise(1500)
    follower = await tip(watch, world)
    world.v2.hang(86_400)
    asked = len(world.v2.requests)
    hands = Hands(watch.store, opening, watch.options.words, workers=1, level=LEVEL)

    async with asyncio.timeout(PATIENCE):
        progress = await backfill.backfill(follower, [(0, 1500)], hands, lambda: len(world.v2.requests) > asked)

    assert (progress.workers, progress.leaves, progress.done) == (1, 0, False)


async def test_leaves_that_are_not_signed_yet_are_refused(watch: Watch, world: World) -> None:
    world.noise(300)
    follower = await tip(watch, world)
    with pytest.raises(SettingsError, match="300 are signed"):
        await run(watch, follower, 0, 301)


def test_a_small_range_is_worth_no_worker_and_a_large_one_no_more_than_there_are_cores() -> None:
    assert [backfill.worth(chunks, 3) for chunks in (0, 3, 4, 7, 8, 40)] == [0, 0, 0, 0, 2, 3]
    assert [backfill.worth(chunks, 1) for chunks in (3, 4, 40)] == [0, 1, 1]
    assert backfill.worth(10_000) in {os.cpu_count(), 0}
