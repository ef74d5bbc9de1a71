"""`slack`: the app that the monitor posts as."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The Slack app that alerts are posted as.", no_args_is_help=True)


@app.command("manifest")
def manifest(
    *,
    private: Annotated[bool, typer.Option("--private", help="For a private channel.")] = False,
) -> None:
    """Print the app's manifest: paste it at https://api.slack.com/apps, Create New App, From a manifest (JSON)."""
    from monitor.alerts.sinks import slack_manifest  # noqa: PLC0415 - late: the sink costs more than `--help` may

    typer.echo(slack_manifest.manifest(private=private), nl=False)
