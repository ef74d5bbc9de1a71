"""Single leaves of a Rekor v1 log that is not read: given with proof, or not accused in haste."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.errors import FormatError, MonitorError, NotFoundError, ProofError
from monitor.testbed import bodies
from monitor.testbed.ca import Claims
from monitor.watch.cited import Cited

if TYPE_CHECKING:
    from monitor.model.log import FollowedLog
    from monitor.testbed.world import World
    from tests.integration.watch.conftest import Watch


async def polled(watch: Watch, world: World) -> tuple[Cited, FollowedLog]:
    """Rekor v1 in its default mode, its checkpoint known and nothing of it read."""
    watch.certificates = True
    watch.only = world.v1.hostname
    await watch.poll()
    follower = watch.fleet.find(world.v1.origin())
    assert follower is not None
    return Cited(watch.fleet, watch.tools), follower.followed


async def test_a_leaf_is_given_as_the_signed_tree_holds_it(watch: Watch, world: World) -> None:
    world.noise(7, "v1")
    signed = world.sign("v1", claims=Claims())
    world.noise(5, "v1")
    cited, log = await polled(watch, world)

    looked = await cited.cited(log, signed)

    assert (world.v1.size, world.v1.active.tree.leaf(signed)) == (looked.size, looked.leaf)


async def test_past_the_end_there_is_none(watch: Watch, world: World) -> None:
    world.noise(3, "v1")
    cited, log = await polled(watch, world)

    assert (await cited.cited(log, 3)).leaf is None


async def test_a_leaf_signed_for_just_now_and_not_given_is_no_accusation(watch: Watch, world: World) -> None:
    world.noise(9, "v1")
    world.v1.omit(4, also_singly=True)
    cited, log = await polled(watch, world)

    with pytest.raises(NotFoundError):
        await cited.cited(log, 4)

    watch.ahead = timedelta(minutes=11)
    assert (await cited.cited(log, 4)).leaf is None


async def test_other_bytes_in_its_place_are_not_taken_for_it(watch: Watch, world: World) -> None:
    world.noise(9, "v1")
    world.v1.alter_leaf(4, bodies.foreign_v1("another"))
    cited, log = await polled(watch, world)

    with pytest.raises((ProofError, FormatError)):
        await cited.cited(log, 4)


async def test_of_a_log_that_is_not_followed_nothing_is_said(watch: Watch, world: World) -> None:
    cited, log = await polled(watch, world)
    watch.fleet._followers.clear()

    with pytest.raises(MonitorError):
        await cited.cited(log, 0)
