"""What is said, before any sink shapes it: a title and sections of plain items.

All strings are raw: a sink escapes for its own edge (P7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from monitor.model.finding import Fact, Severity

if TYPE_CHECKING:
    from monitor.model.incident import IncidentState


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or two; `strong` is what must be read first."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; steps of a section are numbered in their order."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A page to open. A sink makes a link of it only when the URL is a plain https one, else shows it as text."""

    label: str
    url: str


Item: TypeAlias = Paragraph | Fact | Step | Link


@dataclass(frozen=True, slots=True)
class Section:
    """Items under a heading of ours (which never holds foreign text); an empty heading shows none."""

    heading: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say, neutral of where. `page` asks the sink to mention whoever is on call."""

    title: str
    severity: Severity
    sections: tuple[Section, ...]
    state: IncidentState | None = None
    page: bool = False
    footer: str = ""
