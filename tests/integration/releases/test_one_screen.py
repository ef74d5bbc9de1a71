"""An ordinary release whose run was repeated is a short story: what on-call reads of all of it fits one screen."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from monitor.alerts import acts, appeared, handling, outbox
from monitor.alerts import incidents as gathering
from monitor.alerts.options import AlertOptions
from monitor.alerts.routing import Route
from monitor.alerts.sinks import slack_blocks
from monitor.alerts.sinks.console import ConsoleSink
from monitor.model.filters import IncidentFilter, Page
from monitor.model.finding import Severity
from monitor.model.incident import IncidentState
from monitor.releases import ledger
from monitor.releases.ledger import Word
from monitor.store import incidents
from monitor.testbed.ca import Claims
from monitor.testbed.world import RELEASED
from tests.unit.alerts.examples import MemorySink

if TYPE_CHECKING:
    from monitor.model.incident import Incident
    from monitor.testbed.world import World
    from tests.clock import Clock
    from tests.integration.releases.watched import Monitor

LINES = 60
BLOCKS = 50
OPTIONS = AlertOptions(routes=(Route("memory"), Route("console")))
IMAGES = "publish-images.yml"


class OnCall:
    """Whoever reads the messages: all that was printed, and all that was posted."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.memory = MemorySink()
        self.printed = io.StringIO()
        self.sinks = (self.memory, ConsoleSink(Console(file=self.printed, width=120)))

    async def told(self) -> None:
        """One pass of reviewing and telling, as `poll` does it."""
        store, now = self.monitor.store, self.monitor.clock()
        await acts.gather(store, OPTIONS, now)
        await handling.close_explained(store, now)
        await gathering.gather(store, OPTIONS, now)
        await acts.gather(store, OPTIONS, now)
        await appeared.gather(store, now)
        while await outbox.deliver(store, self.sinks, OPTIONS, now):
            pass

    @property
    def lines(self) -> int:
        return len(self.printed.getvalue().splitlines())

    @property
    def blocks(self) -> int:
        return sum(
            len(slack_blocks.render(each.message, reply=each.thread is not None).blocks) for each in self.memory.posts
        )

    async def incidents(self) -> list[Incident]:
        async with self.monitor.store.read() as tx:
            return await incidents.list_incidents(tx, IncidentFilter(), Page())


async def test_a_release_with_a_repeated_run_is_one_incident_that_fits_one_screen(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    on_call = OnCall(monitor)
    clock.move(days=2)
    world.release("0.1.2")
    await monitor.poll()
    await on_call.told()
    assert await monitor.rules() == ["new-release"]

    clock.move(minutes=20)
    for artifact, workflow in RELEASED.items():
        if workflow == IMAGES:
            repository = f"trustacks/{artifact}"
            again = world.registry.index(repository, "again").digest
            world.registry.tag(repository, "0.1.2", again)
            world.registry.untag(repository, "again")
            second = Claims(workflow=workflow, ref="refs/tags/v0.1.2", attempt=2)
            world.sign("v2", again, second, kind="image", beside=repository)
    for _ in range(4):
        await monitor.poll()
        await on_call.told()
        clock.move(minutes=30)
    assert await monitor.rules() == ["new-release", "superseded-attempt"]

    word = Word("Ada", "we released it, and ran it twice", monitor.clock())
    await ledger.approve(monitor.store, "0.1.2", monitor.policy, word)
    await monitor.review()
    await on_call.told()

    (incident,) = await on_call.incidents()
    assert (incident.key, incident.severity, incident.count) == ("release:0.1.2", Severity.MEDIUM, 2)
    assert incident.state is IncidentState.OPEN
    assert not any(each.message.page or each.broadcast for each in on_call.memory.posts)
    assert on_call.blocks <= BLOCKS
    assert on_call.lines <= LINES, on_call.printed.getvalue()


async def test_an_ordinary_release_that_is_approved_is_one_incident_that_closes_by_itself(
    world: World, monitor: Monitor, clock: Clock
) -> None:
    on_call = OnCall(monitor)
    clock.move(days=2)
    world.release("0.1.2", claims=replace(Claims(), run="17000000077"))
    await monitor.poll()
    await on_call.told()
    clock.move(hours=1)
    word = Word("Ada", "we released it", monitor.clock())
    await ledger.approve(monitor.store, "0.1.2", monitor.policy, word)
    await monitor.poll()
    await on_call.told()
    assert await monitor.rules() == []
    (incident,) = await on_call.incidents()
    assert incident.state is IncidentState.RESOLVED
    assert on_call.lines <= LINES
