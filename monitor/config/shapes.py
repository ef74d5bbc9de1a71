"""From the rooms' option dataclasses to the checks of a settings tree, so that a setting is declared once, beside its use.

It knows shapes and ranges, not meanings: what a value means is checked by the dataclass that takes it.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from functools import partial, reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from monitor.config import names
from monitor.errors import SettingsError
from monitor.model.finding import Severity
from monitor.model.log import Mode, Protocol
from monitor.model.release import Authority
from monitor.model.text import clip
from monitor.releases.auth import Credentials
from monitor.rules.pattern import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic_core import ErrorDetails

    from monitor.config.sources import Key, Source

T = TypeVar("T")

_NAMES = {
    "Credentials": Credentials,
    "Mapping": dict,
    "Path": Path,
    "Protocol": Protocol,
    "Mode": Mode,
    "Severity": Severity,
    "Authority": Authority,
}
"""What options import for their annotations only."""

_SECOND = timedelta(seconds=1)
_RANGES: dict[str, tuple[Any, Any]] = {
    "attempts": (1, 20),
    "attempt_timeout": (0.1, 300),
    "backoff": (0.0, 60),
    "backoff_first": (_SECOND / 20, timedelta(hours=1)),
    "backoff_most": (_SECOND / 20, timedelta(days=1)),
    "backfill_workers": (0, 256),
    "batch": (1, 10_000),
    "connect_timeout": (0.1, 300),
    "ct_in_flight": (1, 64),
    "ct_requests_per_second": (0.01, 1000),
    "ended_interval": (_SECOND / 20, timedelta(days=7)),
    "in_flight": (1, 64),
    "max_backoff": (0.0, 600),
    "max_connections": (1, 1000),
    "max_retry_after": (0.0, 3600),
    "pass_time": (_SECOND / 20, timedelta(hours=1)),
    "poll_interval": (_SECOND / 20, timedelta(days=1)),
    "refresh_interval": (_SECOND / 20, timedelta(days=7)),
    "timeout": (0.1, 600),
    "v1_in_flight": (1, 256),
    "v1_requests_per_second": (0.01, 1000),
    "v2_in_flight": (1, 256),
}
"""The least and the greatest value of a number or duration, by its name; others may be anything from 0 on."""
_PATTERNS = frozenset({"published_pattern", "refs"})
"""Settings that are RE2 patterns."""
_LONGEST = timedelta(days=3650)
_SHOWN = 80
_INTEGER = re.compile("a valid integer, .*")


def duration(value: object) -> timedelta:
    """A duration as people write it: `30s`, `45m`, `1h30m`, `30d`, or 0. Raises ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    if value in (0, "0") and not isinstance(value, bool):
        return timedelta(0)
    if not isinstance(value, str) or not re.fullmatch(r"([0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h|d|w) ?)+", value, re.ASCII):
        raise ValueError(f"{value!r} is not a duration: write 30s, 45m, 1h30m or 30d")
    parts = re.findall(r"([0-9.]+)(ms|[smhdw])", value)
    total = sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
    if total > _LONGEST:
        raise ValueError(f"{value!r} is longer than ten years")
    return total


_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": _SECOND,
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def url(value: str) -> str:
    """An http or https URL without user, query or fragment. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname or not value.isascii() or not value.isprintable():
        raise ValueError(f"{value!r} is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL holds a user or a password: leave them out")
    if parts.query or parts.fragment or " " in value:
        raise ValueError(f"{value!r} has a query, a fragment or a space: leave them out")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"{value!r} has no port that can be one") from None
    return value


def pattern(value: str) -> str:
    """An RE2 pattern, in which `{workflow}` may stand for a file name. Raises ValueError."""
    try:
        compiled(value.replace("{workflow}", "workflow"))
    except SettingsError as error:
        raise ValueError(f"{error}: {error.cure}") from None
    return value


def read(kind: type[T], source: Source, hidden: frozenset[tuple[type, str]]) -> T:
    """The tree of `source` as a `kind`. `hidden` are fields of options that are not settings.

    Raises SettingsError with one line: where the first fault stands, what is wrong with it, and how many more there are.
    """
    model = _model(kind, hidden)
    try:
        made = model.model_validate(source.tree)
    except ValidationError as error:
        raise _told(error.errors(include_url=False, include_context=False), source, model) from None
    return _built(kind, made)


def _model(kind: type, hidden: frozenset[tuple[type, str]]) -> type[BaseModel]:
    hints = get_type_hints(kind, globalns={**_NAMES, **vars(sys.modules[kind.__module__])})
    shapes: dict[str, Any] = {}
    for each in fields(kind):
        if (kind, each.name) not in hidden:
            required = each.default is MISSING and each.default_factory is MISSING
            shapes[each.name] = (_shape(hints[each.name], each.name, hidden), ... if required else None)
    return create_model(kind.__name__, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **shapes)


def _built(kind: type[T], made: BaseModel) -> T:
    return kind(**{name: getattr(made, name) for name in made.model_fields_set})


def _options(kind: type) -> Callable[[BaseModel], object]:
    def build(made: BaseModel) -> object:
        try:
            return _built(kind, made)
        except SettingsError as error:
            raise ValueError(f"{error}{f': {error.cure}' if error.cure else ''}") from None

    return build


def _shape(hint: Any, name: str, hidden: frozenset[tuple[type, str]]) -> Any:  # noqa: ANN401 - a type form has no type
    """The annotation of an options class as pydantic shall check it, with our ranges, durations and URLs."""
    origin: Any = get_origin(hint)
    if origin is None or origin is Literal:
        return _leaf(hint, name, hidden)
    inner = tuple(each if each is ... else _shape(each, name, hidden) for each in get_args(hint))
    return reduce(or_, inner) if origin in (Union, UnionType) else origin[inner]


def _leaf(hint: Any, name: str, hidden: frozenset[tuple[type, str]]) -> Any:  # noqa: ANN401 - a type form has no type
    least, most = _RANGES.get(name, (None, None))
    if hint is timedelta:
        return Annotated[timedelta, BeforeValidator(partial(_length, least or timedelta(0), most or _LONGEST))]
    if hint in (int, float):
        return Annotated[hint, BeforeValidator(_number), Field(ge=least or 0, le=most or 1 << 60, allow_inf_nan=False)]
    if hint is str and name.endswith("url"):
        return Annotated[str, AfterValidator(url)]
    if hint is str and name in _PATTERNS:
        return Annotated[str, AfterValidator(pattern)]
    if isinstance(hint, type) and is_dataclass(hint):
        return Annotated[_model(hint, hidden), AfterValidator(_options(hint))]
    return hint


def _length(least: timedelta, most: timedelta, value: object) -> timedelta:
    """A duration in its range. Raises ValueError in the words in which people write one."""
    length = duration(value)
    if not least <= length <= most:
        raise ValueError(f"{value!r} should be from {written(least)} to {written(most)}")
    return length


def written(length: timedelta) -> str:
    """A duration as people write it: `45m`, `1h30m`, `50ms`, `0s`."""
    left, parts = length // _UNITS["ms"], []
    for name in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _UNITS[name] // _UNITS["ms"])
        parts += [f"{count}{name}"] if count else []
    return "".join(parts) or "0s"


def _number(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{value!r} is not a number that can be meant")
    return value


def _told(errors: Sequence[ErrorDetails], source: Source, model: type[BaseModel]) -> SettingsError:
    faults: dict[Key, list[str]] = {}
    cures: dict[Key, str] = {}
    for error in errors:
        place = _place(error["loc"], source.tree)
        reason = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            place, reason = _written_at(source, error["loc"]), "unknown key"
            cures[place] = names.meant(source, place, error["loc"], model)
        elif error["type"] == "missing":
            place, reason = error["loc"], "is missing"
        elif error["type"] == "value_error":
            place = _into(place, reason, source.tree)
            place = place if names.keys(model, place) else _written_at(source, place)
        else:
            place = _written_at(source, place)
            written_so = (
                f"{clip(repr(error['input']), _SHOWN)} " if isinstance(error["input"], str | int | float) else ""
            )
            reason = f"{written_so}{reason.replace('Input should', 'should')}"
            reason = reason.replace("a valid tuple", "a list").replace("a valid dictionary", "a table")
            reason = _INTEGER.sub("a whole number", reason)
            if any(said.startswith(written_so) for said in faults.get(place, ())):
                reason = reason.removeprefix(written_so)
        faults.setdefault(place, []).append(reason)
    first = next(iter(faults))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return SettingsError(
        f"{source.place(first)}: {', or '.join(dict.fromkeys(faults[first]))}{more}", cure=cures.get(first, "")
    )


def _place(loc: tuple[str | int, ...], tree: object) -> Key:
    """The part of pydantic's place that is in the tree: it also names the alternatives of a union."""
    place: Key = ()
    for part in loc:
        if not _within(tree, part):
            break
        tree = cast("Any", tree)[part]
        place += (part,)
    return place


def _within(tree: object, part: str | int) -> bool:
    return (
        part in tree
        if isinstance(tree, dict)
        else isinstance(tree, list) and isinstance(part, int) and part < len(tree)
    )


def _into(place: Key, reason: str, tree: object) -> Key:
    """An options class names the field it complains of first: follow it into the table."""
    for part in place:
        tree = cast("Any", tree)[part]
    if not isinstance(tree, dict):
        return place
    word = re.match(r"(?:(?:known|slack): )?([a-z_]+)", reason)
    named = [name for name, value in tree.items() if (word and word[1] == name) or reason.startswith(repr(value))]
    return (*place, named[0]) if named else place


def _written_at(source: Source, place: Key) -> Key:
    """The variable below a place that no table of ours has: it alone made a table there."""
    return next((key for key in source.variables if key[: len(place)] == place), place)
