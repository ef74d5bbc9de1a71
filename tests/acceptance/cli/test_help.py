"""`--help`: quick, because it imports no room, and complete, because every command says what it is for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main
from typer.testing import CliRunner

from monitor.cli import app
from monitor.cli.run import EXIT_CODES, Exit
from monitor.history.coverage import LogRow
from monitor.history.ranges import RangeRow
from monitor.history.rows import EntryRow, FindingRow, IncidentRow
from monitor.history.timeline import TimelineEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT = Path(__file__).parents[3]
_HEAVY = (
    "sqlalchemy",
    "pydantic",
    "sigstore",
    "tuf",
    "httpx",
    "aiohttp",
    "slack_sdk",
    "cryptography",
    "alembic",
    "rich.console",
)


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - click's, which typer brings in its own copy
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_help_imports_nothing_that_costs_time() -> None:
    code = f"""
import sys
sys.argv = ["trustacks-monitor", "--help"]
from monitor.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in {_HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_CHECKOUT
    )
    assert done.stderr.strip() == "[]"
    assert "timeline" in done.stdout


def test_every_command_of_the_program_is_there() -> None:
    assert {" ".join(path) for path, command in COMMANDS.items() if not hasattr(command, "commands")} == {
        "run", "poll", "backfill", "coverage show",
        "status", "entries list", "entries show", "findings list", "incidents list", "incidents show",
        "incidents ack", "incidents resolve", "timeline", "logs list", "releases import", "notify test", "db upgrade",
        "config check", "demo", "digest show", "identities check", "releases list",
        "releases show", "releases approve", "releases withdraw",
        "releases refresh", "ids list", "ids pin", "doctor", "slack manifest",
    }  # fmt: skip


def test_every_command_and_every_option_says_what_it_is_for() -> None:
    for path, command in COMMANDS.items():
        assert command.help, path
        for parameter in command.params:
            assert parameter.name == "help" or getattr(parameter, "help", None), (path, parameter.name)


def test_every_commands_help_can_be_read() -> None:
    for path in COMMANDS:
        done = CliRunner().invoke(app, [*path, "--help"])
        assert done.exit_code == 0, path
        assert "Usage" in done.output


def test_the_exit_statuses_stand_in_the_help_and_in_the_readme() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    assert " ".join(EXIT_CODES.split()) in " ".join(told.split())
    readme = (_CHECKOUT / "README.md").read_text()
    for status in Exit:
        assert f"| {status.value} |" in readme, status


def test_every_command_stands_in_the_readme() -> None:
    readme = (_CHECKOUT / "README.md").read_text()
    for path, command in COMMANDS.items():
        if not hasattr(command, "commands"):
            assert f"`{' '.join(path)}" in readme, path


def test_every_list_takes_every_format_and_pages() -> None:
    for path in (("entries", "list"), ("findings", "list"), ("incidents", "list"), ("timeline",)):
        options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
        assert {"--format", "--after", "--limit"} <= options, path
    assert "--format" in {o for p in COMMANDS["logs", "list"].params for o in p.opts}


def test_the_fields_of_every_list_stand_in_the_readme_in_their_order() -> None:
    readme = (_CHECKOUT / "README.md").read_text()
    for kind in (EntryRow, FindingRow, IncidentRow, LogRow, RangeRow, TimelineEvent):
        assert ", ".join(f"`{each.name}`" for each in fields(kind)) in readme, kind


def test_the_programs_own_options_may_stand_after_the_command_too(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.toml")
    for words in (
        ["--config", absent, "config", "check"],
        ["config", "check", "--config", absent],
        ["config", "--verbose", "check", f"--config={absent}"],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == Exit.SETTINGS, words
        assert f"{absent}: settings: cannot be read" in done.output
    for words in (["config", "check", "--config"], ["config", "check", "--", "--config", absent]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == Exit.SETTINGS, words
        assert "cannot be read" not in done.output


def test_whose_word_is_kept_and_why_is_asked_by_the_same_options_everywhere() -> None:
    for path in (
        ("incidents", "ack"), ("incidents", "resolve"), ("ids", "pin"),
        ("releases", "approve"), ("releases", "withdraw"), ("releases", "import"),
    ):  # fmt: skip
        options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
        assert {"--reason", "--author"} <= options, path


def test_an_option_takes_the_same_in_every_command_and_lists_name_no_type_of_python() -> None:
    takes: dict[str, set[str | None]] = {}
    for path in (path for path in COMMANDS if path[-1:] == ("list",) or path == ("timeline",)):
        for parameter in COMMANDS[path].params:
            takes.setdefault(parameter.opts[0], set()).add(parameter.metavar)
        told = CliRunner().invoke(app, [*path, "--help"]).output
        assert "<str>" not in told, path
        assert "<int" not in told, path
    assert takes["--since"] == takes["--until"] == {"TIME"}
    assert takes["--severity"] == {"low|medium|high|critical"}
    assert {name for name, metavars in takes.items() if len(metavars) > 1} <= {"--after"}, (
        "a row's id, or the timeline's key"
    )
