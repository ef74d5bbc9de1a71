"""TOML and environment into the rooms' own option dataclasses; the only room that knows either, or pydantic.

Everything an operator wrote is checked here, before anything starts, and refused with one line that names file, key and reason.
Secrets come from the environment or from files that it names; this room refuses them in the settings file.
"""

from __future__ import annotations

from monitor.config.settings import SYSTEM_FILE, Settings, load

__all__ = ["SYSTEM_FILE", "Settings", "load"]
