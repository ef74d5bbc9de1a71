"""What an operator, or a log, gives and nobody can mean: refused or set aside by name, while everything else goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.ct.query import ENTRIES_LIMIT
from monitor.rekor.query import PAGE_LIMIT
from monitor.rekor.v2 import BUNDLE_LIMIT
from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from tests.acceptance.cli.test_commands import Cli

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from monitor.testbed.server import LoopbackServer

_BRANCH = Claims(ref="refs/heads/main", run="17000000011")
_FUTURE = b"\x00\x00" + bytes(8) + b"\x00\x07"
"""How a leaf of a certificate log begins whose entry type is 7, which is none."""


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    """The program over Rekor v1 and v2, each with ten signatures by strangers."""
    async with World(slack_rate_limited=False) as world:
        world.noise(10)
        world.noise(10, "v1")
        made = Cli(tmp_path, world)
        made.configure()
        yield made


def _of_log(cli: Cli, origin: str, more: str) -> None:
    """Write `more` into the table of one log."""
    settings = cli.folder / "config.toml"
    table = f'origin = "{origin}"\n'
    assert table in settings.read_text()
    settings.write_text(settings.read_text().replace(table, f"{table}{more}\n"))


async def _found(cli: Cli) -> set[tuple[str, str]]:
    """The log and rule of every finding."""
    return {(row["log"], row["rule"]) for row in (await cli("findings", "list", "--format", "jsonl")).rows}


async def test_a_start_beyond_the_head_of_one_log_is_refused_by_name_and_the_others_are_read(cli: Cli) -> None:
    other = cli.world.sign("v1", claims=_BRANCH)
    origin = cli.world.v2.origin
    _of_log(cli, origin, "start = 999")

    polled = await cli("poll")

    assert polled.status == 3, polled  # what the other log holds outweighs it
    refused = f"{origin} is to be followed from leaf 999, and its newest checkpoint is of size 10: correct `start` in the settings"
    assert f"    not read: {refused}" in polled.out
    assert (
        f"{cli.world.v1.origin()}: read {other + 1} leaves, 1 ours; proven to {other + 1} of {other + 1}" in polled.out
    )
    assert await _found(cli) == {(cli.world.v1.origin(), "branch-ref")}
    status = await cli("status")
    assert status.status == 5
    assert f"{origin}: complete, active: NOT PROTECTED" in status.out
    assert "nothing of it was read yet" in status.out

    cli.configure()
    corrected = await cli("poll")
    assert "proven to 10 of 10" in corrected.out
    assert (await cli("status")).status == 0


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("-1", "-1 should be 'tip', or should be greater than or equal to 0"),
        ("1.5", "1.5 should be 'tip', or should be a whole number"),
        ('"head"', "'head' should be 'tip', or should be a whole number"),
        ('"2030-01-01T00:00:00Z"', "'2030-01-01T00:00:00Z' should be 'tip', or should be a whole number"),
    ],
)
async def test_a_start_that_is_none_is_refused_where_it_is_written_before_anything_starts(
    cli: Cli, start: str, told: str
) -> None:
    _of_log(cli, cli.world.v2.origin, f"start = {start}")
    refused = await cli("poll")
    assert (refused.status, refused.out) == (2, ""), refused
    assert refused.err.endswith(f": watch.logs[1].start: {told}\n"), refused.err

    cli.configure()
    cli.environ = {"TRUSTACKS_MONITOR_WATCH__START": start.strip('"')}
    varied = await cli("poll")
    assert (varied.status, varied.out) == (2, ""), varied
    assert "environment variable TRUSTACKS_MONITOR_WATCH__START: " in varied.err
    assert not (cli.folder / "state").exists()


@pytest.mark.parametrize("mode", ["search", "certificates"])
async def test_a_mode_that_a_log_of_the_trust_root_cannot_run_is_told_and_it_is_read_all_the_same(
    cli: Cli, mode: str
) -> None:
    origin = cli.world.v2.origin
    _of_log(cli, origin, f'mode = "{mode}"')

    polled = await cli("poll")

    assert polled.status == 5, polled
    told = f"mode '{mode}' is none that a rekor-v2 log can run (complete): it is followed complete; take `mode` out of its table"
    assert f"{origin}: not as the settings ask: {told}" in polled.out
    assert f"{origin}: read 10 leaves" in polled.out
    assert polled.out.count("proven to 10 of 10") == 2
    status = await cli("status")
    assert status.status == 5
    assert f"{origin}: complete, active: protected" in status.out
    assert f"trouble: {origin}: not-as-configured since " in status.out
    assert told in status.out

    cli.configure()
    assert (await cli("poll")).status == 0
    assert (await cli("status")).status == 0


async def test_a_table_for_a_shard_or_a_log_that_is_none_is_told_with_the_name_that_is_meant(cli: Cli) -> None:
    shard, host = cli.world.v1.origin(), cli.world.v1.hostname
    settings = cli.folder / "config.toml"
    settings.write_text(settings.read_text() + f'\n[[watch.logs]]\norigin = "{shard}"\nstart = 999\n')

    polled = await cli("poll")

    assert polled.status == 5, polled
    assert f"{shard}: not as the settings ask: the trust root has no log of this origin" in polled.out
    assert f"is '{host}' meant?" in polled.out
    assert polled.out.count("proven to 10 of 10") == 2
    assert (await cli("status")).status == 5


async def test_a_mode_is_refused_before_anything_starts_where_its_protocol_stands_beside_it(cli: Cli) -> None:
    _of_log(cli, cli.world.v2.origin, 'protocol = "rekor-v2"\nmode = "search"')
    refused = await cli("poll")
    assert (refused.status, refused.out) == (2, ""), refused
    assert "watch.logs[1].mode: 'search' is no mode of a rekor-v2 log (such a log runs complete)" in refused.err


def _answer(server: LoopbackServer, path: str, size: int) -> None:
    server.reply(body=b" " * size, content_type="application/json", path_prefix=path)


async def test_a_bundle_larger_than_its_bound_is_no_clean_pass_its_leaves_are_named_and_the_other_log_is_read(
    cli: Cli,
) -> None:
    cli.world.sign("v1", claims=_BRANCH)
    _answer(cli.world.v2, "/api/v2/tile/entries", BUNDLE_LIMIT + 1)

    polled = await cli("poll")

    assert "    not read: the log does not give leaf 0: oversize" in polled.out
    assert await _found(cli) == {(cli.world.v1.origin(), "branch-ref")}
    assert (await cli("incidents", "ack", "1", "--why", "seen")).status == 0
    assert (await cli("poll")).status == 5
    status = await cli("status")
    assert status.status == 5
    assert "not seen: the log does not give leaf 0: oversize" in status.out

    cli.world.v2.heal()
    await cli("poll")  # eight holes a pass are asked for again
    healed = await cli("poll")
    assert "does not give" not in healed.out


async def test_a_page_of_rekor_v1_larger_than_its_bound_is_asked_for_leaf_by_leaf(cli: Cli) -> None:
    index = cli.world.sign("v1", claims=_BRANCH)
    _answer(cli.world.v1, "/api/v1/log/entries/retrieve", PAGE_LIMIT + 1)

    polled = await cli("poll")

    assert f"read {index + 1} leaves, 1 ours; proven to {index + 1} of {index + 1}" in polled.out
    assert "not read" not in polled.out
    assert await _found(cli) == {(cli.world.v1.origin(), "branch-ref")}


async def test_a_rekor_v1_that_gives_nothing_but_too_much_is_named_and_the_other_log_is_read(cli: Cli) -> None:
    cli.world.sign("v2", claims=_BRANCH)
    _answer(cli.world.v1, "/api/v1/log/entries", PAGE_LIMIT + 1)

    polled = await cli("poll")

    assert "    not read: GET 127.0.0.1" in polled.out
    assert "/api/v1/log/entries: more than " in polled.out
    assert await _found(cli) == {(cli.world.v2.origin, "branch-ref")}
    assert (await cli("incidents", "ack", "1", "--why", "seen")).status == 0
    assert (await cli("poll")).status == 5


async def test_a_page_of_a_certificate_log_larger_than_its_bound_is_no_clean_pass_and_the_rest_is_read(
    cli: Cli,
) -> None:
    cli.configure(certificates=True)
    world = cli.world
    world.issue_only(_BRANCH)
    world.ct.pad(0, ENTRIES_LIMIT + 1)

    polled = await cli("poll")

    assert "    not read: the log does not give leaf 0: oversize" in polled.out
    assert "leaf 1: oversize" not in polled.out
    assert await _found(cli) == {(world.ct.origin, "branch-ref")}
    assert (await cli("incidents", "ack", "1", "--why", "seen")).status == 0
    assert (await cli("poll")).status == 5
    status = await cli("status")
    assert status.status == 5
    assert "not seen: the log does not give leaf 0: oversize" in status.out


def _kind(words: str) -> bytes:
    return json.dumps({"apiVersion": "9.9.9", "kind": "novelty", "spec": {"of": words}}).encode()


def _unknown(cli: Cli, log: str) -> str:
    """Put an entry of ours, one of nobody's and one with our name, both of a kind nobody knows, into a log; its origin."""
    if log == "ct":
        cli.configure(certificates=True)
        cli.world.ct.append_raw(_FUTURE + b"somebody of the future", b"")
        cli.world.ct.append_raw(_FUTURE + b"TruStacks of the future", b"")
        cli.world.issue_only(_BRANCH)
        return cli.world.ct.origin
    made: Any = log
    cli.world.add(made, _kind("somebody"))
    cli.world.add(made, _kind("TruStacks"))
    cli.world.sign(made, claims=_BRANCH)
    return cli.world.v1.origin() if log == "v1" else cli.world.v2.origin


@pytest.mark.parametrize(("log", "named"), [("v1", "novelty"), ("v2", "novelty"), ("ct", "type 7")])
async def test_an_entry_of_a_kind_nobody_knows_is_set_aside_by_name_and_told_as_what_was_not_checked(
    cli: Cli, log: str, named: str
) -> None:
    origin = _unknown(cli, log)

    polled = await cli("poll")

    assert polled.status == 3, polled
    assert "what is unreadable was not checked" in " ".join(polled.out.replace("│", " ").split())
    rows = [row for row in (await cli("findings", "list", "--format", "jsonl")).rows if row["log"] == origin]
    aside = {row["severity"]: row["summary"] for row in rows if row["rule"] == "entry-quarantined"}
    assert aside["medium"].startswith("An unreadable entry bears our name: ")
    assert named in aside["medium"]
    assert [row["rule"] for row in rows if row["rule"] == "branch-ref"] == ["branch-ref"]
    (row,) = [row for row in (await cli("logs", "list", "--format", "jsonl")).rows if row["log"] == origin]
    assert (row["behind"], row["holes"]) == (0, 0)
    assert row["quarantined"] == len(aside) == 2
