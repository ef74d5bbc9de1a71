"""Tries the database as it stands: whether it can be reached, read and written, fits this program, and is held by a daemon.

Like `migrate` it opens what it looks at itself, for `Store` refuses what is wrong. It makes no file and leaves nothing written.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.errors import StoreError
from monitor.model.check import Check, failed, ok
from monitor.store import lease, meta, migrate
from monitor.store.connect import new_engine, parse_url, shown
from monitor.store.faults import translated
from monitor.store.filelock import FileLock

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.schema import SchemaState

_NAME = "database"
_PROBE = "trustacks_monitor_probe"


async def probe(text: str, now: datetime) -> tuple[Check, ...]:
    """The database at a URL, tried. StoreError when it cannot be asked."""
    url = parse_url(text)
    file = Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
    if file is not None and not _exists(file):
        reason = unusable(file.parent)
        if reason:
            return (failed(_NAME, f"{file} is not there and cannot be made: {reason}", _DIRECTORY_CURE),)
        return (ok(_NAME, f"{file} is not there yet: the first start makes it"),)
    if file is not None and not os.access(file, os.R_OK | os.W_OK):
        cure = "check the owner and mode of the file: the daemon's user must own it"
        return (failed(_NAME, f"{file} may not be read and written by this user", cure),)
    state = await migrate.check(url)
    if state.empty:
        await _written(url, state)
        return (ok(_NAME, f"{shown(url)} holds no table yet: the first start makes them; a table could be made"),)
    fault = state.fault(shown(url))
    if fault:
        return (failed(_NAME, fault.message, fault.cure),)
    await _written(url, state)
    holder = FileLock.held(file.resolve()) if file is not None else await _leader(url, now)
    held = f"a daemon is running on it ({holder})" if holder else "no daemon is running on it"
    return (ok(_NAME, f"{shown(url)} is at schema revision {state.current} and can be written; {held}"),)


_DIRECTORY_CURE = (
    "give the monitor's user a directory there that it may write, or name another (state_dir, or database)"
)


def unusable(directory: Path) -> str:
    """Why no file can be made in a directory, or in one made there; an empty text when it can."""
    try:
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        if not existing.is_dir():
            return f"{existing} is a file"
        if not os.access(existing, os.W_OK | os.X_OK):
            return f"this user may not write in {existing}"
        if existing == directory:
            tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        return f"{directory}: {error.strerror}"
    return ""


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}", cure=_DIRECTORY_CURE) from error


async def _written(url: sa.URL, state: SchemaState) -> None:
    """Write a row of ours, or make a table where there is none yet, and roll it back. StoreError."""
    writer = new_engine(url)
    try:
        with translated(shown(url)):
            async with writer.connect() as tx, tx.begin() as begun:
                if state.empty:
                    await tx.execute(sa.schema.CreateTable(sa.Table(_PROBE, sa.MetaData(), sa.Column("x", sa.Integer))))
                else:
                    await meta.set(tx, _PROBE, "")
                await begun.rollback()
    finally:
        await writer.dispose()


async def _leader(url: sa.URL, now: datetime) -> str | None:
    reader = new_engine(url, readonly=True)
    try:
        with translated(shown(url)):
            async with reader.begin() as tx:
                return await lease.held(tx, now)
    finally:
        await reader.dispose()
