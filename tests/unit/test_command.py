from __future__ import annotations

import pytest
import typer

from monitor.cli import run
from monitor.errors import LostRaceError, StoreError


def _status(*outcomes: int | Exception) -> tuple[int, int]:
    """How a command ends whose attempts come to these, in this order, the last again and again; and how many it took."""
    left, begun = list(outcomes), 0

    @run.command
    async def attempt() -> int:
        nonlocal begun
        begun += 1
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(typer.Exit) as ended:
        attempt()
    return ended.value.exit_code, begun


def test_a_command_that_loses_races_beside_a_daemon_begins_again() -> None:
    lost = LostRaceError("the row was moved")
    assert _status(lost, lost, 3) == (3, 3)


def test_a_command_that_never_wins_says_so_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "_PAUSE", 0)
    status, begun = _status(LostRaceError("the row was moved"))
    assert (status, begun) == (1, run._RACES + 1)
    assert capsys.readouterr().err == "trustacks-monitor: the row was moved\n"


def test_any_other_error_ends_a_command_at_once() -> None:
    assert _status(StoreError("no such table"), 0) == (1, 1)
