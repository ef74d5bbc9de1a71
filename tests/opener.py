"""Opens logs with the real clients, as the program does, but without a ceiling: a test's servers are its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.ct.rfc6962 import CtLog
from monitor.ct.static import StaticCtLog

from monitor.model.log import Protocol
from monitor.rekor.v1 import RekorV1
from monitor.rekor.v2 import RekorV2

if TYPE_CHECKING:
    from monitor.fetch import Client
    from monitor.model.log import FollowedLog
    from monitor.watch.ports import Log

_FAST = 10_000


@dataclass
class Opener:
    """Clients over one HTTP client."""

    client: Client

    def v1(self, url: str) -> RekorV1:
        return RekorV1(url, self.client, requests_per_second=_FAST)

    def v2(self, origin: str, url: str) -> Log:
        return RekorV2(origin, url, self.client)

    def ct(self, log: FollowedLog, key_id: bytes) -> Log:
        made = StaticCtLog if log.protocol is Protocol.STATIC_CT else CtLog
        return made(log.origin, log.url, key_id, self.client, requests_per_second=_FAST)
