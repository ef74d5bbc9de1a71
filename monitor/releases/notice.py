"""Reads the NOTICE file, where customers are told what to check, and has it compared with the settings.

A file that cannot be had says nothing: it is *cannot check*, and a finding that stands is neither confirmed nor taken back.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import FetchError, MonitorError
from monitor.model.text import visible
from monitor.rules import notice
from monitor.store import findings

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.fetch import Client
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store


async def check(store: Store, client: Client, source: str, policy: Policy, now: datetime) -> int:
    """Compare the NOTICE file at `source`, an https URL or a path; return how many findings are new.

    MonitorError (FetchError for a URL) when it cannot be read.
    """
    data = await _read(client, source)
    found = notice.drift(data, source, policy)
    async with store.write() as tx:
        for rule, subject in await findings.standing(tx, notice.SUBJECTS):
            if found is None or subject != found.subject:
                await findings.withdraw(tx, rule, subject, now)
        return len(await findings.put(tx, (found,), now, entry_id=None)) if found else 0


async def _read(client: Client, source: str) -> bytes:
    if source.startswith("https://"):
        return (await client.get(source, limit=notice.MAX_BYTES)).body
    if "://" in source:
        raise FetchError(f"{visible(source)} is neither an https URL nor a path", cure="correct the setting `notice`")
    try:
        return await asyncio.to_thread(_file, source)
    except OSError as error:
        raise MonitorError(f"{visible(source)}: cannot be read: {error.strerror}", cure="check the path") from error


def _file(source: str) -> bytes:
    with Path(source).open("rb") as opened:
        return opened.read(notice.MAX_BYTES)
