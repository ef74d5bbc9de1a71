"""The names that settings have, and which of them may have been meant by one that is none: a key of the file, or a variable."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from monitor.config.sources import FROM_ENVIRONMENT, PREFIX, SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.config.sources import Key, Source


def meant(source: Source, place: Key, unknown: Key, model: type[BaseModel]) -> str:
    """What may have been meant by the key at `place`, in a sentence. `unknown` is the part of it, or all, that is no key."""
    return _near_variable(source, place, model) or _suggestion(str(unknown[-1]), keys(model, unknown[:-1]))


def keys(model: type[BaseModel], place: Key) -> Sequence[str]:
    """Which keys the table at `place` may have."""
    table: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, str) and table is not None:
            found = table.model_fields.get(part)
            table = table_of(found.rebuild_annotation()) if found else None
    return tuple(table.model_fields) if table else ()


def table_of(hint: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type form has no type
    """The table that a setting of this annotation is, or a list of it; None for what is no table."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((found for each in get_args(hint) if (found := table_of(each))), None)


def _near_variable(source: Source, place: Key, model: type[BaseModel]) -> str:
    """The variable that may have been meant by one whose section, key or underscores are not quite a setting's; else empty."""
    name = next(
        (source.variables[place[:end]] for end in range(len(place), 0, -1) if place[:end] in source.variables), ""
    )
    if not name.endswith("__".join(str(part) for part in place).upper()):
        return ""  # a key within the table that a variable holds
    near = difflib.get_close_matches(name.removeprefix(PREFIX), list(_variables(model)), 1, 0.75)
    return f"did you mean {PREFIX}{near[0]}?" if near else ""


def _variables(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The environment's names of the settings in a table and in those below it, without our prefix."""
    for name, found in model.model_fields.items():
        table = table_of(found.rebuild_annotation())
        yield f"{above}{name}".upper()
        if table is not None:
            yield from _variables(table, f"{above}{name}__")
    if not above:
        yield from (name.upper() for name in FROM_ENVIRONMENT)
        yield from (f"{name.upper()}_FILE" for name in SECRETS)


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lower(), known, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"the keys here are {', '.join(known)}" if known else "see config.example.toml"
