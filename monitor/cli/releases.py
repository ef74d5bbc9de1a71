"""`releases`: say what may be signed."""

from __future__ import annotations

import getpass
from dataclasses import fields
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import FormatOption, WhoOption, WhyOption  # noqa: TC001 - typer reads them at run time
from monitor.cli.output import Format
from monitor.errors import SettingsError
from monitor.model.release import DigestKind
from monitor.model.text import number, rfc3339, visible

if TYPE_CHECKING:
    from monitor.history.releases import ReleasedDigest, WholeRelease

_COLUMNS = ("version", "state", "authority", "missing", "unsigned", "first_seen", "rules")
app = typer.Typer(help="Say what releases may sign, and see what is known of them.", no_args_is_help=True)
VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="Such as 0.1.2.")]


@app.command("import")
@run.command
async def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A release file, TOML or JSON (see the README).")],
    *,
    claimed: Annotated[
        bool, typer.Option("--claimed", help="A workflow wrote the file: it explains digests, and silences nothing.")
    ] = False,
    author: WhoOption = None,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", "--why", metavar="TEXT", help="Why these digests are right, where the file does not say."
        ),
    ] = "",
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
    typer.echo(f"releases {', '.join(done.versions)}: {number(done.digests, 'digest')}; {news}")


@app.command("list")
@run.command
async def list_(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List every version that is known, the newest first: who vouches for it, what is missing, which rules hold against it."""
    from monitor.history import releases as history  # noqa: PLC0415

    settings = run.settings(context)
    async with run.stored(settings) as store, store.read() as tx:
        rows = await history.rows(tx, settings.policy)
    output.write(rows, history.ReleaseRow, form, columns=_COLUMNS)


@app.command("show")
@run.command
async def show(
    context: typer.Context,
    version: VersionArgument,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the digests of one version: what vouches for each, whether its tag resolves to it now, and who signed it."""
    from monitor.history import releases as history  # noqa: PLC0415

    settings = run.settings(context)
    async with run.stored(settings) as store, store.read() as tx:
        found = await history.whole(tx, version, settings.policy)
    if found is None:
        raise SettingsError(f"nothing is known of a release {version}", cure="`releases list` shows those there are")
    if form is Format.TABLE:
        _show(found)
    else:
        output.write(found.digests, history.ReleasedDigest, form)


def _show(found: WholeRelease) -> None:
    """A version for people: what is known of it, then each digest once, under its artifact, with everybody's word about it."""
    row, pulled = found.row, found.withdrawal
    pairs = [(each.name, getattr(row, each.name)) for each in fields(row)]
    if pulled:
        pairs += [("withdrawn", f"by {pulled.author} at {rfc3339(pulled.at)}: {pulled.reason}")]
        pairs += [("advisory", pulled.advisory)]
    output.record(pairs)
    for artifact, listed in groupby(found.digests, key=lambda each: each.artifact):
        typer.echo(f"\n{visible(artifact)}")
        same: dict[tuple[str, str], list[ReleasedDigest]] = {}
        for each in listed:
            same.setdefault((each.kind, each.digest), []).append(each)
        for (kind, digest), words in same.items():
            typer.echo(f"  {visible(digest)}")
            for line in _told(kind, words):
                typer.echo(f"    {visible(line)}")


def _told(kind: str, words: list[ReleasedDigest]) -> list[str]:
    """What is said of one digest, in lines. What lies below an index shares its reasons."""
    if kind == DigestKind.MANIFEST:
        return [f"manifest below: {', '.join(dict.fromkeys(each.authority for each in words))}"]
    said = [f"{each.authority} by {each.author}" + (f": {each.reason}" if each.reason else "") for each in words]
    signed = dict.fromkeys(by for each in words for by in each.signed_by)
    what = f"{kind}, which resolves to it now" if any(each.tagged for each in words) else kind
    return [what, *said, *(line for by in signed for line in _signed(by))]


def _signed(by: str) -> list[str]:
    """Workflow and run, a line each: together they are wider than a terminal."""
    workflow, _, run = by.partition(" ")
    return [f"signed by {workflow}", *([f"  {run}"] if run else [])]


@app.command()
@run.command
async def approve(
    context: typer.Context,
    version: VersionArgument,
    reason: WhyOption,
    *,
    artifact: Annotated[
        list[str] | None, typer.Option(metavar="ARTIFACT", help="Only this artifact; may be given again.")
    ] = None,
    observed: Annotated[
        bool, typer.Option("--observed", help="Vouch for what the tags resolve to now, where they were moved.")
    ] = False,
    instead: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="ARTIFACT=sha256:…",
            help="Vouch for this digest in the place of one pinned wrongly, which is expected no more; may be given again.",
        ),
    ] = None,
    author: WhoOption = None,
) -> None:
    """Vouch for a version's digests as the registry showed them first, and everything below them."""
    from monitor.releases import correct, ledger  # noqa: PLC0415

    settings = run.settings(context)
    word = ledger.Word(author or getpass.getuser(), reason, datetime.now(UTC))
    if instead:
        if artifact or observed:
            raise SettingsError("--replace stands alone", cure="approve the other artifacts by a second command")
        wanted = correct.read(instead, settings.policy)
        async with run.stored(settings) as store:
            corrected = await correct.correct(store, version, wanted, settings.policy, word)
        told = f"corrected by {word.author}" if corrected.disputed else "all of it was corrected before"
        typer.echo(visible(f"release {version}: {', '.join(wanted)}; {told}"))
        return
    async with run.stored(settings) as store:
        done = await ledger.approve(store, version, settings.policy, word, artifacts=artifact or (), observed=observed)
    news = f"approved by {word.author}" if done.added else "all of it was approved before"
    typer.echo(visible(f"release {version}: {number(len(done.digests), 'digest')}; {news}"))


@app.command()
@run.command
async def withdraw(
    context: typer.Context,
    version: VersionArgument,
    reason: WhyOption,
    *,
    advisory: Annotated[str, typer.Option(metavar="URL", help="Where customers can read on.")] = "",
    author: WhoOption = None,
) -> None:
    """Say that a version is pulled: a new signature on it, or the return of its tag, is an alarm from now on."""
    from monitor.releases import ledger  # noqa: PLC0415

    settings = run.settings(context)
    word = ledger.Word(author or getpass.getuser(), reason, datetime.now(UTC))
    async with run.stored(settings) as store:
        new = await ledger.withdraw(store, version, settings.policy, word, advisory)
    typer.echo(visible(f"release {version}: {f'withdrawn by {word.author}' if new else 'was withdrawn before'}"))


@app.command()
@run.command
async def refresh(context: typer.Context) -> int:
    """Read the registry now. Exit status 5 when any of it could not be read."""
    async with run.opened(context) as app:
        if not app.settings.registry.references:
            raise SettingsError("no registry is configured", cure="name each artifact's repository under [registry]")
        await app.refresh_root()
        report = await app.read_registry(lambda: False)
        while report.more:
            report = await app.read_registry(lambda: False)
    beside = number(report.bundles, "new signature")
    typer.echo(f"{number(report.tags, 'release tag')}, {report.begun} new; {beside} beside them")
    for host, error in report.errors.items():
        typer.echo(visible(f"{host}: {error}"), err=True)
    return run.Exit.OPERATIONAL if report.errors else run.Exit.CLEAN


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(limit)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}", cure="check the path") from error
