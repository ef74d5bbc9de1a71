"""Importing a release makes its digests expected under every hash cosign logs for them, once, and all or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from monitor.entries import payloads
from monitor.entries.payloads import simple_signing
from monitor.errors import SettingsError
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.releases.files import ListedDigest, ListedRelease, ReleaseFile, parse
from monitor.releases.ledger import ImportResult, Word, approve, import_releases, predict_again, predicted, withdraw
from monitor.rules.policy import Policy
from monitor.store import releases, tags, timeline
from monitor.store.engine import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLICY = Policy()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
A, B, C, D = (f"sha256:{digit * 64}" for digit in "abcd")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/monitor.db")
    yield store
    await store.close()


def file(*digests: ListedDigest, version: str = "0.1.2", reason: str = "", author: str = "") -> ReleaseFile:
    return ReleaseFile("r.toml", (ListedRelease(version, digests, reason, author),))


def tag(digest: str, artifact: str = "runner") -> ListedDigest:
    return ListedDigest(artifact, digest, DigestKind.TAG)


async def take(store: Store, listed: ReleaseFile, authority: Authority = Authority.APPROVED) -> ImportResult:
    return await import_releases(store, listed, POLICY, authority=authority, author="Ada", reason="list", now=NOW)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_an_imported_digest_is_expected_as_itself_as_statement_and_as_legacy_payload(store: Store) -> None:
    assert await take(store, file(tag(A))) == ImportResult(("0.1.2",), 1, 15)
    legacy = sha256(simple_signing(A, "ghcr.io/trustacks/runner"))
    async with store.read() as tx:
        for value in (A[7:], legacy):
            found = await releases.expectations(tx, value)
            assert [(m.version, m.artifact, m.digest) for m in found.matches] == [("0.1.2", "runner", A)]
            assert (found.sources, found.complete) == (True, frozenset({("0.1.2", "runner")}))
        assert (await releases.expectations(tx, B[7:])).matches == ()


async def test_a_file_is_expected_as_itself_alone(store: Store) -> None:
    listed = file(ListedDigest("runner.tar.gz", A, DigestKind.FILE))
    assert (await take(store, listed)).added == 2


async def test_importing_twice_changes_nothing_and_keeps_the_generation(store: Store) -> None:
    await take(store, file(tag(A)))
    async with store.read() as tx:
        before = await releases.generation(tx)
    assert (await take(store, file(tag(A)))).added == 0
    async with store.read() as tx:
        assert await releases.generation(tx) == before


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        (Authority.APPROVED, Authority.APPROVED, True),
        (Authority.APPROVED, Authority.CLAIMED, True),
        (Authority.CLAIMED, Authority.CLAIMED, True),
        (Authority.CLAIMED, Authority.APPROVED, False),
        (Authority.PINNED, Authority.APPROVED, True),
        (Authority.BASELINE, Authority.APPROVED, True),
        (Authority.OBSERVED, Authority.APPROVED, False),
    ],
)
async def test_a_release_is_contradicted_only_by_a_higher_authority(
    store: Store, old: Authority, new: Authority, *, refused: bool
) -> None:
    await take(store, file(tag(A)), old)
    if not refused:
        assert (await take(store, file(tag(B)), new)).added
        return
    with pytest.raises(SettingsError) as caught:
        await take(store, file(tag(C, "ui"), tag(B)), new)
    assert "r.toml: runner 0.1.2 is " in str(caught.value)
    assert A in str(caught.value)
    async with store.read() as tx:
        assert [each.digest for each in await releases.digests(tx)] == [A]


async def test_an_index_may_have_any_number_of_manifests_over_several_imports(store: Store) -> None:
    for digest in (B, C):
        await take(store, file(tag(A), ListedDigest("runner", digest, DigestKind.MANIFEST)))
    async with store.read() as tx:
        assert {each.digest for each in await releases.digests(tx)} == {A, B, C}


async def test_a_release_keeps_its_own_author_and_reason(store: Store) -> None:
    await take(store, file(tag(A), reason="hotfix", author="Grace"))
    await take(store, file(tag(B), version="0.1.3"))
    async with store.read() as tx:
        told = {each.version: (each.author, each.reason) for each in await releases.digests(tx)}
    assert told == {"0.1.2": ("Grace", "hotfix"), "0.1.3": ("Ada", "list")}


async def test_references_added_to_the_settings_count_for_digests_that_are_stored(store: Store) -> None:
    await take(store, file(tag(A)))
    assert await predict_again(store, POLICY, NOW) == 0
    wider = Policy(extra_references=("ghcr.io/trustacks/any",))
    assert await predict_again(store, wider, NOW) == 1
    async with store.read() as tx:
        assert (await releases.expectations(tx, sha256(simple_signing(A, "ghcr.io/trustacks/any")))).matches


def test_configured_annotations_are_expected_beside_signatures_without_them() -> None:
    digest = ExpectedDigest("0.1.2", "runner", f"sha256:{'ab' * 32}", DigestKind.TAG, Authority.APPROVED)
    plain = {each.value for each in predicted(digest, Policy())}
    annotations = {"vendor": "TruStacks"}
    both = {each.value for each in predicted(digest, Policy(annotations=annotations))}
    annotated = payloads.predicted(digest.digest, Policy().references_of("runner"), annotations)
    assert both == plain | {each.value for each in annotated}
    assert len(both) > len(plain)


@pytest.mark.parametrize("value", [A[7:], None])
async def test_with_nothing_imported_there_is_no_source(store: Store, value: str | None) -> None:
    async with store.read() as tx:
        found = await releases.expectations(tx, value)
    assert (found.sources, found.matches) == (False, ())


def seen(digest: str, authority: Authority, kind: DigestKind = DigestKind.TAG, reason: str = "") -> ExpectedDigest:
    return ExpectedDigest("0.1.2", "runner", digest, kind, authority, "registry", reason)


async def add(store: Store, *digests: ExpectedDigest) -> None:
    async with store.write() as tx:
        await releases.add_digests(tx, digests, [], NOW)


async def vouched(store: Store) -> set[str]:
    async with store.read() as tx:
        return {each.digest for each in await releases.digests(tx) if each.authority is Authority.APPROVED}


ADA = Word("Ada", "we released it", NOW)


async def test_approving_vouches_for_what_was_seen_first_with_all_below_it_and_keeps_who_and_why(store: Store) -> None:
    below = seen(B, Authority.PINNED, DigestKind.MANIFEST, f"below {A}")
    await add(store, seen(A, Authority.PINNED), below, seen(C, Authority.OBSERVED))
    done = await approve(store, "0.1.2", POLICY, ADA)
    assert {each.digest for each in done.digests} == {A, B} == await vouched(store)
    async with store.read() as tx:
        (row,) = [each for each in await timeline.rows(tx) if each.kind == "operator"]
    assert row.what.startswith(f"Ada: approved: we released it: runner {A}")
    assert (await approve(store, "0.1.2", POLICY, ADA)).added == 0


async def test_a_moved_tag_is_approved_by_name_with_what_lies_below_it(store: Store) -> None:
    below = seen(D, Authority.OBSERVED, DigestKind.MANIFEST, f"below {C}")
    await add(store, seen(A, Authority.PINNED), seen(C, Authority.OBSERVED), below)
    async with store.write() as tx:
        await tags.observe(tx, "runner", {"0.1.2": C}, [], NOW)
    await approve(store, "0.1.2", POLICY, ADA, observed=True)
    assert await vouched(store) == {C, D}


async def test_only_the_artifacts_named_are_approved(store: Store) -> None:
    await add(store, seen(A, Authority.PINNED), replace(seen(B, Authority.PINNED), artifact="ui"))
    await approve(store, "0.1.2", POLICY, ADA, artifacts=["ui"])
    assert await vouched(store) == {B}


async def test_an_artifact_that_is_none_is_refused_and_nothing_approved(store: Store) -> None:
    await add(store, seen(A, Authority.PINNED))
    with pytest.raises(SettingsError, match="no artifact is called runer"):
        await approve(store, "0.1.2", POLICY, ADA, artifacts=["runner", "runer"])
    async with store.read() as tx:
        assert {each.authority for each in await releases.digests(tx)} == {Authority.PINNED}


async def test_what_is_not_known_cannot_be_approved(store: Store) -> None:
    await add(store, seen(A, Authority.CLAIMED), seen(C, Authority.OBSERVED))
    with pytest.raises(SettingsError, match=r"nothing of 0\.1\.2"):
        await approve(store, "0.1.2", POLICY, ADA)


@pytest.mark.parametrize(("author", "reason"), [("", "why"), ("Ada", " ")])
def test_a_word_without_author_or_reason_is_none(author: str, reason: str) -> None:
    with pytest.raises(SettingsError):
        Word(author, reason, NOW)


async def test_a_release_is_withdrawn_once_with_who_why_and_where_to_read_on(store: Store) -> None:
    assert await withdraw(store, "0.1.2", POLICY, ADA, "https://example.test/1")
    assert not await withdraw(store, "0.1.2", POLICY, Word("Eve", "no", NOW))
    async with store.read() as tx:
        (kept,) = await releases.withdrawn(tx)
    assert (kept.author, kept.reason, kept.advisory) == ("Ada", "we released it", "https://example.test/1")


async def test_what_is_no_version_cannot_be_withdrawn(store: Store) -> None:
    with pytest.raises(SettingsError, match="no semantic version"):
        await withdraw(store, "v0.1.2", POLICY, ADA)


async def test_a_contradiction_is_told_with_its_line(store: Store) -> None:
    await add(store, seen(A, Authority.PINNED))
    text = f'schema = 1\n[[release]]\nversion = "0.1.2"\n[release.artifacts]\nrunner = "{B}"\n'
    listed = parse(text.encode(), "r.toml", POLICY)
    with pytest.raises(SettingsError, match=r"^r.toml:5: runner 0.1.2 is "):
        await take(store, listed)
