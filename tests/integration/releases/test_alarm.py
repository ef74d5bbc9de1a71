"""An alarm about a digest lasts, whatever becomes of its judgement meanwhile, until an approval or a person ends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.releases.reference import Reference
from monitor.store import releases
from monitor.watch.resettle import resettle
from tests.integration.releases.test_refresh import RUNNER, alarmed, approve

if TYPE_CHECKING:
    from monitor.testbed.world import World
    from tests.clock import Clock
    from tests.integration.releases.watched import Monitor

DEAD = Reference.parse("127.0.0.1:1/trustacks/ui")


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def the_tag_closes_nothing_and_an_approval_does(world: World, monitor: Monitor, digest: str) -> None:
    world.registry.tag(RUNNER, "0.1.2", digest)
    await monitor.refresh()
    await monitor.refresh()
    assert "unexpected-digest" in await monitor.rules()
    await approve(monitor, "0.1.2")
    assert "unexpected-digest" not in await monitor.rules()


async def test_a_late_tag_closes_no_alarm_though_a_new_registry_could_not_be_asked_in_between(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    digest = await alarmed(world, monitor, clock)
    before = monitor.refreshing
    monitor.refreshing = replace(before, repositories={**before.repositories, "ui": DEAD})
    await monitor.refresh()
    assert await monitor.rules() == ["digest-unjudged"]
    monitor.refreshing = before
    await the_tag_closes_nothing_and_an_approval_does(world, monitor, digest)


async def test_a_late_tag_closes_no_alarm_though_a_rule_failed_in_between(
    world: World, monitor: Monitor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await alarmed(world, monitor, clock)

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("monitor.rules.entry.judge", fails)
        async with monitor.store.write() as tx:
            await releases.begin_generation(tx)
        await resettle(monitor.tools, lambda: False)
    await the_tag_closes_nothing_and_an_approval_does(world, monitor, digest)
