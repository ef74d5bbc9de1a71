"""What is expected is added, never changed; a logged hash finds every digest it may stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.model.release import Authority, DigestKind, ExpectedDigest, ExpectedHash, Match
from monitor.store import releases

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.engine import Store

ONE = ExpectedDigest("0.1.2", "runner", "sha256:" + "1" * 64, DigestKind.TAG, Authority.APPROVED, "me", "because")
TWO = replace(ONE, artifact="ui", digest="sha256:" + "2" * 64, author="", reason="")


def hashes(digest: ExpectedDigest) -> list[ExpectedHash]:
    bare = digest.digest.removeprefix("sha256:")
    return [ExpectedHash(bare, digest.digest, "digest"), ExpectedHash("f" * 64, digest.digest, "legacy")]


async def test_nothing_expected_is_no_source_at_all(store: Store) -> None:
    async with store.read() as tx:
        expected = await releases.expectations(tx, "a" * 64)
        assert (expected.matches, expected.complete, expected.sources) == ((), frozenset(), False)
        assert await releases.generation(tx) == 0
        assert await releases.versions(tx) == []


async def test_a_logged_hash_finds_every_digest_it_may_stand_for(store: Store, now: datetime) -> None:
    async with store.write() as tx:
        assert await releases.add_digests(tx, [ONE, TWO], hashes(ONE) + hashes(TWO), now) == 6
        expected = await releases.expectations(tx, "1" * 64)
        assert expected.matches == (Match("0.1.2", "runner", ONE.digest, Authority.APPROVED, "digest"),)
        assert expected.complete == {("0.1.2", "runner"), ("0.1.2", "ui")}
        assert expected.sources
        shared = await releases.expectations(tx, "f" * 64)
        assert [(match.artifact, match.how) for match in shared.matches] == [("runner", "legacy"), ("ui", "legacy")]
        assert (await releases.expectations(tx, None)).matches == ()
        assert (await releases.expectations(tx, "1" * 63)).matches == ()


async def test_a_digest_of_two_versions_matches_both(store: Store, now: datetime) -> None:
    again = replace(ONE, version="0.1.3", authority=Authority.PINNED)
    async with store.write() as tx:
        await releases.add_digests(tx, [ONE, again], hashes(ONE), now)
        matches = (await releases.expectations(tx, "1" * 64)).matches
        assert [(match.version, match.authority) for match in matches] == [
            ("0.1.2", Authority.APPROVED),
            ("0.1.3", Authority.PINNED),
        ]


async def test_adding_what_is_known_changes_nothing_and_anything_new_begins_a_generation(
    store: Store, now: datetime
) -> None:
    async with store.write() as tx:
        assert await releases.add_digests(tx, [ONE], hashes(ONE), now) == 3
        first = await releases.generation(tx)
        assert await releases.add_digests(tx, [replace(ONE, reason="other words")], hashes(ONE), now) == 0
        assert await releases.generation(tx) == first
        assert await releases.digests(tx, "0.1.2") == [ONE]
        assert await releases.add_digests(tx, [], [ExpectedHash("e" * 64, ONE.digest, "new reference")], now) == 1
        assert await releases.generation(tx) == first + 1
        assert await releases.add_digests(tx, [replace(ONE, authority=Authority.PINNED)], [], now) == 1
        assert await releases.generation(tx) == first + 2


async def test_a_claimed_digest_explains_and_never_silences(store: Store, now: datetime) -> None:
    claimed = replace(ONE, authority=Authority.CLAIMED)
    async with store.write() as tx:
        await releases.add_digests(tx, [claimed], hashes(claimed), now)
        expected = await releases.expectations(tx, "1" * 64)
        assert [match.authority for match in expected.matches] == [Authority.CLAIMED]
        assert (expected.complete, expected.sources) == (frozenset(), False)


async def test_thousands_of_digests_are_added_at_once(store: Store, now: datetime) -> None:
    many = [replace(ONE, version=f"0.0.{n}", digest=f"sha256:{n:064x}") for n in range(1200)]
    keys = [ExpectedHash(f"{n:064x}", f"sha256:{n:064x}", "digest") for n in range(1200)]
    async with store.write() as tx:
        assert await releases.add_digests(tx, many, keys, now) == 2400
        assert await releases.versions(tx) == [f"0.0.{n}" for n in range(1200)]
        assert (await releases.expectations(tx, f"{777:064x}")).matches[0].version == "0.0.777"
        assert len(await releases.digests(tx)) == 1200


async def test_a_disputed_digest_keeps_its_row_and_vouches_for_nothing(store: Store, now: datetime) -> None:
    pinned = replace(ONE, authority=Authority.PINNED, author="registry", reason="")
    async with store.write() as tx:
        await releases.add_digests(tx, [pinned, TWO], hashes(ONE), now)
        await releases.dispute(tx, pinned, "Ada", "the wrong image")
        disputed = replace(pinned, authority=Authority.DISPUTED, author="Ada", reason="the wrong image")
        assert await releases.digests(tx) == [disputed, TWO]
        expected = await releases.expectations(tx, "1" * 64)
        assert [match.authority for match in expected.matches] == [Authority.DISPUTED]
        assert expected.complete == {("0.1.2", "ui")}
