"""Entries are kept once with all that a later judgement, a list or an auditor needs."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import StoreError
from monitor.model.entry import SanKind, Trust
from monitor.model.filters import EntryFilter, Page
from monitor.model.finding import Accepted
from monitor.model.log import InclusionProof, Leaf
from monitor.model.release import Authority, DigestStatus, Match
from monitor.store import certificates, entries, findings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from monitor.model.entry import Certificate, JudgedSigner, LogEntry
    from monitor.model.finding import Finding
    from monitor.model.judgement import Judgement
    from monitor.store.engine import Store

LOG = "log2026.example"


async def keep(store: Store, entry: LogEntry, judged: Judgement, now: datetime) -> int:
    async with store.write() as tx:
        entry_id = await entries.add(tx, entry, judged, None, now)
    assert entry_id is not None
    return entry_id


async def test_an_entry_comes_back_with_its_leaf_and_promise(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    entry = make_entry(5)
    entry_id = await keep(store, entry, make_judgement(), now)
    async with store.read() as tx:
        kept = await entries.get(tx, entry_id)
        assert kept is not None
        assert kept.leaf == Leaf(LOG, entry.decoded.protocol, 5, entry.data, entry.promise)
        assert kept.first_seen == entry.first_seen
        assert (kept.digest_status, kept.revision, kept.disproven) == (DigestStatus.EXPECTED, "r1", False)
        assert await entries.find(tx, LOG, 5) == kept
        assert await entries.find(tx, LOG, 6) is None
        assert await entries.get(tx, entry_id + 1) is None


async def test_an_entry_without_promise_digest_or_signer_is_kept(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    entry = make_entry(5)
    bare = replace(entry, promise=None, signers=(), decoded=replace(entry.decoded, digest=None, signers=()))
    entry_id = await keep(store, bare, make_judgement(accepted=None), now)
    async with store.read() as tx:
        row = await entries.row(tx, entry_id)
        kept = await entries.get(tx, entry_id)
    assert row is not None
    assert kept is not None
    assert kept.leaf.promise is None
    assert (row.identity, row.digest, row.accepted, row.event, row.global_index) == (None, None, None, None, None)


async def test_the_same_leaf_is_kept_once_and_another_leaf_in_its_place_beside_it(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    entry = make_entry(5)
    first = await keep(store, entry, make_judgement(), now)
    async with store.write() as tx:
        assert await entries.add(tx, replace(entry, promise=None), make_judgement(), None, now) is None
        other = await entries.add(tx, replace(entry, leaf_hash=b"o" * 32), make_judgement(), None, now)
        assert other is not None
        await entries.mark_disproven(tx, other)
        found = await entries.find(tx, LOG, 5)
        assert found is not None
        assert found.id == first
        settled = await entries.to_settle(tx, "r2", 0, 10)
        assert [each.id for each in settled] == [first]
        assert [each.id for each in await entries.without_proof(tx, LOG, 10)] == [first]
        disproven = await entries.row(tx, other)
        assert disproven is not None
        assert disproven.disproven


async def test_what_is_unjudged_pending_or_of_another_revision_is_settled_page_by_page(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    cases = [
        make_judgement(revision="r2"),
        make_judgement(revision="r1"),
        make_judgement(revision=None),
        make_judgement(revision="r2", digest_status=DigestStatus.PENDING),
        make_judgement(revision="r3"),
    ]
    ids = [await keep(store, make_entry(index), judged, now) for index, judged in enumerate(cases)]
    async with store.write() as tx:
        first = await entries.to_settle(tx, "r2", 0, 2)
        rest = await entries.to_settle(tx, "r2", first[-1].id, 10)
        assert [each.id for each in (*first, *rest)] == ids[1:]
        for each in (*first, *rest):
            await entries.set_judgement(tx, each.id, make_entry(each.leaf.index), make_judgement(revision="r2"), now)
        assert await entries.to_settle(tx, "r2", 0, 10) == []


async def test_a_new_judgement_takes_the_place_of_the_old_one(
    store: Store,
    now: datetime,
    make_entry: Callable[..., LogEntry],
    make_signer: Callable[..., JudgedSigner],
    make_judgement: Callable[..., Judgement],
) -> None:
    match = Match("0.1.2", "runner", "sha256:aa", Authority.PINNED, "legacy")
    entry_id = await keep(store, make_entry(5), make_judgement(matches=(match, match)), now)
    unchecked = make_entry(5, make_signer(trust=Trust.UNCHECKED))
    judged = make_judgement(
        matches=(replace(match, version="0.1.3"),),
        accepted=Accepted.NO,
        digest_status=DigestStatus.UNEXPECTED,
        revision="r9",
        history=True,
    )
    async with store.write() as tx:
        await entries.set_judgement(tx, entry_id, unchecked, judged, now)
        row = await entries.row(tx, entry_id)
        assert row is not None
        assert (row.versions, row.artifacts) == (("0.1.3",), ("runner",))
        assert (row.accepted, row.digest_status, row.trust) == (Accepted.NO, DigestStatus.UNEXPECTED, Trust.UNCHECKED)
        assert row.history
        assert row.run is None
        signers = await entries.signers_of(tx, entry_id)
        assert [signer.verdict for signer in signers] == [unchecked.signers[0].verdict]
        with pytest.raises(StoreError):
            await entries.set_judgement(tx, entry_id + 1, unchecked, judged, now)


async def test_a_proof_is_kept_with_its_checkpoint_and_only_for_its_own_leaf(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    entry = make_entry(5)
    entry_id = await keep(store, entry, make_judgement(), now)
    proof = InclusionProof(entry.leaf_hash, 5, 9, (b"a" * 32, b"b" * 32, b"c" * 32))
    async with store.write() as tx:
        assert await entries.proof(tx, entry_id) is None
        for wrong in (replace(proof, index=6), replace(proof, leaf_hash=b"x" * 32)):
            with pytest.raises(StoreError):
                await entries.set_proof(tx, entry_id, wrong, 9)
        assert len(await entries.without_proof(tx, LOG, 10)) == 1
        await entries.set_proof(tx, entry_id, proof, 12)
        assert await entries.proof(tx, entry_id) == entries.StoredProof(proof, 12)
        assert await entries.without_proof(tx, LOG, 10) == []
        row = await entries.row(tx, entry_id)
        assert row is not None
        assert row.proven
        alone = InclusionProof(make_entry(0).leaf_hash, 0, 1, ())
        only = await entries.add(tx, make_entry(0), make_judgement(), alone, now)
        assert only is not None
        assert await entries.proof(tx, only) == entries.StoredProof(alone, 1)


async def test_a_certificate_is_kept_once_with_every_claim(
    store: Store,
    now: datetime,
    make_entry: Callable[..., LogEntry],
    make_certificate: Callable[..., Certificate],
    make_judgement: Callable[..., Judgement],
) -> None:
    claims = {arc: f"claim {arc} \x00" for arc in range(1, 25)}
    hostile = make_certificate(
        "https://github.com/\x00\u202e\ud800", claims=claims, names=((SanKind.OTHER, "\x00"),) * 2
    )
    beside = make_certificate("beside")
    entry = make_entry(5)
    signer = replace(entry.signers[0], signer=replace(entry.signers[0].signer, certificate=hostile))
    entry = replace(entry, signers=(signer, signer), decoded=replace(entry.decoded, other_certificates=(beside,)))
    entry_id = await keep(store, entry, make_judgement(), now)
    async with store.read() as tx:
        kept = await entries.signers_of(tx, entry_id)
        assert [each.certificate for each in kept] == [hostile, hostile]
        assert [each.event for each in kept] == [entry.event(signer.signer)] * 2
        assert await certificates.certificate(tx, beside.fingerprint) == beside
        assert await certificates.certificate(tx, "0" * 64) is None


async def test_lists_show_the_signer_that_the_worst_finding_is_about(
    store: Store,
    now: datetime,
    make_entry: Callable[..., LogEntry],
    make_signer: Callable[..., JudgedSigner],
    make_finding: Callable[..., Finding],
    make_judgement: Callable[..., Judgement],
) -> None:
    stranger, ours, bad = (
        make_signer("https://stranger", Trust.UNTRUSTED),
        make_signer("https://ours"),
        make_signer("https://bad"),
    )
    entry = make_entry(5, stranger, ours, bad)
    clean = await keep(store, entry, make_judgement(), now)
    finding = make_finding(event=entry.event(bad.signer))
    guilty = await keep(store, replace(entry, index=6), make_judgement(finding), now)
    async with store.write() as tx:
        await findings.put(tx, [finding], now, entry_id=guilty)
        rows = await entries.list_entries(tx, EntryFilter(), Page())
    assert [(row.id, row.identity, row.rules) for row in rows] == [
        (clean, "https://ours", ()),
        (guilty, "https://bad", ("branch-ref",)),
    ]


async def test_an_entry_row_has_the_names_that_lists_promise(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    entry_id = await keep(store, make_entry(5), make_judgement(), now)
    async with store.read() as tx:
        row = await entries.row(tx, entry_id)
    assert row is not None
    shown = asdict(row)
    promised = {"log", "index", "global_index", "identity", "issuer", "digest", "accepted"}
    assert promised <= shown.keys()
    assert shown["global_index"] == 1_000_005
    assert shown["digest"] == "sha256:" + f"{5:064x}"
    assert shown["run"] == "https://github.com/TruStacks/trustacks-mvp/actions/runs/7"
    assert (shown["attempt"], shown["commit"], shown["ref"]) == (2, "c0ffee", "refs/tags/v0.1.2")
    assert shown["workflow"] == "publish-images.yml"


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        (EntryFilter(), [0, 1, 2, 3]),
        (EntryFilter(log="other"), [3]),
        (EntryFilter(identity="TRUSTACKS/"), [0, 1]),
        (EntryFilter(identity="%"), [2]),
        (EntryFilter(identity="second-name"), [1]),
        (EntryFilter(digest=f"sha256:{1:064x}"), [1]),
        (EntryFilter(digest="sha256:matched"), [0, 2]),
        (EntryFilter(digest="nothing"), []),
        (EntryFilter(log=LOG, identity="trustacks", digest="sha256:matched"), [0]),
    ],
)
async def test_entries_are_narrowed_by_every_filter(
    store: Store,
    now: datetime,
    make_entry: Callable[..., LogEntry],
    make_signer: Callable[..., JudgedSigner],
    make_judgement: Callable[..., Judgement],
    narrow: EntryFilter,
    expected: list[int],
) -> None:
    match = Match("0.1.2", "runner", "sha256:matched", Authority.PINNED, "legacy")
    matched, other = make_judgement(matches=(match, match)), make_judgement()
    names = ((SanKind.URI, "https://trustacks/x"), (SanKind.URI, "https://second-name"))
    await keep(store, make_entry(0), matched, now)
    await keep(store, make_entry(1, make_signer("https://trustacks/x", names=names)), other, now)
    await keep(store, make_entry(2, make_signer("https://100%")), matched, now)
    await keep(store, make_entry(3, make_signer("https://else"), log="other"), other, now)
    async with store.read() as tx:
        rows = await entries.list_entries(tx, narrow, Page())
    assert [row.index for row in rows] == expected


async def test_entries_are_narrowed_by_when_they_were_first_seen(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    for index in range(4):
        await keep(store, make_entry(index, first_seen=now + timedelta(hours=index)), make_judgement(), now)
    narrow = EntryFilter(since=now + timedelta(hours=1), until=now + timedelta(hours=3))
    async with store.read() as tx:
        assert [row.index for row in await entries.list_entries(tx, narrow, Page())] == [1, 2]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 9))
async def test_pages_of_any_length_show_every_entry_once(
    store: Store,
    now: datetime,
    make_entry: Callable[..., LogEntry],
    make_judgement: Callable[..., Judgement],
    limit: int,
) -> None:
    async with store.write() as tx:
        for index in range(7):
            await entries.add(tx, make_entry(index), make_judgement(), None, now)
    seen: list[int] = []
    after: int | None = None
    async with store.read() as tx:
        while rows := await entries.list_entries(tx, EntryFilter(), Page(limit=limit, after=after)):
            assert len(rows) <= limit
            seen += [row.index for row in rows]
            after = rows[-1].id
    assert seen == list(range(7))


async def test_a_signing_event_in_two_logs_is_found_by_one_name(
    store: Store, now: datetime, make_entry: Callable[..., LogEntry], make_judgement: Callable[..., Judgement]
) -> None:
    one = make_entry(5)
    two = make_entry(5, log="other", leaf_hash=hashlib.sha256(b"two").digest())
    ids = [await keep(store, each, make_judgement(), now) for each in (one, two)]
    async with store.read() as tx:
        rows = [await entries.row(tx, each) for each in ids]
    assert len({row.event for row in rows if row}) == 1
