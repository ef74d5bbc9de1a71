"""Importing a release makes its digests expected under every hash cosign logs for them, once, and all or nothing."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from monitor.entries.payloads import simple_signing
from monitor.errors import SettingsError
from monitor.model.release import Authority, DigestKind
from monitor.releases.files import ListedDigest, ListedRelease, ReleaseFile
from monitor.releases.ledger import ImportResult, import_releases, predict_again
from monitor.rules.policy import Policy
from monitor.store import releases
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
        (Authority.PINNED, Authority.APPROVED, False),
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


@pytest.mark.parametrize("value", [A[7:], None])
async def test_with_nothing_imported_there_is_no_source(store: Store, value: str | None) -> None:
    async with store.read() as tx:
        found = await releases.expectations(tx, value)
    assert (found.sources, found.matches) == (False, ())
