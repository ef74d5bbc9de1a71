"""Prints messages on a terminal, or into a log where there is none. Foreign text never reaches the terminal as control characters (P7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from monitor.alerts.message import Link, Paragraph, Step
from monitor.errors import DeliveryError
from monitor.model.finding import Fact, Severity
from monitor.model.incident import IncidentState
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import Console, RenderableType

    from monitor.alerts.message import Item, Message, Section

_MAX_TEXT = 2_000
_STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "bold dark_orange",
    Severity.MEDIUM: "bold yellow",
    Severity.LOW: "bold blue",
}


class ConsoleSink:
    """A sink that prints. What is printed cannot be changed or answered, and is not remembered."""

    name = "console"
    edits = False
    threads = False

    def __init__(self, console: Console) -> None:
        self._console = console

    async def send(
        self,
        message: Message,
        *,
        thread: str | None,  # noqa: ARG002 - a terminal has no threads
        broadcast: bool,  # noqa: ARG002 - nor channels
        marker: str,  # noqa: ARG002 - nor a memory
        repeat: bool,
    ) -> str | None:
        """Print the message. DeliveryError when the terminal is gone."""
        try:
            self._console.print(render(message, repeat=repeat))
        except (OSError, ValueError) as error:
            raise DeliveryError(
                f"printing {message.title!r} on the console: {error}",
                cure="give the program a standard output that stays open",
            ) from error
        return None

    async def edit(self, message_id: str, message: Message) -> None:
        """Refuse: a printed message stays as it is."""
        raise DeliveryError(f"changing {message.title!r} ({message_id}): the console cannot", permanent=True)

    async def find(self, marker: str, *, thread: str | None, since: datetime) -> str | None:  # noqa: ARG002 - no memory
        """Know nothing of what was printed."""
        return None


def render(message: Message, *, repeat: bool = False) -> RenderableType:
    """The message as a panel. Only `Text` objects are used, so that nothing foreign is read as rich's markup."""
    style = "bold green" if message.state is IncidentState.RESOLVED else _STYLES[message.severity]
    state = f" · {message.state.value}" if message.state and message.state is not IncidentState.OPEN else ""
    title = f"{message.severity.value.upper()}{state} · {_shown(message.title)}{' (repeat)' if repeat else ''}"
    body: list[RenderableType] = []
    for section in message.sections:
        if body:
            body.append(Text(""))
        body += _section(section, style)
    return Panel(
        Group(*body),
        title=Text(title, style=style),
        title_align="left",
        subtitle=Text(_shown(message.footer)) if message.footer else None,
        subtitle_align="right",
        border_style=style.removeprefix("bold "),
    )


def _section(section: Section, style: str) -> Iterator[RenderableType]:
    if section.heading:
        yield Text(_shown(section.heading), style="bold")
    steps = 0
    for item in section.items:
        steps += isinstance(item, Step)
        text = _item(item, steps, style)
        yield text if isinstance(item, Paragraph) else Padding(text, (0, 0, 0, 2))


def _item(item: Item, number: int, style: str) -> Text:
    match item:
        case Paragraph(text=text, strong=strong):
            return Text(_shown(text), style=style if strong else "")
        case Step(text=text):
            return Text(f"{number}. {_shown(text)}")
        case Link(label=label, url=url):
            return Text(f"{_shown(label)}: ").append(_shown(url), style="underline")
        case Fact(name=name, seen=seen, expected=expected):
            line = Text(f"{_shown(name)}: ").append(_shown(seen) or "(nothing)", style="bold")
            return line.append(f"\n    expected {_shown(expected)}") if expected else line


def _shown(text: str) -> str:
    return clip(visible(text[: _MAX_TEXT + 1]), _MAX_TEXT)
