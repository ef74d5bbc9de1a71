"""A database is brought up in one transaction, is what the tables say, and is refused by name when it does not fit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from monitor.errors import NoDatabaseError, SchemaError, StoreError
from monitor.store import meta, migrate, schema
from monitor.store.connect import new_engine, parse_url
from monitor.store.engine import Store
from monitor.store.tables import metadata

if TYPE_CHECKING:
    from pathlib import Path


async def test_opening_an_empty_database_makes_its_tables(empty_url: str) -> None:
    assert (await migrate.check(empty_url)).empty
    async with await Store.open(empty_url) as store, store.read() as tx:
        assert await meta.get(tx, "schema") == str(schema.CODE)
    assert (await migrate.check(empty_url)).fits


async def test_upgrading_again_changes_nothing(database_url: str) -> None:
    async with await Store.open(database_url) as store, store.write() as tx:
        await meta.set(tx, "kept", "yes")
    assert (await migrate.upgrade(database_url)).fits
    async with await Store.open(database_url) as store, store.read() as tx:
        assert await meta.get(tx, "kept") == "yes"


async def test_an_empty_database_is_refused_where_it_may_not_be_made(empty_postgres_url: str) -> None:
    with pytest.raises(NoDatabaseError, match="no tables") as refusal:
        await Store.open(empty_postgres_url, create=False)
    assert "`run`" in refusal.value.cure


async def test_two_that_upgrade_at_once_make_one_schema(empty_url: str) -> None:
    states = await asyncio.gather(*(migrate.upgrade(empty_url) for _ in range(6)))
    assert all(state.fits for state in states)


async def test_the_migrated_schema_is_the_one_of_the_tables(database_url: str) -> None:
    def differences(connection: sa.Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    engine = new_engine(parse_url(database_url), readonly=True)
    async with engine.begin() as tx:
        assert await tx.run_sync(differences) == []
    await engine.dispose()


async def test_the_migrated_schema_has_the_keys_of_the_tables(database_url: str) -> None:
    def keys(connection: sa.Connection) -> dict[str, Any]:
        inspector = sa.inspect(connection)
        return {
            name: (
                inspector.get_pk_constraint(name)["constrained_columns"],
                sorted(tuple(each["column_names"]) for each in inspector.get_unique_constraints(name)),
                sorted((tuple(each["constrained_columns"]), each["referred_table"])
                       for each in inspector.get_foreign_keys(name)),
            )
            for name in metadata.tables
        }  # fmt: skip

    expected = {
        name: (
            [column.name for column in table.primary_key.columns],
            sorted(
                tuple(column.name for column in each.columns)
                for each in table.constraints
                if isinstance(each, sa.UniqueConstraint)
            ),
            sorted((tuple(each.column_keys), each.referred_table.name) for each in table.foreign_key_constraints),
        )
        for name, table in metadata.tables.items()
    }
    engine = new_engine(parse_url(database_url), readonly=True)
    async with engine.begin() as tx:
        assert await tx.run_sync(keys) == expected
    await engine.dispose()


def test_this_code_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.revisions()))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


async def _pretend(url: str, revision: str, number: int, serves: int) -> None:
    async with await Store.open(url) as store, store.write() as tx:
        await meta.set(tx, "schema", str(number))
        await meta.set(tx, "serves", str(serves))
        await tx.execute(sa.text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


async def test_a_newer_database_that_serves_this_code_is_used_and_never_upgraded(database_url: str) -> None:
    await _pretend(database_url, "0099", schema.CODE + 3, schema.CODE)
    async with await Store.open(database_url) as store, store.write() as tx:
        await meta.set(tx, "key", "value")
    assert (await migrate.upgrade(database_url)).current == "0099"


async def test_a_newer_database_that_no_longer_serves_this_code_is_refused_by_name(database_url: str) -> None:
    await _pretend(database_url, "0099", schema.CODE + 3, schema.CODE + 1)
    for attempt in (Store.open(database_url), migrate.upgrade(database_url)):
        with pytest.raises(SchemaError, match="0099, newer than") as refusal:
            await attempt
        assert "install" in refusal.value.cure


async def test_an_older_database_is_refused_until_it_is_upgraded(database_url: str) -> None:
    await _pretend(database_url, "0000", 0, 0)
    with pytest.raises(SchemaError, match="0000, older than") as refusal:
        await Store.open(database_url)
    assert "db upgrade" in refusal.value.cure


async def test_an_upgrade_that_fails_half_way_leaves_nothing(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "versions").mkdir()
    source = migrate.revisions()
    (tmp_path / "env.py").write_text((source / "env.py").read_text())
    for revision in (source / "versions").glob("*.py"):
        (tmp_path / "versions" / revision.name).write_text(revision.read_text())
    broken = (
        "from alembic import op\nrevision, down_revision, branch_labels, depends_on = '9999', 'HEAD', None, None\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    op.execute('SELECT * FROM nowhere')\n"
    )
    (tmp_path / "versions" / "9999_broken.py").write_text(broken.replace("HEAD", schema.HEAD))
    monkeypatch.setattr(migrate, "revisions", lambda: tmp_path)
    with pytest.raises(StoreError, match="nowhere"):
        await migrate.upgrade(empty_url)
    assert (await migrate.check(empty_url)).empty
    engine = new_engine(parse_url(empty_url), readonly=True)
    async with engine.begin() as tx:
        assert await tx.run_sync(lambda connection: sa.inspect(connection).get_table_names()) == []
    await engine.dispose()


async def test_an_upgrade_that_would_orphan_rows_is_refused_and_undone(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def orphan(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO conflict_evidence VALUES (77, 0, 'ours', x'00')")

    monkeypatch.setattr(migrate, "_run", orphan)
    with pytest.raises(SchemaError, match="conflict_evidence without its parent in conflicts"):
        await migrate.upgrade(sqlite_url)
    async with await Store.open(sqlite_url) as store, store.read() as tx:
        assert await tx.scalar(sa.text("SELECT count(*) FROM conflict_evidence")) == 0


async def test_the_first_schema_is_upgraded_with_its_rows(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "versions").mkdir()
    source = migrate.revisions()
    for name in ("env.py", "versions/0001_first_schema.py"):
        (tmp_path / name).write_text((source / name).read_text())
    with monkeypatch.context() as old:
        old.setattr(migrate, "revisions", lambda: tmp_path)
        await migrate.upgrade(empty_url)
    engine = new_engine(parse_url(empty_url))
    async with engine.begin() as tx:
        await meta.set(tx, "kept", "yes")
    await engine.dispose()
    with pytest.raises(SchemaError, match=f"0001, older than this program's {schema.HEAD}"):
        await Store.open(empty_url)
    assert (await migrate.upgrade(empty_url)).current == schema.HEAD
    async with await Store.open(empty_url) as store, store.read() as tx:
        assert await meta.get(tx, "kept") == "yes"
        assert await meta.get(tx, "schema") == await meta.get(tx, "serves") == str(schema.CODE)
