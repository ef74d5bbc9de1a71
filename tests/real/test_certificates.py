"""Real cosign signs into a real Rekor v1 that is not read: the real certificate log tells, and leads to what was signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from monitor.testbed.ca import Claims
from tests.real.programs import eventually
from tests.real.watched import Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from monitor.testbed.slack import Slack
    from tests.real.sigstore import RealSigstore, Signature

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def certified(tmp_path: Path, sigstore: RealSigstore, slack: Slack) -> AsyncIterator[Watched]:
    """A monitor that runs, with Rekor v1 in mode `certificates`."""
    monitor = Watched(tmp_path, sigstore, slack, mode="certificates")
    await monitor.poll()
    await monitor.start()
    try:
        yield monitor
    finally:
        await monitor.close()


async def test_a_branch_that_nobody_listed_is_told_by_its_certificate_and_its_digest_found_through_the_index(
    sigstore: RealSigstore, certified: Watched, slack: Slack
) -> None:
    await sigstore.noise("v1", 20)
    signed = await sigstore.sign("v1", b"by the index", Claims(ref="refs/heads/nobody-listed-it", run="5001"))
    await sigstore.noise("v1", 20)

    await _told_and_found(certified, slack, signed)


async def test_without_an_index_its_digest_is_found_in_the_certificates_ten_minutes(
    sigstore: RealSigstore, certified: Watched, slack: Slack
) -> None:
    await sigstore.v1.index(on=False)
    try:
        await sigstore.noise("v1", 20)
        signed = await sigstore.sign("v1", b"by the window", Claims(ref="refs/heads/nor-this-one", run="5002"))
        await sigstore.noise("v1", 20)

        await _told_and_found(certified, slack, signed)
    finally:
        await sigstore.v1.index(on=True)


async def _told_and_found(monitor: Watched, slack: Slack, signed: Signature) -> None:
    """One incident, told once; its entry found, proven, and one signing event with its certificate."""

    async def told() -> bool:
        monitor.check()
        return _begun(slack, signed) > 0

    async def found() -> bool:
        monitor.check()
        return any(row["digest"] == signed.digest for row in await monitor.listed("entries", "list"))

    await eventually(told, "the certificate is told")
    await eventually(found, "its entry is found")
    rows = [row for row in await monitor.listed("entries", "list") if row["identity"] == signed.claims.identity()]
    assert {row["kind"] for row in rows} == {"precertificate", "hashedrekord"}
    assert len({row["event"] for row in rows}) == 1
    assert all(row["trust"] == "trusted" and "branch-ref" in row["rules"] for row in rows)

    async def proven() -> bool:
        return all(row["proven"] for row in _of(signed, await monitor.listed("entries", "list")))

    await eventually(proven, "both are proven")

    async def judged() -> bool:
        findings = _of(signed, await monitor.listed("findings", "list"))
        return {"branch-ref", "unexpected-digest"} == {row["rule"] for row in findings}

    await eventually(judged, "its digest is judged")
    assert len({row["incident"] for row in _of(signed, await monitor.listed("findings", "list"))} - {None}) == 1
    assert _begun(slack, signed) == 1


def _of(signed: Signature, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["identity"] == signed.claims.identity()]


def _begun(slack: Slack, signed: Signature) -> int:
    run = f"runs/{signed.claims.run}"
    return sum(run in str(message.blocks) + message.text for message in slack.messages if not message.is_reply)
