"""A desk for the tests of alerts: puts findings into a store, gathers, delivers, with the clock in the test's hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.alerts import incidents as gathering
from monitor.alerts import outbox
from monitor.alerts.options import AlertOptions
from monitor.alerts.routing import Route
from monitor.model.filters import IncidentFilter, Page
from monitor.store import deliveries, findings, incidents
from tests.unit.alerts.examples import NOW, MemorySink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.alerts.ports import Sink
    from monitor.model.finding import Finding, StoredFinding
    from monitor.model.incident import Delivery, Incident
    from monitor.store.engine import Store


@dataclass
class Desk:
    """One store and its sinks. `now` moves only when a test moves it."""

    store: Store
    sinks: Sequence[Sink] = field(default_factory=lambda: (MemorySink(),))
    now: datetime = NOW
    options: AlertOptions = field(default_factory=lambda: AlertOptions(routes=(Route("memory"),)))

    @property
    def memory(self) -> MemorySink:
        """The first sink, which remembers."""
        sink = self.sinks[0]
        assert isinstance(sink, MemorySink)
        return sink

    def route(self, *sinks: Sink) -> None:
        """Use these sinks, each for everything."""
        self.sinks = sinks
        self.options = replace(self.options, routes=tuple(Route(sink.name) for sink in sinks))

    def wait(self, **length: float) -> None:
        """Let time pass."""
        self.now += timedelta(**length)

    async def put(self, *found: Finding) -> list[int]:
        """Store findings, as judge does."""
        async with self.store.write() as tx:
            return await findings.put(tx, found, self.now, entry_id=None)

    async def gather(self, *found: Finding) -> list[Incident]:
        """Store findings, make incidents, and return all there are."""
        await self.put(*found)
        await gathering.gather(self.store, self.options, self.now)
        return await self.incidents()

    async def deliver(self) -> int:
        """One pass of the outbox."""
        return await outbox.deliver(self.store, self.sinks, self.options, self.now)

    async def tell(self, *found: Finding) -> int:
        """Store findings, make incidents, tell."""
        await self.gather(*found)
        return await self.deliver()

    async def drain(self, passes: int = 200) -> int:
        """Deliver until nothing waits, moving the clock to when something is due. Returns how much was told."""
        told = 0
        for _ in range(passes):
            told += await self.deliver()
            due = await outbox.next_due(self.store, self.sinks)
            if due is None:
                return told
            self.now = max(self.now, due)
        raise AssertionError(f"something still waits after {passes} passes")

    async def incidents(self) -> list[Incident]:
        """Every incident."""
        async with self.store.read() as tx:
            return await incidents.list_incidents(tx, IncidentFilter(), Page())

    async def incident(self, incident_id: int = 1) -> Incident:
        """One incident."""
        async with self.store.read() as tx:
            found = await incidents.get(tx, incident_id)
        assert found is not None
        return found

    async def events(self, incident_id: int = 1) -> list[tuple[str, str]]:
        """What was done to an incident: (who, what)."""
        async with self.store.read() as tx:
            return [(event.who, event.what) for event in await incidents.events(tx, incident_id)]

    async def deliveries(self, incident_id: int = 1) -> list[Delivery]:
        """An incident's deliveries."""
        async with self.store.read() as tx:
            return await deliveries.of_incident(tx, incident_id)

    async def finding(self, finding_id: int) -> StoredFinding:
        """One finding."""
        async with self.store.read() as tx:
            found = await findings.get(tx, finding_id)
        assert found is not None
        return found

    def titles(self) -> list[str]:
        """The titles the sink was told, in order."""
        return [post.message.title for post in self.memory.posts]
