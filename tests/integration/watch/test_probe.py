"""Trying the certificate logs of the trust root: what a wrong setting is cured by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.model.check import CheckState
from monitor.model.log import Protocol
from monitor.testbed.world import World
from monitor.trust import root as trust_root
from monitor.watch import probe
from monitor.watch.options import WatchOptions
from monitor.watch.trusted import followable
from tests.opener import Opener, overrides_of

if TYPE_CHECKING:
    from monitor.fetch import Client
    from monitor.model.check import Check
    from tests.clock import Clock


KINDS = {"rfc6962": Protocol.RFC6962, "static": Protocol.STATIC_CT}


async def tried(world: World, client: Client, clock: Clock, protocol: Protocol) -> Check:
    """The certificate log of the world, tried as if it spoke this protocol."""
    names = {world.ct.origin, world.ct.log_id.hex(), world.ct.listed_url.partition("://")[2]}
    overrides = tuple(
        replace(each, protocol=protocol) if each.origin in names else each
        for each in overrides_of(world, certificates=True)
    )
    root = trust_root.parse(world.trusted_root_json())
    logs = followable(root, WatchOptions(logs=overrides), clock()).logs
    (log,) = [each for each in logs if each.protocol.certificates]
    assert log.protocol is protocol
    (check,) = await probe.checkpoints(Opener(client), log, clock())
    return check


@pytest.mark.parametrize("style", ["rfc6962", "static"])
async def test_a_certificate_log_of_the_other_kind_is_named_with_the_setting_that_cures_it(
    style: str, client: Client, clock: Clock
) -> None:
    async with World(ct_style="static" if style == "static" else "rfc6962") as world:
        right = KINDS[style]
        (wrong,) = set(KINDS.values()) - {right}
        assert (await tried(world, client, clock, right)).state is CheckState.OK
        check = await tried(world, client, clock, wrong)
        assert check.state is CheckState.FAILED
        assert f'protocol = "{right.value}"' in check.cure

        await world.ct.stop()
        assert "protocol =" not in (await tried(world, client, clock, right)).cure
