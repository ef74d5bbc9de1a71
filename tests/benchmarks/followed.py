"""One pass of the whole monitor in a process of its own: prints its seconds, its leaves and its peak memory as JSON.

`followed CONFIG`: the rooms are opened and the trust root is read before the clock starts; fetching, proving, judging and
storing are in the measure.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

import structlog
from rich.console import Console

from monitor import config
from monitor.app import App
from monitor.poll import poll


async def _pass(path: Path) -> dict[str, object]:
    settings = config.load(path, os.environ)
    async with App(settings, console=Console(stderr=True)) as app:
        await app.refresh_root()
        start = time.perf_counter()
        report = await poll(app)
        seconds = time.perf_counter() - start
    errors = [each.passed.error for each in report.logs if each.passed.error]
    if errors or not report.logs:
        raise SystemExit(f"the pass went wrong: {errors or 'no log'}")
    return {
        "seconds": seconds,
        "leaves": sum(each.passed.leaves for each in report.logs),
        "behind": sum(each.passed.behind for each in report.logs),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.stdout.write(json.dumps(asyncio.run(_pass(Path(sys.argv[1])))))
