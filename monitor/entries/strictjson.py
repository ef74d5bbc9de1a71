"""JSON from strangers: RFC 8259 to the letter, and every key once. A value knows the path it was found at, for the message.

It never repairs, and never picks one of two values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import orjson

from monitor.entries.encoding import base64_bytes
from monitor.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value and where it stands. Every reader raises FormatError with that place."""

    value: object
    path: str = ""

    def refuse(self, what: str) -> NoReturn:
        """Raise FormatError: `what` is wrong at this place."""
        raise FormatError(f"{self.path or 'entry'}: {what}")

    def find(self, key: str) -> Json | None:
        """The value under `key`, or None where there is none or it is null."""
        if not isinstance(self.value, dict):
            self.refuse("not an object")
        value = self.value.get(key)
        return None if value is None else Json(value, f"{self.path}.{key}" if self.path else key)

    def at(self, *keys: str) -> Json:
        """The value that stands under `keys`, one below the other."""
        found = self
        for key in keys:
            below = found.find(key)
            if below is None:
                found.refuse(f"has no {key}")
            found = below
        return found

    def text(self) -> str:
        """The value as a string."""
        if not isinstance(self.value, str):
            self.refuse("not a string")
        return self.value

    def base64(self) -> bytes:
        """The bytes that the value carries in base64."""
        try:
            return base64_bytes(self.text())
        except FormatError as error:
            self.refuse(str(error))

    def items(self, limit: int) -> list[Json]:
        """The values of an array of 1 to `limit` values."""
        if not isinstance(self.value, list):
            self.refuse("not an array")
        if not 0 < len(self.value) <= limit:
            self.refuse(f"{len(self.value)} values in an array of 1 to {limit}")
        return [Json(value, f"{self.path}[{i}]") for i, value in enumerate(self.value)]

    def values(self) -> list[Json]:
        """The values of an object."""
        if not isinstance(self.value, dict):
            self.refuse("not an object")
        return [Json(value, f"{self.path}.{key}") for key, value in self.value.items()]


def parse(data: bytes) -> Json:
    """The JSON value that `data` is. FormatError: not JSON, not UTF-8, nested too deep, a key twice or equal to another but for case."""
    try:
        orjson.loads(data)  # strict about UTF-8, surrogates, numbers and depth; the slower reader sees every key
        value = json.loads(data, object_pairs_hook=_once, parse_constant=_constant)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {error}") from None
    if _deeper_than(value, _MAX_DEPTH):
        raise FormatError(f"JSON nested deeper than {_MAX_DEPTH}")
    return Json(value)


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("an object with the same key twice")
    if len({key.lower() for key in found}) != len(found):
        raise FormatError("an object with keys that are equal but for case")
    return found


def _constant(name: str) -> NoReturn:
    raise FormatError(f"not JSON: {name}")


def _deeper_than(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
