"""A person's word replaces what was pinned, with all below it, and never another person's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from monitor.errors import SettingsError
from monitor.judge import releases as judging
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.releases.correct import CORRECTED, Correction, correct
from monitor.releases.ledger import Word, approve
from monitor.rules import releases as rules
from monitor.rules.policy import Policy
from monitor.rules.release import Watched
from monitor.store import bundles, releases, tags
from monitor.store.engine import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLICY = Policy()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ADA = Word("Ada", "the wrong image was pushed first", NOW)
A, B, C, D, E = (f"sha256:{digit * 64}" for digit in "abcde")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/monitor.db")
    yield store
    await store.close()


def row(digest: str, authority: Authority, below: str = "", artifact: str = "runner") -> ExpectedDigest:
    kind = DigestKind.MANIFEST if below else DigestKind.TAG
    return ExpectedDigest("0.1.2", artifact, digest, kind, authority, "registry", f"below {below}" if below else "")


async def add(store: Store, *digests: ExpectedDigest) -> None:
    async with store.write() as tx:
        await releases.add_digests(tx, digests, [], NOW)


async def put_right(store: Store, **wanted: str) -> Correction:
    return await correct(store, "0.1.2", wanted, POLICY, ADA)


async def rows(store: Store) -> set[tuple[str, str, Authority]]:
    async with store.read() as tx:
        return {(each.artifact, each.digest, each.authority) for each in await releases.digests(tx)}


@pytest.mark.parametrize("pinned", [Authority.PINNED, Authority.BASELINE])
async def test_the_pinned_digest_and_all_below_it_are_disputed_and_the_persons_is_approved(
    store: Store, pinned: Authority
) -> None:
    await add(store, row(A, pinned), row(B, pinned, below=A), row(E, pinned, artifact="ui"))
    await add(store, row(C, Authority.OBSERVED), row(D, Authority.OBSERVED, below=C))
    async with store.read() as tx:
        before = await releases.generation(tx)
    await put_right(store, runner=C)
    assert await rows(store) == {
        ("runner", A, Authority.DISPUTED),
        ("runner", B, Authority.DISPUTED),
        ("runner", C, Authority.APPROVED),
        ("runner", C, Authority.OBSERVED),
        ("runner", D, Authority.APPROVED),
        ("runner", D, Authority.OBSERVED),
        ("ui", E, pinned),
    }
    async with store.read() as tx:
        assert await releases.generation(tx) > before
        assert {m.authority for m in (await releases.expectations(tx, A[7:])).matches} <= {Authority.DISPUTED}
        assert Authority.APPROVED in {m.authority for m in (await releases.expectations(tx, C[7:])).matches}
        due = await bundles.due(tx, NOW, NOW, before=NOW, limit=10)
        (word,) = await releases.untold(tx, (CORRECTED,), 10)
    assert (word.who, word.version) == ("Ada", "0.1.2")
    assert word.detail == f"{ADA.reason}: runner {C} in the place of {A} ({pinned})"
    assert {each.digest for each in due} == {C, D}


async def test_correcting_twice_changes_nothing(store: Store) -> None:
    await add(store, row(A, Authority.PINNED))
    assert (await put_right(store, runner=C)).disputed
    before = await rows(store)
    assert not (await put_right(store, runner=C)).disputed
    assert await rows(store) == before
    async with store.read() as tx:
        assert len(await releases.untold(tx, (CORRECTED,), 10)) == 1


async def test_all_of_it_is_put_right_or_nothing(store: Store) -> None:
    await add(store, row(A, Authority.PINNED), row(B, Authority.PINNED, artifact="ui"))
    await approve(store, "0.1.2", POLICY, ADA, artifacts=["ui"])
    before = await rows(store)
    with pytest.raises(SettingsError, match=r"approved by Ada: no word replaces another person's"):
        await put_right(store, runner=C, ui=D)
    assert await rows(store) == before


async def test_where_nothing_is_pinned_there_is_nothing_to_replace(store: Store) -> None:
    await add(store, row(A, Authority.CLAIMED))
    for digest in (A, C):
        with pytest.raises(SettingsError, match="nothing to replace"):
            await put_right(store, runner=digest)


async def test_a_disputed_digest_is_not_approved_with_the_rest_and_a_second_correction_is_refused(store: Store) -> None:
    await add(store, row(A, Authority.PINNED), row(B, Authority.PINNED, artifact="ui"))
    await put_right(store, runner=C)
    await approve(store, "0.1.2", POLICY, ADA)
    assert ("runner", A, Authority.APPROVED) not in await rows(store)
    with pytest.raises(SettingsError, match="approved by Ada"):
        await put_right(store, runner=D)


async def test_a_tag_that_still_shows_the_disputed_digest_is_a_moved_tag(store: Store) -> None:

    await add(store, row(A, Authority.PINNED))
    async with store.write() as tx:
        await tags.observe(tx, "runner", {"0.1.2": A}, [], NOW)
    await put_right(store, runner=C)
    async with store.read() as tx:
        release = (await judging.load(tx, POLICY))["0.1.2"]
    found = rules.judge(release, Watched(), POLICY, replace(ADA, at=NOW.replace(day=24)).at)
    assert "tag-moved" in {each.rule for each in found}
