"""`doctor` and `slack manifest` as processes: what a new operator reads, and what the exit status says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from monitor.testbed.world import RELEASED, World
from tests.acceptance.cli.test_commands import Cli
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SLACK = {"TRUSTACKS_MONITOR_SLACK_TOKEN": "xoxb-testbed", "TRUSTACKS_MONITOR_SLACK__CHANNEL": "C0SECURITY"}


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    """The program over a world with a registry and a Slack."""
    async with World(slack_rate_limited=False) as world:
        world.noise(3)
        world.noise(3, "v1")
        world.release("0.1.2")
        made = Cli(tmp_path, world, {**SLACK, "TRUSTACKS_MONITOR_SLACK__API": world.slack.base_url})
        made.configure(certificates=True)
        host = world.registry.host
        repositories = ", ".join(f'"{name}" = "{host}/trustacks/{name}"' for name in RELEASED)
        settings = tmp_path / "config.toml"
        told = f'insecure_hosts = ["{host}"]\nrepositories = {{ {repositories} }}'
        settings.write_text(settings.read_text().replace("repositories = {}", told))
        yield made


async def test_all_good_is_a_line_a_check_and_status_0(cli: Cli) -> None:
    done = await cli("doctor")
    assert (done.status, done.err) == (0, ""), done
    *lines, blank, summary = done.out.splitlines()
    assert blank == ""
    assert summary == f"{sum(line.startswith('ok') for line in lines)} ok, 4 not set"
    assert not any(line.startswith("FAILED") for line in lines)
    assert sum(line.startswith("ok       registry ") for line in lines) == len(RELEASED)
    assert f"ok       search index {cli.world.v1.hostname}: " in done.out
    assert "ok       Slack channel: C0SECURITY: @monitor is a member" in done.out
    assert "not set  settings: no security contact" in done.out
    assert cli.world.slack.messages == []


async def test_one_failure_hides_no_other_and_each_has_its_cure_below_it(cli: Cli) -> None:
    await cli.world.v2.stop()
    cli.world.slack.channels[0].joined = False
    cli.environ["TRUSTACKS_MONITOR_DATABASE"] = "postgresql://monitor:SECRET@127.0.0.1:1/monitor"
    done = await cli("doctor")
    assert done.status == 5, done
    lines = done.out.splitlines()
    failed = {line: lines[number + 1] for number, line in enumerate(lines) if line.startswith("FAILED")}
    assert [line.split(": ")[0] for line in failed] == [
        "FAILED   database",
        f"FAILED   log {cli.world.v2.origin}",
        "FAILED   Slack channel",
    ]
    assert all(cure.startswith("           cure: ") for cure in failed.values())
    assert "/invite @monitor" in done.out
    assert lines[-1].split(", ")[1] == "3 FAILED"
    assert "SECRET" not in done.out + done.err
    assert "xoxb" not in done.out + done.err


async def test_bad_settings_are_status_2_and_say_what_is_wrong_before_anything_is_tried(cli: Cli) -> None:
    del cli.environ["TRUSTACKS_MONITOR_SLACK__CHANNEL"]
    done = await cli("doctor")
    assert (done.status, done.out) == (2, "")
    assert "a token without a channel (name the channel, best by its id (C…))" in done.err
    assert len(done.err.splitlines()) == 1


async def test_servers_whose_time_is_not_ours_mean_that_our_clock_is_off(cli: Cli) -> None:
    then = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    for server in (cli.world.v1, cli.world.v2, cli.world.registry, cli.world.slack):
        server.reply(status=404, headers={"Date": then})
    done = await cli("doctor")
    assert done.status == 5
    line = next(line for line in done.out.splitlines() if " clock: " in line)
    told = re.fullmatch(
        r"FAILED   clock: this machine's clock is (\d+) s ahead of the time that 5 of 5 servers gave", line
    )
    assert told, line
    assert 600 <= int(told[1]) < 600 + PATIENCE  # and the seconds that have passed since
    assert "cure: set the clock (NTP)" in done.out


async def test_what_a_server_says_cannot_act_on_the_terminal(cli: Cli) -> None:
    cli.world.slack.reply(body=b'{"ok": false, "error": "\\u001b[2J\\u202e"}', content_type="application/json")
    done = await cli("doctor")
    assert done.status == 5
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "\\x1b[2J\\u202e" in done.out


async def test_poll_counts_what_is_found_only_once_the_registry_was_read(cli: Cli) -> None:
    cli.environ["TRUSTACKS_MONITOR_POLICY__GRACE"] = "0s"
    assert (await cli("poll")).status == 0
    cli.world.sign("v2")
    found = await cli("poll")
    assert found.status == 3, found
    assert "1 new finding, 1 open incident\n" in found.out


async def test_ids_that_no_release_of_ours_carries_are_not_pinned_by_mistake(cli: Cli) -> None:
    cli.environ["TRUSTACKS_MONITOR_WATCH__START"] = "0"
    await cli("poll")
    (proposed,) = (await cli("ids", "list", "--format", "jsonl")).rows
    repository, owner = proposed["repository_id"], proposed["owner_id"]
    swapped = await cli("ids", "pin", owner, repository, "--reason", "tired")
    assert (swapped.status, swapped.out) == (2, "")
    assert f"`ids pin {repository} {owner} --reason …`" in swapped.err
    assert (await cli("ids", "pin", repository, owner, "--why", "seen in the repository's settings")).status == 0
    clean = await cli("poll")
    assert "0 new findings" in clean.out


async def test_the_manifest_is_json_and_an_app_made_of_it_may_do_all_that_is_asked(cli: Cli) -> None:
    done = await cli("slack", "manifest", config=False)
    assert (done.status, done.err) == (0, "")
    scopes = json.loads(done.out)["oauth_config"]["scopes"]
    assert scopes == {"bot": ["channels:history", "chat:write"]}
    cli.world.slack.scopes = ",".join(scopes["bot"])
    assert (await cli("doctor")).status == 0
    assert (await cli("notify", "test")).status == 0
    private = json.loads((await cli("slack", "manifest", "--private", config=False)).out)
    assert private["oauth_config"]["scopes"] == {"bot": ["chat:write", "groups:history"]}
