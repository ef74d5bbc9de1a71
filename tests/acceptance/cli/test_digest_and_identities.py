"""`digest show` and `identities check` as a person runs them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from tests.opener import logs_toml
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHECKOUT = Path(__file__).parents[3]
_UNKNOWN = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


async def _monitor(folder: Path, *arguments: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "--config", str(folder / "config.toml"), *arguments,
        cwd=folder, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_CHECKOUT)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(slack_rate_limited=False) as world:
        world.noise(10)
        logs = logs_toml(world)
        root = world.write_trusted_root(tmp_path / "trusted_root.json")
        (tmp_path / "config.toml").write_text(
            f'state_dir = "state"\n[trust]\nsource = "{root.name}"\n[http]\nattempts = 1\n'
            f"[registry]\nrepositories = {{}}\n[watch]\nstart = 0\n{logs}"
        )
        yield world


async def test_a_digest_signed_from_a_branch_is_shown_with_its_signature_and_exit_status_3(
    world: World, tmp_path: Path
) -> None:
    signed = "sha256:" + "ab" * 32
    world.sign("v2", signed, Claims(ref="refs/heads/main", run="17000000011"))
    assert (await _monitor(tmp_path, "poll")).status == 3
    shown = await _monitor(tmp_path, "digest", "show", signed.upper().replace("SHA256", "sha256"))
    assert shown.status == 3, shown
    assert "a signature over it should not exist: branch-ref" in shown.out
    assert "refs/heads/main" in shown.out
    assert "signed in our name: 1" in shown.out
    whole = json.loads((await _monitor(tmp_path, "digest", "show", signed, "--format", "json")).out)
    assert whole["standing"] == "suspect"
    assert whole["signatures"][0]["rules"] == ["branch-ref"]


async def test_a_digest_that_nobody_saw_is_unknown_and_says_how_far_was_looked(world: World, tmp_path: Path) -> None:
    assert world.read_urls
    await _monitor(tmp_path, "poll")
    shown = await _monitor(tmp_path, "digest", "show", f"ghcr.io/trustacks/runner@{_UNKNOWN}")
    assert shown.status == 0, shown
    assert "Nothing that we saw concerns it" in shown.out
    assert "logs read whole since: " in shown.out
    assert "their first entries" in shown.out
    assert "no registry was ever read whole" in shown.out
    assert (await _monitor(tmp_path, "digest", "show", _UNKNOWN, "--format", "csv")).status == 2
    refused = await _monitor(tmp_path, "digest", "show", "latest")
    assert (refused.status, refused.out) == (2, "")
    assert "is no SHA-256 digest" in refused.err


async def test_identities_check_shows_what_the_published_patterns_accept_and_settings_that_do_not(
    world: World, tmp_path: Path
) -> None:
    assert world.read_urls
    told = await _monitor(tmp_path, "identities", "check")
    assert told.status == 3, told
    assert "https://evil.example/?https://github.com/TruStacks" in told.out
    assert "publish-policy.yml" in told.out
    hardened = await _monitor(tmp_path, "identities", "check", "--for", "kyverno")
    assert (hardened.status, hardened.err) == (0, "")
    assert "subjectRegExp: '^https://github\\.com/TruStacks" in hardened.out
    listed = json.loads((await _monitor(tmp_path, "identities", "check", "--format", "json")).out)
    assert [each["workflow"] for each in listed] == ["publish-images.yml", "publish-policy.yml"]
