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
    yield from _unread(settings)
    if not settings.alerts.security_contact:
        yield "no security contact (alerts.security_contact): messages cannot say whom to call"
    if not settings.slack.mention and (settings.slack.token or settings.slack.webhook):
        yield "nobody to mention (slack.mention): a critical message calls nobody by name"


def _unread(settings: Settings) -> Iterator[str]:
    """Artifacts of which a registry that is read otherwise is not asked."""
    artifacts, repositories = settings.policy.artifacts, settings.registry.repositories
    if not repositories:
        return
    missing = [each for each in artifacts if each not in repositories]
    if missing:
        yield (
            f"no repository of {', '.join(missing)} (registry.repositories): what is signed as such is unexpected unless a "
            "release file lists it, and every release lacks it"
        )
