"""What watching the public logs costs and how soon it tells: the daemon in its default settings beside a Rekor v1 of their size.

`python -m tests.benchmarks public --index on|off|complete`: certificates are looked up in the index; or there is no index and
their minutes are read; or all of Rekor v1 is read.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from monitor.store import logs, lookups
from monitor.store.engine import Store
from tests.benchmarks.table import Row, rendered
from tests.patience import PATIENCE
from tests.public import Figures, PublicLogs, branch, daemon, program, release

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections import Counter
    from collections.abc import AsyncIterator, Callable

    from monitor.model.lookup import Lookup

Variant = Literal["on", "off", "complete"]
VARIANTS: Final[tuple[Variant, ...]] = ("on", "off", "complete")

_CEILING: Final = 20.0
"""Requests a second that the default settings ask Rekor v1 at most."""
_PAGE: Final = 10
_WARM: Final = 40.0
_STEADY: Final = 60.0
_LATE: Final = 540.0
"""How long after its first signature a certificate signs once more, where its minutes are read: it is valid for ten."""
_PATIENCE: Final = 1800.0
_DIGESTS: Final = tuple(f"sha256:{number * 0x1111:064x}" for number in (1, 2, 3))


@dataclass(slots=True)
class _Watched:
    """The daemon beside the logs, and what was signed and told. `scale` divides sizes and times."""

    logs: PublicLogs
    process: Process
    store: Store
    scale: float
    rows: list[Row] = field(default_factory=list)

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.scale)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + max(_PATIENCE / self.scale, PATIENCE)
        while not holds():
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not come about: {what}")
            await asyncio.sleep(0.05)

    def requests(self) -> Counter[str]:
        return self.logs.v1.counts.copy()

    def asked(self, since: Counter[str], seconds: float, when: str, target: str = "") -> None:
        """Requests a second since then, by kind."""
        spent = self.logs.v1.counts - since
        kinds = ", ".join(f"{count} {path.removeprefix('/api/v1/')}" for path, count in sorted(spent.items()))
        self.rows.append(Row(f"v1 requests, {when}", None, f"{spent.total() / seconds:.2f}/s", target, kinds))


@asynccontextmanager
async def _watched(variant: Variant, scale: float, folder: Path) -> AsyncIterator[_Watched]:
    figures = Figures() if scale == 1 else Figures(size=100_000, rate=200 / scale, latency=0.01, period_bits=6)
    watch = "" if scale == 1 else f'poll_interval = "{30 / scale:.3f}s"'
    database = f"sqlite:///{folder}/monitor.db"
    async with PublicLogs(figures, index_off=501 if variant == "off" else None) as public:
        settings = public.settings(folder, database, complete=variant == "complete", watch=watch)
        async with daemon(settings) as process:
            while not public.v1.counts:  # noqa: ASYNC110 - another process is waited for
                await asyncio.sleep(0.1)
            async with await Store.open(database, create=False) as store:
                yield _Watched(public, process, store, scale)


async def measured(variant: Variant, scale: float, folder: Path) -> list[Row]:
    """Watch, sign, and look at what is told and what was asked."""
    async with _watched(variant, scale, folder) as watched:
        whole, began = watched.requests(), time.monotonic()
        await watched.rest(_WARM)
        await _steady(watched, "" if variant == "complete" else "≤ 2/s")
        await _signed(watched, variant)
        if variant == "off":
            await _read(watched)
        if variant == "complete":
            await _behind(watched, folder)
        watched.asked(whole, time.monotonic() - began, "over all of this run", "≤ 2/s" if variant == "on" else "")
        return watched.rows


async def _steady(watched: _Watched, target: str) -> None:
    """A while in which nothing is signed."""
    public = watched.logs
    before, issued, seen = watched.requests(), public.ct.size, len(public.ct.requests)
    began = time.monotonic()
    await watched.rest(_STEADY)
    seconds = time.monotonic() - began
    watched.asked(before, seconds, "nothing signed", target)
    grown, asked = public.ct.size - issued, len(public.ct.requests) - seen
    watched.rows.append(
        Row(
            "certificate log, requests",
            None,
            f"{asked / seconds * 60:.0f} a minute",
            "",
            f"{grown / seconds:.0f} certificates/s",
        )
    )


async def _signed(watched: _Watched, variant: Variant) -> None:
    """Two signatures whose certificates' minutes overlap: from a branch, and from a tag of something unexpected."""
    public = watched.logs
    before, began = watched.requests(), time.monotonic()
    first_at = time.time()
    first = public.certify(branch())
    await watched.rest(1)
    public.log(first, _DIGESTS[0])
    await watched.rest(4)
    second_at = time.time()
    second = public.certify(release())
    await watched.rest(1)
    public.log(second, _DIGESTS[1])

    alerted = await _when(watched, "branch-ref")
    digest = await _when(watched, _DIGESTS[0])
    other = await _when(watched, _DIGESTS[1])
    watched.rows += [
        Row("signing → first message", None, f"{alerted - first_at:.1f} s", "< 60 s", "from a branch"),
        Row("signing → its digest told", None, f"{digest - first_at:.1f} s", _digest_target(variant), "from a branch"),
        Row("signing → its digest told", None, f"{other - second_at:.1f} s", _digest_target(variant), "from a tag"),
    ]
    await watched.rest(max(0.0, _STEADY - (time.monotonic() - began) * watched.scale))
    watched.asked(before, time.monotonic() - began, "while signing", "≤ 2/s" if variant == "on" else "")
    if variant == "off" and watched.scale == 1:
        await asyncio.sleep(max(0.0, first_at + _LATE - time.time()))
        late_at = time.time()
        public.log(first, _DIGESTS[2])
        told = await _when(watched, _DIGESTS[2])
        watched.rows.append(
            Row(
                "signing → its digest told", None, f"{told - late_at:.1f} s", _digest_target(variant), "9 minutes later"
            )
        )


def _digest_target(variant: Variant) -> str:
    return {"on": "< 60 s", "off": "≤ leaves of the window ÷ 10 ÷ 20", "complete": ""}[variant]


async def _when(watched: _Watched, text: str) -> float:
    """When a message first had these words: posted with them, or changed to have them a moment ago."""
    await watched.until(lambda: bool(watched.logs.told(text)), f"a message with {text}")
    posted = [float(message.ts) for message in watched.logs.told(text) if not message.edits]
    return min(posted, default=time.time())


async def _read(watched: _Watched) -> None:
    """How often the leaves of the certificates' minutes were read, and how long all of them took."""
    public = watched.logs

    async def sought() -> list[Lookup]:
        async with watched.store.read() as tx:
            found = await lookups.sought(tx, datetime.now(UTC) - timedelta(days=1))
        return [each for each in found if each.read_at is None]

    begun = min(each.not_before for each in await sought())
    if watched.scale == 1:
        while await sought():
            if watched.process.returncode is not None:
                raise RuntimeError("the daemon ended")
            await asyncio.sleep(1)
    took = (datetime.now(UTC) - begun).total_seconds()
    async with watched.store.read() as tx:
        covered = await logs.coverage(tx, public.v1.origin)
    leaves = sum(each.end - each.begin for each in covered)
    inside = [public.v1.paged[index] for each in covered for index in range(each.begin, each.end)]
    again = sum(times - 1 for times in inside)
    expected = leaves / _PAGE / _CEILING
    watched.rows += [
        Row("leaves of both windows", None, f"{leaves}", "", f"given in pages: {sum(inside)}, {again} of them again"),
        Row(
            "first certificate → windows read whole", None, f"{took:.0f} s", f"{expected:.0f} s + settling", "÷ 10 ÷ 20"
        ),
    ]


async def _behind(watched: _Watched, folder: Path) -> None:
    """How far behind reading all of Rekor v1 is after a while, and what is said of it."""
    await watched.rest(2 * _STEADY)
    async with watched.store.read() as tx:
        cursor = await logs.cursor(tx, watched.logs.v1.origin)
    size = watched.logs.v1.size
    behind = size - (cursor.position if cursor else 0)
    read = (cursor.position - cursor.started_at) if cursor else 0
    seconds = behind / watched.logs.figures.rate
    watched.rows.append(
        Row("Rekor v1 is behind by", None, f"{behind} leaves = {seconds:.0f} s", "or said", f"{read} leaves were read")
    )
    _, said = await program(folder / "settings.toml", "status")
    sys.stderr.write(said)
    (line,) = [line for line in said.splitlines() if line.startswith(watched.logs.v1.hostname)]
    watched.rows.append(Row("status says", None, "", "", line.partition(": ")[2]))


def main(arguments: list[str]) -> None:
    """Measure one variant and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks public", description=__doc__)
    parser.add_argument("--index", choices=VARIANTS, default="on", help="how Rekor v1 is watched (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="divide growth and times by this, to try it")
    parser.add_argument("--folder", type=Path, help="where the database is (default: a temporary folder)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        rows = asyncio.run(measured(asked.index, asked.scale, Path(name)))
    sys.stdout.write(f"{rendered(rows)}\n")
