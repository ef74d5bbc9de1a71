"""Opens logs with the real clients, as the program does, but without a ceiling: a test's servers are its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.ct.rfc6962 import CtLog
from monitor.ct.static import StaticCtLog
from monitor.model.log import Mode, Protocol
from monitor.rekor.v1 import RekorV1
from monitor.rekor.v2 import RekorV2
from monitor.watch.options import LogOverride

if TYPE_CHECKING:
    from monitor.fetch import Client
    from monitor.model.log import FollowedLog
    from monitor.testbed.world import World
    from monitor.watch.ports import Log

_FAST = 10_000


@dataclass
class Opener:
    """Clients over one HTTP client."""

    client: Client
    rate: float = _FAST
    """Requests a second that a Rekor v1 server is asked at most."""

    def v1(self, url: str) -> RekorV1:
        return RekorV1(url, self.client, requests_per_second=self.rate)

    def v2(self, origin: str, url: str) -> Log:
        return RekorV2(origin, url, self.client)

    def ct(self, log: FollowedLog, key_id: bytes) -> Log:
        if log.protocol is Protocol.STATIC_CT:
            return StaticCtLog(log.origin, log.url, self.client)
        return CtLog(log.origin, log.url, key_id, self.client, requests_per_second=_FAST)


def overrides_of(world: World, *, certificates: bool = False) -> tuple[LogOverride, ...]:
    """Where the world's logs are read: Rekor v1 complete and the certificate log left out, or both in their default modes."""
    logs = []
    for origin, url in world.read_urls.items():
        issued = origin == world.ct.origin
        mode = Mode.COMPLETE if origin == world.v1.hostname and not certificates else None
        protocol = Protocol.STATIC_CT if issued and world.ct.style == "static" else None
        ignore = issued and not certificates
        logs.append(LogOverride(origin, read_url=url, mode=mode, protocol=protocol, ignore=ignore))
    return tuple(logs)


def logs_toml(world: World, *, certificates: bool = False) -> str:
    """The same as tables of a settings file."""
    tables = []
    for log in overrides_of(world, certificates=certificates):
        lines = [f'origin = "{log.origin}"', f'read_url = "{log.read_url}"', f"ignore = {str(log.ignore).lower()}"]
        lines += [f'mode = "{log.mode.value}"'] if log.mode else []
        lines += [f'protocol = "{log.protocol.value}"'] if log.protocol else []
        tables.append("\n".join(("[[watch.logs]]", *lines)))
    return "\n\n".join(tables) + "\n"
