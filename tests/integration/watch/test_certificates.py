"""A certificate in a certificate log and what was signed with it, over real HTTP: one act for those who are told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.history import issued
from monitor.judge import lookups as looking
from monitor.model.filters import EntryFilter, Page
from monitor.model.lookup import LookupState
from monitor.store import entries, lookups, timeline
from monitor.testbed import bodies
from monitor.testbed.ca import Claims
from monitor.testbed.world import World
from tests.integration.alerts.desk import Desk
from tests.integration.watch.conftest import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.fetch import Client
    from monitor.model.finding import Finding
    from monitor.store.engine import Store

BRANCH = Claims(ref="refs/heads/main", run="17000000042")
NO_RUN = replace(BRANCH, extra={21: None})
DEADLINE = timedelta(hours=2)


@pytest.fixture(params=["rfc6962", "static"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with World(ct_style=request.param) as world:
        yield world


class Followed:
    """A world with its certificate log, watched and told of."""

    def __init__(self, world: World, store: Store, client: Client) -> None:
        self.world = world
        self.watch = Watch(world, store, client, certificates=True)
        self.store = store
        self.desk = Desk(store)

    async def poll(self, only: str = "") -> None:
        """Read the logs whose origin begins with `only`, review, and tell."""
        self.watch.only = only
        for passed in (await self.watch.poll()).values():
            assert (passed.behind, passed.error) == (0, None)
        await self.review()
        self.desk.now = self.watch.now()
        await self.desk.gather()
        await self.desk.drain()

    async def review(self) -> int:
        async with self.store.write() as tx:
            return await looking.review(tx, self.watch.policy, self.watch.now())

    async def read_whole(self) -> None:
        """Say that all was read in which the entries could stand."""
        async with self.store.write() as tx:
            open_ = [each.issuance for each in await lookups.unsettled(tx)]
            await lookups.read_whole(tx, open_, self.watch.now())

    async def states(self) -> dict[LookupState, int]:
        async with self.store.read() as tx:
            return await lookups.counts(tx)

    async def unlogged(self) -> list[Finding]:
        return [each for each in await self.watch.found() if each.rule == "unlogged-certificate"]


@pytest.fixture
def followed(world: World, store: Store, client: Client) -> Followed:
    return Followed(world, store, client)


@pytest.mark.parametrize("claims", [BRANCH, NO_RUN], ids=["with a run", "without a run"])
async def test_certificate_and_signature_are_one_event_one_incident_and_one_message(
    followed: Followed, world: World, claims: Claims
) -> None:
    world.sign("v2", claims=claims)
    await followed.poll(world.ct.origin)
    assert await followed.states() == {LookupState.OPEN: 1}
    (post,) = followed.desk.memory.posts
    assert "is being looked for" in str(post.message)

    await followed.poll()

    assert await followed.states() == {LookupState.FOUND: 1}
    async with followed.store.read() as tx:
        rows = await entries.list_entries(tx, EntryFilter(), Page())
        axis = [row.what for row in await timeline.rows(tx) if row.kind == "signature"]
    assert [row.kind for row in rows] == ["precertificate", "hashedrekord"]
    assert len({row.event for row in rows}) == 1
    assert axis == [f"a certificate was issued for {rows[0].identity}", f"{rows[1].identity} signed {rows[1].digest}"]
    (incident,) = await followed.desk.incidents()
    assert incident.count == 2
    assert len(followed.desk.memory.posts) == 1
    (_, edited), *_ = followed.desk.memory.changed
    assert "is being looked for" not in str(edited)
    assert world.v2.origin in str(edited)


async def test_a_second_signature_with_another_certificate_of_the_run_is_told(followed: Followed, world: World) -> None:
    world.sign("v2", claims=BRANCH)
    await followed.poll()
    world.sign("v2", claims=BRANCH)
    await followed.poll(world.ct.origin)
    await followed.poll()
    first, second = followed.desk.memory.posts
    assert (second.thread, second.broadcast) == (first.id, True)
    assert second.message.title.startswith("New certificate in")


async def test_a_certificate_that_signed_nothing_public_is_told_after_its_time_and_taken_back_when_it_did(
    followed: Followed, world: World
) -> None:
    key = generate_private_key(SECP256R1())
    certificate = world.ca.issue(key.public_key(), Claims())
    await followed.poll()
    followed.watch.ahead = DEADLINE
    assert await followed.review() == 0  # not all was read yet
    await followed.read_whole()
    followed.watch.ahead += DEADLINE - timedelta(minutes=10)
    assert await followed.review() == 0
    followed.watch.ahead += timedelta(minutes=10)
    await followed.poll()
    (finding,) = await followed.unlogged()
    facts = {fact.name: fact.seen for fact in finding.facts}
    assert facts["certificate serial"] == f"{certificate.serial_number:x}"
    assert (finding.log, finding.index) == (world.ct.origin, 0)
    assert (finding.severity, finding.trusted, finding.history) == ("low", True, False)
    assert [incident.key for incident in await followed.desk.incidents()] == [f"run:{finding.run}"]
    assert await followed.states() == {LookupState.UNLOGGED: 1}
    assert await followed.review() == 0

    world.add("v2", bodies.hashedrekord_v2(key, certificate, bytes(32)))
    await followed.poll()
    assert await followed.unlogged() == []
    assert await followed.states() == {LookupState.FOUND: 1}


async def test_where_no_certificate_of_ours_was_seen_nothing_is_said_of_any(followed: Followed) -> None:
    async with followed.store.read() as tx:
        assert await issued.statement(tx) is None


async def test_one_of_a_run_that_signed_otherwise_is_excused_even_afterwards(followed: Followed, world: World) -> None:
    first, second = Claims(run="17000000051"), Claims(run="17000000052")
    world.issue_only(first)
    world.issue_only(second)
    world.sign("v2", claims=replace(first, attempt=2))
    await followed.poll()
    await followed.read_whole()
    followed.watch.ahead = DEADLINE
    await followed.poll()
    states = {LookupState.FOUND: 1, LookupState.EXCUSED: 1, LookupState.UNLOGGED: 1}
    assert await followed.states() == states
    async with followed.store.read() as tx:
        assert await issued.statement(tx) == (
            "3 of ours: 1 with their signature, 1 that signed nothing public in a run that signed otherwise, "
            "1 that signed nothing public"
        )
    (finding,) = await followed.unlogged()
    assert finding.run is not None
    assert finding.run.endswith(second.run)

    world.sign("v2", claims=second)
    await followed.poll()
    assert await followed.unlogged() == []
    assert await followed.states() == {LookupState.FOUND: 2, LookupState.EXCUSED: 2}


async def test_one_issued_before_watching_began_is_told_with_the_baseline(followed: Followed, world: World) -> None:
    followed.watch.watch_from = followed.watch.now() + timedelta(days=1)
    world.issue_only(BRANCH)
    await followed.poll()
    await followed.read_whole()
    followed.watch.ahead = DEADLINE
    await followed.poll()
    assert [finding.history for finding in await followed.watch.found()] == [True, True]
    assert [incident.key for incident in await followed.desk.incidents()] == ["baseline"]
