"""`digest show`: every disguise of a digest is looked up, and "nothing seen" is said only beside how far was looked."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.entries import payloads
from monitor.errors import SettingsError
from monitor.history import digest as history
from monitor.history.digest import DigestAnswer, Standing
from monitor.model.entry import DecodedEntry, DigestRole, LogEntry, LoggedDigest
from monitor.model.finding import Accepted, Category, Finding, Severity
from monitor.model.judgement import Judgement
from monitor.model.log import Protocol
from monitor.model.release import Authority, DigestKind, DigestStatus, ExpectedDigest, Match, Withdrawal
from monitor.rules.policy import Policy
from monitor.store import entries, findings, health, releases, tags
from monitor.store.engine import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
POLICY = Policy()
PREDICTED = payloads.predicted(DIGEST, POLICY.references_of("runner"))


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    async with await Store.open(sqlite_url) as opened:
        yield opened


async def _signed(store: Store, value: str, index: int = 1, *rules: str, **judged: Any) -> None:  # noqa: ANN401 - fields
    data = f"leaf {index}".encode()
    logged = LoggedDigest("sha256", value, DigestRole.ARTIFACT)
    entry = LogEntry(
        "log.example",
        index,
        hashlib.sha256(b"\0" + data).digest(),
        data,
        DecodedEntry(Protocol.REKOR_V2, "hashedrekord", "0.0.2", (), logged),
        (),
        None,
        NOW,
    )
    severity = Severity.CRITICAL
    found = tuple(
        Finding(rule, severity, Category.IDENTITY, f"entry:log.example:{index}", "a summary") for rule in rules
    )
    fields: dict[str, Any] = {"accepted": Accepted.YES, "matches": (), "digest_status": DigestStatus.EXPECTED, **judged}
    async with store.write() as tx:
        made = await entries.add(tx, entry, Judgement(found, related=True, revision="r", **fields), None, NOW)
        await findings.put(tx, found, NOW, entry_id=made)


async def _released(store: Store, version: str = "0.1.2", authority: Authority = Authority.APPROVED) -> None:
    expected = ExpectedDigest(version, "runner", DIGEST, DigestKind.TAG, authority, "ada", "because")
    async with store.write() as tx:
        await releases.add_digests(tx, [expected], PREDICTED, NOW)


async def _answer(store: Store, digest: str = DIGEST) -> DigestAnswer:
    async with store.read() as tx:
        return await history.answer(tx, digest, POLICY)


async def test_a_digest_nobody_saw_is_unknown_and_says_how_little_that_means(store: Store) -> None:
    answer = await _answer(store)
    assert (answer.standing, answer.accepted) == (Standing.UNKNOWN, None)
    assert (answer.signatures, answer.tags, answer.known_since) == ((), (), None)
    assert any("has a gap or was never read" in each for each in answer.caveats)
    assert len(answer.disguises) >= 13 + len(POLICY.artifacts)


@pytest.mark.parametrize("place", range(len(PREDICTED)))
async def test_every_predicted_disguise_is_looked_up_for_a_digest_that_no_release_has(store: Store, place: int) -> None:
    await _signed(store, PREDICTED[place].value, 7, "unexpected-digest", digest_status=DigestStatus.UNEXPECTED)
    answer = await _answer(store)
    assert (answer.standing, answer.accepted) == (Standing.SUSPECT, Accepted.YES)
    assert [row.index for row in answer.signatures] == [7]
    (shown,) = [each for each in answer.disguises if each.entries]
    assert (shown.value, shown.how) == (PREDICTED[place].value, PREDICTED[place].how)
    assert "unexpected-digest" in answer.verdict
    assert "no release we know" in answer.verdict


async def test_a_digest_that_a_released_tag_was_moved_to_is_suspect_and_no_releases(store: Store) -> None:
    await _released(store, authority=Authority.OBSERVED)
    moved = Finding(
        "tag-moved", Severity.CRITICAL, Category.RELEASE, "release:0.1.2:moved:runner", "a summary", digest=DIGEST
    )
    async with store.write() as tx:
        await findings.put(tx, (moved,), NOW, entry_id=None)
    answer = await _answer(store)
    assert answer.standing is Standing.SUSPECT
    assert answer.verdict == "It belongs to no release we know, and a released tag was moved to it: tag-moved."


async def test_when_the_registry_was_read_is_said_and_that_it_never_was(store: Store) -> None:
    answer = await _answer(store)
    assert answer.registry_read_at is None
    assert any("no registry was ever read whole" in each for each in answer.caveats)
    async with store.write() as tx:
        await health.report(tx, releases.UNREACHABLE, f"{releases.REGISTRY}ghcr.io", NOW, None)
    answer = await _answer(store)
    assert answer.registry_read_at == NOW
    assert any("no tag that we read ever resolved to it" in each for each in answer.caveats)


async def test_a_released_digest_with_its_signature_is_released_and_without_one_that_is_said(store: Store) -> None:
    await _released(store)
    assert (await _answer(store)).standing is Standing.UNSIGNED
    match = Match("0.1.2", "runner", DIGEST, Authority.APPROVED, "whatever")
    await _signed(store, "cd" * 32, 3, matches=(match,))  # an attestation that a fetched bundle explained
    answer = await _answer(store)
    assert answer.standing is Standing.RELEASED
    assert answer.verdict == "It belongs to runner 0.1.2."
    assert [row.index for row in answer.signatures] == [3]


async def test_a_signature_that_should_not_exist_is_told_before_all_else(store: Store) -> None:
    await _released(store)
    await _signed(store, PREDICTED[0].value, 1)
    await _signed(store, PREDICTED[1].value, 2, "branch-ref", accepted=Accepted.NO)
    async with store.write() as tx:
        await releases.withdraw(tx, Withdrawal("0.1.2", NOW, "ada", "leak"))
    answer = await _answer(store)
    assert (answer.standing, answer.accepted) == (Standing.SUSPECT, Accepted.YES)
    assert "branch-ref" in answer.verdict
    assert "runner 0.1.2" in answer.verdict


async def test_a_finding_that_any_stranger_can_cause_does_not_make_it_suspect(store: Store) -> None:
    await _released(store)
    await _signed(store, PREDICTED[0].value, 1, "unusual-build")
    assert (await _answer(store)).standing is Standing.RELEASED


async def test_a_pulled_release_is_withdrawn_unless_another_release_has_the_digest_too(store: Store) -> None:
    await _released(store)
    await _signed(store, PREDICTED[0].value)
    async with store.write() as tx:
        await releases.withdraw(tx, Withdrawal("0.1.2", NOW, "ada", "leak", "https://example.com/a"))
    answer = await _answer(store)
    assert answer.standing is Standing.WITHDRAWN
    assert [each.reason for each in answer.withdrawn] == ["leak"]
    await _released(store, "0.1.3")
    assert (await _answer(store)).standing is Standing.RELEASED


async def test_a_claim_alone_releases_nothing(store: Store) -> None:
    await _released(store, authority=Authority.CLAIMED)
    await _signed(store, PREDICTED[0].value, digest_status=DigestStatus.PENDING)
    answer = await _answer(store)
    assert answer.standing is Standing.SIGNED
    assert "grace period" in answer.verdict


async def test_a_digest_that_a_person_disputed_belongs_to_no_release(store: Store) -> None:
    await _released(store, authority=Authority.DISPUTED)
    found = await _answer(store)
    assert found.standing is Standing.UNKNOWN
    assert [each.authority for each in found.expected] == [Authority.DISPUTED]


async def test_the_tags_that_reach_it_now_and_ever_are_told(store: Store) -> None:
    later = NOW + timedelta(hours=1)
    async with store.write() as tx:
        await tags.observe(tx, "runner", {"0.1.2": DIGEST}, ["0.1.2"], NOW)
        await tags.observe(tx, "runner", {"0.1.2": "sha256:" + "cd" * 32}, ["0.1.2"], later)
    answer = await _answer(store)
    assert answer.standing is Standing.STRAY
    (seen,) = answer.tags
    assert (seen.tag, seen.gone_at) == ("0.1.2", later)
    assert "runner:0.1.2 from 2026-11-23T12:00:00Z until 2026-11-23T13:00:00Z" in history.told(seen)


async def test_a_value_out_of_a_log_leads_to_the_digest_that_it_stands_for(store: Store) -> None:
    await _released(store)
    answer = await _answer(store, f"sha256:{PREDICTED[3].value}")
    assert (answer.standing, answer.stands_for) == (Standing.RELEASED, (DIGEST,))


@given(st.binary(min_size=32, max_size=32), st.booleans(), st.sampled_from(["", "sha256:", "ghcr.io/x/y@sha256:"]))
def test_what_people_paste_is_read_as_the_digest_it_is(raw: bytes, shouted: bool, before: str) -> None:  # noqa: FBT001 - drawn
    text = raw.hex().upper() if shouted else raw.hex()
    assert history.normalised(f" {before}{text}\n") == f"sha256:{raw.hex()}"


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha512:" + "a" * 128, "a" * 63, "g" * 64, "\u0661" * 64, base64.b64encode(bytes(32)).decode()],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="no SHA-256 digest"):
        history.normalised(text)
