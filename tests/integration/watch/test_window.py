"""Finding the leaves of a stretch of time: in a log of a hundred million entries, and where it grows by fits and starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from monitor.errors import FetchError
from monitor.testbed.bodies import foreign_v1
from monitor.trust import root as trust_root
from monitor.watch.window import Windows

if TYPE_CHECKING:
    from monitor.testbed.giant import GiantV1
    from monitor.watch.window import Part, Window
    from tests.integration.watch.searched import Hunt

PAGES = "/api/v1/log/entries"
NEAR = 64
MINUTE = timedelta(minutes=1)


def pages(giant: GiantV1) -> int:
    """How many requests for entries the log has seen."""
    return sum(count for path, count in giant.counts.items() if path.startswith(PAGES))


def exact(giant: GiantV1, first: datetime, last: datetime) -> tuple[int, int]:
    """The leaves [begin, end) integrated in [first, last]."""
    size = giant.size

    def border(seconds: float) -> int:
        low, high = -1, size
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if giant.integrated_time(middle) > seconds else (middle, high)
        return high

    return border(first.timestamp() - 0.5), border(last.timestamp())


def assert_holds(part: Part, begin: int, end: int) -> None:
    """The part holds [begin, end) and few leaves beside it."""
    assert begin - NEAR <= part.begin <= begin
    assert end <= part.end <= end + NEAR


def whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


async def find(hunt: Hunt, first: datetime, last: datetime) -> Window:
    return await hunt.windows.find(hunt.server, first, last)


@pytest.mark.parametrize("age", [timedelta(minutes=12), timedelta(hours=30), timedelta(days=5)])
async def test_ten_minutes_among_a_hundred_million_leaves_are_found_with_few_requests(
    hunt: Hunt, giant: GiantV1, age: timedelta
) -> None:
    hunt = replace(hunt, giant=giant)
    await hunt.poll()
    first = whole_seconds(hunt.clock() - age)
    last = first + 10 * MINUTE

    window = await find(hunt, first, last)

    (part,) = window.parts
    assert_holds(part, *exact(giant, first, last))
    assert window.whole
    assert pages(giant) <= 32


async def test_a_second_window_beside_the_first_costs_less_and_the_same_one_nothing(hunt: Hunt, giant: GiantV1) -> None:
    hunt = replace(hunt, giant=giant)
    await hunt.poll()
    first = whole_seconds(hunt.clock() - timedelta(hours=2))
    window = await find(hunt, first, first + 10 * MINUTE)
    before = pages(giant)
    assert await find(hunt, first, first + 10 * MINUTE) == window
    assert pages(giant) == before

    (part,) = (await find(hunt, first + 4 * MINUTE, first + 14 * MINUTE)).parts

    assert_holds(part, *exact(giant, first + 4 * MINUTE, first + 14 * MINUTE))
    assert pages(giant) - before <= 14


async def test_checkpoints_that_were_seen_before_the_window_narrow_the_search(hunt: Hunt, giant: GiantV1) -> None:
    hunt = replace(hunt, giant=giant)
    await hunt.poll()
    hunt.clock.move(minutes=2)
    first = whole_seconds(hunt.clock())
    hunt.clock.move(minutes=14)
    await hunt.poll()
    before = pages(giant)

    (part,) = (await find(hunt, first, first + 10 * MINUTE)).parts

    assert pages(giant) - before <= 12
    assert_holds(part, *exact(giant, first, first + 10 * MINUTE))
    assert pages(giant) <= 16


async def test_a_window_that_is_not_over_ends_at_the_newest_checkpoint_and_grows_with_it(
    hunt: Hunt, giant: GiantV1
) -> None:
    hunt = replace(hunt, giant=giant)
    first = whole_seconds(hunt.clock() - 2 * MINUTE)
    last = first + 10 * MINUTE
    await hunt.poll()
    early = await find(hunt, first, last)
    hunt.clock.move(minutes=3)
    await hunt.poll()
    later = await find(hunt, first, last)
    hunt.clock.move(minutes=6)
    before = await find(hunt, first, last)  # over by the clock; nothing was asked since
    await hunt.poll()
    done = await find(hunt, first, last)

    assert [early.whole, later.whole, before.whole, done.whole] == [False, False, False, True]
    assert early.parts[0].end < later.parts[0].end <= before.parts[0].end < done.parts[0].end
    assert_holds(done.parts[0], *exact(giant, first, last))


async def test_a_log_that_stands_still_is_whole_when_it_is_asked_two_minutes_after_the_window(hunt: Hunt) -> None:
    hunt.world.noise(30, "v1")
    first = whole_seconds(hunt.clock() - MINUTE)
    last = first + 10 * MINUTE
    found = []
    for minutes in (0, 10, 2):
        hunt.clock.move(minutes=minutes)
        await hunt.poll()
        found.append(await find(hunt, first, last))
    assert [window.whole for window in found] == [False, False, True]
    assert [(part.begin, part.end) for part in found[2].parts] == [(0, 30)]


async def test_a_server_that_was_not_asked_for_new_shards_since_is_not_whole(hunt: Hunt) -> None:
    hunt.world.noise(30, "v1")
    first = whole_seconds(hunt.clock() - MINUTE)
    await hunt.poll()
    hunt.clock.move(minutes=20)
    for follower in hunt.server.shards:
        await follower.run_pass(lambda: False)
    assert not (await find(hunt, first, first + 10 * MINUTE)).whole
    await hunt.poll()
    assert (await find(hunt, first, first + 10 * MINUTE)).whole


async def test_a_window_over_a_rotation_lies_in_both_shards(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    hunt.clock.move(minutes=30)
    first = whole_seconds(hunt.clock() - 5 * MINUTE)
    hunt.world.noise(100, "v1")
    hunt.world.v1.rotate()
    hunt.clock.move(minutes=2)
    hunt.world.noise(100, "v1")
    hunt.clock.move(minutes=30)
    hunt.world.noise(100, "v1")
    await hunt.poll()

    old, new = (await find(hunt, first, first + 10 * MINUTE)).parts

    assert old.follower.followed.origin == hunt.world.v1.origin(hunt.world.v1.shards[0])
    assert_holds(old, 100, 200)
    assert_holds(new, 0, 100)


async def test_a_window_after_the_rotation_asks_nothing_of_the_ended_shard(hunt: Hunt) -> None:
    hunt.world.noise(100, "v1")
    hunt.world.v1.rotate()
    hunt.clock.move(minutes=30)
    hunt.world.noise(10, "v1")
    first = whole_seconds(hunt.clock() + 5 * MINUTE)
    hunt.clock.move(minutes=6)
    hunt.world.noise(10, "v1")
    await hunt.poll()
    (part,) = (await find(hunt, first, first + 10 * MINUTE)).parts
    assert part.follower.followed.origin == hunt.world.v1.origin()


@pytest.mark.parametrize("asked", [False, True], ids=["never", "once"])
async def test_a_shard_that_ended_in_the_window_is_waited_for_until_it_was_asked_after_its_end(
    hunt: Hunt, *, asked: bool
) -> None:
    hunt.world.noise(100, "v1")
    first = whole_seconds(hunt.clock())
    await hunt.poll()
    hunt.clock.move(minutes=2)
    hunt.world.noise(50, "v1")  # the last of the shard
    hunt.world.v1.rotate()
    hunt.clock.move(minutes=1)
    hunt.world.noise(20, "v1")
    root = trust_root.parse(hunt.world.trusted_root_json())
    await hunt.fleet.muster(root)
    old, new = hunt.server.shards
    if asked:
        await old.run_pass(lambda: False)
    hunt.clock.move(minutes=30)
    await hunt.fleet.muster(root)
    await new.run_pass(lambda: False)

    early = await find(hunt, first, first + 10 * MINUTE)
    await old.run_pass(lambda: False)
    later = await find(hunt, first, first + 10 * MINUTE)

    assert (early.whole, later.whole) == (asked, True)
    assert later.parts[0].end == 150


async def test_a_clock_of_ours_that_is_behind_the_logs_hides_nothing_of_the_window(hunt: Hunt) -> None:
    ahead = whole_seconds(hunt.clock() + 3 * MINUTE)
    for number in range(200):
        hunt.world.v1.append(foreign_v1(f"{number}"), when=ahead)
    await hunt.poll()
    hunt.clock.move(minutes=20)
    hunt.world.noise(200, "v1")
    await hunt.poll()

    (part,) = (await find(hunt, ahead - MINUTE, ahead + 9 * MINUTE)).parts

    assert_holds(part, 0, 200)


@pytest.mark.parametrize("seed", range(6))
async def test_a_log_that_grows_by_fits_and_starts_hides_nothing_of_the_window(hunt: Hunt, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - makes a log, hides nothing
    began = whole_seconds(hunt.clock() - timedelta(days=40))
    times: list[datetime] = []
    for _ in range(40):
        began += timedelta(seconds=random.choice((0, 1, 30, 900, 86_400)))
        times += [began] * random.choice((1, 5, 200))
    for number, when in enumerate(times):
        hunt.world.v1.append(foreign_v1(f"{seed} {number}"), when=when)
    await hunt.poll()
    windows = Windows(hunt.store, hunt.clock)
    for _ in range(8):
        first = random.choice(times) + timedelta(seconds=random.choice((-1, 0, 1, 300)))
        last = first + 10 * MINUTE
        inside = [number for number, when in enumerate(times) if first <= when <= last]
        found = await windows.find(hunt.server, first, last)
        held = {index for part in found.parts for index in range(part.begin, part.end)}
        assert set(inside) <= held
        assert len(held) <= len(inside) + 2 * NEAR


async def test_a_leaf_that_cannot_be_had_is_passed_over_for_its_neighbour(hunt: Hunt) -> None:
    hunt.world.noise(400, "v1")
    hunt.clock.move(minutes=60)
    hunt.world.noise(400, "v1")
    first = whole_seconds(hunt.clock() - MINUTE)
    await hunt.poll()
    for index in range(300, 700, 2):
        hunt.world.v1.omit(index, also_singly=True)
    (part,) = (await find(hunt, first, first + 10 * MINUTE)).parts
    assert_holds(part, 400, 800)


async def test_a_log_that_gives_no_times_is_said_to(hunt: Hunt) -> None:
    hunt.world.noise(400, "v1")
    await hunt.poll()
    for index in range(400):
        hunt.world.v1.omit(index, also_singly=True)
    with pytest.raises(FetchError, match="neither leaf 399 nor"):
        await find(hunt, datetime.now(UTC), datetime.now(UTC) + MINUTE)
