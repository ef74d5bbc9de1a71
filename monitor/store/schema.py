"""What the database says of its own schema, and whether this code may use it. It only reads: `migrate` changes.

`HEAD` is the newest revision and `CODE` the number of the schema this code was written for. A database keeps in `meta` the number of
its schema (`schema`) and of the oldest code that it serves (`serves`): so an older program knows whether a newer schema is for it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

HEAD = "0003"
CODE = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """Why this code may not use a database, and what to do."""

    message: str
    cure: str


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The revision a database is at (None: it has no table of ours), the one this code brings, and the oldest code it serves."""

    current: str | None
    head: str = HEAD
    number: int = 0
    serves: int = 0

    @property
    def empty(self) -> bool:
        """Whether it has yet to be made."""
        return self.current is None

    @property
    def fits(self) -> bool:
        """Whether this code may read and write it."""
        return self.current == self.head or (self.number > CODE >= self.serves)

    def fault(self, name: str) -> Fault | None:
        """None when it fits; of one that is not empty."""
        if self.fits:
            return None
        if self.number <= CODE:
            return Fault(
                f"{name} is at schema revision {self.current}, older than this program's {self.head}",
                "back it up, then run `trustacks-monitor db upgrade`",
            )
        return Fault(
            f"{name} is at schema revision {self.current}, newer than {_this_program()} knows ({self.head}); "
            f"it serves programs of schema {self.serves} or later, this one is of schema {CODE}",
            "install the version of the monitor that upgraded this database, or a later one",
        )


async def read(tx: AsyncConnection) -> SchemaState:
    """What the database says."""
    tables = await tx.run_sync(lambda connection: set(sa.inspect(connection).get_table_names()))
    if "alembic_version" not in tables:
        return SchemaState(None)
    current = await tx.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if current is None or "meta" not in tables:
        return SchemaState(current)
    rows = await tx.execute(sa.text("SELECT key, value FROM meta WHERE key IN ('schema', 'serves')"))
    values = {key: int(value) for key, value in rows}
    return SchemaState(current, number=values.get("schema", 0), serves=values.get("serves", 0))


def _this_program() -> str:
    try:
        return f"trustacks-monitor {version('trustacks-monitor')}"
    except PackageNotFoundError:
        return "this trustacks-monitor"
