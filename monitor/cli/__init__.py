"""The command line: one file a command group, typer's functions thin. Rooms are imported when a command runs, so `--help` stays quick."""

from __future__ import annotations

from itertools import islice
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from monitor.cli import (
    backfill,
    configuration,
    coverage,
    db,
    demo,
    digest,
    doctor,
    entries,
    findings,
    identities,
    ids,
    incidents,
    logs,
    notify,
    releases,
    run,
    slack,
    timeline,
    watching,
)


class _Program(TyperGroup):
    """Takes the program's own options wherever they stand: `poll --config FILE` says what `--config FILE poll` says."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's, which typer brings in its own copy
        mine, others = [], []
        left = iter(args)
        for each in left:
            if each == "--":
                others += [each, *left]
            elif each == "--config":
                mine += [each, *islice(left, 1)]
            elif each == "--verbose" or each.startswith("--config="):
                mine.append(each)
            else:
                others.append(each)
        return super().parse_args(ctx, mine + others)


app = typer.Typer(
    name="trustacks-monitor",
    cls=_Program,
    help="Follows the Sigstore transparency logs and alerts when TruStacks' signing identity signs what it should not.\n\n"
    "--config and --verbose may stand before or after the command.",
    epilog=run.EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", short_help="Watch until stopped: follow, judge, keep and tell.")(watching.run_)
app.command("poll", short_help="One pass over everything, for cron or a pipeline.")(watching.poll)
app.command("backfill", short_help="Read a log's history.")(backfill.backfill)
app.command("status", short_help="Say what is watched and what is not.")(logs.status)
app.add_typer(entries.app, name="entries")
app.add_typer(findings.app, name="findings")
app.add_typer(incidents.app, name="incidents")
app.command("timeline", short_help="Show all that happened in order of time.")(timeline.timeline)
app.add_typer(logs.app, name="logs")
app.add_typer(coverage.app, name="coverage")
app.add_typer(releases.app, name="releases")
app.add_typer(digest.app, name="digest")
app.add_typer(identities.app, name="identities")
app.add_typer(ids.app, name="ids")
app.command("doctor", short_help="Try everything that the monitor depends on.")(doctor.doctor)
app.add_typer(slack.app, name="slack")
app.add_typer(notify.app, name="notify")
app.add_typer(configuration.app, name="config")
app.add_typer(db.app, name="db")
app.command("demo", short_help="All of it on this machine, with no network.")(demo.demo)


def _version(*, wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - late: it reads the installation

        try:
            typer.echo(f"trustacks-monitor {metadata.version('trustacks-monitor')}")
        except metadata.PackageNotFoundError:
            typer.echo("trustacks-monitor, not installed: run from a checkout")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The settings file; else TRUSTACKS_MONITOR_CONFIG, else /etc/trustacks-monitor/config.toml.",
        ),
    ] = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more, to standard error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = run.Globals(config, verbose)


def main() -> None:
    """Run the command line of this process."""
    app()
