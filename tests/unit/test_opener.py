"""Opening logs: what the settings say of a server reaches the client that asks it."""

from __future__ import annotations

import pytest

from monitor.fetch import Client
from monitor.model.log import FollowedLog, LogState, Mode, Protocol
from monitor.opener import Opener
from monitor.reading.pace import Pace
from monitor.watch.options import WatchOptions


@pytest.mark.parametrize(("protocol", "module"), [(Protocol.RFC6962, "rfc6962"), (Protocol.STATIC_CT, "static")])
async def test_every_certificate_log_is_asked_at_the_ceiling_of_the_settings(
    protocol: Protocol, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, int]] = []

    def pace(requests_per_second: float, in_flight: int, *, patience: float) -> Pace:
        told.append((requests_per_second, in_flight))
        return Pace(requests_per_second, in_flight, patience=patience)

    monkeypatch.setattr(f"monitor.ct.{module}.Pace", pace)
    options = WatchOptions(ct_requests_per_second=3.0, ct_in_flight=2)
    log = FollowedLog("ct.example.test", protocol, "https://ct.example.test", Mode.COMPLETE, LogState.ACTIVE)
    async with Client() as client:
        Opener(client, options).ct(log, bytes(4))
    assert told == [(3.0, 2)]
