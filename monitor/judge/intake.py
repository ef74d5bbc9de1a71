"""Takes readings into the store with the rules' findings, in the transaction that moves the cursor.

An entry is kept whatever the rules do: a rule that raises leaves it unjudged, to be judged again, and never holds the cursor.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from monitor.judge import issuances
from monitor.model import rulebook
from monitor.model.entry import Trust
from monitor.model.judgement import Judgement
from monitor.model.release import DigestStatus
from monitor.rules import entry as entry_rules
from monitor.rules import integrity
from monitor.store import entries, findings, health, logs, releases, signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from monitor.judge.read import Reading
    from monitor.model.entry import LogEntry
    from monitor.model.log import Conflict, Hole, InclusionProof, QuarantinedLeaf
    from monitor.model.release import Expectations
    from monitor.rules.integrity import Beside
    from monitor.rules.policy import Policy
    from monitor.store.engine import Tx
    from monitor.trust.root import TrustRoot

_log = structlog.get_logger(__name__)
RULES_SOURCE = "rules"
_OPEN = ".unchecked"
"""Marks the judgement of a signer that could not be checked, so that it is judged again at every pass until it can."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What judging needs besides the entry. `watch_from` parts history from what is paged.

    `refreshed_at` is when `root` was last found to be the newest: a key that it does not know is *cannot check* until then.
    """

    policy: Policy
    root: TrustRoot
    watch_from: datetime
    refreshed_at: datetime | None = None

    def revision(self, generation: int) -> str:
        """Names the rulebook, policy, trust root and generation of expected digests that a judgement rests on."""
        return f"{rulebook.REVISION}.{self.policy.digest()[:12]}.{self.root.digest[:12]}.{generation}"


@dataclass(frozen=True, slots=True)
class Taken:
    """How many entries and findings an intake added."""

    entries: int = 0
    findings: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.entries + other.entries, self.findings + other.findings)


@dataclass(slots=True)
class _Verdicts:
    judgement: Judgement
    error: str | None = field(default=None)


def decide(
    entry: LogEntry, expectations: Expectations | None, bench: Bench, generation: int, now: datetime
) -> Judgement:
    """The rules' judgement of `entry`; an unjudged one (revision None) when a rule raises."""
    return _decide(entry, expectations, bench, generation, now).judgement


def _decide(
    entry: LogEntry, expectations: Expectations | None, bench: Bench, generation: int, now: datetime
) -> _Verdicts:
    history = entry.signed_at is not None and entry.signed_at < bench.watch_from
    try:
        judgement = entry_rules.judge(entry, expectations, bench.policy, now, history=history)
    except Exception as error:  # noqa: BLE001 - whatever a rule does, the entry is kept and the cursor moves (section 6)
        _log.exception("rule failed", log=entry.log, index=entry.index)
        unjudged = Judgement((), DigestStatus.NOT_CHECKED, None, (), related=True, revision=None, history=history)
        return _Verdicts(unjudged, f"entry {entry.index} of {entry.log}: {type(error).__name__}: {error}")
    open_question = any(s.verdict is not None and s.verdict.trust is Trust.UNCHECKED for s in entry.signers)
    return _Verdicts(replace(judgement, revision=bench.revision(generation) + (_OPEN if open_question else "")))


async def expectations(tx: Tx, read: Iterable[LogEntry], policy: Policy) -> dict[str | None, Expectations]:
    """What is expected of the hashes that these entries logged, by hash: it is the same for a whole transaction."""
    return await releases.every_expectation(tx, {entry_rules.logged_hash(entry) for entry in read}, policy.sufficient)


async def expected(
    tx: Tx, entry: LogEntry, known: Mapping[str | None, Expectations], *, alarmed: bool = False
) -> Expectations:
    """Return what is expected of an entry, by what is `known` of its hash. `alarmed` says that it was judged unexpected before."""
    found = known[entry_rules.logged_hash(entry)]
    if entry.decoded.digest is None:
        return replace(found, alarmed=alarmed)  # a certificate alone: no later attempt can have replaced what it signed
    runs = {signer.certificate.run for signer in entry.signers if signer.trusted and signer.certificate}
    attempts = [each for run in sorted(filter(None, runs)) for each in await signatures.attempts(tx, run)]
    return replace(found, attempts=tuple(attempts), alarmed=alarmed)


async def take(
    tx: Tx,
    readings: Iterable[Reading],
    proofs: dict[int, InclusionProof],
    bench: Bench,
    now: datetime,
    *,
    disproven: bool = False,
) -> Taken:
    """Keep the readings of one log. `proofs` maps an index to its verified inclusion proof, where it is at hand."""
    readings = list(readings)
    generation = await releases.generation(tx)
    known = await expectations(tx, [each.entry for each in readings if each.entry is not None], bench.policy)
    taken = Taken()
    for reading in readings:
        if reading.quarantined is not None:
            taken += await quarantine(tx, reading.quarantined, bench.policy, now)
            continue
        if reading.entry is None:
            continue
        entry = await issuances.joined(tx, reading.entry)
        verdicts = _decide(entry, await expected(tx, entry, known), bench, generation, now)
        if verdicts.error is not None:
            await health.report(tx, "rule-failed", RULES_SOURCE, now, verdicts.error)
        if not verdicts.judgement.related:
            await logs.count(tx, entry.log, "unrelated", 1)
            continue
        entry_id = await entries.add(tx, entry, verdicts.judgement, proofs.get(entry.index), now)
        if entry_id is None:
            continue
        if disproven:
            await entries.mark_disproven(tx, entry_id)
        else:
            await issuances.kept(tx, entry_id, entry, bench.policy, now, history=verdicts.judgement.history)
        new = await findings.put(tx, verdicts.judgement.findings, now, entry_id=entry_id)
        taken += Taken(1, len(new))
    return taken


async def conflict(tx: Tx, found: Conflict, policy: Policy, now: datetime, beside: Beside | None = None) -> Taken:
    """Keep a conflict for ever and its finding with it; one that is known adds nothing unless it was taken back.

    `beside` is the signature it is about.
    """
    told = integrity.conflict(found, policy, beside)
    if await logs.add_conflict(tx, found, now) is None and not await findings.taken_back(tx, told.rule, told.subject):
        return Taken()
    return Taken(findings=len(await findings.put(tx, (told,), now, entry_id=None)))


async def take_back(tx: Tx, found: Conflict, now: datetime) -> None:
    """Withdraw the finding of a conflict that turned out to be none; what was kept of it stays."""
    told = integrity.conflict(found)
    await findings.withdraw(tx, told.rule, told.subject, now)


async def hole(tx: Tx, found: Hole, now: datetime) -> None:
    """Keep a hole; that it is one is told by `missing`."""
    if await logs.add_hole(tx, found, now):
        await logs.count(tx, found.log, "holes", found.end - found.begin)


async def missing(tx: Tx, found: Hole, policy: Policy, now: datetime) -> Taken:
    """Keep the finding of a hole that the log has had the time to fill; it is told once."""
    return Taken(findings=len(await findings.put(tx, (integrity.hole(found, policy),), now, entry_id=None)))


async def quarantine(tx: Tx, leaf: QuarantinedLeaf, policy: Policy, now: datetime) -> Taken:
    """Keep an unreadable leaf, as far as the cap on raw bytes allows, and its finding."""
    await logs.count(tx, leaf.log, "quarantined", 1)
    if not await logs.quarantine(tx, leaf, now):
        return Taken()
    return Taken(findings=len(await findings.put(tx, (integrity.quarantined(leaf, policy),), now, entry_id=None)))
