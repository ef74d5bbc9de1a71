"""Opens logs with the clients that speak their protocols: here those clients meet the port that `watch` names.

It asks nothing by itself, and knows no log but by what it is given.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from monitor.ct.rfc6962 import CtLog
from monitor.ct.static import StaticCtLog
from monitor.model.log import Protocol
from monitor.rekor import v2
from monitor.rekor.v1 import RekorV1
from monitor.rekor.v2 import RekorV2

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.config import Settings
    from monitor.fetch import Client
    from monitor.model.log import FollowedLog
    from monitor.watch.backfill import Opening
    from monitor.watch.options import WatchOptions
    from monitor.watch.ports import Log


class Opener:
    """Opens logs with the clients that speak their protocols."""

    def __init__(self, client: Client, options: WatchOptions) -> None:
        self._client = client
        self._options = options

    def v1(self, url: str) -> RekorV1:
        """A Rekor v1 server."""
        options = self._options
        return RekorV1(
            url, self._client, in_flight=options.v1_in_flight, requests_per_second=options.v1_requests_per_second
        )

    def v2(self, origin: str, url: str) -> Log:
        """A Rekor v2 log."""
        return RekorV2(origin, url, self._client, in_flight=self._options.v2_in_flight)

    def ct(self, log: FollowedLog, key_id: bytes) -> Log:
        """A certificate log, of either protocol."""
        rate, in_flight = self._options.ct_requests_per_second, self._options.ct_in_flight
        if log.protocol is Protocol.STATIC_CT:
            return StaticCtLog(log.origin, log.url, self._client, in_flight=in_flight, requests_per_second=rate)
        return CtLog(log.origin, log.url, key_id, self._client, in_flight=in_flight, requests_per_second=rate)


def elsewhere(settings: Settings) -> Callable[[FollowedLog], Opening | None]:
    """How another process opens a log; those that are read in pages keep their ceiling in this one, and have no way."""

    def opening(followed: FollowedLog) -> Opening | None:
        if followed.protocol is not Protocol.REKOR_V2:
            return None
        return partial(v2.opened, followed.origin, followed.url, settings.fetch, settings.watch.v2_in_flight)

    return opening
