"""What hangs on a key that our trusted root does not hold accuses nobody before the newest root does not hold it either."""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING

import pytest

from monitor.alerts import handling
from monitor.model.filters import IncidentFilter, Page
from monitor.model.finding import Severity
from monitor.model.incident import IncidentState
from monitor.model.log import ConflictKind
from monitor.model.release import InLog
from monitor.store import bundles, incidents
from monitor.testbed.tsa import TimestampAuthority
from tests.integration.releases.test_cited import GLOBEX, conflicts, kept, keys_of_incidents, of_rule
from tests.integration.releases.test_refresh import RUNNER, V012, release

if TYPE_CHECKING:
    from monitor.testbed.world import World
    from tests.integration.releases.watched import Monitor


class Rotated(enum.Enum):
    """Whose key is new."""

    AUTHORITY = "authority"
    CERTIFICATES = "certificate log"
    LOG = "log"
    TIMESTAMPS = "timestamp authority"

    async def happen(self, world: World) -> None:
        if self is Rotated.AUTHORITY:
            world.ca = world.rogue_ca()
        elif self is Rotated.CERTIFICATES:
            world.ca.ct, world.ca.ct_key = None, world.rogue_ca().ct_key
        elif self is Rotated.LOG:
            await world.rotate_v2()
        else:
            world.tsa = TimestampAuthority()


async def test_a_signature_by_an_authority_that_nobody_knows_is_told_only_once_the_newest_root_does_not_know_it(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    monitor.stale = True
    world.sign("v2", digests["runner"], V012, kind="image", ca=world.rogue_ca(), beside=RUNNER)
    await monitor.poll()
    await monitor.poll()
    assert await of_rule(monitor, "bundle-mismatch") == []
    monitor.stale = False
    world.registry.untag(RUNNER, digests["runner"].replace(":", "-"))  # whoever put it there takes it away
    await monitor.poll()
    (finding,) = await of_rule(monitor, "bundle-mismatch")
    assert finding.severity is Severity.CRITICAL


async def test_what_was_told_of_a_signature_is_taken_back_under_a_root_that_knows_its_authority_and_closes_its_incident(
    world: World, monitor: Monitor
) -> None:
    digests = await release(monitor)
    later = world.rogue_ca()
    world.sign("v2", digests["runner"], V012, kind="image", ca=later, beside=RUNNER)
    await monitor.refresh()
    assert len(await of_rule(monitor, "bundle-mismatch")) == 1
    assert await keys_of_incidents(monitor) == ["release:0.1.2"]
    world.ca = later
    await monitor.newest()
    await monitor.refresh()
    assert await of_rule(monitor, "bundle-mismatch") == []
    assert [each.verified for each in await kept(monitor)][-1] == "yes"
    await handling.close_explained(monitor.store, monitor.clock())
    async with monitor.store.read() as tx:
        (closed,) = await incidents.list_incidents(tx, IncidentFilter(), Page())
    assert closed.state is IncidentState.RESOLVED
    assert await conflicts(monitor, ConflictKind.BUNDLE_MISMATCH)  # P9: the evidence is kept


async def test_a_root_of_which_a_part_is_not_understood_accuses_no_stranger_and_a_whole_one_does_again(
    world: World, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = await release(monitor)
    world.sign("v2", digests["runner"], V012, kind="image", ca=world.rogue_ca(), beside=RUNNER)
    await monitor.refresh()
    assert len(await of_rule(monitor, "bundle-mismatch")) == 1
    whole = world.trusted_root_json()
    part = json.loads(whole)
    part["certificateAuthorities"].append({"certChain": {"certificates": [{"rawBytes": "AAAA"}]}})
    for root, told in ((json.dumps(part).encode(), 0), (whole, 1)):
        monkeypatch.setattr(world, "trusted_root_json", lambda root=root: root)
        await monitor.newest()
        await monitor.refresh()
        assert len(await of_rule(monitor, "bundle-mismatch")) == told


@pytest.mark.parametrize("what", Rotated)
async def test_a_key_that_a_stale_trust_root_does_not_hold_accuses_nobody_and_is_verified_once_it_does(
    world: World, monitor: Monitor, what: Rotated
) -> None:
    digests = await release(monitor)
    monitor.stale = True
    await what.happen(world)
    world.sign("v2", digests["runner"], V012, kind="image", beside=RUNNER)
    world.sign("v2", digests["runner"], GLOBEX, kind="image", beside=RUNNER)
    await monitor.poll()
    assert await of_rule(monitor, "bundle-mismatch") == []
    assert [each.verified for each in await kept(monitor)][-2:] == ["cannot-check"] * 2
    monitor.stale = False
    world.registry.untag(
        RUNNER, digests["runner"].replace(":", "-")
    )  # what is kept is verified, not what is there by now
    await monitor.refresh()
    await monitor.poll()
    assert await of_rule(monitor, "bundle-mismatch") == []
    mine, theirs = (await kept(monitor))[-2:]
    assert (mine.verified, theirs.verified) == ("yes", "yes")
    assert (mine.log, mine.in_log) == (world.v2.origin, InLog.CONFIRMED)


async def test_a_bundle_too_large_to_be_kept_is_fetched_again_until_it_is_settled(
    world: World, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = await release(monitor)
    monkeypatch.setattr(bundles, "MAX_DATA", 0)
    monitor.stale = True
    world.sign("v2", digests["runner"], V012, kind="image", ca=world.rogue_ca(), beside=RUNNER)
    await monitor.poll()
    assert [each.verified for each in await kept(monitor)][-1] == "cannot-check"
    monitor.stale = False
    await monitor.newest()
    await monitor.poll()
    assert len(await of_rule(monitor, "bundle-mismatch")) == 1
