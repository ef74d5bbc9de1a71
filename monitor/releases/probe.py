"""Tries the registry: the tags of each repository, with whatever the registry asks to be shown first."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from monitor.errors import FetchError, NotFoundError, RateLimitedError, RegistryError
from monitor.model.check import Check, failed, ok
from monitor.releases.registry import Registry

if TYPE_CHECKING:
    from monitor.fetch import Client
    from monitor.releases.reference import Reference
    from monitor.releases.registry import RegistryOptions


def name(ref: Reference) -> str:
    """What the check of a repository is called."""
    return f"registry {ref}"


async def tags(client: Client, options: RegistryOptions, ref: Reference) -> tuple[Check, ...]:
    """The tags of one repository. SettingsError when the Docker config file is of no use."""
    known = bool(options.credentials or options.docker_config)
    try:
        found = await Registry(client, options).tags(ref)
    except FetchError as error:
        return (failed(name(ref), str(error).removeprefix(f"{ref}: "), _cure(error, ref, known=known)),)
    as_whom = "with the settings' credentials" if known else "without an account"
    return (ok(name(ref), f"{len(found)} tags, read {as_whom}"),)


def _cure(error: FetchError, ref: Reference, *, known: bool) -> str:
    """What helps at a first try; `known`: the registry was shown credentials."""
    give = f"give credentials for {ref.host} (TRUSTACKS_MONITOR_REGISTRY_USERNAME and …_REGISTRY_PASSWORD) that may read it"
    if isinstance(error, NotFoundError):
        return f"correct the name in [registry.repositories]; if it is right, nothing was pushed there yet, or it is private: {give}"
    if isinstance(error, RateLimitedError):
        return f"wait {error.retry_after:g} s and try again; if it lasts, raise registry.refresh_interval, or {give}"
    if isinstance(error, RegistryError) and error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        if known:
            return f"the account or token that is set may not read {ref.repository}: give it that right, or set another"
        return f"make {ref.repository} public, or {give}"
    return error.cure or "ask the operator of the registry"
