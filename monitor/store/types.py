"""How values lie in a column, alike on both databases: moments, foreign strings, keys, enumerations, JSON, bytes.

A type here may refuse what the program itself got wrong (a naive moment); what is foreign it must never refuse, only bring into a
form that both databases take and give back unchanged.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from monitor.errors import StoreError

if TYPE_CHECKING:
    from enum import StrEnum

    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

E = TypeVar("E", bound="StrEnum")

_MARK = "\U000f0000"
_UNSTORABLE = re.compile(f"[\x00\ud800-\udfff{_MARK}]")
_STORED = re.compile(f"{_MARK}([0-9a-f]{{5}})")
_KEY_LIMIT = 400
_KEY_SHOWN = 120
_BLOB_LIMIT = 32 * 1024 * 1024


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC to the microsecond: native on PostgreSQL, RFC 3339 text of one width (so that it sorts) on SQLite."""

    impl = sa.String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type for a database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ANN401 - str or datetime, by database
        """Aware moments only: a naive one is a fault of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise StoreError("a moment without a time zone cannot be stored")
        value = value.astimezone(UTC)
        if dialect.name == "postgresql":
            return value
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002 - as above; its base's signature
        """Always aware, always UTC."""
        if value is None:
            return None
        return (value if isinstance(value, datetime) else datetime.fromisoformat(value)).astimezone(UTC)


class Foreign(sa.types.TypeDecorator[str]):
    """Any string whatever. NUL and lone surrogates, which PostgreSQL or UTF-8 cannot hold, are kept in a reversible spelling."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - its base's signature
        """Spell out what cannot be stored."""
        return None if value is None else _UNSTORABLE.sub(lambda m: f"{_MARK}{ord(m[0]):05x}", value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ANN401, ARG002 - its base's signature
        """Give back what came in."""
        return None if value is None else _STORED.sub(lambda m: chr(int(m[1], 16)), value)


class Key(Foreign):
    """A foreign string that stands in an index, whose rows are bounded: a long one is its beginning and its SHA-256."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Shorten the same string always to the same key."""
        return super().process_bind_param(None if value is None else bounded_key(value), dialect)


def bounded_key(text: str) -> str:
    """The text itself, or, where it is long, its beginning, an ellipsis and the SHA-256 of all of it."""
    raw = text.encode("utf-8", "surrogatepass")
    return text if len(raw) <= _KEY_LIMIT else f"{text[:_KEY_SHOWN]}…{hashlib.sha256(raw).hexdigest()}"


class Choice(sa.types.TypeDecorator[E]):
    """A `StrEnum` member, stored as its text."""

    impl = sa.String(32)
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - its base's signature
        """Only members are stored."""
        return None if value is None else self.members(value).value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> E | None:  # noqa: ANN401, ARG002 - its base's signature
        """Only members come back."""
        return None if value is None else self.members(value)


class Json(sa.types.TypeDecorator[Any]):
    """JSON as ASCII text, so that every string that Python can hold is stored on both databases."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ANN401, ARG002 - JSON is any value
        """One spelling for one value."""
        return None if value is None else json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002 - JSON is any value
        """Lists and dicts, as `json` makes them."""
        return None if value is None else json.loads(value)


class Blob(sa.types.TypeDecorator[bytes]):
    """Bytes, bounded far above what any edge lets in: more is a fault of ours."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - its base's signature
        """Refuse what no edge should have let in."""
        if value is not None and len(value) > _BLOB_LIMIT:
            raise StoreError(f"{len(value)} bytes in one value: the store keeps at most {_BLOB_LIMIT}")
        return value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> bytes | None:  # noqa: ANN401, ARG002 - its base's signature
        """Plain bytes, whatever the driver has."""
        return None if value is None else bytes(value)


BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A row's id: 64 bits on both, the row id on SQLite."""
