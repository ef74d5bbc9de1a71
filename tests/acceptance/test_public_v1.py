"""The daemon beside a Rekor v1 of a hundred million entries: what it finds, and what that costs, in each way of watching it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from monitor.model.filters import EntryFilter, Page
from monitor.model.text import rfc3339
from monitor.store import entries, logs, lookups, meta
from monitor.store.engine import Store
from monitor.testbed.bodies import digest_bytes, hashedrekord_v1
from tests.patience import PATIENCE
from tests.public import Figures, PublicLogs, branch, daemon, program, release

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable
    from pathlib import Path

_QUICK = 'poll_interval = "500ms"\nv1_requests_per_second = 200'
_POLL_AT_MOST = 60
"""Requests to Rekor v1 between two polls: two a second at the default interval."""
_SMALL = Figures(rate=2.0, latency=0.0, ceiling=None, period_bits=6)
_ONE, _OTHER, _THIRD = (f"sha256:{number * 0x1111:064x}" for number in (1, 2, 3))


async def _until(holds: Callable[[], bool], process: Process, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not holds():
        if process.returncode is not None or loop.time() > deadline:
            said = (folder / "said.txt").read_text()
            raise AssertionError(f"it did not come about; the daemon said:\n{said[-4000:]}")
        await asyncio.sleep(0.05)


def _polls(public: PublicLogs) -> float:
    """How often Rekor v1 was polled: each time its list of shards is asked for, and its checkpoint."""
    return public.v1.counts["/api/v1/log"] / 2


def _follows(public: PublicLogs) -> bool:
    """Whether the certificate log was polled a second time, so that what is issued from now on is read."""
    return len(list(public.ct.seen("/2026/ct/v1/get-sth"))) > 2 and _polls(public) > 2


async def test_with_the_index_a_certificate_is_told_then_its_digest_in_the_same_thread_and_little_is_asked(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with PublicLogs(_SMALL) as public, daemon(public.settings(tmp_path, sqlite_url, watch=_QUICK)) as process:
        await _until(lambda: _follows(public), process, tmp_path)
        before, polls = public.v1.counts.total(), _polls(public)

        signer = public.certify(branch())
        await _until(lambda: bool(public.told("branch-ref")), process, tmp_path)
        (alert,) = public.told("branch-ref")
        assert _ONE not in alert.words()
        public.log(signer, _ONE)
        await _until(lambda: bool(public.told(_ONE)), process, tmp_path)
        public.log(public.certify(release()), _OTHER)
        await _until(lambda: bool(public.told(_OTHER)), process, tmp_path)

        assert public.v1.counts.total() - before < _POLL_AT_MOST * (_polls(public) - polls + 1)
        (followed,) = [message for message in public.told(_ONE) if message.is_reply]
        assert followed.thread_ts == alert.ts
        assert "unexpected-digest" in followed.words()
        (other,) = [message for message in public.told(_OTHER) if not message.is_reply]
        assert "unexpected-digest" in other.words()
        assert public.v1.counts["429"] == 0
        assert sum(public.v1.paged.values()) < 100


async def test_without_the_index_the_certificates_minutes_are_read_once_and_give_the_digests(
    tmp_path: Path, sqlite_url: str
) -> None:
    begun = datetime.now(UTC)
    async with await Store.open(sqlite_url) as store, store.write() as tx:
        await meta.set(tx, "watch-from", rfc3339(begun - timedelta(hours=1)))
    first_at = begun - timedelta(minutes=14)
    second_at = first_at + timedelta(seconds=20)
    async with PublicLogs(_SMALL, index_off=501) as public:
        first, second = public.certify(branch(), first_at), public.certify(release(), second_at)
        public.log(first, _ONE, first_at + timedelta(seconds=1))
        public.log(second, _OTHER, second_at + timedelta(minutes=9))
        settings = public.settings(tmp_path, sqlite_url, watch=_QUICK, issued="start = 0")
        async with daemon(settings) as process, await Store.open(sqlite_url) as store:
            await _until(lambda: bool(public.told(_ONE) and public.told(_OTHER)), process, tmp_path)
            alert = public.told("branch-ref")[0]
            assert not alert.is_reply
            assert {message.thread_ts or message.ts for message in public.told(_ONE)} == {alert.ts}

            async with asyncio.timeout(PATIENCE):
                while await _sought(store):  # noqa: ASYNC110 - another process is waited for
                    await asyncio.sleep(0.1)
            margin = timedelta(seconds=30)
            begin, end = public.at(first_at - margin), public.at(second_at + timedelta(minutes=10) + margin)
            async with store.read() as tx:
                (covered,) = await logs.coverage(tx, public.v1.origin)
            assert begin - 130 <= covered.begin <= begin
            assert end <= covered.end <= end + 130
            given = [public.v1.paged[index] for index in range(covered.begin, covered.end)]
            assert min(given) == 1
            assert (
                sum(given) - len(given) <= 60
            )  # pages that test the index, and single leaves where the borders were sought

            third = public.certify(branch("17000000101"))
            await _until(lambda: bool(public.told("17000000101")), process, tmp_path)
            public.log(third, _THIRD)
            await _until(lambda: bool(public.told(_THIRD)), process, tmp_path)


async def _sought(store: Store) -> int:
    async with store.read() as tx:
        found = await lookups.sought(tx, datetime.now(UTC) - timedelta(days=1))
    return len([each for each in found if each.read_at is None])


async def test_read_whole_after_a_stop_the_newest_comes_first_and_it_says_by_how_much_it_is_behind(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with PublicLogs(Figures(rate=0.5, latency=0.0, ceiling=None, period_bits=6)) as public:
        settings = public.settings(
            tmp_path,
            sqlite_url,
            complete=True,
            policy='deadlines = { falling-behind = "1s" }',
            watch='poll_interval = "500ms"\npass_time = "1s"\nv1_requests_per_second = 20',
        )
        async with daemon(settings) as process:
            await _until(lambda: _polls(public) > 2, process, tmp_path)
        signer = public.certify(branch())
        old = public.v1.size + 1100
        public.v1.plant(old, hashedrekord_v1(signer.key, signer.certificate, digest_bytes(_ONE)))
        missed = public.v1.leap(1400)

        async with daemon(settings) as process, await Store.open(sqlite_url) as store:
            await _until(lambda: public.v1.paged[missed[0]] > 0, process, tmp_path)
            new = public.log(public.certify(branch("17000000101")), _OTHER)
            await _until(lambda: bool(public.told("were passed over")), process, tmp_path)
            public.v1.latency = 3.0  # so that it is still behind when it is asked
            status, said = await program(settings, "status")
            public.v1.latency = 0.0
            assert status
            (line,) = [line for line in said.splitlines() if line.startswith(public.v1.origin)]
            assert "complete, active: NOT PROTECTED" in line
            assert "not seen: " in said
            await _until(lambda: bool(public.told(_OTHER) and public.told(_ONE)), process, tmp_path)
            async with store.read() as tx:
                found = await entries.list_entries(tx, EntryFilter(log=public.v1.origin), Page(limit=10))
            assert [each.index for each in sorted(found, key=lambda each: each.id)] == [new, old]
