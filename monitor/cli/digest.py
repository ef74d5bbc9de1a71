"""`digest`: all that is known of one digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import DocumentOption  # noqa: TC001 - typer reads it at run time
from monitor.cli.output import Document
from monitor.model.text import number, visible

if TYPE_CHECKING:
    from monitor.history.digest import DigestAnswer

app = typer.Typer(help="What is known of a digest.", no_args_is_help=True)
_VERIFIES = {"yes": "verifies", "no": "does not verify", "cannot-check": "cannot be checked"}


@app.command("show")
@run.command
async def show(
    context: typer.Context,
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="sha256:… of an image, an index or a file, known or not.")
    ],
    form: DocumentOption = Document.TABLE,
) -> int:
    """Say who signed a digest, whose it is, which tags reach it, and how far we would know.

    Exit status 3 when a signature over it should not exist, a released tag was moved to it, or it was pulled; 5 when a log was not
    read whole, else 0.
    """
    from monitor.history import digest as history  # noqa: PLC0415 - late, as everything that `--help` can do without

    settings = run.settings(context)
    wanted = history.normalised(digest)
    async with run.stored(settings) as store, store.read() as tx:
        answer = await history.answer(tx, wanted, settings.policy)
    if form is Document.TABLE:
        _print(answer)
    else:
        typer.echo(json.dumps(output.plain(answer), indent=2 if form is Document.JSON else None))
    if answer.standing in {history.Standing.SUSPECT, history.Standing.WITHDRAWN}:
        return run.Exit.FINDINGS
    return run.Exit.OPERATIONAL if answer.known_since is None else run.Exit.CLEAN


def _print(answer: DigestAnswer) -> None:
    from monitor.history import digest as history  # noqa: PLC0415
    from monitor.store.reading import EVER  # noqa: PLC0415

    typer.echo(f"{answer.digest}\n{visible(answer.verdict)}")
    accepted = "no signature seen" if not answer.signatures else answer.accepted or "not known"
    output.record([("standing", answer.standing), ("customers' cosign verify accepts", accepted)])
    for release in answer.expected:
        by = f", {release.author}" if release.author else ""
        typer.echo(
            visible(f"  release {release.version}, {release.artifact} ({release.kind}): {release.authority}{by}")
        )
    for withdrawal in answer.withdrawn:
        typer.echo(
            visible(f"  pulled: {withdrawal.version} by {withdrawal.author}: {withdrawal.reason} {withdrawal.advisory}")
        )
    for other in answer.stands_for:
        typer.echo(f"  a disguise of {other}")
    typer.echo(f"\nsigned in our name: {len(answer.signatures)}")
    how = {entry: each.how for each in answer.disguises for entry in each.entries}
    for row in answer.signatures:
        typer.echo("")
        shown = ("id", "log", "index", "global_index", "signed_at", "identity", "issuer", "run", "attempt", "commit")
        pairs = [(f"  {name}", getattr(row, name)) for name in shown]
        judged = ("digest_status", "accepted", "rules", "proven", "disproven")
        logged = [("  logged as", f"{row.digest} ({how.get(row.id, 'a fetched signature')})")]
        output.record([*pairs, *logged, *((f"  {name}", getattr(row, name)) for name in judged)])
    typer.echo(f"\ntags: {len(answer.tags)}")
    for observation in answer.tags:
        typer.echo(visible(f"  {history.told(observation)}"))
    if answer.bundles:
        typer.echo(f"\nbeside it in the registry: {len(answer.bundles)}")
    for bundle in answer.bundles:
        why = f" ({bundle.why})" if bundle.why else ""
        what = bundle.predicate_type or "a signature"
        typer.echo(
            visible(f"  {bundle.kind}, {what}, by {bundle.identity or 'a bare key'}: {_VERIFIES[bundle.verified]}{why}")
        )
    seen = sum(bool(each.entries) for each in answer.disguises)
    typer.echo(
        f"\nlooked for {number(len(answer.disguises), 'value')} that cosign logs for it: {seen or 'none'} in a log we read"
    )
    read: list[tuple[str, object]] = []
    if answer.known_since is not None:
        since = "their first entries" if answer.known_since == EVER else answer.known_since
        read = [("logs read whole since", since), ("until", answer.known_until)]
    output.record([*read, ("registry read whole at", answer.registry_read_at)])
    for caveat in answer.caveats:
        typer.echo(visible(f"but: {caveat}"))
