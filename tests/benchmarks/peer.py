"""sigstore/rekor-monitor over the same made log in the same run, where its binary is on the PATH.

It names a log by the address it is read at, and takes its keys from TUF alone: the log is signed anew under that name.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Final

from monitor.testbed.ca import CertificateAuthority
from monitor.testbed.keys import LogKey
from monitor.testbed.trust_root import ListedLog, signing_config, trusted_root
from monitor.testbed.tuf import TufRepository
from monitor.tlog.checkpoint import Checkpoint, checkpoint_text
from tests.benchmarks import whole
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.made import TileLog

PROGRAM: Final = "rekor_monitor"
_WORK: Final = "v2 end to end: sigstore/rekor-monitor"
_SECONDS: Final = 900
_WRONG: Final = re.compile(r"^.*\b(?:error|failed|fatal)\b.*$", re.IGNORECASE | re.MULTILINE)
"""It ends with status 0 whatever happens: what it says is what can be gone by."""


def rows(log: TileLog, folder: Path, ours: float) -> list[Row]:
    """One row: its rate beside `ours` (entries a second end to end), or why there is none."""
    if shutil.which(PROGRAM) is None:
        return [Row(_WORK, None, "not measured", "ours ≥ 100 × its rate", f"{PROGRAM} is not on the PATH")]
    try:
        seconds = asyncio.run(_follow(log, folder))
    except (RuntimeError, TimeoutError) as problem:
        return [Row(_WORK, None, "not measured", "ours ≥ 100 × its rate", f"it went wrong: {problem}")]
    rate = log.size / seconds
    return [Row(_WORK, rate, f"ours is {ours / rate:.1f} × its rate", "ours ≥ 100 × its rate", f"{log.size} leaves")]


async def _follow(log: TileLog, folder: Path) -> float:
    """How many seconds one run of it takes. RuntimeError with what it complained of."""
    with whole.server("v2", str(log.folder)) as facts:
        url = str(facts["url"])
        origin = url.partition("://")[2]
        key = LogKey.ed25519(origin)
        checkpoint = log.folder / "api" / "v2" / "checkpoint"
        note = Checkpoint.parse(checkpoint.read_bytes())
        checkpoint.write_bytes(key.note(checkpoint_text(origin, note.size, note.root)))
        ca = CertificateAuthority()
        listed = ListedLog(origin, key, ca.start)
        root = json.loads(trusted_root([ca], [listed]))
        config = json.loads(signing_config([], [listed]))
        root["tlogs"][0]["baseUrl"] = config["rekorTlogUrls"][0]["url"] = url
        async with TufRepository() as tuf:
            tuf.publish(json.dumps(root).encode(), json.dumps(config).encode())
            first = folder / "tuf-root.json"
            first.write_bytes(tuf.root_json)
            return await _run(folder, url, tuf.url, str(first))


async def _run(folder: Path, url: str, tuf_url: str, tuf_root: str) -> float:
    watched = {"startIndex": 0, "monitoredValues": {"certIdentities": [{"certSubject": "TruStacks/trustacks-mvp"}]}}
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "--once=true",
        f"--url={url}",
        f"--tuf-repository={tuf_url}",
        f"--tuf-root-path={tuf_root}",
        f"--file={folder / 'peer.checkpoint'}",
        f"--config={json.dumps(watched)}",
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise TimeoutError(f"no end within {_SECONDS} s") from None
    seconds = time.perf_counter() - start
    wrong = _WRONG.search(said.decode(errors="replace"))
    if process.returncode or wrong:
        raise RuntimeError(f"status {process.returncode}{f': {wrong[0][:200]}' if wrong else ''}")
    return seconds
