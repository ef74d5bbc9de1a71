"""The daemon as a process: it tells what is signed while it watches, survives a kill, stops when told, and refuses a second one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from tests.opener import logs_toml
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable

_CHECKOUT = Path(__file__).parents[2]
_BRANCH = Claims(ref="refs/heads/main")
_A_DAY = 86_400.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(slack_rate_limited=False) as world:
        world.noise(20)
        world.noise(12, "v1")
        yield world


@pytest.fixture
def settings(tmp_path: Path, world: World, database_url: str) -> Path:
    root = world.write_trusted_root(tmp_path / "trusted_root.json")
    path = tmp_path / "settings.toml"
    path.write_text(f"""
database = "{database_url}"
state_dir = "{tmp_path}/state"
[trust]
source = "{root}"
[slack]
channel = "C0SECURITY"
api = "{world.slack.base_url}"
[registry]
repositories = {{}}
[watch]
poll_interval = "200ms"
ended_interval = "1s"
{logs_toml(world)}
""")
    return path


async def _start(settings: Path) -> Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUSTACKS_MONITOR_")}
    environment |= {"PYTHONPATH": str(_CHECKOUT), "TRUSTACKS_MONITOR_SLACK_TOKEN": "xoxb-testbed"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "--config", str(settings), "run",
        cwd=settings.parent, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@asynccontextmanager
async def _daemon(settings: Path) -> AsyncIterator[Process]:
    process = await _start(settings)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until(holds: Callable[[], object], process: Process) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not holds():
        if process.returncode is not None or loop.time() > deadline:
            process.kill() if process.returncode is None else None
            _, err = await process.communicate()
            raise AssertionError(f"it did not come about; the daemon said:\n{err.decode()}")
        await asyncio.sleep(0.05)


def _told(world: World, text: str) -> int:
    return sum(text in str(message) for message in world.slack.messages)


async def test_a_signature_made_while_it_watches_reaches_slack_from_both_logs(settings: Path, world: World) -> None:
    async with _daemon(settings) as daemon:
        await _until(lambda: bool(list(world.v1.seen("/api/v1/log"))) and bool(list(world.v2.seen("/"))), daemon)
        await asyncio.sleep(1)  # certificates know whole seconds, and what is older than the daemon's start is history
        world.sign("v2", claims=_BRANCH)
        await _until(lambda: _told(world, "branch-ref") >= 1, daemon)
        before = len(world.slack.messages)
        world.sign("v1", claims=Claims(ref="refs/heads/evil", run="17000000099"))
        await _until(lambda: len(world.slack.messages) > before, daemon)


@pytest.fixture
def hourly(settings: Path) -> Path:
    """The same settings, with ended logs asked once an hour, from the first leaf on."""
    patient = settings.read_text().replace('ended_interval = "1s"', 'ended_interval = "1h"\nstart = 0')
    settings.write_text(patient.replace('poll_interval = "200ms"', 'poll_interval = "2s"'))
    return settings


async def test_the_last_that_a_shard_took_in_before_it_ended_is_read_at_once(hourly: Path, world: World) -> None:
    world.sign("v1", claims=_BRANCH)
    async with _daemon(hourly) as daemon:
        await _until(lambda: _told(world, "branch-ref") >= 1, daemon)
        await asyncio.sleep(1)  # as above
        for run in ("17000000201", "17000000202", "17000000203"):
            world.sign("v1", claims=Claims(ref="refs/heads/evil", run=run))
            world.v1.rotate()
            await _until(partial(_told, world, run), daemon)


@pytest.fixture
def searching(settings: Path) -> Path:
    """The same settings, with Rekor v1 searched on two branches instead of read."""
    searched = settings.read_text().replace('mode = "complete"', 'mode = "search"')
    settings.write_text(searched.replace("[watch]", '[watch]\nsearch_branches = ["main", "release/1"]', 1))
    return settings


async def test_a_log_that_is_only_searched_tells_what_its_index_names(searching: Path, world: World) -> None:
    async with _daemon(searching) as daemon:
        await _until(lambda: bool(list(world.v1.seen("/api/v1/index"))), daemon)
        world.sign("v1", claims=Claims(ref="refs/heads/release/1"))
        await _until(lambda: _told(world, "branch-ref") >= 1, daemon)
        world.v1.hang(_A_DAY, path_prefix="/api/v1/index")
        world.sign("v2", claims=Claims(ref="refs/heads/evil", run="17000000099"))
        before = len(world.slack.messages)
        await _until(lambda: len(world.slack.messages) > before, daemon)


async def test_killed_and_started_again_it_tells_what_was_signed_meanwhile_and_nothing_twice(
    settings: Path, world: World
) -> None:
    async with _daemon(settings) as daemon:
        await _until(lambda: bool(list(world.v2.seen("/api/v2/checkpoint"))), daemon)
        await asyncio.sleep(1)  # certificates know whole seconds, and what is older than the daemon's start is history
        world.sign("v2", claims=_BRANCH)
        await _until(lambda: _told(world, "branch-ref") >= 1, daemon)
        daemon.kill()
        await daemon.wait()
    told = len(world.slack.messages)
    world.sign("v2", claims=Claims(ref="refs/heads/evil", run="17000000099"))

    async with _daemon(settings) as daemon:
        await _until(lambda: len(world.slack.messages) > told, daemon)
        await asyncio.sleep(1)

    assert told + 1 == len(world.slack.messages)


async def test_told_to_stop_it_ends_without_waiting_for_servers_that_hang(settings: Path, world: World) -> None:
    async with _daemon(settings) as daemon:
        await _until(lambda: bool(list(world.v2.seen("/api/v2/checkpoint"))), daemon)
        world.v2.hang(_A_DAY)
        world.v1.hang(_A_DAY)
        asked = len(world.v1.requests), len(world.v2.requests)
        await _until(lambda: len(world.v1.requests) > asked[0] and len(world.v2.requests) > asked[1], daemon)
        daemon.send_signal(signal.SIGTERM)
        assert (
            await asyncio.wait_for(daemon.wait(), PATIENCE) == 0
        )  # five seconds where nothing else runs on the machine


async def test_a_second_daemon_on_one_database_is_refused_by_name(settings: Path, world: World) -> None:
    async with _daemon(settings) as first:
        await _until(lambda: bool(list(world.v2.seen("/api/v2/checkpoint"))), first)
        second = await _start(settings)
        _, err = await asyncio.wait_for(second.communicate(), PATIENCE)
        assert second.returncode == 1
        assert "another" in err.decode() or "leads this database" in err.decode()
