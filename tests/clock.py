"""The time of a test: of the world that it sets up and of the monitor alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class Clock:
    """Begins now, goes on a millisecond each time it is asked, and is moved: it does not matter how fast the machine is."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def move(self, **by: float) -> None:
        """Let time pass: `minutes=5`, as timedelta takes it."""
        self.time += timedelta(**by)
