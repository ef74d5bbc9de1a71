"""C2SP tlog-checkpoint: origin, size, root and extension lines out of a signed note, and the text of a new one.

Strict, because two readers that understand one note differently are a fork nobody sees. It must never say that a
checkpoint is signed: `note.verify` does.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from monitor.errors import FormatError
from monitor.tlog.merkle import HASH_SIZE
from monitor.tlog.note import Note, canonical_base64

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SIZE: Final = 2**63 - 1
_DECIMAL: Final = re.compile("0|[1-9][0-9]{0,18}")
_FIXED_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's word that its first `size` leaves have this root; believed only once its note is verified."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...]
    note: Note = field(repr=False)

    @property
    def raw(self) -> bytes:
        """The whole signed note as it was received."""
        return self.note.raw

    @classmethod
    def parse(cls, raw: bytes) -> Checkpoint:
        """Read the checkpoint in a signed note.

        Raises FormatError for what is no note, an empty line, a size with leading zeros or of 2**63 and more, and a
        root that is not 32 bytes in canonical base64.
        """
        note = Note.parse(raw)
        lines = note.text.decode().removesuffix("\n").split("\n")
        if len(lines) < _FIXED_LINES:
            raise FormatError(f"checkpoint of {len(lines)} lines: origin, size and root are needed")
        if "" in lines:
            raise FormatError(f"checkpoint line {lines.index('') + 1} is empty")
        origin, size, root = lines[:_FIXED_LINES]
        if not _DECIMAL.fullmatch(size) or int(size) > MAX_SIZE:
            raise FormatError(f"checkpoint size {size[:40]!r} is no decimal number below 2**63")
        root_hash = canonical_base64(root, "checkpoint root")
        if len(root_hash) != HASH_SIZE:
            raise FormatError(f"checkpoint root has {len(root_hash)} bytes, not {HASH_SIZE}")
        return cls(origin, int(size), root_hash, tuple(lines[_FIXED_LINES:]), note)


def checkpoint_text(origin: str, size: int, root: bytes, extensions: Sequence[str] = ()) -> bytes:
    """Return the text that a log signs. Raises FormatError for values that `Checkpoint.parse` would not give back."""
    if not 0 <= size <= MAX_SIZE or len(root) != HASH_SIZE:
        raise FormatError(f"no checkpoint has size {size} and a root of {len(root)} bytes")
    lines = (origin, str(size), b64encode(root).decode(), *extensions)
    for line in lines:
        if not line or any(character < " " for character in line):
            raise FormatError(f"checkpoint line {line!r} is empty or holds a control character")
    return "".join(f"{line}\n" for line in lines).encode()
