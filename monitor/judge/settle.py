"""Judges stored entries again: whatever is unjudged, pending, or was judged by an older revision.

It works from state, not from events: a crash forgets nothing, and running it twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.judge import issuances
from monitor.judge.intake import Taken, decide, expected
from monitor.judge.read import read
from monitor.model.release import DigestStatus
from monitor.store import entries, findings, health, releases

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.entries.prefilter import Prefilter
    from monitor.judge.intake import Bench
    from monitor.model.judgement import StoredEntry
    from monitor.store.engine import Tx


async def due(tx: Tx, bench: Bench, after: int, limit: int) -> list[StoredEntry]:
    """At most `limit` entries with an id over `after` that have to be judged again."""
    return await entries.to_settle(tx, bench.revision(await releases.generation(tx)), after, limit)


async def settle(tx: Tx, stored: StoredEntry, bench: Bench, prefilter: Prefilter, now: datetime) -> Taken | None:
    """Judge one stored entry from its own bytes: new findings are added, those that no longer hold withdrawn. None when a rule failed."""
    again = read(stored.leaf, bench, prefilter, stored.first_seen).entry
    if again is None:
        return Taken()
    entry = await issuances.joined(tx, again)
    generation = await releases.generation(tx)
    expectations = await expected(tx, entry, bench.policy, alarmed=stored.digest_status is DigestStatus.UNEXPECTED)
    judgement = decide(entry, expectations, bench, generation, now)
    await entries.set_judgement(tx, stored.id, entry, judgement, now)
    await issuances.kept(tx, stored.id, entry, bench.policy, now, history=judgement.history)
    if judgement.revision is None:
        await health.report(tx, "rule-failed", "rules", now, f"entry {entry.index} of {entry.log} is unjudged")
        return None
    return Taken(findings=len(await findings.replace(tx, stored.id, judgement.findings, now)))
