from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts.message import Link, Message, Paragraph, Section, Step
from monitor.alerts.options import AlertOptions
from monitor.alerts.sinks import slack_blocks
from monitor.alerts.sinks.slack_blocks import escape, mention, plain, render
from monitor.alerts.wording import compose
from monitor.model.finding import Fact, Severity
from monitor.model.incident import DeliveryKind
from monitor.testbed.slack_limits import refusal
from tests.unit.alerts.examples import signed, telling

if TYPE_CHECKING:
    from monitor.alerts.sinks.slack_blocks import Rendered

HOSTILE = "<!channel> <https://evil.test|click> & *bold* `code` \u202egnp.exe\n\x1b[31mred\x00 " + "A" * 10_000

FOREIGN = st.text(alphabet=st.characters(exclude_categories=()), max_size=400) | st.sampled_from(
    [HOSTILE, "<!here>", "`<!channel>`", "&lt;!channel&gt;", "<" * 4000, "&" * 4000, "`" * 4000, "\u2066" * 4000, ""]
)


def texts(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [t for each in value for t in texts(each)]
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in ([v] if k == "text" and isinstance(v, str) else texts(v))]
    return []


def everything(rendered: Rendered) -> str:
    return "\n".join([rendered.text, *texts(rendered.blocks)])


def markup(rendered: Rendered) -> list[str]:
    """Every text in angle brackets: what Slack would act on."""
    return re.findall(r"<([^>]*)>", everything(rendered))


def simple(text: str, **changes: Any) -> Message:  # noqa: ANN401 - any field
    sections = (
        Section("Heading", (Paragraph(text), Paragraph(text, strong=True))),
        Section("Facts", (Fact(text, text, text), Link(text, text), Fact("empty", ""))),
    )
    return replace(Message(text, Severity.HIGH, sections, footer=text), **changes)


def test_a_hostile_name_can_neither_mention_link_nor_reorder() -> None:
    rendered = render(simple(HOSTILE), group="S0SECURITY")
    assert markup(rendered) == []
    assert "&lt;!channel&gt;" in everything(rendered)
    assert "\\u202e" in everything(rendered)
    assert "\\x1b" in everything(rendered)
    assert refusal(rendered.text, list(rendered.blocks), [], None) is None


def test_a_value_cannot_leave_its_code_span() -> None:
    rendered = render(Message("t", Severity.LOW, (Section("", (Fact("identity", "a`*b*`c"),)),)))
    assert "• identity: `a\\x60*b*\\x60c`" in texts(rendered.blocks)


def test_foreign_paragraphs_are_plain_text_and_never_bold_when_they_hold_markup() -> None:
    blocks = render(Message("t", Severity.LOW, (Section("", (Paragraph("*not* ours", strong=True),)),))).blocks
    assert blocks[1]["text"] == {"type": "plain_text", "text": "*not* ours", "emoji": False}


def test_only_a_plain_https_address_becomes_a_link() -> None:
    good = Link("Run", "https://github.com/TruStacks/trustacks-mvp/actions/runs/1?a=1&b=2")
    bad = tuple(
        Link("Run", url)
        for url in ("javascript:alert(1)", "https://a.test/|x>", "http://a.test/", "https://a b", "https:///x")
    )
    rendered = render(Message("t", Severity.LOW, (Section("", (good, *bad)),)))
    assert markup(rendered) == ["https://github.com/TruStacks/trustacks-mvp/actions/runs/1?a=1&amp;b=2|Run"]


@settings(deadline=None)
@given(FOREIGN, FOREIGN, st.integers(0, 80), st.booleans(), st.booleans())
def test_any_message_stays_within_slacks_limits_and_says_only_what_we_mean(
    text: str,
    other: str,
    count: int,
    reply: bool,  # noqa: FBT001 - drawn
    repeat: bool,  # noqa: FBT001 - drawn
) -> None:
    many = tuple(
        Section(f"Section {n}", (Paragraph(text), Fact(other, text, other), Step("Do it."))) for n in range(count)
    )
    message = simple(text, sections=many, page=True)
    rendered = render(message, group="S0SECURITY", repeat=repeat, reply=reply)
    assert refusal(rendered.text, list(rendered.blocks), [], None) is None
    assert set(markup(rendered)) <= {"!subteam^S0SECURITY"}
    shown = everything(rendered).replace("\n", "")
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"}]
    assert plain(message, group="S0SECURITY").count("<") == 1
    assert len(plain(message)) <= slack_blocks.MAX_TEXT + 2


def test_two_hundred_findings_fit_and_what_does_not_is_counted() -> None:
    findings = tuple(signed(number=n, identity=HOSTILE, summary=f"{n} {HOSTILE}", digest=HOSTILE) for n in range(200))
    for kind in DeliveryKind:
        rendered = render(compose(telling(*findings, kind=kind), AlertOptions()), group="here")
        assert refusal(rendered.text, list(rendered.blocks), [], None) is None
    assert "194 more findings" in everything(rendered) or "more" in everything(rendered)


def test_what_was_left_out_for_room_is_said() -> None:
    sections = tuple(Section(f"S{n}", (Paragraph("x" * 2_500),)) for n in range(30))
    assert "did not fit" in everything(render(Message("t", Severity.LOW, sections)))


@settings(deadline=None)
@given(FOREIGN, st.integers(1, 200))
def test_escaping_never_cuts_an_entity_nor_exceeds_its_limit(text: str, limit: int) -> None:
    shown = escape(text, limit)
    assert len(shown) <= limit
    assert re.sub(r"&(amp|lt|gt);", "", shown).count("&") == 0


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("S0SECURITY", "<!subteam^S0SECURITY>"),
        ("here", "<!here>"),
        ("channel", "<!channel>"),
        ("", ""),
        ("@security", ""),
        ("S0> <!channel", ""),
        ("everyone", ""),
    ],
)
def test_a_mention_is_a_group_id_here_or_channel(group: str, expected: str) -> None:
    assert mention(group) == expected


def test_the_group_is_called_in_the_notification_and_in_the_message_and_only_when_it_pages() -> None:
    message = simple("text", page=True)
    rendered = render(message, group="S0SECURITY")
    assert rendered.text.startswith("<!subteam^S0SECURITY>")
    assert "<!subteam^S0SECURITY>" in texts(rendered.blocks)
    assert "subteam" not in everything(render(replace(message, page=False), group="S0SECURITY"))


def test_a_repeat_is_marked_on_its_face() -> None:
    assert "(repeat)" in texts(render(simple("text"), repeat=True).blocks)[0]
    assert "(repeat)" in plain(simple("text"), repeat=True)
    assert "(repeat)" not in everything(render(simple("text")))


def test_addresses_in_our_own_steps_may_become_links_and_nowhere_else() -> None:
    sections = (
        Section("Steps", (Step("Open https://example.test."),)),
        Section("", (Fact("identity", "https://evil.test"),)),
    )
    verbatim = {
        b["text"]["text"]: b["text"]["verbatim"] for b in render(Message("t", Severity.LOW, sections)).blocks[1:]
    }
    assert verbatim == {"*Steps*\n1. Open https://example.test.": False, "• identity: `https://evil.test`": True}
