"""How many requests it takes to find our entries in a log of a hundred million that grows by 200 a second, ten a page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.entries.payloads import predicted
from monitor.fetch import Client, FetchOptions
from monitor.model.release import Authority, DigestKind, ExpectedDigest
from monitor.store import logs, releases
from monitor.testbed.bodies import hashedrekord_v1
from monitor.testbed.ca import Claims
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.testbed.giant import GiantV1
    from tests.integration.watch.searched import Hunt

CEILING = 200
PASS = timedelta(seconds=30)


@pytest.fixture
async def far(hunt: Hunt, giant: GiantV1) -> AsyncIterator[Hunt]:
    giant.latency = 0.01
    giant.ceiling = CEILING + 20  # a sliding second may hold requests that this machine was late with
    async with Client(FetchOptions(attempts=4)) as patient:
        yield replace(hunt, client=patient, giant=giant, rate=CEILING, pass_time=PATIENCE)


def sign(hunt: Hunt, giant: GiantV1, claims: Claims) -> int:
    key = generate_private_key(SECP256R1())
    certificate = hunt.world.ca.issue(key.public_key(), claims)
    return giant.append(hashedrekord_v1(key, certificate, bytes(32)))


async def released(hunt: Hunt, count: int) -> None:
    async with hunt.store.write() as tx:
        for number in range(count):
            digest = f"sha256:{number:064x}"
            expected = ExpectedDigest(f"0.{number}.0", "runner", digest, DigestKind.TAG, Authority.APPROVED)
            known = predicted(digest, hunt.policy.references_of("runner"))
            await releases.add_digests(tx, [expected], known, hunt.clock())


async def test_with_the_index_a_signature_is_found_in_one_pass_and_a_pass_takes_few_requests(
    far: Hunt, giant: GiantV1
) -> None:
    await released(far, 12)
    history = sign(far, giant, Claims(ref="refs/tags/v0.3.0"))
    await far.search()
    assert await far.indexes_stored() == [history]

    for _ in range(3):
        ours = sign(far, giant, Claims(ref="refs/heads/feature"))
        far.clock.move(seconds=PASS.total_seconds())
        before = giant.counts.total()
        await far.search()
        await far.look_up()
        assert giant.counts.total() - before < 2 * PASS.total_seconds()
        assert ours in await far.indexes_stored()
    async with far.store.read() as tx:
        assert await logs.coverage(tx, giant.origin) == []


async def test_without_it_the_digest_is_had_when_its_minutes_are_read_at_the_ceiling(far: Hunt, giant: GiantV1) -> None:
    giant.index_off = 501
    giant.rate = 3.0
    await far.poll()
    far.clock.move(minutes=30)
    await far.poll()
    ours = sign(far, giant, Claims(ref="refs/heads/feature"))
    sign(far, giant, Claims(org="globex"))
    far.clock.move(minutes=14)
    await far.poll()

    asked = giant.counts.total()
    await far.looking.run_pass(lambda: False)
    asked = giant.counts.total() - asked

    async with far.store.read() as tx:
        (read,) = await logs.coverage(tx, giant.origin)
    leaves = read.end - read.begin
    assert 11 * 60 * 3 <= leaves <= 11 * 60 * 3 + 2 * 64 + 2
    assert await far.indexes_stored() == [ours]
    assert asked < leaves / 10 + 40  # the control, the borders, and a few proofs
    assert [lookup.read_at is not None for lookup in await far.lookups()] == [True]


async def test_what_ends_where_the_log_signed_is_proven_by_that_and_asks_for_nothing(
    hunt: Hunt, giant: GiantV1
) -> None:
    far = replace(hunt, giant=giant)
    sizes = []
    for _ in range(4):
        await far.poll()
        target = await far.server.shards[-1].target()
        assert target is not None
        sizes.append(target.size)
        far.clock.move(seconds=3)
    follower = far.server.shards[-1]
    giant.counts.clear()

    read = await follower.span(sizes[0], sizes[-1], lambda: False)

    assert read.leaves == sizes[-1] - sizes[0] > 1500
    assert giant.counts["/api/v1/log/entries"] == 1  # where it began
    async with far.store.read() as tx:
        covered = await logs.coverage(tx, giant.origin)
    assert [(each.begin, each.end) for each in covered] == [(sizes[0], sizes[-1])]
