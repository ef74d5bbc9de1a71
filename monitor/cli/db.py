"""`db`: the database's schema."""

from __future__ import annotations

import typer

from monitor.cli import run

app = typer.Typer(help="The database.", no_args_is_help=True)


@app.command("upgrade")
@run.command
async def upgrade(context: typer.Context) -> None:
    """Bring the database up to this program's schema, in one transaction; back it up before. Makes it where there is none."""
    from pathlib import Path  # noqa: PLC0415 - late, as everything that `--help` can do without

    from monitor.store import migrate  # noqa: PLC0415
    from monitor.store.connect import parse_url  # noqa: PLC0415

    settings = run.settings(context)
    url = parse_url(settings.database)
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    before = (await migrate.check(settings.database)).current
    after = await migrate.upgrade(settings.database)
    was = "was already" if before == after.current else f"went from {before or 'nothing'} and is now"
    typer.echo(f"{settings.database_name} {was} at schema revision {after.current}")
