"""Asks, in one bounded part of a pass, what lies beside the digests that are due, and keeps what verifying it came to.

What could not be had is trouble of the registry, and is asked for again; it is never left out in silence.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from monitor.errors import FetchError, MonitorError
from monitor.releases.beside import Examined
from monitor.releases.listing import unanswered
from monitor.releases.reverify import keep
from monitor.store import bundles, signatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.releases.refresh import Tools, Troubles
    from monitor.store.bundles import Attachment

_log = structlog.get_logger(__name__)

_AT_ONCE = 8
"""Digests asked about at the same time."""
_A_PASS = 2_000
_A_STEP = 32
_RECENT = timedelta(days=1)
"""How long after its first sight a digest's signatures are asked for in every pass."""
_AGAIN = timedelta(hours=6)
"""How often older ones are."""


async def ask(tools: Tools, troubles: Troubles, stopping: Callable[[], bool]) -> tuple[int, bool]:
    """Ask what lies beside the digests that are due. Returns how many bundles are new, and whether more is due."""
    began = tools.clock()
    kept = done = 0
    async with tools.store.read() as tx:
        older = began if await signatures.pending(tx) else began - _AGAIN
    asked: set[tuple[str, str]] = set()
    silent: set[str] = set()
    while not stopping():
        async with tools.store.read() as tx:
            due = await bundles.due(tx, began - _RECENT, older, before=began, limit=_A_STEP)
        due = [each for each in due if (each.artifact, each.digest) not in asked]
        if not due:
            return kept, False
        if done >= _A_PASS:
            return kept, True
        asked |= {(each.artifact, each.digest) for each in due}
        limit = asyncio.Semaphore(_AT_ONCE)
        results = await asyncio.gather(*(_one(tools, each, limit, silent) for each in due))
        async with tools.store.write() as tx:
            for attachment, found in results:
                ref = tools.repositories.get(attachment.artifact)
                if found.missed and ref is not None:
                    troubles.add(ref.host, found.missed)
                await bundles.asked(tx, attachment.artifact, attachment.digest, tools.clock(), found.missed)
                await keep(tx, found, tools.policy, tools.clock())
                kept += len(found.bundles)
        done += len(due)
    return kept, True


async def _one(
    tools: Tools, attachment: Attachment, limit: asyncio.Semaphore, silent: set[str]
) -> tuple[Attachment, Examined]:
    """Fetch and verify what lies beside one digest; what could not be had is said. A host that does not answer joins `silent`."""
    ref = tools.repositories.get(attachment.artifact)
    if ref is None:
        return attachment, Examined()
    async with tools.store.read() as tx:
        known = await bundles.known(tx, attachment.artifact, attachment.digest, tools.examiner.root.digest)
    async with limit:
        if ref.host in silent:
            return attachment, Examined(
                missed=f"{ref}: not asked what lies beside {attachment.digest}: it does not answer"
            )
        try:
            found = await tools.examiner.examine(attachment.artifact, ref, attachment.digest, known, tools.clock())
        except FetchError as error:
            if unanswered(error):
                silent.add(ref.host)
            return attachment, Examined(missed=str(error))
        except MonitorError as error:
            _log.warning("attachments unread", artifact=attachment.artifact, digest=attachment.digest, error=str(error))
            return attachment, Examined(missed=str(error))
    return attachment, found
