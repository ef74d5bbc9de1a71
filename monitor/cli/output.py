"""How lists leave the command line: as a table for people, as JSON, JSON lines or CSV for programs.

Field names are those of the row classes, the same in every format. Foreign text never reaches a terminal or a spreadsheet as control
characters or formulas (P7); JSON keeps it exact, with everything beyond ASCII as an escape.
"""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, TextIO

from monitor.model.text import rfc3339, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import DataclassInstance
    from rich.table import Table

_FORMULA = ("=", "+", "-", "@")
"""With what a cell may begin that a spreadsheet would calculate."""
_UNLIMITED = 100_000


class Document(StrEnum):
    """The formats of what is no list: a table for people, or one JSON document, over many lines or on one."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class Format(StrEnum):
    """The formats that every list takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def plain(value: object) -> object:
    """A value as JSON has it: times as RFC 3339 in UTC, bytes as hex, rows as objects with their fields in order."""
    match value:
        case datetime():
            return rfc3339(value)
        case bytes():
            return value.hex()
        case Enum():
            return value.value
        case tuple() | list():
            return [plain(each) for each in value]
        case _ if is_dataclass(value):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return value


def cell(value: object) -> str:
    """A value in one cell of a table or of CSV; what is absent is empty, several values stand beside each other."""
    made = plain(value)
    match made:
        case None:
            return ""
        case bool():
            return "yes" if made else "no"
        case list():
            return "; ".join(cell(each) for each in made)
        case dict():
            return ", ".join(f"{name}={cell(each)}" for name, each in made.items())
    return visible(str(made))


def csv_cell(value: object) -> str:
    """A cell that no spreadsheet calculates: one that could begin a formula begins with an apostrophe."""
    text = cell(value)
    if isinstance(value, int | float):
        return text
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def write(
    rows: Sequence[DataclassInstance],
    kind: type[DataclassInstance],
    form: Format,
    *,
    columns: Sequence[str] = (),
    out: TextIO | None = None,
) -> None:
    """Print rows of one `kind`. `columns` are the fields that a table shows; the other formats show all."""
    stream = out or sys.stdout
    names = [each.name for each in fields(kind)]
    match form:
        case Format.JSON:
            stream.write(json.dumps([plain(row) for row in rows], indent=2) + "\n")
        case Format.JSONL:
            stream.writelines(json.dumps(plain(row)) + "\n" for row in rows)
        case Format.CSV:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([csv_cell(getattr(row, name)) for name in names] for row in rows)
        case Format.TABLE:
            _table(rows, list(columns) or names, stream)


def _table(rows: Sequence[DataclassInstance], columns: list[str], stream: TextIO) -> None:
    """A table where it fits without breaking a word; else each row as lines of `field: value`, so that digests stay whole.

    A terminal that is too narrow for it is first tried without the columns that are empty, several values under each other.
    """
    if not rows:
        sys.stderr.write("nothing found\n")
        return
    from rich.console import Console  # noqa: PLC0415 - late: `--help` and the other formats do without it

    terminal = Console(file=stream)
    whole = _drawn([[_short(getattr(row, name)) for name in columns] for row in rows], columns)
    if not terminal.is_terminal:
        Console(file=stream, width=max(_width(whole), 1)).print(whole)
        return
    filled = [name for name in columns if any(cell(getattr(row, name)) for row in rows)]
    narrow = _drawn([[_short(getattr(row, name), "\n") for name in filled] for row in rows], filled)
    for table in (whole, narrow):
        if _width(table) <= terminal.width:
            terminal.print(table)
            return
    for row in rows:
        record([(name, _short(getattr(row, name))) for name in columns], stream)
        stream.write("\n")


def _short(value: object, between: str = "; ") -> str:
    """A value as people read it in a list: a time to the second; the other formats have all of it."""
    if isinstance(value, datetime):
        return cell(value.replace(microsecond=0))
    return between.join(cell(each) for each in value) if isinstance(value, tuple | list) else cell(value)


def _drawn(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True, overflow="ignore")
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    return table


def _width(table: Table) -> int:
    from rich.console import Console  # noqa: PLC0415

    return Console(width=_UNLIMITED).measure(table).maximum


def record(pairs: Sequence[tuple[str, object]], stream: TextIO | None = None) -> None:
    """One thing as lines of `name: value`, what is empty left out."""
    told = [(name, cell(value)) for name, value in pairs]
    width = max((len(name) for name, text in told if text), default=0)
    for name, text in told:
        if text:
            (stream or sys.stdout).write(f"{visible(name) + ':':<{width + 1}} {text}\n")
