"""Polls in a child process that is killed at random instants, again and again, then once to the end. Run by test_kill.py.

usage: killed.py KILLS SECONDS SETTINGS... — for each of the settings, prints one line a child: the instant of its death, or of its end.

The rooms are imported once and children are forked, so that an instant falls into the work and not into the start of Python.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

from monitor import config
from monitor.app import App
from monitor.poll import poll


async def _poll(settings: config.Settings) -> None:
    async with App(settings) as app:
        await poll(app)


def _child(settings: config.Settings) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(_poll(settings))
            status = 0
        finally:
            os._exit(status)
    return child


def main() -> None:
    """Kill, kill, kill; then let one finish."""
    kills, seconds = int(sys.argv[1]), float(sys.argv[2])
    dice = random.Random(1)  # noqa: S311 - instants, not secrets
    for path in sys.argv[3:]:
        settings = config.load(Path(path), {})
        for _ in range(kills):
            child = _child(settings)
            instant = dice.uniform(0, seconds)
            time.sleep(instant)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            sys.stdout.write(f"killed after {instant:.3f} s\n")
        began = time.monotonic()
        _, status = os.waitpid(_child(settings), 0)
        if status:
            sys.exit(os.waitstatus_to_exitcode(status))
        sys.stdout.write(f"done after {time.monotonic() - began:.3f} s\n")


if __name__ == "__main__":
    main()
