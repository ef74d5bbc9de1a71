"""The one HTTP client: every request of ours to a log, a registry or a trust root leaves here."""

from __future__ import annotations

from monitor.fetch.client import Client
from monitor.fetch.options import FetchOptions, Gate, Response, retry_delay

__all__ = ["Client", "FetchOptions", "Gate", "Response", "retry_delay"]
