"""Tries the source of the trusted root afresh, beside what is kept from it: in a directory of its own, thrown away afterwards."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import TrustRootError
from monitor.model.check import Check, failed, ok
from monitor.model.text import rfc3339
from monitor.trust.source import REPOSITORIES, RootSource

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.trust.root import TrustRoot
    from monitor.trust.source import RootOptions

_NAME = "trust root"
_CURE = "check trust.source in the settings"


async def probe(options: RootOptions, limit: float) -> tuple[TrustRoot | None, tuple[Check, ...]]:
    """The newest root, had within `limit` seconds, else the last good one; and how that went."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source = RootSource(replace(options, cache_dir=Path(folder)))
        try:
            try:
                async with asyncio.timeout(limit):
                    root = await source.refresh()
            except TimeoutError:
                raise TrustRootError(
                    f"{_where(options)} gave no whole answer within {limit:g} s",
                    cure="check the network, the proxy and the address of the TUF repository",
                ) from None
        except TrustRootError as error:
            held = await RootSource(options).held()
            going = f"; the logs are asked by {_described(held)}, kept from before or shipped" if held else ""
            return held, (failed(_NAME, f"{error}{going}", error.cure or _CURE),)
        ends = source.expires()
    return root, (ok(_NAME, f"{_where(options)}: {_described(root)}{_expiry(ends)}"), *_unread(root))


def _where(options: RootOptions) -> str:
    url = REPOSITORIES.get(options.source)
    return f"{options.source} ({url})" if url else options.source


def _described(root: TrustRoot) -> str:
    named = {"logs": root.logs, "certificate authorities": root.authorities, "CT logs": root.ct_keys}
    return f"a root with {', '.join(f'{name}: {len(those)}' for name, those in named.items())}"


def _expiry(ends: tuple[str, datetime] | None) -> str:
    if ends is None:
        return "; a file is never refreshed: new logs and keys are yours to bring"
    return f"; its metadata ({ends[0]}) holds until {rfc3339(ends[1])}"


def _unread(root: TrustRoot) -> tuple[Check, ...]:
    """What of the root is not understood: a log among it is not watched, an authority's certificates are not trusted."""
    if not root.skipped:
        return ()
    return (
        failed(
            _NAME,
            f"not understood, and so not used: {'; '.join(root.skipped)}",
            "install a newer version of the monitor; until then what is said above is not watched, or not verified",
        ),
    )
