"""`demo`: on any machine, with no network and no account, the four incidents as on-call would read them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE

_CHECKOUT = Path(__file__).parents[3]


def _demo(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_CHECKOUT), "TMPDIR": str(tmp_path), **environ}
    return subprocess.run(
        [sys.executable, "-m", "monitor", "demo"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=PATIENCE,
    )  # fmt: skip


def _told(printed: str) -> dict[str, set[str]]:
    """The rules that each incident's messages name at their foot: an act's certificate may be told first, and its signature after it."""
    told: dict[str, set[str]] = {}
    for incident, rules in re.findall(r"incident (#\d+) · [a-z]+ · ([^─╯\n]+)", printed):
        named = (re.sub(r" ×\d+$", "", rule.strip()) for rule in rules.split(","))
        told.setdefault(incident, set()).update(named)
    return told


def test_the_demo_tells_each_incident_by_its_rules_and_what_to_try_next(tmp_path: Path) -> None:
    environ = {"TRUSTACKS_MONITOR_SLACK_TOKEN": "xoxb-of-the-machine", "TRUSTACKS_MONITOR_POLICY__OWNER": "other"}
    done = _demo(tmp_path, **environ)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert _told(done.stdout) == {
        "#1": {"branch-ref", "unexpected-digest"},
        "#2": {"identity-casing"},
        "#3": {"unexpected-digest"},
        "#4": {"untrusted-certificate"},
    }
    assert "incidents show 1" in done.stdout


def test_what_the_demo_kept_can_be_asked_as_it_says(tmp_path: Path) -> None:
    done = _demo(tmp_path)
    for line in done.stdout.splitlines():
        if line.strip().startswith("trustacks-monitor --config"):
            command = line.strip().removeprefix("trustacks-monitor ")
            asked = subprocess.run(  # noqa: S603 - the demo's own words
                [sys.executable, "-m", "monitor", *shlex.split(command)],
                capture_output=True, text=True, check=False,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_CHECKOUT)}, cwd=tmp_path, timeout=PATIENCE,
            )  # fmt: skip
            assert asked.returncode == 0, (command, asked.stderr)
            assert asked.stdout, command
