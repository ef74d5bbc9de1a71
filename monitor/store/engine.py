"""Opens a database and hands out its transactions.

A writing transaction is alone in this process, sees one state of the database from its beginning to its end, and is checked against
the lease where this process leads. Nothing else in the house begins or ends a transaction.
"""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from monitor.errors import NoDatabaseError, SchemaError, StoreError
from monitor.store import lease, schema
from monitor.store.connect import Tx, new_engine, parse_url, shown
from monitor.store.faults import translated
from monitor.store.filelock import FileLock
from monitor.store.migrate import upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["Store", "Tx"]

_READERS = 4
_LEASE_TIME = timedelta(seconds=60)


class Store:
    """An open database. Made by `open`; an async context manager that closes itself."""

    def __init__(self, url: sa.URL, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self.url = url
        self.kind = url.get_backend_name()
        self.name = shown(url)
        self._writer = writer
        self._reader = reader
        self._file: FileLock | None = None
        self._leader: lease.Leader | None = None
        self._interrupted = False

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    @classmethod
    async def open(cls, url: str, *, create: bool = True, lock: bool = False) -> Self:
        """Open the database at `url`; `create` makes an empty one ready, `lock` makes this process its only daemon.

        Raises NoDatabaseError where there is none and none is made, SchemaError when schema and code do not fit, NotLeaderError when
        another daemon has it, StoreError for all else.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            _prepare_file(Path(str(parsed.database)), create=create)
        store = cls(parsed, new_engine(parsed), new_engine(parsed, readonly=True, size=_READERS))
        try:
            if lock:
                await store._take_lock()
            await store._fit_schema(create=create)
            if lock:
                await store._take_lease()
        except BaseException:
            await store.close()
            raise
        return store

    async def _take_lock(self) -> None:
        if self.kind == "sqlite":
            self._file = _lock_file(str(self.url.database))
        else:
            self._leader = await lease.Leader.elect(self.name, new_engine(self.url))

    async def _take_lease(self) -> None:
        if self._leader:
            async with self._transaction(self._writer) as tx:
                await self._leader.take(tx, datetime.now(UTC), _LEASE_TIME)

    async def _fit_schema(self, *, create: bool) -> None:
        async with self._transaction(self._reader) as tx:
            state = await schema.read(tx)
        if state.empty and create:
            await upgrade(self.url)
            async with self._transaction(self._reader) as tx:
                state = await schema.read(tx)
        if state.empty:
            raise _unmade(f"{self.name} holds no tables of the monitor")
        fault = state.fault(self.name)
        if fault:
            raise SchemaError(fault.message, cure=fault.cure)

    async def close(self) -> None:
        """Give back the lease or the lock and close every connection."""
        try:
            if self._leader and self._leader.fence is not None:
                async with self._transaction(self._writer) as tx:
                    await lease.release(tx, self._leader.fence)
        except StoreError:
            pass  # it runs out by itself, and its session ends below
        finally:
            leader, self._leader = self._leader, None
            if leader:
                await leader.close()
            await self._writer.dispose()
            await self._reader.dispose()
            if self._file:
                self._file.release()
                self._file = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """A writing transaction: committed at the end of the block, rolled back by any exception in it, cancellation included.

        Raises LostRaceError when another process changed what this one had read, NotLeaderError when the lease is lost, StoreError
        for whatever else the database says. After any exception, read anew: whether a cancelled commit took place is unknown.
        """
        async with self._transaction(self._writer) as tx:
            if self._leader and self._leader.fence is not None:
                await lease.check(tx, self._leader.fence)
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A transaction that sees one state of the database and cannot write. StoreError."""
        async with self._transaction(self._reader) as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[Tx]:
        if self._interrupted:
            # SQLite keeps the lock of a closed connection for as long as a cursor of it is referenced, and the frames of a
            # cancelled statement refer to its own.
            gc.collect()
            self._interrupted = False
        try:
            with translated(self.name):
                async with engine.begin() as tx:
                    yield tx
        except asyncio.CancelledError:
            self._interrupted = True
            raise

    async def renew(self, now: datetime) -> None:
        """Keep the lease, at least every twenty seconds while leading on PostgreSQL; elsewhere nothing. NotLeaderError when lost."""
        if self._leader and self._leader.fence is not None:
            async with self._transaction(self._writer) as tx:
                await lease.renew(tx, self._leader.fence, now, _LEASE_TIME)


def _lock_file(database: str) -> FileLock:
    return FileLock.acquire(Path(database).resolve())  # two names of one file are one database


def _unmade(what: str) -> NoDatabaseError:
    return NoDatabaseError(
        f"nothing is watched yet: {what}",
        cure="begin with `run`, or `poll` once; where a monitor runs already, say where it keeps its database: "
        "STATE_DIRECTORY, or state_dir or database in the settings",
    )


def _prepare_file(path: Path, *, create: bool) -> None:
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise _unmade(f"there is no database at {path}")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise StoreError(
                f"{path} may not be read and written by this user", cure="check the owner and mode of the file"
            )
    except OSError as error:
        raise StoreError(f"cannot use {path}: {error.strerror}", cure="check the path and its permissions") from error
