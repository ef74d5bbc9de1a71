"""From a database URL to an engine: the one place that knows how SQLite and PostgreSQL differ in beginning a transaction.

The URL's password goes to the driver and nowhere else: never into a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from monitor.errors import StoreError

Tx = AsyncConnection
"""What every function of this room works in."""

_WAIT = 30
"""Seconds to wait for a lock that another process holds, and for this process's writer."""
_SWITCHES = 600


def parse_url(text: str | sa.URL) -> sa.URL:
    """The URL with the driver that we use. StoreError when it names no database that we know; its message holds no password."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError("the database URL cannot be read", cure=_URL_CURE) from None  # its cause quotes the URL
    backend = url.drivername.partition("+")[0]
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite+aiosqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(f"{shown(url)} is no database that this program can use", cure=_URL_CURE)


_URL_CURE = "give sqlite:///path/of/a/file.db or postgresql://user:password@host/name"


def shown(url: sa.URL) -> str:
    """The URL as it may be told: without password, without query (a driver takes secrets there too)."""
    plain = url.set(drivername=url.drivername.partition("+")[0], query={})
    return plain.render_as_string(hide_password=True)


def new_engine(url: sa.URL, *, readonly: bool = False, size: int = 1, foreign_keys: bool = True) -> AsyncEngine:
    """An engine whose transactions write (alone) or only read (one snapshot each)."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, readonly=readonly, size=size, foreign_keys=foreign_keys)
    isolation = "-c default_transaction_isolation=repeatable\\ read"
    limits = f"-c timezone=UTC -c lock_timeout={_WAIT}s -c idle_in_transaction_session_timeout=300s"
    only = " -c default_transaction_read_only=on" if readonly else ""
    given = url.query.get("options", "")
    options = f"{isolation} {limits}{only} {given if isinstance(given, str) else ' '.join(given)}".strip()
    return create_async_engine(
        url.difference_update_query(["options"]),
        connect_args={"options": options, "connect_timeout": 10, "application_name": "trustacks-monitor"},
        pool_size=size,
        max_overflow=0,
        pool_timeout=_WAIT,
        pool_pre_ping=True,
        hide_parameters=True,
    )


def _write_ahead(connection: Any, cursor: Any) -> None:  # noqa: ANN401 - the driver's own
    """Switch to WAL. While another connection switches a new file, SQLite says at once that it is locked, whatever the timeout."""
    for left in reversed(range(_SWITCHES)):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not left or "locked" not in str(error):
                raise
            connection.run_async(lambda _: asyncio.sleep(_WAIT / _SWITCHES))
        else:
            return


def _sqlite(url: sa.URL, *, readonly: bool, size: int, foreign_keys: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        connect_args={"timeout": _WAIT},
        pool_size=size,
        max_overflow=0,
        pool_timeout=_WAIT,
        hide_parameters=True,
    )

    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        connection.isolation_level = None  # BEGIN is ours, see below
        cursor = connection.cursor()
        if readonly:
            cursor.execute("PRAGMA query_only=ON")
        else:
            _write_ahead(connection, cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    def begun(connection: sa.Connection) -> None:
        # A transaction that begins to read and then writes may fail half-way (SQLITE_BUSY_SNAPSHOT): take the lock at once.
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine
