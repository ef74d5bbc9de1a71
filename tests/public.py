"""The public logs as large as they are: a Rekor v1 that grows, a certificate log and a Slack, and the daemon as a process beside them.

The servers live in the process that asks for them, so that it can sign, and count what was asked.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key

from monitor.testbed.bodies import digest_bytes, hashedrekord_v1
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.testbed.ct import CtLog
from monitor.testbed.giant import GiantV1
from monitor.testbed.slack import Slack
from monitor.testbed.trust_root import ListedLog, trusted_root

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from datetime import datetime
    from types import TracebackType

    from cryptography.x509 import Certificate

    from monitor.testbed.ct_entry import LogEntry
    from monitor.testbed.slack_message import SlackMessage

_CHECKOUT = Path(__file__).parents[1]
_ISSUED = 1000
"""Certificates of strangers in the certificate log when it is made."""
VERSION = "0.1.2"
EXPECTED = {
    name: f"sha256:{number:064x}"
    for number, name in enumerate(("control-plane", "runner", "ui", "policy/constitution"), 1)
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Rekor v1: its size, entries a second that it grows by, seconds before each answer, requests a second that it answers.

    The certificate log grows by as many certificates.
    """

    size: int = 100_000_000
    rate: float = 200.0
    latency: float = 0.1
    ceiling: int | None = 22
    """Above what is asked: a sliding second may hold requests that a busy machine was late with."""
    period_bits: int = 12


class SeenV1(GiantV1):
    """Counts how often each leaf was given in a page."""

    paged: Counter[int]

    def leap(self, leaves: int) -> range:
        """Grow at once by so many; their indexes."""
        begin = self.size
        self._at_least = begin + leaves
        return range(begin, self._at_least)

    def by_index(self, index: int, *, singly: bool) -> dict[str, object] | None:
        if not singly:
            self.paged[index] += 1
        return super().by_index(index, singly=singly)


@dataclass(frozen=True, slots=True)
class Certified:
    """A key with its certificate, which the certificate log holds."""

    key: EllipticCurvePrivateKey
    certificate: Certificate


class PublicLogs:
    """The servers. Use it as an async context manager."""

    def __init__(self, figures: Figures, *, index_off: int | None = None) -> None:
        self.figures = figures
        self.ca = CertificateAuthority()
        self.ct = self.ca.ct = CtLog(self.ca.ct_key, page_size=1000, roots=[self.ca.root])
        self.v1 = SeenV1(
            size=figures.size,
            rate=figures.rate,
            period_bits=figures.period_bits,
            latency=figures.latency,
            ceiling=figures.ceiling,
            index_off=index_off,
        )
        self.v1.paged = Counter()
        self.slack = Slack()
        self._stack = AsyncExitStack()
        self._growing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start every server, and let the certificate log grow."""
        async with AsyncExitStack() as stack:
            for server in (self.ct, self.v1, self.slack):
                await stack.enter_async_context(server)
            self._stack = stack.pop_all()
        for number in range(16):
            key = generate_private_key(SECP256R1())
            stranger = Claims(org="globex", repo=f"svc-{number}", workflow="release.yml", run=str(100 + number))
            self.ca.issue(key.public_key(), stranger)
        templates = list(self.ct.history.entries(0, self.ct.size))
        self._issue(templates, _ISSUED)
        self._growing = asyncio.ensure_future(self._grow(templates))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        if self._growing is not None:
            self._growing.cancel()
            await asyncio.gather(self._growing, return_exceptions=True)
        await self._stack.aclose()

    def _issue(self, templates: list[LogEntry], count: int) -> None:
        for _ in range(count):
            entry = templates[self.ct.size % len(templates)].restamped(self.ct.size)
            self.ct.append_raw(entry.leaf_input, entry.extra)

    async def _grow(self, templates: list[LogEntry]) -> None:
        loop = asyncio.get_running_loop()
        began, issued = loop.time(), 0
        while True:
            await asyncio.sleep(0.5)
            due = int((loop.time() - began) * self.figures.rate) - issued
            self._issue(templates, due)
            issued += due

    # signing

    def certify(self, claims: Claims, when: datetime | None = None) -> Certified:
        """Issue a certificate: it is in the certificate log at once."""
        key = generate_private_key(SECP256R1())
        return Certified(key, self.ca.issue(key.public_key(), claims, when))

    def log(self, by: Certified, digest: str, when: datetime | None = None) -> int:
        """Sign a digest and log it, at the end or (before anyone has read there) where the log was at `when`; its index."""
        body = hashedrekord_v1(by.key, by.certificate, digest_bytes(digest))
        if when is None:
            return self.v1.append(body)
        index = self.at(when)
        self.v1.plant(index, body)
        return index

    def at(self, when: datetime) -> int:
        """The first index that was integrated in the second of `when` or later."""
        low, high = 0, self.v1.size + int(self.figures.rate * timedelta(days=1).total_seconds())
        while low < high:
            middle = (low + high) // 2
            if self.v1.integrated_time(middle) < int(when.timestamp()):
                low = middle + 1
            else:
                high = middle
        return low

    # what was told

    def told(self, text: str) -> list[SlackMessage]:
        """The messages that have these words now, in the order of posting."""
        return [message for message in self.slack.messages if text in message.words()]

    # the daemon

    def settings(
        self,
        folder: Path,
        database: str,
        *,
        complete: bool = False,
        policy: str = "",
        watch: str = "",
        issued: str = "",
    ) -> Path:
        """Write settings that say where the logs are read, whom to trust and tell, and what was released; and what is given.

        `policy` and `watch` are lines of those tables, `issued` of the certificate log's.
        """
        root = folder / "trusted_root.json"
        root.write_bytes(trusted_root([self.ca], [ListedLog(self.v1.hostname, self.v1.key, self.ca.start)]))
        lines = [f'"{name}" = "{digest}"' for name, digest in EXPECTED.items()]
        released = f'schema = 1\n[[release]]\nversion = "{VERSION}"\n[release.artifacts]\n' + "\n".join(lines)
        (folder / "released.toml").write_text(released)
        path = folder / "settings.toml"
        path.write_text(f"""
database = "{database}"
state_dir = "{folder}/state"
release_files = ["released.toml"]
[policy]
{policy}
[trust]
source = "{root}"
[slack]
channel = "C0SECURITY"
api = "{self.slack.base_url}"
[registry]
repositories = {{}}
[watch]
{watch}
[[watch.logs]]
origin = "{self.v1.hostname}"
read_url = "{self.v1.url}"
{'mode = "complete"' if complete else ""}
[[watch.logs]]
origin = "{self.ct.origin}"
read_url = "{self.ct.read_url}"
{issued}
""")
        return path


async def program(settings: Path, *arguments: str) -> tuple[int, str]:
    """Run a command to its end; its exit status and what it printed."""
    process = await _start(settings, *arguments)
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def _start(settings: Path, *arguments: str) -> Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUSTACKS_MONITOR_")}
    environment |= {"PYTHONPATH": str(_CHECKOUT), "TRUSTACKS_MONITOR_SLACK_TOKEN": "xoxb-testbed", "COLUMNS": "300"}
    with (settings.parent / "said.txt").open("ab") as said:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "monitor", "--config", str(settings), *arguments,
            cwd=settings.parent, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=said,
        )  # fmt: skip


@asynccontextmanager
async def daemon(settings: Path) -> AsyncIterator[Process]:
    """The daemon while the block runs; what it says is in `said.txt` beside the settings."""
    process = await _start(settings, "run")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def branch(run: str = "17000000099") -> Claims:
    """Who signs from a branch that no setting names."""
    return Claims(ref="refs/heads/feature", run=run)


def release(run: str = "17000000100") -> Claims:
    """Who signs from a release tag."""
    return replace(Claims(), ref=f"refs/tags/v{VERSION}", run=run)
