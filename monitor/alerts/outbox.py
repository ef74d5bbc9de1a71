"""Takes deliveries to their sinks until they are told (P3).

An attempt is written down before it is made, so that after a kill it is looked for first; a sink that fails delays and loses
nothing. A pass is bounded, never sleeps, and holds no transaction while a sink is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from monitor.alerts import letters
from monitor.alerts.ports import OutcomeUnknownError
from monitor.errors import DeliveryError, LostRaceError
from monitor.model.incident import DeliveryKind
from monitor.model.text import clip, parse_rfc3339, rfc3339
from monitor.store import deliveries, health, meta

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from monitor.alerts.letters import Letter
    from monitor.alerts.options import AlertOptions
    from monitor.alerts.ports import Sink
    from monitor.model.incident import Delivery
    from monitor.store.engine import Store, Tx

FAILING = "delivery-failing"
"""The health condition of a sink, whose source is the sink's name."""
_CLOCK_SKEW = timedelta(minutes=5)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An attempt that did not succeed: why, and until when to leave the delivery or (`halt`) the whole sink alone."""

    error: str
    until: datetime
    halt: bool


@dataclass(slots=True)
class _Pass:
    """One pass over one sink."""

    sink: Sink
    now: datetime
    told: int = 0
    tried: int = 0
    held: set[int] = field(default_factory=set)
    """What was tried and waits still."""
    failures: list[_Failure] = field(default_factory=list)


async def deliver(store: Store, sinks: Sequence[Sink], options: AlertOptions, now: datetime) -> int:
    """One bounded pass: what is due goes out, the worst first, in order within an incident, one attempt each.

    Sinks are served side by side. Returns how many deliveries were told. Raises only what the store raises.
    """
    if not sinks:
        return 0
    await _adopt(store, sinks, options, now)
    passes = [_Pass(sink, now) for sink in sinks]
    ended = await asyncio.gather(*(_serve(store, each, options) for each in passes), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error
    return sum(each.told for each in passes)


async def next_due(store: Store, sinks: Sequence[Sink]) -> datetime | None:
    """When a pass has something to do again; None when nothing waits."""
    async with store.read() as tx:
        moments = [await _next_due(tx, sink.name) for sink in sinks]
    return min((moment for moment in moments if moment is not None), default=None)


async def _serve(store: Store, run: _Pass, options: AlertOptions) -> None:
    """Attempt what is due. One failure may be the message's own fault, so another is tried; two in a row are the sink's."""
    async with store.read() as tx:
        paused = await _paused_until(tx, run.sink.name)
    if paused is not None and paused > run.now:
        return
    streak: list[_Failure] = []
    while run.tried < options.batch:
        async with store.read() as tx:
            due = await deliveries.due(tx, run.sink.name, run.now, without=run.held)
        if not due:
            break
        run.tried += 1
        run.held.add(due[0].id)
        failure = await _attempt(store, run, due[0], options)
        streak = [*streak, failure] if failure is not None else []
        if failure is not None:
            run.failures.append(failure)
        if streak and (streak[-1].halt or len(streak) > 1):
            async with store.write() as tx:
                await meta.set(tx, _pause_key(run.sink.name), rfc3339(max(each.until for each in streak)))
            break
    await _report(store, run)


async def _attempt(store: Store, run: _Pass, waiting: Delivery, options: AlertOptions) -> _Failure | None:
    """Claim a delivery and see it through. Where another pass takes it over meanwhile, that one settles it."""
    try:
        async with store.write() as tx:
            claimed = await deliveries.claim(tx, waiting)
            letter = await letters.write(tx, claimed, options, run.now)
        return await _see_through(store, run, waiting, claimed, letter, options)
    except LostRaceError:
        return None


async def _see_through(
    store: Store, run: _Pass, waiting: Delivery, claimed: Delivery, letter: Letter, options: AlertOptions
) -> _Failure | None:
    """Send what was claimed, and write down what came of it. LostRaceError when another pass has done that."""
    try:
        async with asyncio.timeout(options.attempt_timeout):
            message_id, note = await _send(run.sink, waiting, letter)
    except DeliveryError as error:
        return await _settle_failure(store, run, claimed, waiting, error, options)
    except TimeoutError:
        late = OutcomeUnknownError(f"{run.sink.name} did not answer within {options.attempt_timeout:g} s")
        return await _settle_failure(store, run, claimed, waiting, late, options)
    except Exception as error:  # noqa: BLE001 - a sink's own fault must not hold up what the others are told
        _log.exception("sink failed", sink=run.sink.name, delivery=waiting.id)
        fault = OutcomeUnknownError(f"{run.sink.name} failed: {type(error).__name__}: {clip(str(error), 200)}")
        return await _settle_failure(store, run, claimed, waiting, fault, options)
    async with store.write() as tx:
        await deliveries.sent(tx, claimed, message_id, run.now, note)
    run.told += 1
    run.held.discard(waiting.id)
    return None


async def _send(sink: Sink, waiting: Delivery, letter: Letter) -> tuple[str | None, str | None]:
    """Say it. Returns the message's id and a remark for the record."""
    if waiting.kind is DeliveryKind.STATE:
        if letter.thread is None or not sink.edits:
            return None, "there is no message to change"
        await sink.edit(letter.thread, letter.message)
        return letter.thread, None
    thread = letter.thread if letter.threaded and sink.threads else None
    if waiting.unknown_outcome:
        found = await sink.find(letter.marker, thread=thread, since=waiting.created_at - _CLOCK_SKEW)
        if found is not None:
            return found, "an earlier attempt had arrived"
    message_id = await sink.send(
        letter.message,
        thread=thread,
        broadcast=letter.broadcast and thread is not None,
        marker=letter.marker,
        repeat=waiting.unknown_outcome,
    )
    return message_id, "repeated" if waiting.unknown_outcome else None


async def _settle_failure(
    store: Store, run: _Pass, claimed: Delivery, waiting: Delivery, error: DeliveryError, options: AlertOptions
) -> _Failure | None:
    words = f"{error} ({error.cure})" if error.cure else str(error)
    if error.permanent:
        _log.error("delivery refused for good", sink=run.sink.name, delivery=claimed.id, error=words)
        async with store.write() as tx:
            await deliveries.park(tx, claimed, words)
        return None
    doubled = options.backoff_first * 2 ** min(claimed.attempts - 1, 20)
    wait = min(doubled, options.backoff_most)
    if error.retry_after is not None:
        wait = max(timedelta(0), min(timedelta(seconds=error.retry_after), options.wait_most))
    until = run.now + wait
    # What was unknown before stays unknown: that this attempt certainly failed says nothing of the one before it.
    unknown = isinstance(error, OutcomeUnknownError) or waiting.unknown_outcome
    _log.warning("delivery failed", sink=run.sink.name, delivery=claimed.id, error=words, again=rfc3339(until))
    async with store.write() as tx:
        await deliveries.failed(tx, claimed, words, until, unknown=unknown)
    return _Failure(words, until, halt=error.retry_after is not None)


async def _report(store: Store, run: _Pass) -> None:
    """Write down how the sink fares. It is well when its last attempt was, and nothing that it refused for good is still open."""
    async with store.read() as tx:
        failing = any(
            c.rule == FAILING and c.source == run.sink.name and c.failing_since for c in await health.conditions(tx)
        )
        refused = await deliveries.parked(tx, run.sink.name)
        waiting = await deliveries.waiting(tx, run.sink.name)
    error: str | None = None
    if run.failures:
        error = run.failures[-1].error
    elif refused:
        error = f"{len(refused)} refused for good, the last of incident #{refused[0].incident_id}: {refused[0].error}"
    elif not run.tried and (waiting or not failing):
        return
    if error is None and not failing:
        return
    async with store.write() as tx:
        await health.report(tx, FAILING, run.sink.name, run.now, error)


async def _adopt(store: Store, sinks: Sequence[Sink], options: AlertOptions, now: datetime) -> None:
    """Readdress what waits for a sink that is no longer there: to the first sink that is. Nothing stored stays untold."""
    names = tuple(sink.name for sink in sinks)
    async with store.read() as tx:
        lost = await deliveries.orphans(tx, names, options.batch)
    heir = next((route.sink for route in options.routes if route.sink in names), names[0])
    for orphan in lost:
        async with store.write() as tx:
            known = orphan.incident_id is not None and await deliveries.root(tx, orphan.incident_id, heir) is not None
            kind = DeliveryKind.EVENT if known and orphan.kind is DeliveryKind.INCIDENT else orphan.kind
            if not known and orphan.kind is not DeliveryKind.STATE:
                kind = DeliveryKind.INCIDENT
            await deliveries.add(
                tx,
                incident_id=orphan.incident_id,
                sink=heir,
                kind=kind,
                severity=orphan.severity,
                finding_ids=orphan.finding_ids,
                now=now,
            )
            await deliveries.park(tx, orphan, f"there is no sink {orphan.sink!r} any more: readdressed to {heir!r}")


async def _paused_until(tx: Tx, sink: str) -> datetime | None:
    kept = await meta.get(tx, _pause_key(sink))
    return parse_rfc3339(kept) if kept else None


async def _next_due(tx: Tx, sink: str) -> datetime | None:
    due = await deliveries.next_due(tx, (sink,))
    paused = await _paused_until(tx, sink)
    return max(due, paused) if due is not None and paused is not None else due


def _pause_key(sink: str) -> str:
    return f"pause:{sink}"
