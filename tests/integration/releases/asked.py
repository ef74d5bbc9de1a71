"""How the registry's suites ask: quickly, one repository of an embedded registry, with or without credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.fetch import FetchOptions
from monitor.releases.auth import Credentials
from monitor.releases.reference import Reference
from monitor.releases.registry import RegistryOptions

if TYPE_CHECKING:
    from monitor.testbed import registry as testbed

QUICK = FetchOptions(backoff=0.001, max_backoff=0.002, max_retry_after=0.05)
REPO = "trustacks/runner"


def options(server: testbed.Registry, **credentials: str) -> RegistryOptions:
    known = {server.host: Credentials(**credentials)} if credentials else {}
    return RegistryOptions({"runner": f"{server.host}/{REPO}"}, insecure_hosts=("127.0.0.1",), credentials=known)


def ref(server: testbed.Registry) -> Reference:
    return Reference(server.host, REPO)


def asked(server: testbed.Registry, path: str = "/v2/") -> list[tuple[str, str]]:
    return [(each.method, each.path.removeprefix(f"/v2/{REPO}/")) for each in server.seen(path)]
