"""Following from end to end over loopback: a server in one process, the monitor in another, its store in SQLite."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks import made
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MIB = 1 << 20
_PAGE = 10


@dataclass(frozen=True, slots=True)
class Followed:
    """What one pass came to: seconds, leaves proven and stored, peak resident memory in bytes."""

    seconds: float
    leaves: int
    peak: int

    @property
    def rate(self) -> float:
        """Leaves a second."""
        return self.leaves / self.seconds


def v2(log: made.TileLog, folder: Path) -> Followed:
    """Follow a made tile log from its first leaf."""
    with server("v2", str(log.folder)) as facts:
        return _follow(folder, str(log.trusted_root), made.V2_ORIGIN, str(facts["url"]), log.size)


def v1(size: int, delay: float, folder: Path) -> Followed:
    """Follow a made Rekor v1 log from its first leaf, every answer `delay` seconds late."""
    with server("v1", str(size), str(delay), str(folder)) as facts:
        return _follow(folder, str(facts["trusted_root"]), made.V1_HOST, str(facts["url"]), size)


def made_log(folder: Path, size: int) -> made.TileLog:
    """A tile log of `size` leaves in a folder of its own."""
    place = folder / f"v2-{size}"
    place.mkdir()
    return made.tile_log(place, size)


def rows_v2(small: made.TileLog, large: made.TileLog, scan_rate: float) -> list[Row]:
    """Both logs, beside the rate of the scan step alone, and the memory of the one beside that of the other."""
    found, peaks = [], []
    for log, target in ((small, ""), (large, "≥ 100,000/s")):
        followed = v2(log, log.folder)
        peaks.append(followed.peak)
        ratio = f"{followed.rate / scan_rate:.2f} × the scan step's rate"
        found.append(Row("v2 end to end: fetched, proven, stored", followed.rate, ratio, target, f"{log.size} leaves"))
    grown = f"{peaks[1] / peaks[0]:.2f} × that of {small.size} leaves"
    memory = f"v2 peak memory: {peaks[1] / _MIB:.0f} MiB"
    return [*found, Row(memory, None, grown, "the same, ≤ 200 MB", f"{large.size} leaves")]


def rows_v1(folder: Path, size: int, delay: float) -> list[Row]:
    """A Rekor v1 log whose answers are late, beside one who asks for a page after the other."""
    place = folder / "v1"
    place.mkdir()
    followed = v1(size, delay, place)
    ratio = f"{followed.rate * delay / _PAGE:.1f} × one page at a time" if delay else ""
    return [
        Row(f"v1 end to end, answers {delay * 1000:.0f} ms late", followed.rate, ratio, "≥ 1,000/s", f"{size} leaves")
    ]


@contextmanager
def server(*arguments: str) -> Iterator[dict[str, object]]:
    """A server in a process of its own (`tests.benchmarks.served`), while the block runs; its facts."""
    command = [sys.executable, "-m", "tests.benchmarks.served", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the server has no pipes")
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def _follow(folder: Path, trusted_root: str, origin: str, url: str, size: int) -> Followed:
    settings = folder / "monitor.toml"
    settings.write_text(
        f"""
state_dir = "{folder / "state"}"
database = "sqlite:///{folder / "monitor.db"}"

[trust]
source = "{trusted_root}"

[registry]
repositories = {{}}
[watch]
start = 0
v1_requests_per_second = 1000
v1_in_flight = 32

[[watch.logs]]
origin = "{origin}"
read_url = "{url}"
mode = "complete"

[[watch.logs]]
origin = "ctfe.trustacks.test"
ignore = true
"""
    )
    command = [sys.executable, "-m", "tests.benchmarks.followed", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise RuntimeError(f"the monitor ended with {done.returncode}: {done.stderr[-2000:]}")
    said = json.loads(done.stdout)
    if said["leaves"] != size or said["behind"]:
        raise RuntimeError(f"{said['leaves']} of {size} leaves were read")
    return Followed(said["seconds"], said["leaves"], said["peak"])
