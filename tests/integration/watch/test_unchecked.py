"""A signer whose SCT is by a key that our trust root does not hold: never clean, never an accusation, until the root is newer."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.model.filters import EntryFilter, Page
from monitor.store import entries
from monitor.testbed.ca import Claims
from monitor.testbed.trust_root import trusted_root
from monitor.watch.resettle import resettle

if TYPE_CHECKING:
    import pytest

    from monitor.testbed.world import World
    from tests.integration.watch.conftest import Watch


async def test_it_cannot_be_checked_until_a_newer_root_does_not_know_the_key_either(
    watch: Watch, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = json.loads(world.trusted_root_json())
    stranger = json.loads(trusted_root([world.rogue_ca()], []))
    known["ctlogs"] = stranger["ctlogs"]
    monkeypatch.setattr(world, "trusted_root_json", lambda: json.dumps(known).encode())
    world.sign(claims=Claims(ref="refs/heads/main"))

    await watch.poll()

    assert await watch.found() == []
    async with watch.store.read() as tx:
        (row,) = await entries.list_entries(tx, EntryFilter(), Page())
    assert row.trust == "unchecked"

    watch.refreshed_at = watch.now() + timedelta(seconds=1)
    await resettle(watch.tools, lambda: False)

    assert [(f.rule, f.severity) for f in await watch.found()] == [("untrusted-certificate", "critical")]
