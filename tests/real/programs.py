"""Foreign servers as processes: each a group of its own on free loopback ports, its output kept, ended by its id."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING, Self

import aiohttp

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

_STOP_SECONDS = 60.0
_PAUSE = 0.1


def missing(*names: str) -> list[str]:
    """The programs of these that are not on the PATH."""
    return [name for name in names if shutil.which(name) is None]


def free_port() -> int:
    """A port that nobody has, and that nobody else is given: it stays bound here, and who allows reuse can listen on it."""
    held = socket.socket()
    atexit.register(held.close)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return int(held.getsockname()[1])


class Program:
    """A running program, output in `log`. Raises RuntimeError from `reachable` when it ended or never answered."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, log: Path, *command: str | Path, env: Mapping[str, str] | None = None) -> Self:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def reachable(self, url: str) -> bytes:
        """What the first answer below 500 from `url` says."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        async with aiohttp.ClientSession() as session:
            while self.running and loop.time() < deadline:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with session.get(url) as reply:
                        if reply.status < 500:
                            return await reply.read()
                await asyncio.sleep(_PAUSE)
        raise RuntimeError(f"{self.log.stem} does not answer at {url}:\n{tail(self.log)}")

    async def listening(self, port: int) -> None:
        """Return once it takes connections on `port`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while self.running and loop.time() < deadline:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(_PAUSE)
            else:
                writer.close()
                await writer.wait_closed()
                return
        raise RuntimeError(f"{self.log.stem} does not listen on port {port}:\n{tail(self.log)}")

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and what it started; the exit status (negative: the signal)."""
        if self.running:
            self._signal(how)
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._signal(signal.SIGKILL)
        status = await self._process.wait()
        self._signal(signal.SIGKILL)  # what it left behind in its group
        return status

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


async def eventually(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE) -> None:
    """Return once `holds`, asked again and again. TimeoutError naming `what` did not come about."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        if await holds():
            return
        if loop.time() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_PAUSE)


async def output_of(
    *command: str | Path, env: Mapping[str, str] | None = None, seconds: float = PATIENCE
) -> tuple[int, str, str]:
    """Run a program to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


def tail(log: Path, size: int = 4000) -> str:
    """The end of a program's output."""
    return log.read_bytes()[-size:].decode(errors="replace") if log.is_file() else "(no output)"
