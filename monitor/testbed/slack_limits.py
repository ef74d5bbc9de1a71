"""Slack's limits on a message, as measured and documented: what breaks one is refused by the name Slack gives the error.

Pure: it looks at one message and keeps nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS: Final = 50
HEADER: Final = 150
SECTION_TEXT: Final = 3000
SECTION_FIELDS: Final = 10
FIELD_TEXT: Final = 2000
CONTEXT_ELEMENTS: Final = 10
ACTIONS: Final = 25
BUTTON_TEXT: Final = 75
BUTTON_VALUE: Final = 2000
ACTION_ID: Final = 255
BLOCK_ID: Final = 255
MESSAGE_TEXT: Final = 40_000
TOTAL: Final = 13_000
"""Characters of all blocks together: found out, not documented."""
KNOWN_BLOCKS: Final = frozenset({"header", "section", "context", "actions", "divider"})


def refusal(text: object, blocks: object, attachments: object, metadata: object) -> tuple[str, tuple[str, ...]] | None:
    """Return the error that Slack answers a message with, and which part is to blame; None where it takes it."""
    if not (isinstance(text, str) and isinstance(blocks, list) and isinstance(attachments, list)):
        return "invalid_arguments", ()
    simple = {
        "no_text": not text and not blocks and not attachments,
        "msg_too_long": len(text) > MESSAGE_TEXT,
        "invalid_metadata_format": metadata is not None and not _is_metadata(metadata),
    }
    for error, holds in simple.items():
        if holds:
            return error, ()
    return _blocks_refusal(blocks, attachments)


def _blocks_refusal(blocks: list[object], attachments: list[object]) -> tuple[str, tuple[str, ...]] | None:
    """Return the error for the blocks of a message, its attachments' included."""
    nested = [attachment.get("blocks") or [] for attachment in attachments if isinstance(attachment, dict)]
    for error, some in (("invalid_blocks", blocks), *(("invalid_attachments", part) for part in nested)):
        problems = tuple(_problems(some))
        if problems:
            return error, problems
    every = [*blocks, *(block for part in nested for block in part)]
    if len(every) > BLOCKS:
        return "invalid_blocks", (f"[ERROR] no more than {BLOCKS} items allowed [json-pointer:/blocks]",)
    if sum(_length(block) for block in every) > TOTAL:
        return "msg_blocks_too_long", ()
    return None


def _problems(blocks: object) -> Iterator[str]:
    if not isinstance(blocks, list):
        yield "[ERROR] must be an array [json-pointer:/blocks]"
        return
    seen: set[str] = set()
    for number, block in enumerate(blocks):
        pointer = f"/blocks/{number}"
        if not isinstance(block, dict) or block.get("type") not in KNOWN_BLOCKS:
            yield f"[ERROR] unsupported type [json-pointer:{pointer}/type]"
            continue
        block_id = block.get("block_id")
        if isinstance(block_id, str):
            if not block_id or len(block_id) > BLOCK_ID:
                yield _limit(BLOCK_ID, f"{pointer}/block_id")
            if block_id in seen:
                yield f"[ERROR] block_id already exists [json-pointer:{pointer}/block_id]"
            seen.add(block_id)
        yield from _CHECKS[str(block["type"])](block, pointer)


def _header(block: dict[str, object], pointer: str) -> Iterator[str]:
    yield from _text(block.get("text"), HEADER, f"{pointer}/text", kinds=("plain_text",))


def _section(block: dict[str, object], pointer: str) -> Iterator[str]:
    fields = block.get("fields")
    if "text" not in block and not fields:
        yield f"[ERROR] missing required field: text or fields [json-pointer:{pointer}]"
    if "text" in block:
        yield from _text(block["text"], SECTION_TEXT, f"{pointer}/text")
    yield from _elements(fields or [], SECTION_FIELDS, f"{pointer}/fields")
    for number, field in enumerate(fields if isinstance(fields, list) else ()):
        yield from _text(field, FIELD_TEXT, f"{pointer}/fields/{number}")
    if "accessory" in block:
        yield from _button(block["accessory"], f"{pointer}/accessory")


def _context(block: dict[str, object], pointer: str) -> Iterator[str]:
    elements = block.get("elements")
    yield from _elements(elements, CONTEXT_ELEMENTS, f"{pointer}/elements", least=1)
    for number, element in enumerate(elements if isinstance(elements, list) else ()):
        yield from _text(element, SECTION_TEXT, f"{pointer}/elements/{number}")


def _actions(block: dict[str, object], pointer: str) -> Iterator[str]:
    elements = block.get("elements")
    yield from _elements(elements, ACTIONS, f"{pointer}/elements", least=1)
    for number, element in enumerate(elements if isinstance(elements, list) else ()):
        yield from _button(element, f"{pointer}/elements/{number}")


def _divider(_block: dict[str, object], _pointer: str) -> Iterator[str]:
    yield from ()


_CHECKS: Final = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "divider": _divider,
}


def _button(element: object, pointer: str) -> Iterator[str]:
    if not isinstance(element, dict) or element.get("type") != "button":
        yield f"[ERROR] unsupported type [json-pointer:{pointer}/type]"
        return
    yield from _text(element.get("text"), BUTTON_TEXT, f"{pointer}/text", kinds=("plain_text",))
    for name, most in (("value", BUTTON_VALUE), ("action_id", ACTION_ID), ("url", SECTION_TEXT)):
        value = element.get(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= most):
            yield _limit(most, f"{pointer}/{name}")


def _text(
    value: object, most: int, pointer: str, *, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")
) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("type") not in kinds:
        yield f"[ERROR] unsupported type [json-pointer:{pointer}/type]"
        return
    text = value.get("text")
    if not isinstance(text, str) or not text:
        yield f"[ERROR] must be more than 0 characters [json-pointer:{pointer}/text]"
    elif len(text) > most:
        yield _limit(most, f"{pointer}/text")


def _elements(values: object, most: int, pointer: str, *, least: int = 0) -> Iterator[str]:
    if not isinstance(values, list) or len(values) < least:
        yield f"[ERROR] no fewer than {least} items allowed [json-pointer:{pointer}]"
    elif len(values) > most:
        yield f"[ERROR] no more than {most} items allowed [json-pointer:{pointer}]"


def _limit(most: int, pointer: str) -> str:
    return f"[ERROR] must be less than {most + 1} characters [json-pointer:{pointer}]"


def _is_metadata(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    event_type, payload = value.get("event_type"), value.get("event_payload")
    return isinstance(event_type, str) and bool(event_type) and isinstance(payload, dict)


def _length(value: object) -> int:
    """Count the characters of every text in a block."""
    if isinstance(value, dict):
        return sum(
            len(part) if name == "text" and isinstance(part, str) else _length(part) for name, part in value.items()
        )
    return sum(_length(part) for part in value) if isinstance(value, list) else 0
