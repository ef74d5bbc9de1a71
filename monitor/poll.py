"""One pass over everything, for cron and pipelines: every log to its newest checkpoint, then search, judge, review and tell.

It does once, and in order, what the daemon's loops do again and again; it adds nothing of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.errors import FetchError, FormatError, ProofError, SettingsError
from monitor.history import coverage
from monitor.store import deliveries
from monitor.watch.backfill import close_gaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.app import App
    from monitor.model.log import FollowedLog
    from monitor.watch.backfill import Progress
    from monitor.watch.follow import Follower, Pass


@dataclass(frozen=True, slots=True)
class LogReport:
    """What one pass over one log came to. `missing` says in sentences which leaves it does not give."""

    log: FollowedLog
    passed: Pass
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PollReport:
    """What one pass over everything came to. `unreached` are servers that could not be read, or settings that could not be obeyed.

    `searched` counts the new entries of ours that were found in logs that are not read completely.
    """

    logs: tuple[LogReport, ...]
    new_findings: int
    unreached: tuple[tuple[str, str], ...]
    undelivered: int = 0
    searched: int = 0


async def poll(app: App, stopping: Callable[[], bool] = lambda: False) -> PollReport:
    """One pass over everything: every log to its newest checkpoint, then judge, review and tell."""
    await app.refresh_root()
    await app.expect_configured()
    reports = []
    for follower in await app.muster():
        passed = await _follow_to_the_end(app, follower, stopping)
        reports.append(LogReport(follower.followed, passed))
    registry = await app.read_registry(stopping)
    judged = registry.findings
    while registry.more and not stopping():
        registry = await app.read_registry(stopping)
        judged += registry.findings
    searched = [await app.search(stopping)]
    while searched[-1].more and not stopping():
        searched.append(await app.search(stopping))
    searched.append(await app.look_up(stopping))
    while searched[-1].more and not stopping():
        searched.append(await app.look_up(stopping))
    if any(each.entries for each in searched):
        # What was found is judged by what the registry says after it was seen.
        registry = await app.read_registry(stopping)
        judged += registry.findings
    drifted = await app.compare_notice()
    settled = await app.settle(stopping)
    reviewed = await app.review()
    while await app.tell():
        pass
    found = settled + reviewed + drifted + judged + sum(each.findings for each in searched)
    found += sum(report.passed.findings for report in reports)
    async with app.store.read() as tx:
        unreached = (*app.fleet.unreached.items(), *registry.errors.items())
        undelivered = sum([await deliveries.waiting(tx, sink.name) for sink in app.sinks])
        told = [replace(each, missing=await coverage.missing(tx, each.log.origin)) for each in reports]
    return PollReport(tuple(told), found, unreached, undelivered, sum(each.entries for each in searched))


async def _follow_to_the_end(app: App, follower: Follower, stopping: Callable[[], bool]) -> Pass:
    """Pass after pass until the log is read to its newest checkpoint, and what was passed over on the way is read too."""
    passed = await follower.run_pass(stopping)
    while passed.behind and passed.error is None and passed.leaves and not stopping():
        again = await follower.run_pass(stopping)
        passed = _together(again, passed)
        if not again.leaves:
            break
    if not passed.skipped or passed.error is not None or stopping():
        return passed
    try:
        closed = await close_gaps(follower, app.hands, stopping)
    except (FetchError, FormatError, ProofError, SettingsError) as error:
        return replace(passed, error=str(error))
    last = await follower.run_pass(stopping)  # says what is left, so that the log is well again where nothing is
    return _together(last, passed if closed is None else _together(passed, closed))


def _together(last: Pass, before: Pass | Progress) -> Pass:
    """Two passes as one, which ends as the last did."""
    return replace(
        last,
        leaves=before.leaves + last.leaves,
        entries=before.entries + last.entries,
        findings=before.findings + last.findings,
    )
