from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.store.engine import Store
from tests.integration.alerts.desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def desk(sqlite_url: str) -> AsyncIterator[Desk]:
    """A desk over SQLite."""
    async with await Store.open(sqlite_url) as store:
        yield Desk(store)


@pytest.fixture
async def any_desk(store: Store) -> Desk:
    """A desk over either database."""
    return Desk(store)
