from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.alerts import handling
from monitor.alerts.ports import OutcomeUnknownError
from monitor.errors import DeliveryError
from monitor.model.finding import Severity
from monitor.model.incident import DeliveryKind, DeliveryState, IncidentState
from monitor.store.engine import Store
from tests.integration.alerts.desk import Desk
from tests.unit.alerts.examples import OTHER_RUN, RUN, V1, V2, MemorySink, of_log, of_source, signed, stranger

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from monitor.model.finding import Finding


class Killed(BaseException):
    """Ends the program wherever it stands."""


NUMBERS = st.integers(1, 6)
FINDINGS: st.SearchStrategy[Finding] = st.one_of(
    st.builds(
        lambda rule, number, run, log, history: signed(
            rule, number, run=run, log=log, subject=f"entry:{log}:{number}:{run[-1]}#0", history=history
        ),
        st.sampled_from(["branch-ref", "unexpected-digest", "unusual-build", "identity-casing"]),
        NUMBERS,
        st.sampled_from([RUN, OTHER_RUN]),
        st.sampled_from([V1, V2]),
        st.booleans(),
    ),
    st.builds(stranger, NUMBERS, severity=st.sampled_from([Severity.LOW, Severity.CRITICAL])),
    st.builds(of_log, key=st.sampled_from(["a", "b"])),
    st.builds(of_source, source=st.sampled_from(["x", "y"])),
)
ACTS: st.SearchStrategy[tuple[str, list[Finding]]] = st.one_of(
    st.tuples(st.just("put"), st.lists(FINDINGS, max_size=5)),
    st.tuples(st.just("gather"), st.just([])),
    st.tuples(st.just("deliver"), st.just([])),
    st.tuples(st.just("wait"), st.just([])),
    st.tuples(st.just("resolve"), st.just([])),
)
TROUBLES = st.lists(
    st.sampled_from(["well", "well", "down", "silent", "taken and silent", "limited", "killed"]), max_size=30
)


class FlakySink(MemorySink):
    """Meets a list of troubles, one an attempt, and is well ever after."""

    def __init__(self, troubles: list[str], *, threads: bool) -> None:
        super().__init__(name="memory", edits=threads, threads=threads)
        self._troubles = list(reversed(troubles))
        self._after: str | None = None
        self.fail = self._before
        self.lose = self._lost

    def _before(self, act: str) -> None:
        trouble = self._troubles.pop() if self._troubles else "well"
        self._after = trouble if act == "send" else None
        if trouble == "down":
            raise DeliveryError("down")
        if trouble == "silent":
            raise OutcomeUnknownError("silent")
        if trouble == "limited":
            raise DeliveryError("limited", retry_after=5)

    def _lost(self) -> None:
        if self._after == "taken and silent":
            raise OutcomeUnknownError("silent")
        if self._after == "killed":
            raise Killed


async def one_act(desk: Desk, act: str, found: list[Finding]) -> None:
    match act:
        case "put":
            await desk.put(*found)
        case "gather":
            await desk.gather()
        case "deliver":
            await survive(desk.deliver())
        case "resolve":
            for incident in await desk.incidents():
                if incident.state is not IncidentState.RESOLVED:
                    await handling.resolve(desk.store, incident.id, "ada", "", desk.now)
                    break
        case _:
            desk.wait(seconds=90)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(ACTS, max_size=15), TROUBLES, st.booleans())
async def test_every_stored_finding_is_told_at_least_once_in_order_and_doubled_only_marked(
    _sqlite_template: Path,  # noqa: PT019 - its value is what is copied
    acts: list[tuple[str, list[Finding]]],
    troubles: list[str],
    threads: bool,  # noqa: FBT001 - drawn
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copyfile(_sqlite_template, folder / "monitor.db")
        async with await Store.open(f"sqlite:///{folder / 'monitor.db'}") as store:
            sink = FlakySink(troubles, threads=threads)
            desk = Desk(store, (sink,))
            for act, found in acts:
                await one_act(desk, act, found)
            await settle(desk)
            await check(desk, sink)
    finally:
        shutil.rmtree(folder)


async def survive(work: Awaitable[int]) -> bool:
    """Do it; False when it was killed on the way."""
    try:
        await work
    except Killed:
        return False
    return True


async def settle(desk: Desk) -> None:
    await desk.gather()
    while not await survive(desk.drain()):
        pass


async def check(desk: Desk, sink: FlakySink) -> None:
    posted = {post.marker.partition(".")[0] for post in sink.posts}
    for incident in await desk.incidents():
        rows = await desk.deliveries(incident.id)
        assert all(d.state is DeliveryState.SENT for d in rows)
        told = [d for d in rows if d.kind is not DeliveryKind.STATE]
        assert told[0].kind is DeliveryKind.INCIDENT
        assert {str(d.id) for d in told} <= posted
        assert len({each for d in told for each in d.finding_ids}) == incident.count
        order = [post.marker.partition(".")[0] for post in sink.posts]
        firsts = [order.index(str(d.id)) for d in told]
        assert firsts == sorted(firsts)
    ids = [post.marker for post in sink.posts]
    again = [post for number, post in enumerate(sink.posts) if post.marker in ids[:number]]
    assert all(post.repeat for post in again)
    assert not (again and sink.threads)
