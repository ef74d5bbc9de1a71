"""The settings with what a person decided by command and the database keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.config.settings import Settings
    from monitor.store.ids import PinnedIds


def with_pinned_ids(settings: Settings, pinned: PinnedIds | None) -> Settings:
    """The settings with the ids that a person pinned, where they name none themselves."""
    if pinned is None:
        return settings
    policy = settings.policy
    policy = replace(
        policy,
        repository_id=policy.repository_id or pinned.repository_id,
        owner_id=policy.owner_id or pinned.owner_id,
    )
    return replace(settings, policy=policy)
