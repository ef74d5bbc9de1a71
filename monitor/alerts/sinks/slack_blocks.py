"""Shapes a message as Slack's Block Kit, within its limits.

Foreign text is escaped, clipped and never parsed as markup (P7): paragraphs are plain text, values stand in code spans, and nothing
from outside can mention, link or format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.alerts.message import Link, Paragraph, Step
from monitor.model.finding import Fact, Severity
from monitor.model.incident import IncidentState
from monitor.model.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.alerts.message import Item, Message, Section

Block: TypeAlias = dict[str, Any]

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_TOTAL = 12_000
"""Slack refuses a little above this, undocumented (measured near 13,000 characters)."""
MAX_TEXT = 3_500
_MAX_VALUE = 400
_MAX_FALLBACK = 600
_SPARE_BLOCKS = 4
"""Kept for the header, the mention, what was left out, and the footer."""
_SPARE_TOTAL = 1_000

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKUP = {"*": "\\x2a", "_": "\\x5f", "~": "\\x7e", "`": "\\x60"}
_PLAIN_URL = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~%!$()+,;=:@/?&#-]{0,1500})?")
_GROUP = re.compile(r"S[A-Z0-9]{2,20}")

_LIGHTS = {
    Severity.CRITICAL: "\N{LARGE RED CIRCLE}",
    Severity.HIGH: "\N{LARGE ORANGE CIRCLE}",
    Severity.MEDIUM: "\N{LARGE YELLOW CIRCLE}",
    Severity.LOW: "\N{LARGE BLUE CIRCLE}",
}
_STATES = {IncidentState.ACKNOWLEDGED: "\N{EYES}", IncidentState.RESOLVED: "\N{WHITE HEAVY CHECK MARK}"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message as `chat.postMessage` takes it: `text` for the notification, `blocks` for the eye."""

    text: str
    blocks: tuple[Block, ...]


def escape(text: str, limit: int) -> str:
    """`text` with control and bidi characters shown and `& < >` as entities, at most `limit` characters, no entity cut."""
    return _fit((_ENTITIES.get(c, c) for c in visible(text[: limit + 1])), limit)


def mention(group: str) -> str:
    """The mark-up that calls whom an operator named: a user group's id (`S…`), `here` or `channel`; empty for anything else."""
    if group in {"here", "channel"}:
        return f"<!{group}>"
    return f"<!subteam^{group}>" if _GROUP.fullmatch(group) else ""


def render(message: Message, *, group: str = "", repeat: bool = False, reply: bool = False) -> Rendered:
    """`message` in blocks. `reply` is for a thread, where the heading is small."""
    call = mention(group) if message.page else ""
    title = headline(message, repeat=repeat)
    blocks = [_section(f"*{_inline(title, _MAX_VALUE)}*") if reply else _header(title)]
    if call:
        blocks.append(_section(call))
    size = sum(map(_size, blocks))
    left_out = 0
    for block in _blocks(message.sections):
        if len(blocks) + _SPARE_BLOCKS > MAX_BLOCKS or size + _size(block) + _SPARE_TOTAL > MAX_TOTAL:
            left_out += 1
            continue
        blocks.append(block)
        size += _size(block)
    if left_out:
        blocks.append(_section(f"_{left_out} more parts did not fit into this message._"))
    if message.footer:
        blocks.append({"type": "context", "elements": [_plain(escape(message.footer, _MAX_VALUE))]})
    return Rendered(_fallback(message, title, call), tuple(blocks))


def plain(message: Message, *, group: str = "", repeat: bool = False) -> str:
    """`message` as text alone, for a Slack that refused its blocks; no markup but the mention."""
    call = mention(group) if message.page else ""
    lines = [call] if call else []
    lines.append(escape(headline(message, repeat=repeat), MAX_HEADER * 2))
    for section in message.sections:
        if section.heading:
            lines.append(escape(section.heading, MAX_HEADER))
        lines += [_inline(line, _MAX_VALUE) for line in item_lines(section)]
    if message.footer:
        lines.append(_inline(message.footer, _MAX_VALUE))
    kept: list[str] = []
    room = MAX_TEXT
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            kept.append("…")
            break
        kept.append(line)
    return "\n".join(kept)


def headline(message: Message, *, repeat: bool = False) -> str:
    """The one line that heads a message: light, severity, title, and whether it may have been said before."""
    light = _STATES.get(message.state, _LIGHTS[message.severity]) if message.state else _LIGHTS[message.severity]
    state = f" · {message.state.value}" if message.state in _STATES and message.state else ""
    return f"{light} {message.severity.value.upper()}{state} · {message.title}{' (repeat)' if repeat else ''}"


def item_lines(section: Section) -> Iterator[str]:
    """The items of a section as raw lines of text, for edges without markup."""
    steps = 0
    for item in section.items:
        match item:
            case Paragraph(text=text):
                yield text
            case Step(text=text):
                steps += 1
                yield f"{steps}. {text}"
            case Link(label=label, url=url):
                yield f"{label}: {url}"
            case Fact(name=name, seen=seen, expected=expected):
                yield f"{name}: {seen or '(nothing)'}" + (f" - expected {expected}" if expected else "")


def _blocks(sections: Iterable[Section]) -> Iterator[Block]:
    """Paragraphs become plain-text blocks; runs of steps, and of everything else, share a block of markup with the heading before them.

    Steps are our own words, so Slack may make links of the addresses in them; nowhere else.
    """
    for section in sections:
        lines = [f"*{_inline(section.heading, MAX_HEADER)}*"] if section.heading else []
        steps = 0
        for kind, run in groupby(section.items, type):
            if kind is Paragraph:
                yield from _joined(lines)
                yield from (_paragraph(item) for item in run if isinstance(item, Paragraph))
            else:
                for item in run:
                    steps += isinstance(item, Step)
                    lines.append(_line(item, steps))
                if kind is not Step:
                    continue
                yield from _joined(lines, verbatim=False)
            lines = []
        yield from _joined(lines)


def _paragraph(item: Paragraph) -> Block:
    if item.strong and not any(c in _MARKUP for c in item.text):
        return _section(f"*{escape(item.text, MAX_SECTION - 2)}*")
    return {"type": "section", "text": _plain(escape(item.text, MAX_SECTION))}


def _line(item: Item, number: int) -> str:
    match item:
        case Step(text=text):
            return f"{number}. {escape(text, _MAX_VALUE * 2)}"
        case Link(label=label, url=url):
            if _PLAIN_URL.fullmatch(url):
                return f"• <{url.replace('&', '&amp;')}|{_inline(label, _MAX_VALUE)}>"
            return f"• {_inline(label, _MAX_VALUE)}: {_code(url)}"
        case Fact(name=name, seen=seen, expected=expected):
            wanted = f"\n      expected {_code(expected)}" if expected else ""
            return f"• {_inline(name, _MAX_VALUE)}: {_code(seen) if seen else '_nothing_'}{wanted}"
        case _:
            return escape(item.text, _MAX_VALUE)


def _joined(lines: list[str], *, verbatim: bool = True) -> Iterator[Block]:
    """Lines in as few blocks as hold them."""
    held: list[str] = []
    size = 0
    for line in lines:
        if held and size + len(line) + 1 > MAX_SECTION:
            yield _section("\n".join(held), verbatim=verbatim)
            held, size = [], 0
        held.append(line)
        size += len(line) + 1
    if held:
        yield _section("\n".join(held), verbatim=verbatim)


def _fallback(message: Message, title: str, call: str) -> str:
    paragraphs = (item.text for s in message.sections for item in s.items if isinstance(item, Paragraph))
    head = f"{call} {escape(title, MAX_HEADER * 2)}".strip()
    return f"{head}: {_inline(next(paragraphs, ''), _MAX_FALLBACK)}".removesuffix(": ")


def _header(text: str) -> Block:
    return {"type": "header", "text": _plain(escape(text, MAX_HEADER))}


def _section(markup: str, *, verbatim: bool = True) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": markup, "verbatim": verbatim}}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text or " ", "emoji": False}


def _code(text: str) -> str:
    """A value in a code span, which it cannot leave."""
    return (
        "`"
        + _fit(
            (_ENTITIES.get(c) or (_MARKUP[c] if c == "`" else c) for c in visible(text[: _MAX_VALUE + 1])), _MAX_VALUE
        )
        + "`"
    )


def _inline(text: str, limit: int) -> str:
    """Text inside markup, its own markup characters shown as escapes."""
    return _fit((_ENTITIES.get(c) or _MARKUP.get(c, c) for c in visible(text[: limit + 1])), limit)


def _fit(pieces: Iterable[str], limit: int) -> str:
    kept: list[str] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > limit:
            while size > limit - 1:
                size -= len(kept.pop())
            kept.append("…")
            break
    return "".join(kept)


def _size(block: Block) -> int:
    text = block.get("text")
    return len(text["text"]) if isinstance(text, dict) else 0
