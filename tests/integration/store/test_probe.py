from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from monitor.errors import StoreError
from monitor.model.check import CheckState
from monitor.store import meta, probe
from monitor.store.connect import new_engine, parse_url
from monitor.store.engine import Store

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_database_that_fits_is_written_and_left_as_it_was(database_url: str, now: datetime) -> None:
    (check,) = await probe.probe(database_url, now)
    assert check.state is CheckState.OK
    assert "can be written; no daemon is running on it" in check.said
    async with await Store.open(database_url) as store, store.read() as tx:
        assert await meta.get(tx, probe._PROBE) is None


async def test_a_database_that_a_daemon_leads_is_said_to_be_and_can_be_looked_at(database_url: str) -> None:
    async with await Store.open(database_url, lock=True):
        (check,) = await probe.probe(database_url, datetime.now(UTC))
    assert check.state is CheckState.OK
    assert "a daemon is running on it (" in check.said
    assert f"process {os.getpid()}" in check.said
    async with await Store.open(database_url, lock=True):
        pass  # looking has taken nothing from anybody


async def test_a_database_without_tables_is_no_fault_and_stays_without(
    empty_url: str, tmp_path: Path, now: datetime
) -> None:
    (check,) = await probe.probe(empty_url, now)
    assert check.state is CheckState.OK
    assert "the first start makes" in check.said
    url = parse_url(empty_url)
    if url.get_backend_name() == "sqlite":
        assert _files(tmp_path) == []
        return
    engine = new_engine(url)
    async with engine.begin() as tx:
        assert await tx.run_sync(lambda connection: sa.inspect(connection).get_table_names()) == []
    await engine.dispose()


async def test_a_database_older_than_the_program_is_told_to_be_upgraded(database_url: str, now: datetime) -> None:
    async with await Store.open(database_url) as store, store.write() as tx:
        await tx.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
        await tx.execute(sa.text("UPDATE meta SET value = '1' WHERE key = 'schema'"))
    (check,) = await probe.probe(database_url, now)
    assert check.state is CheckState.FAILED
    assert "older than this program's" in check.said
    assert "db upgrade" in check.cure


async def test_a_postgresql_database_that_may_only_be_read_fails_with_what_to_grant(
    postgres_url: str, now: datetime
) -> None:
    engine = new_engine(parse_url(postgres_url))
    async with engine.begin() as tx:
        for statement in (
            "DROP ROLE IF EXISTS onlooker",
            "CREATE ROLE onlooker LOGIN",
            "GRANT USAGE ON SCHEMA public TO onlooker",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker",
        ):
            await tx.execute(sa.text(statement))
    try:
        url = parse_url(postgres_url).set(username="onlooker", password=None)
        with pytest.raises(StoreError, match="permission denied") as caught:
            await probe.probe(url.render_as_string(hide_password=False), now)
        assert "grant this user" in caught.value.cure
    finally:
        async with engine.begin() as tx:
            await tx.execute(sa.text("DROP OWNED BY onlooker"))
            await tx.execute(sa.text("DROP ROLE onlooker"))
        await engine.dispose()


async def test_a_postgresql_database_that_is_not_there_says_to_create_it(postgres_url: str, now: datetime) -> None:
    url = parse_url(postgres_url).set(database="nowhere")
    with pytest.raises(StoreError, match='database "nowhere" does not exist') as caught:
        await probe.probe(url.render_as_string(hide_password=False), now)
    assert "create the database" in caught.value.cure


async def test_a_directory_that_is_not_there_is_usable_where_it_can_be_made(tmp_path: Path) -> None:
    assert probe.unusable(tmp_path / "a" / "b") == ""
    (tmp_path / "file").write_text("")
    assert "is a file" in probe.unusable(tmp_path / "file" / "b")
    assert not (tmp_path / "a").exists()


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())
