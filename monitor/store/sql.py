"""The few SQL shapes that every noun needs, alike on both databases."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from monitor.errors import SettingsError
from monitor.model.finding import Severity
from monitor.model.log import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.store.connect import Tx

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
_CERTIFICATE_LOGS = [protocol for protocol in Protocol if protocol.certificates]


def insert(tx: Tx, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Begin an INSERT that can say what to do on a conflict."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of at most `size`: a statement has a limit on its parameters."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def of_certificate_log(protocol: sa.ColumnElement[Protocol]) -> sa.ColumnElement[bool]:
    """Keep what stands in certificate logs: certificates, not signatures."""
    return protocol.in_(_CERTIFICATE_LOGS)


def severity_rank(column: sa.ColumnElement[Severity]) -> sa.ColumnElement[int]:
    """Order by severity: 0 for low to 3 for critical."""
    return sa.case(*((column == severity, severity.rank) for severity in Severity), else_=-1)


def at_least(column: sa.ColumnElement[Severity], severity: str) -> sa.ColumnElement[bool]:
    """Keep this severity and worse ones. SettingsError when it is none."""
    least = chosen(Severity, severity, "severity")
    return column.in_([other for other in Severity if other.rank >= least.rank])


def chosen(members: type[E], text: str, what: str) -> E:
    """Return the member that an operator named. SettingsError when there is none such."""
    try:
        return members(text)
    except ValueError as error:
        raise SettingsError(f"{what} {text!r} is none of {', '.join(members)}") from error
