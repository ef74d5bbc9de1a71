"""The NOTICE file is compared each time it can be read; one that cannot be read changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from monitor.errors import MonitorError
from monitor.fetch import Client
from monitor.model.filters import FindingFilter, Page
from monitor.releases import notice
from monitor.rules.policy import Policy
from monitor.store import findings
from monitor.store.engine import Store

if TYPE_CHECKING:
    from pathlib import Path

POLICY = Policy()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def right() -> str:
    return "".join(
        f"cosign verify --certificate-identity-regexp '{POLICY.published_pattern.replace('{workflow}', file)}' "
        f"--certificate-oidc-issuer '{POLICY.issuer}' IMAGE\n"
        for file in POLICY.workflows
    )


async def test_drift_is_told_until_the_file_is_right_again_and_an_unreadable_file_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "NOTICE"

    async def standing() -> list[str]:
        async with store.read() as tx:
            return [row.finding.rule for row in await findings.list_findings(tx, FindingFilter(), Page())]

    async with await Store.open(f"sqlite:///{tmp_path}/monitor.db") as store, Client() as client:
        path.write_text(right())
        assert await notice.check(store, client, str(path), POLICY, NOW) == 0
        assert await standing() == []
        path.write_text(right().replace("v[0-9]", "[0-9]"))
        assert await notice.check(store, client, str(path), POLICY, NOW) == 1
        assert await notice.check(store, client, str(path), POLICY, NOW) == 0
        path.unlink()
        with pytest.raises(MonitorError, match="cannot be read"):
            await notice.check(store, client, str(path), POLICY, NOW)
        assert await standing() == ["published-identity-drift"]
        path.write_text(right())
        await notice.check(store, client, str(path), POLICY, NOW)
        assert await standing() == []


@pytest.mark.parametrize("source", ["http://example.test/NOTICE", "file:///etc/passwd"])
async def test_only_https_and_paths_are_read(tmp_path: Path, source: str) -> None:
    async with await Store.open(f"sqlite:///{tmp_path}/monitor.db") as store, Client() as client:
        with pytest.raises(MonitorError, match="neither an https URL nor a path"):
            await notice.check(store, client, source, POLICY, NOW)
