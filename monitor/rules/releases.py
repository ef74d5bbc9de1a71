"""All release rules together: whether a version is what was released, whole, signed, and still where it was.

What is known of a version is in `release`; the rules are those on `tags` and those on `signing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.rules.signing import commits, unsigned, withdrawn
from monitor.rules.tags import deleted, incomplete, moved, new, prerelease_latest, superseded, superseding

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.finding import Finding
    from monitor.rules.policy import Policy
    from monitor.rules.release import Release, Watched


def judge(release: Release, watched: Watched, policy: Policy, now: datetime) -> tuple[Finding, ...]:
    """Return every finding that holds of a version now. What holds no more is the caller's to withdraw."""
    replaced = superseding(release)
    return (
        *moved(release, replaced, policy, now),
        *superseded(release, replaced, policy),
        *commits(release, policy),
        *withdrawn(release, policy),
        *unsigned(release, watched, policy, now),
        *new(release, policy, now),
        *incomplete(release, policy, now),
        *(prerelease_latest(release, each, policy) for each in release.latest),
        *deleted(release, policy),
    )
