"""How lists are printed: the same fields in every format, and nothing foreign that acts on a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.cli import output
from monitor.cli.output import Format


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Row:
    id: int
    name: str
    when: datetime | None
    many: tuple[str, ...]
    colour: Colour
    yes: bool


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
SAMPLE = Row(1, DIGEST, NOW, ("a", "b"), Colour.RED, yes=True)


def written(rows: list[Row], form: Format, *columns: str) -> str:
    stream = io.StringIO()
    output.write(rows, Row, form, columns=columns, out=stream)
    return stream.getvalue()


def test_every_format_but_the_table_holds_every_field_in_order() -> None:
    names = ["id", "name", "when", "many", "colour", "yes"]
    assert list(json.loads(written([SAMPLE], Format.JSON))[0]) == names
    assert list(json.loads(written([SAMPLE], Format.JSONL))) == names
    assert next(csv.reader(io.StringIO(written([SAMPLE], Format.CSV)))) == names


def test_json_holds_times_in_utc_lists_enumerations_and_booleans() -> None:
    assert json.loads(written([SAMPLE], Format.JSONL)) == {
        "id": 1,
        "name": DIGEST,
        "when": "2026-11-23T12:00:00Z",
        "many": ["a", "b"],
        "colour": "red",
        "yes": True,
    }


@pytest.mark.parametrize(("form", "empty"), [(Format.JSON, "[]\n"), (Format.JSONL, ""), (Format.TABLE, "")])
def test_no_rows_are_an_empty_list(form: Format, empty: str) -> None:
    assert written([], form) == empty


def test_csv_without_rows_still_names_its_fields() -> None:
    assert written([], Format.CSV) == "id,name,when,many,colour,yes\n"


@given(st.text())
def test_json_gives_foreign_text_back_exactly_and_in_ascii(text: str) -> None:
    line = written([Row(1, text, None, (), Colour.RED, yes=False)], Format.JSONL)
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line)["name"] == text


@given(st.text())
def test_no_foreign_text_reaches_a_table_or_csv_as_control_or_bidi_characters(text: str) -> None:
    row = Row(1, text, None, (text,), Colour.RED, yes=False)
    for form in (Format.TABLE, Format.CSV):
        told = written([row], form).replace("\n", "")
        assert not [c for c in told if unicodedata.category(c)[0] in "CZ" and c != " "]


@given(st.text(alphabet=" \t\n=+-@|a", min_size=1))
def test_no_cell_of_csv_begins_a_formula(text: str) -> None:
    rows = list(
        csv.reader(io.StringIO(written([Row(-1, text, None, (text, text), Colour.RED, yes=False)], Format.CSV)))
    )
    for cell in (rows[1][1], rows[1][3]):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert rows[1][0] == "-1"


def test_a_table_for_a_file_is_as_wide_as_its_digests() -> None:
    told = written([SAMPLE, SAMPLE], Format.TABLE, "id", "name")
    assert [line.split() for line in told.splitlines()] == [["id", "name"], ["1", DIGEST], ["1", DIGEST]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_narrow_terminal_a_row_becomes_lines_and_its_digest_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    output.write([SAMPLE], Row, Format.TABLE, columns=("id", "name"), out=stream)
    assert stream.getvalue().splitlines()[:2] == ["id:   1", f"name: {DIGEST}"]


@dataclass(frozen=True)
class Version:
    version: str
    missing: tuple[str, ...]
    empty: str | None
    first_seen: datetime


def test_a_terminal_too_narrow_is_first_tried_without_empty_columns_and_with_values_under_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    rows = [Version("0.1.2", ("runner", "policy/constitution"), None, NOW.replace(microsecond=5))] * 2
    lines = {}
    for columns in ("40", "52", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        stream = Terminal()
        output.write(rows, Version, Format.TABLE, out=stream)
        lines[columns] = [line.split() for line in re.sub("\x1b[^m]*m", "", stream.getvalue()).splitlines()]
    at = "2026-11-23T12:00:00Z"
    wide = ["0.1.2", "runner;", "policy/constitution", at]
    assert lines["80"] == [["version", "missing", "empty", "first_seen"], wide, wide]
    high = [["0.1.2", "runner", at], ["policy/constitution"]]
    assert lines["52"] == [["version", "missing", "first_seen"], *high, *high]
    assert lines["40"][:3] == [
        ["version:", "0.1.2"],
        ["missing:", "runner;", "policy/constitution"],
        ["first_seen:", at],
    ]


def test_foreign_text_is_never_read_as_markup() -> None:
    assert "[bold red]x[/]" in written([Row(1, "[bold red]x[/]", None, (), Colour.RED, yes=True)], Format.TABLE)
