"""Values by name: a name of any length, as of a log that is named by its id, keeps its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store import meta

if TYPE_CHECKING:
    from monitor.store.engine import Store


async def test_a_name_longer_than_the_column_keeps_its_own_value(store: Store) -> None:
    names = [f"ended:{'ab' * 32}", f"ended:{'ab' * 31}cd", f"ended:{'ab' * 31}", "ended"]
    async with store.write() as tx:
        for value, name in enumerate(names):
            await meta.set(tx, name, str(value))
        assert await meta.set_once(tx, names[0], "other") == "0"
    async with store.read() as tx:
        assert [await meta.get(tx, name) for name in names] == ["0", "1", "2", "3"]
