"""`identities`: what the published patterns accept that they should not, and patterns that do not."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import DocumentOption  # noqa: TC001 - typer reads it at run time
from monitor.cli.output import Document
from monitor.model.text import visible

if TYPE_CHECKING:
    from monitor.rules.hardening import Checked

app = typer.Typer(help="The identities that customers accept.", no_args_is_help=True)


class Tool(StrEnum):
    """What checks identities."""

    COSIGN = "cosign"
    KYVERNO = "kyverno"
    POLICY_CONTROLLER = "policy-controller"
    RATIFY = "ratify"


@app.command("check")
@run.command
async def check(
    context: typer.Context,
    *,
    tool: Annotated[Tool | None, typer.Option("--for", help="Print only the hardened settings of this tool.")] = None,
    releases_only: Annotated[
        bool, typer.Option("--releases-only", help="The hardened patterns refuse pre-releases.")
    ] = False,
    form: DocumentOption = Document.TABLE,
) -> int:
    """Try the published patterns against identities that they should refuse, and print hardened ones.

    Exit status 3 when one accepts what it should not or refuses a release, else 0; with --for always 0.
    """
    from monitor.rules import admission, hardening  # noqa: PLC0415 - late, as everything that `--help` can do without

    policy = run.settings(context).policy
    checked = hardening.check(policy, prereleases=not releases_only)
    if tool is not None:
        typer.echo(admission.TOOLS[tool](policy, checked), nl=False)
        return run.Exit.CLEAN
    if form is Document.TABLE:
        for each in checked:
            _print(each)
        for unseen in hardening.UNSEEN:
            typer.echo(f"beyond patterns: {unseen}")
        typer.echo("\n`identities check --for cosign|kyverno|policy-controller|ratify` prints them for each tool.")
    else:
        typer.echo(json.dumps(output.plain(checked), indent=2 if form is Document.JSON else None))
    return run.Exit.FINDINGS if any(each.weaknesses or each.refused for each in checked) else run.Exit.CLEAN


def _print(checked: Checked) -> None:
    typer.echo(f"{visible(checked.workflow)} ({', '.join(checked.artifacts)})")
    output.record([("  published", checked.pattern), ("  hardened", checked.hardened)])
    for weakness in checked.weaknesses:
        typer.echo(f"  accepts: {weakness.gap} ({weakness.accepted} of {weakness.tried} tried)")
        for example in weakness.examples:
            typer.echo(f"      {visible(example)}")
        typer.echo(f"      who could have one: {weakness.who}")
    for refused in checked.refused:
        typer.echo(f"  refuses a release: {visible(refused)}")
    if not checked.weaknesses and not checked.refused:
        typer.echo("  accepts releases, and nothing else of what was tried")
    typer.echo("")
