"""Regular expressions as cosign reads them: RE2, so that a hostile name costs time linear in its length.

Never use Python's `re` for a pattern that an operator or a customer wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import re2  # type: ignore[import-untyped] # google-re2 ships no types

from monitor.errors import SettingsError


class _Compiled(Protocol):
    def search(self, text: str) -> object | None: ...
    def fullmatch(self, text: str) -> object | None: ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled RE2 pattern, asked about text as UTF-8; a lone surrogate (no certificate holds one) is `?`."""

    text: str
    _compiled: _Compiled = field(repr=False, compare=False)

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`: unanchored, as Go's `MatchString` and so as cosign."""
        return self._compiled.search(_encodable(text)) is not None

    def covers(self, text: str) -> bool:
        """Whether the pattern matches the whole of `text`."""
        return self._compiled.fullmatch(_encodable(text)) is not None


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """Compile `text`. Raises SettingsError, naming the pattern and RE2's complaint."""
    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(text, re2.compile(_encodable(text), options))
    except re2.error as error:
        complaint = error.args[0] if error.args else "not a pattern"
        said = complaint.decode(errors="replace") if isinstance(complaint, bytes) else str(complaint)
        raise SettingsError(
            f"{text!r} is not an RE2 pattern: {said}",
            cure="correct the pattern; its syntax is that of github.com/google/re2/wiki/Syntax, as in cosign",
        ) from error


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
