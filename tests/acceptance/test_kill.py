"""P2 under SIGKILL: wherever a poll is killed, nothing is lost and nothing is there twice, on both databases."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from monitor.store import logs, tables
from monitor.store.engine import Store
from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from tests.opener import logs_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LEAVES = 10_000
_DATABASES = 10
_KILLS = 5
_CHECKOUT = Path(__file__).parents[2]


async def _counts(url: str) -> dict[str, int]:
    """How many rows each table that must hold every thing once has, and how many things there are."""
    found = {}
    async with await Store.open(url) as store, store.read() as tx:
        for table in (tables.entries, tables.findings, tables.incidents, tables.deliveries, tables.cursors):
            found[table.name] = await tx.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        places = sa.select(tables.entries.c.log, tables.entries.c.index).distinct().subquery()
        found["places"] = await tx.scalar(sa.select(sa.func.count()).select_from(places)) or 0
        untold = sa.select(sa.func.count()).select_from(tables.findings).where(tables.findings.c.incident_id.is_(None))
        found["untold"] = await tx.scalar(untold) or 0
    return found


def _settings(folder: Path, url: str, world: World) -> Path:
    folder.mkdir(exist_ok=True)
    root = world.write_trusted_root(folder / "trusted_root.json")
    path = folder / "settings.toml"
    path.write_text(f"""
database = "{url}"
state_dir = "{folder}/state"
[trust]
source = "{root}"
[registry]
repositories = {{}}
[watch]
start = 0
{logs_toml(world)}
""")
    return path


async def _run(kills: int, seconds: float, *settings: Path) -> float:
    """Have it done in each database; the seconds that the last one took in which nothing was killed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUSTACKS_MONITOR_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_CHECKOUT / "tests/acceptance/killed.py"), str(kills), str(seconds), *map(str, settings),
        cwd=settings[0].parent, env=environment | {"PYTHONPATH": str(_CHECKOUT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return float(out.split()[-2])


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """Maps a number to the URL of a database without any table."""
    if request.param == "sqlite":
        yield lambda number: f"sqlite:///{tmp_path}/{number}.db"
        return
    server = request.getfixturevalue("postgres_server")
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is

    made = []

    def create(number: int) -> str:
        name = f"killed_{number}"
        with psycopg.connect(server("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return str(server(name))

    yield create
    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fresh", ["sqlite", "postgresql"], indirect=True)
async def test_killed_at_any_of_fifty_instants_a_poll_loses_and_repeats_nothing(
    fresh: Callable[[int], str], tmp_path: Path
) -> None:
    async with World() as world:
        world.noise(40, "v1")
        world.sign("v1", claims=Claims(ref="refs/heads/main"))
        third = (_LEAVES - 3) // 3
        for claims in (Claims(ref="refs/heads/main"), Claims(), replace(Claims(), org="trustacks")):
            world.noise(third, publish=False)
            world.sign(claims=claims, publish=False)
        world.noise(_LEAVES - world.v2.size)

        whole = fresh(0)
        seconds = await _run(0, 0, _settings(tmp_path / "whole", whole, world))
        wanted = await _counts(whole)
        assert (wanted["entries"], wanted["places"], wanted["untold"]) == (4, 4, 0)

        urls = {number: fresh(number) for number in range(1, _DATABASES + 1)}
        await _run(_KILLS, seconds, *(_settings(tmp_path / str(number), url, world) for number, url in urls.items()))
        for number, url in urls.items():
            assert wanted == await _counts(url), f"database {number}"
            async with await Store.open(url) as store, store.read() as tx:
                cursor = await logs.cursor(tx, world.v2.origin)
            assert cursor is not None
            assert (_LEAVES, world.v2.tree.root(_LEAVES)) == (cursor.position, cursor.range.root())
