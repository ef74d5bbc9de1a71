from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from monitor.alerts.message import Link, Message, Paragraph, Section, Step
from monitor.alerts.options import AlertOptions
from monitor.alerts.sinks.console import ConsoleSink
from monitor.alerts.wording import compose
from monitor.errors import DeliveryError
from monitor.model.finding import Fact, Severity
from monitor.model.incident import IncidentState
from tests.unit.alerts.examples import NOW, signed, telling

if TYPE_CHECKING:
    from typing import IO


async def printed(message: Message, *, repeat: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=False, highlight=False)
    sent = await ConsoleSink(console).send(message, thread=None, broadcast=False, marker="m", repeat=repeat)
    assert sent is None
    return out.getvalue()


async def test_the_console_shows_severity_number_and_every_section() -> None:
    shown = await printed(compose(telling(signed()), AlertOptions()))
    assert "CRITICAL · #12 Our identity on a branch" in shown
    assert "Would customers' verification accept it?" in shown
    assert "1. " in shown


@pytest.mark.parametrize("hostile", ["\x1b[31m", "\x1b]0;title\x07", "\r", "\u202e", "\x9b31m", "\x00"])
async def test_nothing_foreign_reaches_the_terminal_as_a_control_character(hostile: str) -> None:
    section = Section("", (Paragraph(hostile), Fact(hostile, hostile, hostile), Step(hostile), Link(hostile, hostile)))
    shown = await printed(Message(hostile, Severity.HIGH, (section,), footer=hostile))
    assert hostile not in shown
    assert shown.replace("\n", "").isprintable()


async def test_richs_own_markup_in_foreign_text_is_text() -> None:
    shown = await printed(
        Message("[red]x[/red]", Severity.LOW, (Section("", (Paragraph("[link=file:///etc]a[/link] [/nope]"),)),))
    )
    assert "[red]x[/red]" in shown
    assert "[link=file:///etc]a[/link] [/nope]" in shown


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
async def test_any_foreign_text_can_be_printed(text: str) -> None:
    message = Message(text, Severity.MEDIUM, (Section("", (Paragraph(text), Fact(text, text, text))),))
    assert (await printed(message)).replace("\n", "").isprintable()


async def test_repeats_and_states_are_marked() -> None:
    message = Message("t", Severity.HIGH, ())
    assert "(repeat)" in await printed(message, repeat=True)
    assert "HIGH · resolved · t" in await printed(replace(message, state=IncidentState.RESOLVED))


async def test_a_closed_console_is_a_delivery_that_failed_and_can_be_tried_again() -> None:
    out: IO[str] = io.StringIO()
    sink = ConsoleSink(Console(file=out))
    out.close()
    with pytest.raises(DeliveryError) as caught:
        await sink.send(Message("t", Severity.LOW, ()), thread=None, broadcast=False, marker="m", repeat=False)
    assert not caught.value.permanent


async def test_the_console_remembers_nothing_and_changes_nothing() -> None:
    sink = ConsoleSink(Console(file=io.StringIO()))
    assert await sink.find("m", thread=None, since=NOW) is None
    with pytest.raises(DeliveryError):
        await sink.edit("1", Message("t", Severity.LOW, ()))
