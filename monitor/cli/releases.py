"""`releases`: say what may be signed."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from monitor.cli import run
from monitor.errors import SettingsError

app = typer.Typer(help="What releases may sign.", no_args_is_help=True)


@app.command("import")
@run.command
async def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A release file, TOML or JSON (see the README).")],
    *,
    claimed: Annotated[
        bool, typer.Option("--claimed", help="A workflow wrote the file: it explains digests, and silences nothing.")
    ] = False,
    author: Annotated[str | None, typer.Option(help="Who vouches for it; by default the user of this machine.")] = None,
    reason: Annotated[str, typer.Option(help="Why these digests are right, where the file does not say.")] = "",
) -> None:
    """Take in the digests that releases may carry. A file with any fault, or against what is known, is refused whole."""
    from monitor.model.release import Authority  # noqa: PLC0415 - late, as everything that `--help` can do without
    from monitor.releases import files, ledger  # noqa: PLC0415
    from monitor.store.engine import Store  # noqa: PLC0415

    settings = run.settings(context)
    file = files.parse(_read(path, files.MAX_BYTES + 1), str(path), settings.policy)
    silent = [each.version for each in file.releases if not each.reason]
    if silent and not reason and not claimed:
        raise SettingsError(f"{path}: no reason for {', '.join(silent)}", cure="add --reason, or `reason` in the file")
    async with await Store.open(settings.database) as store:
        done = await ledger.import_releases(
            store,
            file,
            settings.policy,
            authority=Authority.CLAIMED if claimed else Authority.APPROVED,
            author=author or getpass.getuser(),
            reason=reason,
            now=datetime.now(UTC),
        )
    news = (
        "all of it was known"
        if not done.added
        else "stored entries are judged again by the running monitor, or the next `poll`"
    )
    typer.echo(f"releases {', '.join(done.versions)}: {done.digests} digests; {news}")


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(limit)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}", cure="check the path") from error
