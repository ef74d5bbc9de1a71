"""A database that is restored from a backup: the log is read again from there, and watching began when it first began."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import pytest

from monitor.fetch import Client, FetchOptions
from monitor.store.engine import Store
from monitor.testbed.ca import Claims
from monitor.watch.options import WatchOptions
from tests.integration.watch.conftest import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.testbed.world import World

BRANCH = Claims(ref="refs/heads/main")


@pytest.mark.parametrize("start", ["tip", 0])
async def test_what_was_signed_since_the_backup_is_found_again_once_and_is_no_history(
    world: World, tmp_path: Path, sqlite_url: str, start: Literal["tip"] | int
) -> None:
    began = datetime(2020, 1, 1, tzinfo=UTC)  # before anything is signed here
    world.noise(30)
    backed_up = tmp_path / "backup.db"
    options = WatchOptions(start=start)
    async with Client(FetchOptions(attempts=1)) as client:
        async with await Store.open(sqlite_url) as store:
            watch = Watch(world, store, client, options=options, watch_from=began, only="log")
            first = world.sign(claims=BRANCH)
            await watch.poll()
            with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as live, sqlite3.connect(backed_up) as copy:
                live.backup(copy)
            copy.close()
            live.close()
            second = world.sign(claims=BRANCH)
            await watch.poll()
            told = {(f.subject, f.rule) for f in await watch.found()}

        restored = tmp_path / "restored.db"
        shutil.copyfile(backed_up, restored)
        async with await Store.open(f"sqlite:///{restored}") as store:
            watch = Watch(world, store, client, options=options, watch_from=began, only="log")
            for _ in range(2):
                await watch.restarted().poll()
            found = [f for f in await watch.found() if f.rule == "branch-ref"]
            cursor = await watch.cursor(world.v2.origin)

    assert cursor.position == world.v2.size
    expected = {second} if start == "tip" else {first, second}
    assert sorted(f.index or 0 for f in found) == sorted(expected)
    assert not any(f.history for f in found)
    assert {(f.subject, f.rule) for f in found} <= told
