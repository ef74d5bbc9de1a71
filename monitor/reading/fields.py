"""The fields of a JSON reply, read strictly: what is missing or of another kind is a FormatError that names it."""

from __future__ import annotations

from typing import NoReturn

import pybase64

from monitor.errors import FormatError

_MAX_COUNT = 2**63 - 1
_SHOWN = 40


def record(value: object, what: str) -> dict[str, object]:
    """The value as an object."""
    return value if isinstance(value, dict) else wrong(what, value)


def text(fields: dict[str, object], name: str) -> str:
    """The text under a name."""
    value = fields.get(name)
    return value if isinstance(value, str) else wrong(name, value)


def count(fields: dict[str, object], name: str) -> int:
    """The number under a name: a whole one from 0 on, below 2**63."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT:
        return value
    return wrong(name, value)


def base64(value: object, name: str) -> bytes:
    """The bytes of a value in standard base64."""
    if not isinstance(value, str):
        return wrong(name, value)
    try:
        return pybase64.b64decode(value.encode("ascii"), validate=True)
    except ValueError as error:
        raise FormatError(f"{name} is not base64") from error


def wrong(name: str, value: object) -> NoReturn:
    """Refuse a value by its name."""
    shown = "missing" if value is None else f"a {type(value).__name__}, {str(value)[:_SHOWN]!r}"
    raise FormatError(f"{name} is {shown}")
