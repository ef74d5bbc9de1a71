"""Judges stored entries again: whatever is unjudged, pending, or was judged by an older revision.

It works from state, not from events: a crash forgets nothing, and running it twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.judge import issuances
from monitor.judge.intake import Taken, decide, expectations, expected
from monitor.judge.read import read
from monitor.rules.digest import UNEXPECTED
from monitor.store import entries, findings, health, releases
from monitor.store import standing as entry_standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from monitor.entries.prefilter import Prefilter
    from monitor.judge.intake import Bench
    from monitor.model.judgement import StoredEntry
    from monitor.store.engine import Tx


async def due(tx: Tx, bench: Bench, after: int, limit: int) -> list[StoredEntry]:
    """At most `limit` entries with an id over `after` that have to be judged again."""
    return await entries.to_settle(tx, bench.revision(await releases.generation(tx)), after, limit)


async def settle(
    tx: Tx, waiting: Sequence[StoredEntry], bench: Bench, prefilter: Prefilter, now: datetime
) -> tuple[Taken, bool]:
    """Judge stored entries from their own bytes: new findings are added, those that no longer hold withdrawn.

    Returns what was added, and whether every rule held out: an entry on which one failed stays unjudged.
    """
    generation = await releases.generation(tx)
    read_again = [(each, read(each.leaf, bench, prefilter, each.first_seen).entry) for each in waiting]
    known = await expectations(tx, [entry for _, entry in read_again if entry is not None], bench.policy)
    standing = await entry_standing.of(tx, [each.id for each in waiting])
    same: dict[str, list[int]] = {}
    taken, well = Taken(), True
    for stored, again in read_again:
        if again is None:
            continue
        entry = await issuances.joined(tx, again)
        before = standing[stored.id]
        # What became of the alarm meanwhile, a registry that could not be asked or a rule that failed, ends it for nobody.
        alarmed = UNEXPECTED in before.ever
        judgement = decide(entry, await expected(tx, entry, known, alarmed=alarmed), bench, generation, now)
        await issuances.kept(tx, stored.id, entry, bench.policy, now, history=judgement.history)
        if judgement.revision is not None and before.says(stored.id, entry, judgement, now):
            same.setdefault(judgement.revision, []).append(stored.id)
            continue
        details = not before.details(stored.id, entry, judgement)
        await entries.set_judgement(tx, stored.id, entry, judgement, now, details=details)
        if judgement.revision is None:
            await health.report(tx, "rule-failed", "rules", now, f"entry {entry.index} of {entry.log} is unjudged")
            well = False
            continue
        taken += Taken(findings=len(await findings.replace(tx, stored.id, judgement.findings, now)))
    for revision, ids in same.items():
        await entry_standing.confirm(tx, ids, revision, now)
    return taken, well
