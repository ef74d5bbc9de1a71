"""The options that lists share, and those generated from the filters of the model: a filter added there is an option here."""

from __future__ import annotations

import functools
import inspect
from dataclasses import fields
from datetime import datetime
from enum import Enum  # noqa: TC003 - typer reads it at run time
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from monitor.cli.output import Document, Format
from monitor.errors import SettingsError
from monitor.model import filters
from monitor.model.filters import Page
from monitor.model.finding import Category, Severity
from monitor.model.incident import IncidentState
from monitor.model.text import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F")

_MOST = 10_000
_CHOICES: dict[str, type[Enum]] = {"severity": Severity, "category": Category, "state": IncidentState}
"""Filters that take one word of an enumeration."""
_METAVARS = {"log": "ORIGIN", "rule": "RULE", "identity": "TEXT", "digest": "sha256:…", "incident": "ID"}
"""What a filter takes, as its help names it; a time is a TIME, and of an enumeration its words are shown."""
TIME = "TIME"

FormatOption = Annotated[
    Format, typer.Option("--format", help="For people a table; for programs JSON, JSON lines (a row a line) or CSV.")
]
DocumentOption = Annotated[
    Document, typer.Option("--format", help="For people a table; for programs JSON, indented or (jsonl) on one line.")
]
AfterOption = Annotated[
    int | None,
    typer.Option("--after", metavar="ID", help="Only rows after the row of this id: the next page.", min=0),
]
LimitOption = Annotated[int, typer.Option("--limit", metavar="ROWS", help="How many rows at most.", min=1, max=_MOST)]
WhyOption = Annotated[
    str, typer.Option("--reason", "--why", metavar="TEXT", help="Why, in a sentence; it is kept for ever.")
]
WhoOption = Annotated[
    str | None, typer.Option("--author", "--who", metavar="NAME", help="Who says so; by default this machine's user.")
]


def filtered(kind: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a filter of the model; it takes the filter itself as its keyword `narrowed`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(function, eval_str=True).parameters
        hints = get_type_hints(kind, globalns={**vars(filters), "datetime": datetime})
        names = {each.name for each in fields(kind)}
        generated = [
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=each.default,
                annotation=Annotated[
                    _typed(hints[each.name]), _option(each.name, hints[each.name], each.metadata["help"])
                ],
            )
            for each in fields(kind)
        ]

        @functools.wraps(function)
        def command(*args: object, **kwargs: object) -> object:
            given = {name: kwargs.pop(name) for name in names}
            return function(*args, narrowed=_filter(kind, given, hints), **kwargs)

        kept = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in own.items()
            if name != "narrowed"
        ]
        parameters = kept[:1] + generated + kept[1:]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by inspect, and so by typer
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _option(name: str, hint: object, words: str) -> Any:  # noqa: ANN401 - typer's, which it does not name
    metavar = TIME if datetime in get_args(hint) else _METAVARS.get(name)
    if name in _CHOICES:
        metavar = "|".join(_words(name))
    return typer.Option(f"--{name}", metavar=metavar, help=words[0].upper() + words[1:] + ".")


def _words(name: str) -> list[str]:
    return [each.value for each in _CHOICES[name]]


def _typed(hint: object) -> Any:  # noqa: ANN401 - a type form has no type
    """The option's type: times are read by us, so that RFC 3339 is all that is taken."""
    inner = [each for each in get_args(hint) if each is not NoneType] or [hint]
    given: Any = str if inner[0] is datetime else inner[0]
    return given if inner[0] is hint else given | None


def _filter(kind: type[F], given: dict[str, Any], hints: dict[str, Any]) -> F:
    for name, value in given.items():
        if value is None:
            continue
        option = f"--{name}"
        if datetime in get_args(hints[name]):
            given[name] = moment(option, value)
        elif name in _CHOICES:
            _choice(option, value, _words(name))
    return kind(**given)


def moment(option: str, text: str | None) -> datetime | None:
    """The moment that an option names. SettingsError when it is no RFC 3339 time."""
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise SettingsError(
            f"{option} {text!r} is no RFC 3339 time", cure="write 2026-01-31T12:00:00Z, with a time zone"
        ) from None


def _choice(option: str, text: str, words: list[str]) -> None:
    if text not in words:
        raise SettingsError(f"{option} {text!r} is none of {', '.join(words)}", cure="give one of them")


def page(after: int | None, limit: int) -> Page:
    """One row more than asked for, which says whether there is a next page."""
    return Page(limit + 1, after)


def cut(rows: list[F], limit: int, last_id: Callable[[F], int]) -> list[F]:
    """At most `limit` rows; says on standard error how to get the next page where there is one."""
    if len(rows) > limit:
        rows = rows[:limit]
        typer.echo(f"more rows follow: add --after {last_id(rows[-1])}", err=True)
    return rows
