"""The table that the benchmarks print: rates are of this machine, ratios are what may be compared."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `rate` is entries a second, None where it measures something else."""

    work: str
    rate: float | None
    ratio: str
    target: str = ""
    note: str = ""


def rendered(rows: Sequence[Row]) -> str:
    """The rows under a heading, columns aligned."""
    heading = ("work", "entries/s", "ratio", "target", "of")
    cells = [heading] + [
        tuple(
            "" if value is None else f"{value:,.0f}" if isinstance(value, float) else str(value)
            for value in astuple(row)
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
