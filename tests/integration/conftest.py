"""What the suites over real HTTP share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.fetch import Client
from tests.reading import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client that gives up soon."""
    async with Client(QUICK) as opened:
        yield opened
