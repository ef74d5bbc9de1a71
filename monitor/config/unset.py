"""What the settings leave unset, and what that costs, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.history import coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.config.settings import Settings


def unset(settings: Settings, *, digests: bool = False) -> Iterator[str]:
    """What is not set. `digests`: the database knows releases besides those that the settings name."""
    known = digests or bool(settings.expected or settings.registry.repositories)
    ignored = [log.origin for log in settings.watch.logs if log.ignore]
    yield from coverage.unchecked(settings.policy, digests=known, ignored=ignored)
    if not settings.alerts.security_contact:
        yield "no security contact (alerts.security_contact): messages cannot say whom to call"
    if not settings.slack.mention and (settings.slack.token or settings.slack.webhook):
        yield "nobody to mention (slack.mention): a critical message calls nobody by name"
