"""Fixtures of the registry's suites: a registry and a client alone, or a world whose baseline the monitor has read, and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.fetch import Client, FetchOptions
from monitor.testbed import registry as testbed
from monitor.testbed.world import World
from tests.clock import Clock
from tests.integration.releases.asked import QUICK
from tests.integration.releases.watched import Monitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.store.engine import Store


@pytest.fixture
async def server() -> AsyncIterator[testbed.Registry]:
    async with testbed.Registry() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(QUICK) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[World]:
    async with World(now=clock) as world:
        yield world


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind: what differs between databases is tested beside the store."""
    return sqlite_url


@pytest.fixture
async def monitor(world: World, store: Store, clock: Clock) -> AsyncIterator[Monitor]:
    """A monitor that knows release 0.1.0 as its baseline."""
    async with Client(FetchOptions(attempts=1)) as client:
        world.release("0.1.0")
        monitor = Monitor(world, store, client, clock)
        await monitor.poll()
        assert await monitor.rules() == []
        yield monitor
