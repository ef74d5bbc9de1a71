"""`demo`: the real daemon against an embedded Sigstore, with no network and no account, so that anyone sees what on-call would see.

It signs a clean release and then four things that should not exist, and ends with an error when one of them is not told.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from monitor.cli import run
from monitor.errors import MonitorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from rich.console import Console

    from monitor.app import App
    from monitor.testbed.world import World

_PATIENCE = 60.0
_STRANGERS = 300
_VERSION = "0.1.2"
_ARTIFACTS = ("control-plane", "runner", "ui", "policy/constitution")
_POLICY = "publish-policy.yml"


@dataclass(frozen=True, slots=True)
class _Act:
    """One thing that should not exist: what is told beforehand, how it is signed, the rules that must be told of it."""

    says: str
    sign: Callable[[World], object]
    rules: frozenset[str]


def _digest(name: str) -> str:
    return f"sha256:{sha256(f'demo {name}'.encode()).hexdigest()}"


@run.command
async def demo() -> None:
    """Watch an embedded Sigstore: a clean release, then four signatures that should not exist. No network, no account."""
    from monitor.testbed.world import World  # noqa: PLC0415 - late, as everything that `--help` can do without

    run.log_to_stderr(quiet=True)
    console = run.terminal()
    folder = Path(tempfile.mkdtemp(prefix="trustacks-monitor-demo-"))
    async with World() as world:
        path = _write_settings(folder, world)
        world.noise(_STRANGERS, "v2")
        world.noise(_STRANGERS // 10, "v1")
        async with _watching(path, console) as app:
            _say(
                console,
                f"Watching a Rekor v1, a Rekor v2 and a certificate log on this machine, {_STRANGERS} strangers' signatures in them.",
            )
            await _settled(app, world)
            _say(console, f"1. The workflows release {_VERSION} from its tag: four signatures, by the book.")
            await _release(app, world)
            _say(console, "   All four are found, verified and expected. Nobody is told anything.")
            for number, act in enumerate(_acts(), 2):
                _say(console, f"{number}. {act.says}")
                act.sign(world)
                await _told(app, act.rules)
    _next(console, path)


def _acts() -> tuple[_Act, ...]:
    from monitor.testbed.ca import Claims  # noqa: PLC0415

    branch = Claims(ref="refs/heads/main", run="17000000011")
    cased = Claims(org="trustacks", run="17000000012")
    other = Claims(run="17000000013")
    forged = Claims(run="17000000014")
    return (
        _Act(
            "Somebody runs the publishing workflow on a branch.",
            lambda world: world.sign("v2", _digest("branch build"), branch),
            frozenset({"branch-ref", "unexpected-digest"}),
        ),
        _Act(
            "A signature in a name that is TruStacks' but for its letters' case.",
            lambda world: world.sign("v1", _digest("control-plane"), cased),
            frozenset({"identity-casing"}),
        ),
        _Act(
            "The right workflow on the right tag signs an image that is not of that release.",
            lambda world: world.sign("v2", _digest("not released"), other),
            frozenset({"unexpected-digest"}),
        ),
        _Act(
            "A stranger logs a certificate in TruStacks' name that another CA issued.",
            lambda world: world.sign("v2", _digest("forged"), forged, ca=world.rogue_ca()),
            frozenset({"untrusted-certificate"}),
        ),
    )


def _write_settings(folder: Path, world: World) -> Path:
    root = world.write_trusted_root(folder / "trusted_root.json")
    logs = "".join(
        f'\n[[watch.logs]]\norigin = "{name}"\nread_url = "{url}"\n' for name, url in world.read_urls.items()
    )
    artifacts = "".join(f'"{name}" = "{_digest(name)}"\n' for name in _ARTIFACTS)
    (folder / "releases.toml").write_text(
        f'schema = 1\n[[release]]\nversion = "{_VERSION}"\nreason = "the demo\'s release"\n[release.artifacts]\n{artifacts}'
    )
    path = folder / "config.toml"
    path.write_text(
        f'state_dir = "."\nrelease_files = ["releases.toml"]\n\n[trust]\nsource = "{root.name}"\n\n'
        f'[registry]\nrepositories = {{}}\n[watch]\npoll_interval = "300ms"\n{logs}'
    )
    return path


@asynccontextmanager
async def _watching(path: Path, console: Console) -> AsyncIterator[App]:
    """The daemon, by these settings alone: nothing of this machine's environment reaches it."""
    from monitor import config  # noqa: PLC0415

    stop = asyncio.Event()
    async with run.opened_by(config.load(path, {}), lead=True, console=console) as app:
        daemon = asyncio.create_task(run.serve(app, stop))
        try:
            yield app
        finally:
            stop.set()
            await daemon


async def _settled(app: App, world: World) -> None:
    """Every log's checkpoint is known: what is signed from here on is seen."""
    from monitor.store import logs  # noqa: PLC0415

    async def begun() -> bool:
        async with app.store.read() as tx:
            read = [await logs.cursor(tx, origin) for origin in (world.ct.origin, world.v2.origin)]
            return all([*read, await logs.newest(tx, world.v1.origin())])

    await _until(begun, "the logs were not followed")


async def _release(app: App, world: World) -> None:
    from monitor.model.filters import EntryFilter, Page  # noqa: PLC0415
    from monitor.model.release import DigestStatus  # noqa: PLC0415
    from monitor.store import entries  # noqa: PLC0415
    from monitor.testbed.ca import Claims  # noqa: PLC0415

    images = Claims(run="17000000001")
    for artifact in _ARTIFACTS[:-1]:
        world.sign("v2", _digest(artifact), images)
    policy = replace(images, workflow=_POLICY, name="publish-policy", run="17000000002")
    world.sign("v1", _digest(_ARTIFACTS[-1]), policy)

    async def expected() -> bool:
        async with app.store.read() as tx:
            rows = await entries.list_entries(tx, EntryFilter(), Page())
        return len([row for row in rows if row.digest_status is DigestStatus.EXPECTED and not row.rules]) == len(
            _ARTIFACTS
        )

    await _until(expected, "the release's four signatures were not all found and expected")


async def _told(app: App, rules: frozenset[str]) -> None:
    """An incident with exactly these rules is open and all of it was told. MonitorError when that does not come about."""
    from monitor.model.filters import IncidentFilter, Page  # noqa: PLC0415
    from monitor.model.incident import DeliveryKind, DeliveryState  # noqa: PLC0415
    from monitor.store import deliveries, incidents  # noqa: PLC0415

    async def arrived() -> bool:
        async with app.store.read() as tx:
            for incident in await incidents.list_incidents(tx, IncidentFilter(state="open"), Page()):
                if rules == frozenset(await incidents.rules(tx, incident.id)):
                    told = [
                        each.state is DeliveryState.SENT
                        for each in await deliveries.of_incident(tx, incident.id)
                        if each.kind is not DeliveryKind.STATE
                    ]
                    return bool(told) and all(told)
        return False

    await _until(arrived, f"no incident arrived for {' and '.join(sorted(rules))}")


async def _until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while not await holds():
        if loop.time() > deadline:
            raise MonitorError(
                f"demo: {otherwise} within {_PATIENCE:g} s", cure="run it again with nothing else running"
            )
        await asyncio.sleep(0.1)


def _say(console: Console, text: str) -> None:
    console.print(f"\n{text}", style="bold", markup=False, highlight=False)


def _next(console: Console, path: Path) -> None:
    called = sys.argv[0] if Path(sys.argv[0]).name == "trustacks-monitor" else "trustacks-monitor"
    program = f"{called} --config {path}"
    _say(console, "All four were told. What the demo kept can be asked (the logs themselves are gone):")
    for command in (
        "incidents list",
        "incidents show 1",
        "findings list --format csv",
        "entries show 5",
        "timeline --format jsonl",
        "incidents resolve 1 --reason 'it was a demo'",
    ):
        typer.echo(f"  {program} {command}")
    typer.echo(f"  rm -r {path.parent}")
