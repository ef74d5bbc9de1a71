"""The benchmark itself: it runs, measures everything it names, and says what it could not measure. No time is asserted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from monitor.entries.prefilter import Prefilter
from monitor.model.log import Block, Protocol
from monitor.tlog.tiles import split_bundle
from tests.benchmarks import made, peer, public
from tests.benchmarks.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.table import Row

_TINY = ("--scan=600", "--small=300", "--large=700", "--v1=45", "--delay=0.001")


def test_one_command_prints_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no peer here, wherever this runs
    main([*_TINY, f"--folder={tmp_path}"])
    printed = capsys.readouterr().out
    for row in (
        "SHA-256 of the same bytes",
        "v2 split",
        "v2 leaf hashes",
        "v2 tile roots",
        "v2 prefilter",
        "scan step: all of these",
        "300 leaves",
        "700 leaves",
        "peak memory",
        "v1 end to end",
        "rekor_monitor is not on the PATH",
    ):
        assert row in printed


@pytest.mark.parametrize("index", public.VARIANTS)
def test_the_public_logs_are_watched_in_each_way(
    index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["public", f"--index={index}", "--scale=40", f"--folder={tmp_path}"])
    printed = capsys.readouterr().out
    for row in ("v1 requests, nothing signed", "first message", "digest told", "while signing", "over all of this run"):
        assert row in printed
    assert ("leaves of both windows" in printed) == (index == "off")
    assert ("Rekor v1 is behind by" in printed) == (index == "complete")


def test_the_peer_is_measured_where_it_is_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _with_peer(tmp_path, monkeypatch, "exit 0")
    assert rows[0].rate is not None
    assert "× its rate" in rows[0].ratio


def test_a_peer_that_complains_and_ends_with_status_0_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _with_peer(tmp_path, monkeypatch, "echo 'failed to write checkpoint: disk' >&2")
    assert rows[0].rate is None
    assert "failed to write checkpoint" in rows[0].note


def test_leaves_are_distinct_and_none_is_ours() -> None:
    leaves = [made.leaf(index) for index in range(1000)]
    assert len(set(leaves)) == len(leaves)
    data = made.bundle(0)
    starts, ends = split_bundle(data, 256)
    assert Prefilter(("TruStacks",)).candidates(Block(0, data, starts, ends), Protocol.REKOR_V2) == []


def _with_peer(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> list[Row]:
    program = folder / "bin" / peer.PROGRAM
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    log = made.tile_log(folder / "log", 300)
    return peer.rows(log, folder, 1000.0)
