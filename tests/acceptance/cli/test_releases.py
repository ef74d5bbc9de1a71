"""`releases` as a process: what is known of each version, and a person's word about it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.store import releases, tags
from monitor.store.engine import Store
from monitor.testbed.ca import Claims
from monitor.testbed.world import RELEASED, World
from tests.acceptance.cli.test_commands import Cli

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

A, B = (f"sha256:{digit * 64}" for digit in "ab")


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    """The program over a database that knows one version of two artifacts."""
    async with World(slack_rate_limited=False) as world:
        made = Cli(tmp_path, world)
        made.configure()
        await made("db", "upgrade")
        now = datetime.now(UTC)
        async with (
            await Store.open(f"sqlite:///{tmp_path}/state/monitor.db", create=False) as store,
            store.write() as tx,
        ):
            for artifact, digest in (("runner", A), ("ui", B)):
                await tags.observe(tx, artifact, {"0.1.2": digest}, [], now)
                row = ExpectedDigest("0.1.2", artifact, digest, DigestKind.TAG, Authority.PINNED, "registry")
                await releases.add_digests(tx, [row], [], now)
        yield made


async def test_a_release_is_listed_shown_approved_and_withdrawn(cli: Cli) -> None:
    listed = await cli("releases", "list", "--format", "jsonl")
    assert listed.status == 0, listed
    (row,) = listed.rows
    assert (row["version"], row["state"], row["authority"]) == ("0.1.2", "partial", "pinned")
    assert (row["artifacts"], row["missing"]) == (["runner", "ui"], ["control-plane", "policy/constitution"])

    approved = await cli("releases", "approve", "0.1.2", "--reason", "we made it", "--author", "Ada\x1b[2J")
    assert approved.out == "release 0.1.2: 2 digests; approved by Ada\\x1b[2J\n"
    shown = await cli("releases", "show", "0.1.2", "--format", "jsonl")
    assert {(each["artifact"], each["digest"], each["authority"], each["tagged"]) for each in shown.rows} == {
        (artifact, digest, authority, True)
        for artifact, digest in (("runner", A), ("ui", B))
        for authority in ("approved", "pinned")
    }

    pulled = await cli("releases", "withdraw", "0.1.2", "--reason", "leaks a key", "--advisory", "https://a.test/1")
    assert pulled.status == 0, pulled
    assert (await cli("releases", "list", "--format", "jsonl")).rows[0]["state"] == "withdrawn"
    timeline = await cli("timeline", "--format", "jsonl")
    said = [each["message"] for each in timeline.rows if each["kind"] == "operator"]
    assert any("approved: we made it" in each for each in said)
    assert any("withdrawn: leaks a key (https://a.test/1)" in each for each in said)


async def test_a_release_is_shown_to_people_in_eighty_columns_each_digest_once_with_everybodys_word(cli: Cli) -> None:
    await cli("releases", "approve", "0.1.2", "--reason", "we made it", "--author", "Ada\x1b[2J")
    shown = await cli("releases", "show", "0.1.2")
    lines = shown.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    begin = lines.index("runner")
    assert lines[begin + 1 : begin + 5] == [
        f"  {A}",
        "    tag, which resolves to it now",
        "    approved by Ada\\x1b[2J: we made it",
        "    pinned by registry",
    ]
    assert "missing:    control-plane; policy/constitution" in lines


async def test_a_version_that_was_only_ever_withdrawn_is_shown_and_misses_nothing(cli: Cli) -> None:
    await cli(
        "releases", "withdraw", "7.0.0", "--reason", "never made", "--author", "Ada", "--advisory", "https://a.test/1"
    )
    listed, shown, rows = await asyncio.gather(
        cli("releases", "list", "--format", "jsonl"),
        cli("releases", "show", "7.0.0"),
        cli("releases", "show", "7.0.0", "--format", "jsonl"),
    )
    assert next((each["version"], each["state"], each["missing"]) for each in listed.rows) == ("7.0.0", "withdrawn", [])
    assert "withdrawn: by Ada at 20" in shown.out
    assert ": never made\nadvisory:  https://a.test/1\n" in shown.out
    assert (rows.status, rows.out) == (0, "")


async def test_a_word_on_what_nobody_knows_or_without_a_reason_is_refused(cli: Cli) -> None:
    unknown, bare, shown, malformed = await asyncio.gather(
        cli("releases", "approve", "9.9.9", "--reason", "why not"),
        cli("releases", "approve", "0.1.2", "--reason", " "),
        cli("releases", "show", "9.9.9"),
        cli("releases", "withdraw", "v0.1.2", "--reason", "no"),
    )
    assert [each.status for each in (unknown, bare, shown, malformed)] == [2, 2, 2, 2]
    assert "nothing of 9.9.9 is known" in unknown.err
    assert "author and reason" in bare.err
    assert "no semantic version" in malformed.err


def read_registry(cli: Cli) -> None:
    """Have the settings name the world's registry."""
    registry = cli.world.registry
    repositories = ", ".join(f'"{name}" = "{registry.host}/trustacks/{name}"' for name in RELEASED)
    told = f'insecure_hosts = ["{registry.host}"]\nrepositories = {{ {repositories} }}'
    settings = cli.folder / "config.toml"
    at_once = '\n[policy]\ngrace = "0s"\n'
    settings.write_text(settings.read_text().replace("repositories = {}", told) + at_once)


async def rules(cli: Cli) -> set[str]:
    return {each["rule"] for each in (await cli("findings", "list", "--format", "jsonl")).rows}


async def test_another_digest_than_the_pinned_one_is_approved_by_name_and_the_pinned_one_is_expected_no_more(
    cli: Cli,
) -> None:
    read_registry(cli)
    released = cli.world.release("0.1.3")
    await cli("poll")
    assert "unexpected-digest" not in await rules(cli)

    other = f"runner={B}"
    refused = await asyncio.gather(
        cli("releases", "approve", "0.1.3", "--replace", "runner=latest", "--reason", "a slip"),
        cli("releases", "approve", "0.1.3", "--replace", f"\x1b[2J={B}", "--reason", "a slip"),
        cli("releases", "approve", "0.1.3", "--replace", other, "--replace", other, "--reason", "a slip"),
        cli("releases", "approve", "0.1.3", "--replace", other, "--observed", "--reason", "a slip"),
        cli("releases", "approve", "9.9.9", "--replace", other, "--reason", "a slip"),
    )
    assert [each.status for each in refused] == [2] * 5, refused
    assert all("--replace" in each.err or "nothing to replace" in each.err for each in refused)
    assert all("\x1b" not in each.err for each in refused)

    told = await cli("releases", "approve", "0.1.3", "--replace", other, "--reason", "a slip", "--author", "Ada")
    assert told.out == "release 0.1.3: runner; corrected by Ada\n"
    again = await cli("releases", "approve", "0.1.3", "--replace", other, "--reason", "a slip", "--author", "Ada")
    assert again.out == "release 0.1.3: runner; all of it was corrected before\n"
    shown = await cli("releases", "show", "0.1.3", "--format", "jsonl")
    tops = {(each["digest"], each["authority"], each["author"]) for each in shown.rows if each["kind"] == "tag"}
    assert {(B, "approved", "Ada"), (released["runner"], "disputed", "Ada")} <= tops

    polled = await cli("poll")
    assert polled.status == 3, polled
    assert "unexpected-digest" in await rules(cli)
    assert "Corrected by Ada at" in polled.out


async def test_the_registry_is_read_on_demand_and_what_could_not_be_read_is_said(cli: Cli) -> None:
    none = await cli("releases", "refresh")
    assert (none.status, "no registry is configured" in none.err) == (2, True)
    registry = cli.world.registry
    cli.world.release("0.1.3")
    read_registry(cli)
    read = await cli("releases", "refresh")
    assert read.status == 0, read
    assert read.out.startswith("4 release tags, 4 new; 4 new signatures")
    registry.reply(status=503)
    down = await cli("releases", "refresh")
    assert (down.status, registry.host in down.err) == (5, True)


async def test_a_forged_signature_in_our_name_is_told_by_the_pass_that_finds_it(cli: Cli) -> None:
    """The trust root is asked for again as soon as something hangs on an authority that it does not hold."""
    read_registry(cli)
    digests = cli.world.release("0.1.3")
    claims = Claims(ref="refs/tags/v0.1.3")
    cli.world.sign("v2", digests["runner"], claims, kind="image", ca=cli.world.rogue_ca(), beside="trustacks/runner")
    polled = await cli("poll")
    assert polled.status == 4, polled
    assert "bundle-mismatch" in await rules(cli)
