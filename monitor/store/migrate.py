"""Brings a database up to this code's schema, in one transaction; a failed upgrade leaves it as it was.

The revisions travel inside the wheel as `monitor/migrations`; in a checkout they stand at its top.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from monitor.errors import SchemaError, StoreError
from monitor.store import schema
from monitor.store.connect import Tx, new_engine, parse_url, shown
from monitor.store.faults import translated

if TYPE_CHECKING:
    from monitor.store.schema import SchemaState

_LOCK = 0x5452555354
"""PostgreSQL's advisory lock under which one process upgrades."""


def revisions() -> Path:
    """The directory of the revisions. StoreError when this installation has none."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "migrations", package.parent / "migrations"):
        if (directory / "env.py").is_file():
            return directory
    raise StoreError("this installation lacks its migrations", cure="install trustacks-monitor again")


async def check(url: str | sa.URL) -> SchemaState:
    """What the database says of its schema, and what this code brings. StoreError when it cannot be asked."""
    parsed = parse_url(url)
    reader = new_engine(parsed, readonly=True)
    try:
        with translated(shown(parsed)):
            async with reader.begin() as tx:
                return await schema.read(tx)
    finally:
        await reader.dispose()


async def upgrade(url: str | sa.URL) -> SchemaState:
    """Upgrade to this code's schema, or leave a database that is there already as it is.

    Raises SchemaError for a database newer than this code, or whose rows would be left without their parents.
    """
    parsed = parse_url(url)
    name = shown(parsed)
    writer = new_engine(parsed, foreign_keys=False)
    if writer.dialect.name == "postgresql":
        # What another process upgraded while we waited for the lock must be seen.
        writer = writer.execution_options(isolation_level="READ COMMITTED")
    try:
        with translated(name):
            async with writer.begin() as tx:
                if writer.dialect.name == "postgresql":
                    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                state = await schema.read(tx)
                if state.number > schema.CODE:
                    fault = state.fault(name)
                    if fault:
                        raise SchemaError(fault.message, cure=fault.cure)
                    return state
                await tx.run_sync(_run)
                if writer.dialect.name == "sqlite":
                    await _check_parents(tx, name)
                return await schema.read(tx)
    except CommandError as error:
        raise SchemaError(f"{name} cannot be upgraded: {error}", cure="restore it from a backup") from error
    finally:
        await writer.dispose()


def _run(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(revisions()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _check_parents(tx: Tx, name: str) -> None:
    orphans = (await tx.exec_driver_sql("PRAGMA foreign_key_check")).mappings().all()
    for orphan in orphans[:1]:
        raise SchemaError(
            f"{name}: the upgrade would leave a row of {orphan['table']} without its parent in {orphan['parent']}; "
            "nothing was changed",
            cure="restore it from a backup, or report this",
        )
