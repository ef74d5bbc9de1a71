"""`backfill` as a process: beside a daemon and without one, stopped and begun again, and what it finds wakes nobody."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from monitor.trust import root as trust_root
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable

_CHECKOUT = Path(__file__).parents[2]
_BRANCH = Claims(ref="refs/heads/main")


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


@dataclass
class Program:
    """The command line over one world and one database."""

    folder: Path
    world: World
    database: str

    def configure(self, watch: str = "", v1: str = "") -> None:
        world = self.world
        root = world.write_trusted_root(self.folder / "trusted_root.json")
        ignored = [key.log().origin for key in trust_root.parse(world.trusted_root_json()).ct_keys]
        (self.folder / "config.toml").write_text(
            f'database = "{self.database}"\nstate_dir = "state"\n[trust]\nsource = "{root.name}"\n'
            f"[http]\nattempts = 1\ntimeout = 300.0\n[registry]\nrepositories = {{}}\n"
            f'[slack]\nchannel = "C0SECURITY"\napi = "{world.slack.base_url}"\nmention = "S0ONCALL"\n'
            f'[watch]\npoll_interval = "200ms"\n{watch}\n'
            f'[[watch.logs]]\norigin = "{world.v2.origin}"\nread_url = "{world.v2.url}"\n'
            f'[[watch.logs]]\norigin = "{world.v1.hostname}"\nread_url = "{world.v1.url}"\n{v1 or "ignore = true"}\n'
            + "".join(f'[[watch.logs]]\norigin = "{origin}"\nignore = true\n' for origin in ignored)
        )

    async def start(self, *arguments: str) -> Process:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUSTACKS_MONITOR_")}
        environment |= {"PYTHONPATH": str(_CHECKOUT), "TRUSTACKS_MONITOR_SLACK_TOKEN": "xoxb-testbed"}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "monitor", "--config", str(self.folder / "config.toml"), *arguments,
            cwd=self.folder, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *arguments: str) -> Done:
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def backfill(self, *arguments: str) -> Done:
        return await self("backfill", "--log", self.world.v2.origin, *arguments)


@pytest.fixture
async def program(tmp_path: Path, database_url: str) -> AsyncIterator[Program]:
    async with World(slack_rate_limited=False) as world:
        made = Program(tmp_path, world, database_url)
        made.configure()
        yield made


def _posts(world: World) -> list[str]:
    return [str(message) for message in world.slack.messages]


async def test_old_signatures_are_told_in_one_message_that_wakes_nobody_and_a_new_one_pages(program: Program) -> None:
    world = program.world
    for number in range(500):
        bad = number % 25 == 0
        world.sign(claims=replace(_BRANCH, run=str(18_000_000_000 + number)) if bad else None, publish=False)
    world.v2.publish()
    assert (await program("poll")).status == 0

    done = await program.backfill("--from", "0")

    assert done.status == 0, done
    assert "read 500 leaves of [0, 500), 0 were read before; 500 new entries of ours" in done.out
    assert "500 of 500 leaves (100%)" in done.err
    await program("poll")
    assert len(_posts(world)) == 1
    assert "S0ONCALL" not in _posts(world)[0]

    world.sign(claims=_BRANCH)
    await program("poll")
    assert "S0ONCALL" in "".join(_posts(world)[1:])


async def test_a_restored_database_remembers_when_watching_began(tmp_path: Path, sqlite_url: str) -> None:
    ahead = timedelta(0)
    async with World(now=lambda: datetime.now(UTC) + ahead, slack_rate_limited=False) as world:
        program = Program(tmp_path, world, sqlite_url)
        program.configure()
        world.sign(claims=_BRANCH)
        await program("poll")
        live, backup = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "backup.db"
        shutil.copyfile(live, backup)
        ahead = timedelta(seconds=2)  # certificates know whole seconds
        world.sign(claims=replace(_BRANCH, run="17000000099"))
        await program("poll")
        assert sum("S0ONCALL" in post for post in _posts(world)) == 1
        shutil.copyfile(backup, live)

        await program.backfill("--from", "0")
        await program("poll")

        told = _posts(world)[1:]
        assert sum("S0ONCALL" in post for post in told) == 1, "what was signed since the backup is told again"
        assert len(told) == 2, "what was signed before watching began is one message that wakes nobody"


async def test_it_works_beside_a_running_daemon_and_what_it_finds_is_told_by_it(program: Program) -> None:
    world = program.world
    world.noise(300)
    world.sign(claims=_BRANCH)
    world.noise(3000)
    daemon = await program.start("run")
    try:
        await _until(lambda: bool(list(world.v2.seen("/api/v2/tile/"))))
        done = await program.backfill()
        assert done.status == 0, done
        assert "read 3301 leaves" in done.out
        assert "1 new entry of ours" in done.out
        await _until(lambda: len(_posts(world)) == 1)
        new = world.sign(claims=replace(_BRANCH, run="17000000099"))
        await _until(lambda: len(_posts(world)) == 2)
        assert new == 3301
        assert daemon.returncode is None
    finally:
        daemon.send_signal(signal.SIGTERM)
        await asyncio.wait_for(daemon.communicate(), PATIENCE)


async def test_run_again_it_reads_only_what_is_left(program: Program) -> None:
    program.world.noise(1000)
    first = await program.backfill("--from", "100", "--to", "700")
    assert (first.status, "read 600 leaves of [100, 700), 0 were" in first.out) == (0, True), first
    second = await program.backfill()
    assert (second.status, "read 400 leaves of [0, 1000), 600 were" in second.out) == (0, True), second
    third = await program.backfill()
    assert (third.status, "read 0 leaves of [0, 1000), 1000 were" in third.out) == (0, True), third


async def test_interrupted_it_ends_soon_says_what_is_left_and_goes_on_when_run_again(program: Program) -> None:
    world = program.world
    world.noise(5000)
    world.v2.hang(2, path_prefix="/api/v2/tile/entries")
    process = await program.start("backfill", "--log", world.v2.origin, "--from", "0")
    await _until(lambda: bool(list(world.v2.seen("/api/v2/tile/entries"))))
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 130, (out, err)
    assert b"leaves (stopped); the same command goes on there" in out
    assert b"Traceback" not in err
    world.v2.heal()
    again = await program.backfill("--from", "0")
    assert again.status == 0, again
    assert "[0, 5000), 0 were read before" not in again.out


async def test_what_cannot_be_read_is_refused_by_name(program: Program) -> None:
    program.world.noise(50)
    unknown = await program("backfill", "--log", "rekor.example")
    assert unknown.status == 2
    assert "--log 'rekor.example' is no log that is followed" in unknown.err
    assert program.world.v2.origin in unknown.err
    beyond = await program.backfill("--to", "51")
    assert (beyond.status, "--to 51 is beyond the 50 leaves" in beyond.err) == (2, True), beyond
    reversed_ = await program.backfill("--from", "9", "--to", "8")
    assert (reversed_.status, "--from 9 is beyond --to 8" in reversed_.err) == (2, True), reversed_


async def test_a_log_that_is_read_in_pages_says_what_it_costs_and_a_large_cost_needs_a_yes(program: Program) -> None:
    world = program.world
    world.noise(120, "v1")
    program.configure("v1_requests_per_second = 100", v1='mode = "complete"')
    done = await program("backfill", "--log", world.v1.hostname)
    assert done.status == 0, done
    assert "about 12 requests, 1 s at the ceiling of 100 a second, 0.7 MB" in done.err
    assert "read 120 leaves" in done.out


async def test_what_is_covered_is_shown_and_the_cost_of_reading_all_of_rekor_v1_is_said_by_every_command_about_it(
    program: Program,
) -> None:
    world = program.world
    world.noise(30, "v1")
    world.noise(300)
    program.configure(v1='mode = "complete"')
    cost = f"cost: {world.v1.hostname} is read complete"
    assert cost in (await program("config", "check")).out
    polled = await program("poll")
    assert (polled.status, cost in polled.err) == (0, True), polled
    await program.backfill("--from", "10", "--to", "20")

    shown = await program("coverage", "show", "--log", world.v2.origin, "--format", "jsonl")

    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [(row["kind"], row["begin"], row["end"], row["size"]) for row in rows] == [
        ("gap", 0, 10, None),
        ("proven", 10, 20, 300),
        ("gap", 20, 300, None),
    ]
    assert (await program("coverage", "show", "--log", "other")).status == 2
    status = await program("status")
    assert (status.status, cost in status.out) == (0, True), status
    assert f"{world.v2.origin}: complete, active: protected since" in status.out


async def test_a_worker_ends_when_its_parent_is_killed() -> None:
    async with World() as world:
        world.noise(600)
        world.v2.hang(600)
        parent = await asyncio.create_subprocess_exec(
            sys.executable, str(_CHECKOUT / "tests/acceptance/orphaned.py"), world.v2.url,
            env={**os.environ, "PYTHONPATH": str(_CHECKOUT)}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert parent.stdout is not None
        worker = int(await asyncio.wait_for(parent.stdout.readline(), PATIENCE))
        await _until(lambda: bool(list(world.v2.seen("/api/v2/"))))
        parent.kill()
        await parent.wait()
        await _until(lambda: not _alive(worker))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # it ended between the two questions, or there is no such file on this system
        return not Path("/proc/self/stat").exists()


async def _until(holds: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not holds():
        assert loop.time() < deadline, "it did not come about"
        await asyncio.sleep(0.05)
