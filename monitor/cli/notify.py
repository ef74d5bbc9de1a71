"""`notify`: prove that alerts reach people."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import typer

from monitor.cli import run
from monitor.errors import DeliveryError
from monitor.model.text import visible

app = typer.Typer(help="Where alerts go.", no_args_is_help=True)


@app.command("test")
@run.command
async def test(context: typer.Context) -> int:
    """Send a test message to wherever alerts go: Slack, or the console when no Slack is set. Exit status 5 when it was not taken."""
    from monitor.alerts import wording  # noqa: PLC0415 - late, as everything that `--help` can do without

    failed = 0
    async with run.opened(context) as app_:
        for sink in app_.sinks:
            message = wording.test_message(sink.name, datetime.now(UTC))
            marker = f"test-{os.urandom(8).hex()}"
            try:
                await sink.send(message, thread=None, broadcast=False, marker=marker, repeat=False)
            except DeliveryError as error:
                failed += 1
                typer.echo(f"{sink.name}: {visible(str(error))} ({visible(error.cure)})", err=True)
            else:
                typer.echo(f"{sink.name}: took the test message", err=True)
    return run.Exit.OPERATIONAL if failed else run.Exit.CLEAN
