"""`doctor`: try everything that the monitor depends on, and say what is wrong and what helps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from monitor.cli import run
from monitor.model.check import CheckState
from monitor.model.text import visible

if TYPE_CHECKING:
    from monitor.model.check import Check


@run.command
async def doctor(context: typer.Context) -> int:
    """Try settings, disk, database, clock, trust root, logs, registry and Slack, each by itself, and say what helps.

    It changes nothing and alerts nobody. Exit status 0 when nothing failed, 2 when the settings are wrong, 5 when something failed.
    """
    states: Counter[CheckState] = Counter()
    async for check in run.examined(run.settings(context)):
        states[check.state] += 1
        typer.echo(_lines(check))
    typer.echo(f"\n{', '.join(f'{states[state]} {state}' for state in CheckState if states[state])}")
    return run.Exit.OPERATIONAL if states[CheckState.FAILED] else run.Exit.CLEAN


def _lines(check: Check) -> str:
    width = max(len(state) for state in CheckState)
    line = f"{check.state:<{width}}  {visible(check.name)}: {visible(check.said)}"
    return f"{line}\n{'':<{width}}    cure: {visible(check.cure)}" if check.cure else line
