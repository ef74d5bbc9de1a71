"""Findings are unique by rule and subject, withdrawn and brought back, queued worst first, and told again when they grow."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import LostRaceError, SettingsError, StoreError
from monitor.model.filters import FindingFilter, Page
from monitor.model.finding import Accepted, Category, Severity
from monitor.model.incident import IncidentState
from monitor.model.release import Authority, Match
from monitor.store import entries, findings
from monitor.store.tables import incidents

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.model.entry import LogEntry
    from monitor.model.finding import Finding
    from monitor.model.judgement import Judgement
    from monitor.store.engine import Store, Tx


async def incident(tx: Tx, now: datetime, state: IncidentState = IncidentState.OPEN) -> int:
    values = {
        "key": "k",
        "state": state,
        "severity": Severity.LOW,
        "category": Category.IDENTITY,
        "title": "t",
        "history": False,
        "opened_at": now,
        "updated_at": now,
        "count": 0,
    }
    return int((await tx.execute(sa.insert(incidents).values(values).returning(incidents.c.id))).scalar_one())


async def test_a_finding_comes_back_with_every_field(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    full = make_finding(
        summary="so \x00 it is\ud800",
        global_index=2**62,
        uuid="u",
        issuer="i",
        digest="sha256:aa",
        version="0.1.2",
        event="e" * 32,
        run="r",
        attempt=3,
        commit="c",
        ref="refs/heads/main",
        workflow="publish-images.yml",
        trusted=True,
        history=True,
    )
    bare = make_finding(
        "log-forked",
        "log:x:9",
        facts=(),
        accepted=None,
        log=None,
        index=None,
        identity=None,
        artifacts=(),
        signed_at=None,
    )
    async with store.write() as tx:
        ids = await findings.put(tx, [full, bare], now, entry_id=None)
        for finding_id, expected in zip(ids, (full, bare), strict=True):
            kept = await findings.get(tx, finding_id)
            assert kept is not None
            assert kept.finding == expected
            assert (kept.found_at, kept.incident_id, kept.withdrawn_at) == (now, None, None)
        assert await findings.get(tx, ids[-1] + 1) is None


async def test_the_same_verdict_found_again_is_the_same_finding_with_its_newest_words(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    async with store.write() as tx:
        (first,) = await findings.put(tx, [make_finding()], now, entry_id=None)
        later = now + timedelta(hours=1)
        assert await findings.put(tx, [make_finding(summary="better words")], later, entry_id=None) == []
        kept = await findings.get(tx, first)
        assert kept is not None
        assert (kept.finding.summary, kept.found_at) == ("better words", now)
        others = [make_finding(subject="other"), make_finding("wrong-issuer")]
        assert len(await findings.put(tx, others, now, entry_id=None)) == 2


async def test_subjects_beyond_any_bound_are_told_apart(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    long = [make_finding(subject="x" * 10_000 + end) for end in "ab"]
    async with store.write() as tx:
        assert len(await findings.put(tx, long, now, entry_id=None)) == 2
        assert await findings.put(tx, long, now, entry_id=None) == []


async def test_what_a_later_judgement_no_longer_holds_is_withdrawn_and_comes_back_when_it_does(
    store: Store,
    now: datetime,
    make_finding: Callable[..., Finding],
    make_entry: Callable[..., LogEntry],
    make_judgement: Callable[..., Judgement],
) -> None:
    a, b, c = (make_finding(rule) for rule in ("branch-ref", "wrong-issuer", "unusual-build"))
    long = make_finding("non-release-ref", "s" * 5000)
    async with store.write() as tx:
        entry_id = await entries.add(tx, make_entry(5), make_judgement(), None, now)
        assert entry_id is not None
        await findings.put(tx, [make_finding("log-forked", "log:x")], now, entry_id=None)
        assert len(await findings.replace(tx, entry_id, [a, b, long], now)) == 3
        assert len(await findings.replace(tx, entry_id, [b, c, long], now + timedelta(hours=1))) == 1
        standing = {each.finding.rule for each in await findings.list_findings(tx, FindingFilter(), Page())}
        assert standing == {"log-forked", "wrong-issuer", "unusual-build", "non-release-ref"}
        everything = await findings.list_findings(tx, FindingFilter(withdrawn=True), Page())
        (gone,) = [each for each in everything if each.withdrawn_at]
        assert (gone.finding.rule, gone.withdrawn_at) == ("branch-ref", now + timedelta(hours=1))
        await findings.replace(tx, entry_id, [a], now + timedelta(hours=2))
        back = await findings.get(tx, gone.id)
        assert back is not None
        assert back.withdrawn_at is None
        assert await findings.replace(tx, entry_id, [], now) == []
        assert [each.finding.rule for each in await findings.unassigned(tx, 10)] == ["log-forked"]


async def test_a_finding_back_after_its_incident_was_resolved_is_told_anew_and_one_of_an_open_incident_is_not(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    for state, told in (
        (IncidentState.OPEN, False),
        (IncidentState.ACKNOWLEDGED, False),
        (IncidentState.RESOLVED, True),
    ):
        async with store.write() as tx:
            one = make_finding(subject=state)
            (finding_id,) = await findings.put(tx, [one], now, entry_id=None)
            await findings.assign(tx, [finding_id], await incident(tx, now, state))
            assert await findings.put(tx, [one], now, entry_id=None) == []
            assert await findings.withdraw(tx, one.rule, one.subject, now)
            assert not await findings.withdraw(tx, one.rule, one.subject, now)
            assert await findings.put(tx, [one], now, entry_id=None) == ([finding_id] if told else [])
            assert [each.id for each in await findings.unassigned(tx, 9)] == ([finding_id] if told else [])


async def test_a_finding_that_grew_worse_is_told_again(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    async with store.write() as tx:
        (finding_id,) = await findings.put(tx, [make_finding(severity=Severity.HIGH)], now, entry_id=None)
        await findings.assign(tx, [finding_id], await incident(tx, now))
        assert await findings.put(tx, [make_finding(severity=Severity.LOW)], now, entry_id=None) == []
        assert await findings.put(tx, [make_finding(severity=Severity.HIGH)], now, entry_id=None) == [finding_id]
        assert [each.id for each in await findings.unassigned(tx, 9)] == [finding_id]


async def test_a_finding_is_put_into_one_incident(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    async with store.write() as tx:
        (finding_id,) = await findings.put(tx, [make_finding()], now, entry_id=None)
        incident_id = await incident(tx, now)
        await findings.assign(tx, [finding_id], incident_id)
        with pytest.raises(LostRaceError):
            await findings.assign(tx, [finding_id], incident_id)
        (kept,) = await findings.list_findings(tx, FindingFilter(incident=incident_id), Page())
        assert kept.incident_id == incident_id


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(severities=st.lists(st.sampled_from(Severity), min_size=1, max_size=9), limit=st.integers(1, 9))
async def test_the_queue_gives_the_worst_first_and_then_the_oldest(
    store: Store, now: datetime, make_finding: Callable[..., Finding], severities: list[Severity], limit: int
) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with store.write() as tx:
            new = [make_finding(subject=str(n), severity=severity) for n, severity in enumerate(severities)]
            await findings.put(tx, new, now, entry_id=None)
            queue = await findings.unassigned(tx, limit)
            raise ZeroDivisionError  # undone, so that the next example begins empty
    order = sorted(range(len(severities)), key=lambda n: (-severities[n].rank, n))
    assert [int(each.finding.subject) for each in queue] == order[:limit]


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        (FindingFilter(), "abcd"),
        (FindingFilter(rule="wrong-issuer"), "b"),
        (FindingFilter(severity="high"), "ab"),
        (FindingFilter(severity="critical"), "a"),
        (FindingFilter(category="integrity"), "d"),
        (FindingFilter(log="other"), "c"),
        (FindingFilter(digest="sha256:aa"), "b"),
        (FindingFilter(digest="sha256:matched"), "d"),
        (FindingFilter(rule="nothing"), ""),
    ],
)
async def test_findings_are_narrowed_by_every_filter(
    store: Store,
    now: datetime,
    make_finding: Callable[..., Finding],
    make_entry: Callable[..., LogEntry],
    make_judgement: Callable[..., Judgement],
    narrow: FindingFilter,
    expected: str,
) -> None:
    match = Match("0.1.2", "runner", "sha256:matched", Authority.PINNED, "legacy")
    async with store.write() as tx:
        entry_id = await entries.add(tx, make_entry(5), make_judgement(matches=(match,)), None, now)
        new = [
            make_finding(subject="a"),
            make_finding("wrong-issuer", "b", severity=Severity.HIGH, digest="sha256:aa"),
            make_finding(subject="c", severity=Severity.LOW, log="other"),
        ]
        await findings.put(tx, new, now, entry_id=None)
        last = make_finding(subject="d", severity=Severity.MEDIUM, category=Category.INTEGRITY)
        await findings.put(tx, [last], now, entry_id=entry_id)
        listed = await findings.list_findings(tx, narrow, Page())
    assert "".join(each.finding.subject for each in listed) == expected


async def test_findings_are_narrowed_by_time_and_paged_by_key(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    async with store.write() as tx:
        for hour in range(5):
            await findings.put(tx, [make_finding(subject=str(hour))], now + timedelta(hours=hour), entry_id=None)
        narrow = FindingFilter(since=now + timedelta(hours=1), until=now + timedelta(hours=4))
        first = await findings.list_findings(tx, narrow, Page(limit=2))
        rest = await findings.list_findings(tx, narrow, Page(limit=2, after=first[-1].id))
    assert [each.finding.subject for each in (*first, *rest)] == ["1", "2", "3"]


@pytest.mark.parametrize("narrow", [FindingFilter(severity="worse"), FindingFilter(category="Identity")])
async def test_a_filter_by_what_does_not_exist_is_refused_with_what_does(store: Store, narrow: FindingFilter) -> None:
    with pytest.raises(SettingsError, match=r"is none of .*(low|identity)"):
        async with store.read() as tx:
            await findings.list_findings(tx, narrow, Page())


async def test_findings_that_stand_are_counted_by_category_and_severity(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    async with store.write() as tx:
        new = [make_finding(subject="a"), make_finding(subject="b", accepted=Accepted.YES), make_finding(subject="c")]
        other = make_finding(subject="d", category=Category.OPERATIONAL, severity=Severity.MEDIUM)
        await findings.put(tx, [*new, other], now, entry_id=None)
        await findings.withdraw(tx, "branch-ref", "c", now)
        assert await findings.counts(tx) == {
            (Category.IDENTITY, Severity.CRITICAL): 2,
            (Category.OPERATIONAL, Severity.MEDIUM): 1,
        }


async def test_a_finding_of_no_entry_cannot_name_one(
    store: Store, now: datetime, make_finding: Callable[..., Finding]
) -> None:
    with pytest.raises(StoreError):
        async with store.write() as tx:
            await findings.put(tx, [make_finding()], now, entry_id=99)
