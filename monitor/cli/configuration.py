"""`config`: what the settings are understood to say, and what is lost by what they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from monitor.cli import output, run
from monitor.model.log import Mode
from monitor.model.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.config import Settings

_MODES = {
    Mode.COMPLETE: "every entry is read and proven",
    Mode.CERTIFICATES: "what the certificates in our name lead to, and what its index finds",
    Mode.SEARCH: "what its index finds, which is not watching",
}

app = typer.Typer(help="The settings.", no_args_is_help=True)


@app.command("check")
@run.command
async def check(context: typer.Context) -> None:
    """Read the settings, say what was understood (no secret is shown) and what is not set, and what that costs."""
    from rich.console import Console  # noqa: PLC0415 - late, as everything that `--help` can do without

    from monitor.alerts.sinks import register  # noqa: PLC0415
    from monitor.config.unset import unset  # noqa: PLC0415
    from monitor.model.log import Protocol  # noqa: PLC0415
    from monitor.watch import cost  # noqa: PLC0415

    settings = run.settings(context)
    output.record(list(_understood(settings)))
    sinks = register.open_sinks(settings.slack, Console())
    typer.echo(f"\nalerts go to: {', '.join(sink.name for sink in sinks)}")
    for said in register.shortcomings(sinks):
        typer.echo(f"    {visible(said)}")
    for note in unset(settings):
        typer.echo(f"not set: {visible(note)}")
    asked = [(log.origin, log.protocol or Protocol.REKOR_V1, log.mode) for log in settings.watch.logs if not log.ignore]
    for said in cost.complete_v1(
        [(origin, protocol, mode) for origin, protocol, mode in asked if mode], settings.watch
    ):
        typer.echo(f"cost: {visible(said)}")


def _understood(settings: Settings) -> Iterator[tuple[str, object]]:
    from monitor.alerts.parts import duration  # noqa: PLC0415

    policy, watch = settings.policy, settings.watch
    yield "settings", str(settings.file) if settings.file else "none: TruStacks' own, built in"
    yield "state", str(settings.state_dir)
    yield "database", settings.database_name
    yield "trust root", settings.trust.source
    for workflow, artifacts in policy.workflows.items():
        yield "signs", f"{policy.identity(workflow)}: {', '.join(artifacts)}"
        yield "customers verify", policy.published_pattern.replace("{workflow}", workflow)
    yield "issuer", policy.issuer
    yield "repository id", policy.repository_id
    yield "owner id", policy.owner_id
    yield "contributor keys", sorted(policy.contributor_keys)
    for known in policy.known:
        yield "lawful besides", f"{known.workflow} at {known.refs}: {known.reason} ({known.owner})"
    for file in settings.expected:
        yield "releases", f"{file.name}: {', '.join(each.version for each in file.releases)}"
    for artifact, repository in settings.registry.repositories.items():
        yield "registry", f"{artifact}: {repository}"
    if not settings.registry.repositories:
        yield "registry", "none is asked: only release files and `releases import` say what may be signed"
    yield "NOTICE file", settings.notice
    yield "grace", duration(policy.grace)
    yield "names looked for", list(watch.words)
    yield "logs begin at", str(watch.start)
    yield "asked every", f"{watch.poll_interval.total_seconds():g} s; ended logs every {duration(watch.ended_interval)}"
    v1 = f"{_mode(Mode.CERTIFICATES)}, where its log below names no other"
    yield "Rekor v1", f"{v1}; at most {watch.v1_requests_per_second:g} requests a second (ten entries each)"
    yield (
        "certificate logs",
        f"read complete; at most {watch.ct_requests_per_second:g} requests a second a log (256 certificates each)",
    )
    yield (
        "searched for",
        f"releases, their digests, watched keys, and branches: {', '.join(watch.search_branches) or 'none'}",
    )
    yield "backfill", f"on at most {watch.backfill_workers} processes" if watch.backfill_workers else "on all cores"
    for log in watch.logs:
        given = {name: getattr(log, name) for name in ("read_url", "start", "protocol")}
        said = [_mode(log.mode)] if log.mode else []
        said += [f"{name} {value}" for name, value in given.items() if value is not None]
        yield "log", f"{log.origin}: {'not followed' if log.ignore else ', '.join(said)}"
    yield "Slack channel", settings.slack.channel
    yield "critical calls", settings.slack.mention
    yield "security contact", settings.alerts.security_contact


def _mode(mode: Mode) -> str:
    return f"mode {mode}: {_MODES[mode]}"
