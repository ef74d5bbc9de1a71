"""The commands as processes, over the embedded Sigstore: what they print, and what their exit status says."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from tests.opener import logs_toml
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHECKOUT = Path(__file__).parents[3]
_BRANCH = Claims(ref="refs/heads/main", run="17000000011")


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Cli:
    """The program, its settings, and the world it watches."""

    folder: Path
    world: World
    environ: dict[str, str] = field(default_factory=dict)

    def configure(self, more: str = "", *, certificates: bool = False) -> None:
        logs = logs_toml(self.world, certificates=certificates)
        root = self.world.write_trusted_root(self.folder / "trusted_root.json")
        (self.folder / "config.toml").write_text(
            f'state_dir = "state"\n{more}\n[trust]\nsource = "{root.name}"\n'
            f"[http]\nattempts = 1\n[registry]\nrepositories = {{}}\n[watch]\nstart = 0\n{logs}"
        )

    async def __call__(self, *arguments: str, config: bool = True) -> Done:
        settings = ("--config", str(self.folder / "config.toml")) if config else ()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "monitor", *settings, *arguments,
            cwd=self.folder, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_CHECKOUT), **self.environ},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    async with World(slack_rate_limited=False) as world:
        world.noise(10)
        world.noise(5, "v1")
        made = Cli(tmp_path, world)
        made.configure()
        yield made


async def test_poll_says_what_it_read_and_found_and_its_status_follows_the_handling(cli: Cli) -> None:
    clean = await cli("poll")
    assert clean.status == 0, clean
    assert "read 10 leaves, 0 ours; proven to 10 of 10" in clean.out
    assert "not checked: no release's digests are known" in clean.out

    cli.world.sign("v2", claims=_BRANCH)
    found = await cli("poll")
    assert found.status == 3, found
    assert "1 open incident\n" in found.out
    assert (await cli("poll")).status == 3

    assert (await cli("incidents", "ack", "1", "--why", "on it", "--who", "ada")).status == 0
    assert (await cli("poll")).status == 0
    assert (await cli("incidents", "resolve", "1", "--why", "a test", "--who", "ada")).status == 0
    again = await cli("incidents", "resolve", "1", "--why", "a test")
    assert again.status == 1
    assert "it is resolved" in again.err
    shown = await cli("incidents", "show", "1")
    assert "ada resolved: a test" in shown.out


async def test_a_certificate_is_told_from_what_was_signed_with_it(cli: Cli) -> None:
    cli.configure(certificates=True)
    address = cli.world.ct.read_url.partition("://")[2]
    cli.world.sign("v1", claims=_BRANCH)
    cli.world.issue_only(Claims(ref="refs/heads/main", run="17000000012"))
    polled = await cli("poll")
    assert polled.status == 3, polled
    assert "mode certificates: not read completely; checkpoint of 6 leaves" in polled.out
    assert "by certificates and indexes: 1 new entry of ours" in polled.out

    rows = (await cli("entries", "list", "--format", "jsonl")).rows
    signature = next(row for row in rows if row["digest"])
    signed, unsigned = [row for row in rows if row["kind"] == "precertificate"]
    assert {signed["log"], unsigned["log"]} == {cli.world.ct.origin}
    shown = (await cli("entries", "show", str(signed["id"]))).out
    assert "it shows that it was issued, not that anything was signed with it" in shown
    assert f"what was signed with it: entry {signature['id']}\n" in shown
    document = json.loads((await cli("entries", "show", str(signed["id"]), "--format", "json")).out)
    assert (document["issued"]["state"], document["issued"]["entries"]) == ("found", [signature["id"]])
    assert "what was signed with it is looked for\n" in (await cli("entries", "show", str(unsigned["id"]))).out
    assert "issued, not that" not in (await cli("entries", "show", str(signature["id"]))).out

    incident = (await cli("incidents", "show", "1")).out
    assert (
        f"certificate log {address} ({signed['log'][:8]}…), index {signed['index']} (entry {signed['id']})" in incident
    )
    assert f"  log {signature['log']}, index {signature['index']} (entry {signature['id']})" in incident
    status = await cli("status")
    assert f"certificate log {address} ({signed['log'][:8]}…): complete, active: protected since" in status.out
    assert "1 certificate of ours still lacks its entry" in status.out
    for command in (("coverage", "show", "--log", address), ("backfill", "--log", address, "--to", "5")):
        done = await cli(*command)
        assert done.status == 0, done
        assert address in done.out


async def test_a_log_that_is_left_out_after_it_was_followed_is_named_and_does_not_count(cli: Cli) -> None:
    await cli("poll")
    (cli.folder / "config.toml").write_text(
        (cli.folder / "config.toml")
        .read_text()
        .replace('mode = "complete"', "")
        .replace(f'read_url = "{cli.world.v1.url}"\nignore = false', "ignore = true")
    )
    status = await cli("status")
    assert f"{cli.world.v1.origin()}: complete, active: NOT PROTECTED, watched since" in status.out
    assert "    not seen: it is followed no more: the settings say so" in status.out
    assert status.status == 0, status


async def test_a_contradiction_outweighs_every_finding_in_the_status_of_poll(cli: Cli) -> None:
    cli.world.sign("v2", claims=_BRANCH)
    assert (await cli("poll")).status == 3
    cli.world.v2.fork(5)
    cli.world.v2.publish()
    assert (await cli("poll")).status == 4


async def test_a_log_out_of_reach_is_named_and_is_no_clean_pass(cli: Cli) -> None:
    assert (await cli("poll")).status == 0
    cli.world.v2.reply(status=500, body=b"gone", times=1000)
    done = await cli("poll")
    assert done.status == 5
    assert "not read: " in done.out
    assert "500" in done.out


@pytest.mark.parametrize(
    "command",
    [
        "status", "logs list", "coverage show", "entries list", "entries show 1", "findings list", "incidents list",
        "incidents show 1", "timeline --format csv", "releases list", "ids list", f"digest show sha256:{'ab' * 32}",
    ],
)  # fmt: skip
async def test_before_anything_is_watched_whoever_asks_is_told_how_to_begin(tmp_path: Path, command: str) -> None:
    async with World(slack_rate_limited=False) as world:
        cli = Cli(tmp_path, world)
        cli.configure()
        asked = await cli(*command.split())
    assert (asked.status, asked.out) == (5, ""), asked
    assert len(asked.err.splitlines()) == 1
    assert f"nothing is watched yet: there is no database at {tmp_path}/state/monitor.db (begin with `run`" in asked.err
    assert "STATE_DIRECTORY" in asked.err
    assert not (tmp_path / "state").exists()


async def test_status_tells_protected_from_not_protected(cli: Cli) -> None:
    await cli("poll")
    protected = await cli("status")
    assert protected.status == 0, protected
    assert protected.out.count("protected since") == 2
    with sqlite3.connect(cli.folder / "state" / "monitor.db") as database:
        database.execute("UPDATE health SET last_success = '2020-01-01 00:00:00.000000'")
    stale = await cli("status")
    assert stale.status == 5
    assert "is the monitor running?" in stale.out


async def test_ids_that_a_person_pinned_are_not_said_to_be_missing(cli: Cli) -> None:
    await cli("poll")
    assert "repository and owner ids are not set" in (await cli("status")).out
    pinned = await cli("ids", "pin", "123", "456", "--reason", "seen in the settings of the repository")
    assert pinned.status == 0, pinned
    for command in ("status", "doctor"):
        assert "ids are not set" not in (await cli(command)).out


async def test_lists_are_narrowed_paged_and_the_same_in_every_format(cli: Cli) -> None:
    for run in range(3):
        cli.world.sign("v2", claims=Claims(ref="refs/heads/main", run=str(run + 1)))
    cli.world.sign("v1", claims=Claims(org="trustacks", run="9"))
    await cli("poll")

    first = await cli("findings", "list", "--rule", "branch-ref", "--limit", "2", "--format", "jsonl")
    assert [row["rule"] for row in first.rows] == ["branch-ref"] * 2
    after = str(first.rows[-1]["id"])
    assert f"--after {after}" in first.err
    rest = await cli("findings", "list", "--rule", "branch-ref", "--after", after, "--format", "jsonl")
    assert len(rest.rows) == 1
    assert rest.err == ""

    everything = json.loads((await cli("findings", "list", "--format", "json")).out)
    table = await cli("findings", "list")
    assert len(table.out.splitlines()) == len(everything) + 1
    assert {row["identity"] for row in everything} <= set(table.out.split())
    found = next(row for row in everything if row["rule"] == "identity-casing")
    assert found["global_index"] == 5
    assert found["index"] == 5
    assert found["accepted"] == "no"
    assert found["severity"] == "high"
    assert found["category"] == "identity"

    mine = await cli("entries", "list", "--identity", "/TRUSTACKS-MVP/", "--format", "jsonl")
    assert len(mine.rows) == 4
    branch = next(row for row in mine.rows if "branch-ref" in row["rules"])
    shown = await cli("entries", "show", str(branch["id"]), "--format", "json")
    document = json.loads(shown.out)
    assert document["inclusion_proof"]["tree_size"] > 0
    assert document["signers"][0]["certificate"]["claims"]["source ref"] == "refs/heads/main"

    events = await cli("timeline", "--format", "jsonl")
    assert {"checkpoint", "signature", "finding", "incident", "delivery"} <= {row["kind"] for row in events.rows}
    assert all({"message", "datetime", "timestamp_desc"} <= row.keys() for row in events.rows)


async def test_a_filter_that_cannot_be_meant_is_refused_by_its_option(cli: Cli) -> None:
    await cli("poll")
    for arguments, told in (
        (("findings", "list", "--severity", "awful"), "--severity 'awful' is none of low, medium, high, critical"),
        (("findings", "list", "--category", "x"), "--category 'x' is none of"),
        (("incidents", "list", "--state", "x"), "--state 'x' is none of"),
        (("entries", "list", "--since", "2026-01-01"), "--since '2026-01-01' is no RFC 3339 time"),
        (("timeline", "--after", "7"), "--after '7' is no key"),
    ):
        done = await cli(*arguments)
        assert done.status == 2
        assert told in done.err
        assert len(done.err.splitlines()) == 1


async def test_bad_settings_end_every_command_with_one_line_before_anything_starts(cli: Cli) -> None:
    cli.configure("nonsense = 1")
    for command in (("poll",), ("run",), ("status",), ("config", "check"), ("db", "upgrade")):
        done = await cli(*command)
        assert done.status == 2
        assert done.err.startswith(f"trustacks-monitor: {cli.folder}/config.toml:2: nonsense: unknown key")
        assert len(done.err.splitlines()) == 1
        assert done.out == ""
    assert not (cli.folder / "state").exists()


async def test_a_database_newer_than_this_program_is_refused_by_name(cli: Cli) -> None:
    await cli("poll")
    with sqlite3.connect(cli.folder / "state" / "monitor.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("UPDATE meta SET value = '99' WHERE key IN ('schema', 'serves')")
    for command in (("poll",), ("status",), ("db", "upgrade")):
        done = await cli(*command)
        assert done.status == 1
        assert "newer than" in done.err
        assert "monitor.db" in done.err


async def test_an_imported_release_explains_its_digests_and_a_faulty_file_is_refused_whole(cli: Cli) -> None:
    digest = f"sha256:{'ab' * 32}"
    cli.world.sign("v2", digest, Claims(run="3"))
    (cli.folder / "release.json").write_text(
        json.dumps({"schema": 1, "release": [{"version": "0.1.2", "artifacts": {"runner": digest}}]})
    )
    unexplained = await cli("releases", "import", "release.json")
    assert unexplained.status == 2
    assert "no reason for 0.1.2" in unexplained.err
    done = await cli("releases", "import", "release.json", "--reason", "released", "--author", "ada")
    assert done.status == 0, done
    await cli("poll")
    assert [row["digest_status"] for row in (await cli("entries", "list", "--format", "jsonl")).rows] == ["expected"]

    (cli.folder / "bad.toml").write_text(
        'schema = 1\n[[release]]\nversion = "v1"\n[release.artifacts]\nrunner = "sha256:1"\n'
    )
    bad = await cli("releases", "import", "bad.toml", "--reason", "x")
    assert bad.status == 2
    assert "bad.toml:3: " in bad.err
    assert "bad.toml:5: " in bad.err


async def test_config_check_shows_what_was_understood_and_no_secret(cli: Cli) -> None:
    cli.environ = {
        "TRUSTACKS_MONITOR_SLACK_WEBHOOK": "https://hooks.slack.com/services/T/B/SECRET",
        "TRUSTACKS_MONITOR_DATABASE": "postgresql://monitor:SECRET@db/monitor",
    }
    done = await cli("config", "check")
    assert done.status == 0, done
    assert "SECRET" not in done.out + done.err
    assert "an incoming webhook has no threads and no edits" in done.out
    assert "postgresql://monitor" in done.out
    assert "not set: repository and owner ids" in done.out
    assert "not set: no contributor-flow key" in done.out


async def test_notify_test_reaches_every_sink_or_says_which_it_did_not(cli: Cli) -> None:
    cli.environ = {"TRUSTACKS_MONITOR_SLACK_TOKEN": "xoxb-testbed", "TRUSTACKS_MONITOR_SLACK__CHANNEL": "C0SECURITY",
                   "TRUSTACKS_MONITOR_SLACK__API": cli.world.slack.base_url}  # fmt: skip
    done = await cli("notify", "test")
    assert done.status == 0, done
    assert len(cli.world.slack.messages) == 1
    cli.environ["TRUSTACKS_MONITOR_SLACK_TOKEN"] = "xoxb-wrong"  # noqa: S105 - made up
    refused = await cli("notify", "test")
    assert refused.status == 5
    assert "slack: " in refused.err
    assert "xoxb" not in refused.err


async def test_without_a_file_the_built_in_settings_hold_and_state_goes_to_its_place(cli: Cli) -> None:
    cli.environ = {"XDG_STATE_HOME": str(cli.folder / "xdg")}
    done = await cli("db", "upgrade", config=False)
    assert done.status == 0, done
    assert (cli.folder / "xdg" / "trustacks-monitor" / "monitor.db").is_file()
    again = await cli("db", "upgrade", config=False)
    assert "was already at schema revision" in again.out


async def test_a_list_whose_reader_goes_away_ends_quietly(cli: Cli) -> None:
    await cli("poll")
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m monitor --config config.toml timeline --format jsonl | head -n 1",
        cwd=cli.folder, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_CHECKOUT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert len(out.splitlines()) == 1
    assert err == b""
