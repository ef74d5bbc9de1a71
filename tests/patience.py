"""How long a test waits for what must come about, in seconds: so long only where it never comes, however busy the machine."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 300.0
