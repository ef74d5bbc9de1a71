"""`ids`: pin the numeric ids of our repository and its owner, so that a name made anew by somebody else is not ours."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import FormatOption, WhoOption, WhyOption  # noqa: TC001 - typer reads them at run time
from monitor.cli.output import Format
from monitor.errors import SettingsError
from monitor.model.text import rfc3339

app = typer.Typer(help="GitHub's numeric ids of our repository and its owner.", no_args_is_help=True)


@app.command("list")
@run.command
async def list_(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List the ids that our releases' certificates carry, the most frequent first: what `ids pin` would take."""
    from monitor.history import ids  # noqa: PLC0415 - late: `--help` does without the store

    async with run.reading(context) as store, store.read() as tx:
        rows = await ids.proposals(tx)
    output.write(rows, ids.Proposal, form)


@app.command()
@run.command
async def pin(
    context: typer.Context,
    repository_id: Annotated[
        str, typer.Argument(metavar="REPOSITORY_ID", help="GitHub's number of the repository, as `ids list` shows it.")
    ],
    owner_id: Annotated[str, typer.Argument(metavar="OWNER_ID", help="GitHub's number of its owner.")],
    reason: WhyOption,
    *,
    author: WhoOption = None,
) -> None:
    """Accept two ids as ours: from the next start or `poll` on, a certificate with others is another repository's.

    Where releases of ours are known to carry ids, it takes none but theirs: with wrong ones every release would be an alarm.
    """
    from dataclasses import replace  # noqa: PLC0415

    from monitor.history import ids  # noqa: PLC0415
    from monitor.store.engine import Store  # noqa: PLC0415
    from monitor.store.ids import PinnedIds, pin  # noqa: PLC0415

    settings = run.settings(context)
    replace(settings.policy, repository_id=repository_id, owner_id=owner_id)  # refuses what is no id
    if settings.policy.repository_id or settings.policy.owner_id:
        raise SettingsError(
            "the settings name ids already", cure="change policy.repository_id and policy.owner_id there"
        )
    word = PinnedIds(repository_id, owner_id, author or getpass.getuser(), reason, rfc3339(datetime.now(UTC)))
    async with await Store.open(settings.database) as store, store.write() as tx:
        carried = [(each.repository_id, each.owner_id) for each in await ids.proposals(tx)]
        if carried and (repository_id, owner_id) not in carried:
            raise SettingsError(
                f"no release of ours carries repository {repository_id} of owner {owner_id}",
                cure=f"`ids pin {' '.join(carried[0])} --reason …`, after a look at `ids list`; "
                "or, if you know better, policy.repository_id and policy.owner_id in the settings",
            )
        await pin(tx, word)
    typer.echo(f"repository {repository_id} of owner {owner_id}: pinned by {word.author}")
