"""The monitor as its operator runs it: `python -m monitor` with a settings file, a database and a Slack of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.real.programs import Program, output_of, tail
from tests.real.servers import V1_HOST, V2_HOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.testbed.slack import Slack
    from tests.real.sigstore import RealSigstore

_CHECKOUT = Path(__file__).parents[2]


class Watched:
    """One installation, in `folder`. Without a registry its logs are followed from where they end at its first start."""

    def __init__(
        self,
        folder: Path,
        sigstore: RealSigstore,
        slack: Slack,
        repositories: Mapping[str, str] | None = None,
        mode: str = "complete",
    ) -> None:
        """With `repositories` (artifact → where it is) releases come from the registry alone, and logs are read from 0.

        `mode` is Rekor v1's. In mode *complete* the certificate log is left out: every certificate is met in its entry.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = f"sqlite:///{folder / 'monitor.db'}"
        self._log = folder / "monitor.log"
        self._settings = folder / "monitor.toml"
        self._releases = folder / "releases.json"
        self._environment = {
            "PYTHONPATH": str(_CHECKOUT),
            "TRUSTACKS_MONITOR_SLACK_TOKEN": slack.token,
        }
        self._daemon: Program | None = None
        self.release({})
        hosts = sorted({where.partition("/")[0] for where in (repositories or {}).values()})
        places = ", ".join(f'"{artifact}" = "{where}"' for artifact, where in (repositories or {}).items())
        self._settings.write_text(
            f"""
database = "{self.database}"
state_dir = "{folder / "state"}"
release_files = {json.dumps([] if repositories else [str(self._releases)])}

[policy]
grace = "0s"

[trust]
source = "{sigstore.trusted_root}"

[slack]
channel = "C0SECURITY"
api = "{slack.base_url}"

[registry]
repositories = {{{places}}}
insecure_hosts = {json.dumps(hosts)}

[watch]
start = {0 if repositories else '"tip"'}
poll_interval = "500ms"
ended_interval = "1s"
v1_requests_per_second = 200

[[watch.logs]]
origin = "{V2_HOST}"
read_url = "{sigstore.v2.read_url}"

[[watch.logs]]
origin = "{V1_HOST}"
read_url = "{sigstore.v1.url}"
mode = "{mode}"

[[watch.logs]]
origin = "{sigstore.ct.origin}"
ignore = {json.dumps(mode == "complete")}
"""
        )

    def release(self, files: dict[str, str], version: str = "0.1.2") -> None:
        """Write the release file: names of files and the digests they were released with."""
        listed = {"version": version, "artifacts": {"runner": f"sha256:{'1' * 64}"}, "files": files}
        self._releases.write_text(json.dumps({"schema": 1, "release": [listed]}))

    async def poll(self) -> tuple[int, str]:
        """One pass: the exit status and what was printed."""
        status, out, err = await output_of(*self._command("poll"), env=self._environment)
        return status, out + err

    async def said(self, *command: str) -> str:
        """What a command printed. RuntimeError unless it ended well."""
        status, out, err = await output_of(*self._command(*command), env=self._environment)
        if status:
            raise RuntimeError(f"{' '.join(command)} ended with {status}: {err}")
        return out

    async def listed(self, *command: str) -> list[dict[str, Any]]:
        """The rows of a list."""
        rows: list[dict[str, Any]] = json.loads(await self.said(*command, "--format", "json"))
        return rows

    async def start(self) -> None:
        """Start the daemon."""
        self._daemon = await Program.start(self._log, *self._command("run"), env=self._environment)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the daemon; its exit status."""
        if self._daemon is None:
            raise RuntimeError("the daemon was not started")
        daemon, self._daemon = self._daemon, None
        return await daemon.stop(how)

    async def close(self) -> None:
        """End the daemon if it runs."""
        if self._daemon is not None:
            await self.stop(signal.SIGKILL)

    def check(self) -> None:
        """Raise RuntimeError when the daemon ended by itself."""
        if self._daemon is None or not self._daemon.running:
            raise RuntimeError(f"the daemon ended:\n{tail(self._log)}")

    def _command(self, *arguments: str) -> Sequence[str]:
        if any(name.startswith("TRUSTACKS_MONITOR_") for name in os.environ):
            raise RuntimeError("the environment holds settings of another installation")
        return (sys.executable, "-m", "monitor", "--config", str(self._settings), *arguments)
