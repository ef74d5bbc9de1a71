"""One Sigstore of real servers for all tests here; they are skipped where a binary is missing, unless it was promised."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
import pytest
import pytest_asyncio

from monitor.testbed.slack import Slack
from tests.real.programs import missing, tail
from tests.real.sigstore import RealSigstore
from tests.real.watched import Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from pathlib import Path

PROGRAMS = (
    "posix",
    "trillian_log_server",
    "trillian_log_signer",
    "createtree",
    "rekor-server",
    "cosign",
    "timestamp-server",
    "ct_server",
    "redis-server",
    "go",
)
_FOLDERS = pytest.StashKey[list["Path"]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FOLDERS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the programs last said to the report of a failure."""
    report = yield
    if report.failed:
        logs = [log for folder in item.config.stash[_FOLDERS] for log in sorted(folder.rglob("*.log"))]
        report.sections.extend((f"output of {log.stem}", tail(log)) for log in logs)
    return report


@pytest.fixture(scope="session")
def binaries() -> None:
    """Skip, or fail where they were promised, unless every program is on the PATH."""
    absent = missing(*PROGRAMS)
    if absent:
        reason = f"not on the PATH: {', '.join(absent)} (.ci/real-servers DIR builds them)"
        if os.environ.get("MONITOR_REAL") == "required":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def trillian_database(binaries: None, request: pytest.FixtureRequest) -> str:  # noqa: ARG001 - asked for first
    """The URL of an empty PostgreSQL database."""
    server: Callable[[str], str] = request.getfixturevalue("postgres_server")  # only once the programs are there
    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE trillian")
    return server("trillian")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sigstore(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trillian_database: str
) -> AsyncIterator[RealSigstore]:
    """Real servers, shared by the tests of a session: tests tell their entries apart by digest."""
    folder = tmp_path_factory.mktemp("real")
    request.config.stash[_FOLDERS].append(folder)
    async with RealSigstore(folder, trillian_database) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def slack() -> AsyncIterator[Slack]:
    """A Slack of this test's own."""
    async with Slack(rate_limited=False) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def watched(
    request: pytest.FixtureRequest, tmp_path: Path, sigstore: RealSigstore, slack: Slack
) -> AsyncIterator[Watched]:
    """A monitor of this test's own over the shared Sigstore, not started."""
    request.config.stash[_FOLDERS].append(tmp_path)
    monitor = Watched(tmp_path, sigstore, slack)
    try:
        yield monitor
    finally:
        await monitor.close()
