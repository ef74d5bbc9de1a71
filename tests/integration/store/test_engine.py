"""Transactions are atomic, alone and translated; a second daemon is refused; no secret leaves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import TextClause, text

from monitor.errors import LostRaceError, NotLeaderError, StoreError
from monitor.store import lease, meta, schema
from monitor.store.connect import new_engine, parse_url
from monitor.store.engine import Store
from monitor.store.faults import translated

if TYPE_CHECKING:
    from datetime import datetime

SECRET = "hunter2"  # noqa: S105 - the test looks for it


async def test_what_a_block_wrote_is_there_after_it(store: Store) -> None:
    async with store.write() as tx:
        await meta.set(tx, "key", "värde\x00\ud800")
    async with store.read() as tx:
        assert await meta.get(tx, "key") == "värde\x00\ud800"


async def test_an_exception_in_a_block_undoes_all_of_it(store: Store) -> None:
    async def spoiled() -> None:
        async with store.write() as tx:
            await meta.set(tx, "key", "value")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await spoiled()
    async with store.read() as tx:
        assert await meta.get(tx, "key") is None


async def test_a_transaction_cancelled_anywhere_leaves_both_rows_or_none_and_a_store_that_works(store: Store) -> None:
    async def pair(number: int) -> None:
        async with store.write() as tx:
            await meta.set(tx, f"a{number}", "1")
            await meta.set(tx, f"b{number}", "1")

    for number in range(60):
        task = asyncio.create_task(pair(number))
        for _ in range(number % 20):
            await asyncio.sleep(0)
        await asyncio.sleep((number % 7) * 0.0005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task  # what its exception refers to ends with it
    await pair(1000)
    async with store.read() as tx:
        for number in (*range(60), 1000):
            assert (await meta.get(tx, f"a{number}") is None) == (await meta.get(tx, f"b{number}") is None)
        assert await meta.get(tx, "b1000") == "1"


async def test_a_reader_sees_one_state_while_a_writer_changes_it_and_cannot_write(store: Store) -> None:
    async with store.read() as before:
        assert await meta.get(before, "key") is None
        async with store.write() as tx:
            await meta.set(tx, "key", "value")
        assert await meta.get(before, "key") is None
    with pytest.raises(StoreError):
        async with store.read() as tx:
            await meta.set(tx, "key", "other")
    async with store.read() as tx:
        assert await meta.get(tx, "key") == "value"


async def test_writers_of_one_process_lose_no_increment(store: Store) -> None:
    async def increment() -> None:
        for _ in range(5):
            async with store.write() as tx:
                await meta.set(tx, "n", str(int(await meta.get(tx, "n") or 0) + 1))

    await asyncio.gather(*(increment() for _ in range(8)))
    async with store.read() as tx:
        assert await meta.get(tx, "n") == "40"


async def test_writers_of_several_processes_lose_no_increment(database_url: str) -> None:
    stores = [await Store.open(database_url) for _ in range(4)]
    lost = 0

    async def increment(store: Store) -> None:
        nonlocal lost
        done = 0
        while done < 10:
            try:
                async with store.write() as tx:
                    await meta.set(tx, "n", str(int(await meta.get(tx, "n") or 0) + 1))
                done += 1
            except LostRaceError:
                lost += 1

    await asyncio.gather(*(increment(store) for store in stores))
    async with stores[0].read() as tx:
        assert await meta.get(tx, "n") == "40"
    for store in stores:
        await store.close()


async def test_a_second_daemon_is_refused_by_name_until_the_first_ends(database_url: str) -> None:
    first = await Store.open(database_url, lock=True)
    with pytest.raises(NotLeaderError, match=rf"{os.getpid()}") as refusal:
        await Store.open(database_url, lock=True)
    assert "daemon" in refusal.value.cure
    async with await Store.open(database_url) as reader, reader.read() as tx:
        assert await meta.get(tx, "schema") == str(schema.CODE)
    await first.close()
    second = await Store.open(database_url, lock=True)
    await second.close()


_DAEMON = """
import asyncio, sys
from monitor.store.engine import Store
async def main():
    store = await Store.open(sys.argv[1], lock=True)
    print("open", flush=True)
    await asyncio.sleep(86400)
asyncio.run(main())
"""


async def test_a_daemon_that_was_killed_is_succeeded_at_once(database_url: str) -> None:
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _DAEMON, database_url, stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert daemon.stdout is not None
    assert await daemon.stdout.readline() == b"open\n"
    with pytest.raises(NotLeaderError, match=f"process {daemon.pid}"):
        await Store.open(database_url, lock=True)
    daemon.kill()
    await daemon.wait()
    async with asyncio.timeout(
        30
    ):  # the server notices the end of a session within milliseconds; a lease lasts a minute
        while True:
            try:
                successor = await Store.open(database_url, lock=True)
            except NotLeaderError:
                await asyncio.sleep(0.1)
            else:
                await successor.close()
                break


async def test_a_leader_that_was_succeeded_writes_nothing_more(postgres_url: str, now: datetime) -> None:
    async with await Store.open(postgres_url, lock=True) as first:
        async with first.write() as tx:
            await meta.set(tx, "who", "first")
        engine = new_engine(parse_url(postgres_url))
        async with engine.begin() as tx:
            fence = await lease.acquire(tx, "second", now + timedelta(days=36500), timedelta(seconds=60))
        with pytest.raises(NotLeaderError, match="second leads"):
            async with first.write() as tx:
                await meta.set(tx, "who", "first again")
        with pytest.raises(NotLeaderError, match="second leads"):
            await first.renew(now)
        async with engine.begin() as tx:
            await lease.check(tx, fence)
            assert await meta.get(tx, "who") == "first"
        await engine.dispose()


async def test_nobody_succeeds_a_leader_in_the_middle_of_its_transaction(postgres_url: str, now: datetime) -> None:
    late = now + timedelta(days=36500)
    async with await Store.open(postgres_url, lock=True) as first:
        engine = new_engine(parse_url(postgres_url))

        async def succeed() -> None:
            async with engine.begin() as tx:
                await lease.acquire(tx, "second", late, timedelta(seconds=60))

        async with first.write() as tx:
            successor = asyncio.create_task(succeed())
            await asyncio.sleep(0.2)
            assert not successor.done()
            await meta.set(tx, "who", "first")
        await successor
        await engine.dispose()
        async with first.read() as tx:
            assert await meta.get(tx, "who") == "first"


async def test_a_lease_is_held_until_its_time_renewed_and_given_back(postgres_url: str, now: datetime) -> None:
    ttl = timedelta(seconds=60)
    engine = new_engine(parse_url(postgres_url))
    async with engine.begin() as tx:
        first = await lease.acquire(tx, "first", now, ttl)
    async with engine.begin() as tx:
        with pytest.raises(NotLeaderError, match=r"first leads this database since 2026-11-23T18:30:05\.123456Z"):
            await lease.acquire(tx, "second", now + timedelta(seconds=59), ttl)
    async with engine.begin() as tx:
        await lease.renew(tx, first, now + timedelta(seconds=50), ttl)
    async with engine.begin() as tx:
        with pytest.raises(NotLeaderError):
            await lease.acquire(tx, "second", now + timedelta(seconds=61), ttl)
        await lease.release(tx, first)
        second = await lease.acquire(tx, "second", now + timedelta(seconds=61), ttl)
        assert second > first
        with pytest.raises(NotLeaderError):
            await lease.renew(tx, first, now, ttl)
        await lease.release(tx, first)
        await lease.check(tx, second)
    await engine.dispose()


async def test_a_full_disk_is_told_with_its_cure_and_loses_nothing_that_was_committed(sqlite_url: str) -> None:
    async with await Store.open(sqlite_url) as store:
        async with store.write() as tx:
            await meta.set(tx, "kept", "yes")
            pages = await tx.scalar(_text("PRAGMA page_count"))
        async with store.write() as tx:
            await tx.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")

        async def too_much() -> None:
            async with store.write() as tx:
                await meta.set(tx, "half", "yes")
                await meta.set(tx, "big", "x" * 1_000_000)

        with pytest.raises(StoreError, match="disk is full") as full:
            await too_much()
        assert "room" in full.value.cure
        async with store.write() as tx:
            assert await meta.get(tx, "kept") == "yes"
            assert await meta.get(tx, "half") is None
            await tx.exec_driver_sql(f"PRAGMA max_page_count={pages + 3000}")
        async with store.write() as tx:
            await meta.set(tx, "big", "x" * 1_000_000)


async def test_another_program_that_holds_the_file_is_named_as_the_reason(sqlite_url: str) -> None:
    async with await Store.open(sqlite_url) as store, await Store.open(sqlite_url) as other:
        async with store.write() as tx:
            await tx.exec_driver_sql("PRAGMA busy_timeout=50")
        async with other.write():
            with pytest.raises(StoreError, match="locked") as locked:
                async with store.write():
                    pytest.fail("two wrote at once")
        assert "other program" in locked.value.cure


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://u@h/d", "nonsense", "", "postgresql+asyncpg://h:port/x", "://"],
)
async def test_a_url_of_no_database_we_know_is_refused(url: str) -> None:
    with pytest.raises(StoreError) as refusal:
        await Store.open(url)
    assert "sqlite:///" in refusal.value.cure


async def test_a_database_that_should_exist_and_does_not_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    with pytest.raises(StoreError, match=r"absent\.db"):
        await Store.open(f"sqlite:///{path}", create=False)
    assert not path.exists()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        await Store.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear Sir")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/name",
        f"postgresql://127.0.0.1:1/name?user=u&password={SECRET}",
        f"mysql://user:{SECRET}@host/name?password={SECRET}",
        f"postgresql://user:{SECRET}@host:{SECRET}/name",
    ],
)
async def test_a_password_stands_in_no_error_and_no_cause_of_it(url: str) -> None:
    with pytest.raises(StoreError) as refusal:
        await Store.open(url)
    error: BaseException | None = refusal.value
    while error is not None:
        assert SECRET not in str(error)
        assert SECRET not in repr(error)
        error = error.__cause__


async def test_a_password_stands_in_no_repr(sqlite_url: str) -> None:
    async with await Store.open(sqlite_url) as store:
        store.url = parse_url(f"postgresql://user:{SECRET}@host/name")
        assert SECRET not in repr(store)
        assert SECRET not in repr(store.url)


async def test_no_value_that_was_to_be_stored_stands_in_an_error(store: Store) -> None:
    with pytest.raises(StoreError) as refusal:
        async with store.write() as tx:
            await meta.set(tx, SECRET * 100, None)  # type: ignore[arg-type]  # a fault of ours, on purpose
    assert SECRET not in str(refusal.value)


def test_our_own_errors_pass_untouched() -> None:
    with pytest.raises(LostRaceError, match="ours"), translated("x"):
        raise LostRaceError("ours")


async def test_sqlite_is_set_to_lose_nothing(sqlite_url: str) -> None:
    async with await Store.open(sqlite_url) as store, store.write() as tx:
        assert await tx.scalar(_text("PRAGMA journal_mode")) == "wal"
        assert await tx.scalar(_text("PRAGMA synchronous")) == 2
        assert await tx.scalar(_text("PRAGMA foreign_keys")) == 1
        assert await tx.scalar(_text("PRAGMA busy_timeout")) == 30000


def _text(sql: str) -> TextClause:
    return text(sql)


async def test_of_two_who_count_on_from_the_same_number_one_is_told_that_it_lost(store: Store) -> None:
    for before, after in ((None, "1"), ("1", "2"), ("2", "3")):
        async with store.write() as tx:
            assert await meta.next_number(tx, "count", before)
        async with store.write() as tx:
            assert not await meta.next_number(tx, "count", before)
            assert await meta.get(tx, "count") == after
