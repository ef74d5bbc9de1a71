"""Certificate logs through the real spine: read, proven to a signed tree head, and found out when they lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from monitor.ct.rfc6962 import CtLog
from monitor.ct.static import StaticCtLog
from monitor.entries.prefilter import Prefilter
from monitor.judge.intake import Bench
from monitor.model.filters import Page
from monitor.model.log import ConflictKind, Cursor, FollowedLog, LogState, Mode, Protocol
from monitor.rules.policy import Policy
from monitor.store import logs, troubles
from monitor.testbed.ct import CtLog as ServedLog
from monitor.testbed.ct_entry import Submission
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.merkle import CompactRange
from monitor.tlog.note import NoteKey
from monitor.trust import root as trust_root
from monitor.watch.checkpoint import Keeper
from monitor.watch.follow import Follower, Tools
from monitor.watch.keys import LogKey
from monitor.watch.scan import Scanner
from tests.integration.ct.recorded import SIZE, RecordedCT
from tests.replay import RECORDING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.fetch import Client
    from monitor.model.log import Block
    from monitor.store.engine import Store
    from monitor.testbed.ct import Style
    from monitor.watch.follow import Pass
    from monitor.watch.ports import Log

BEGUN = datetime(2020, 1, 1, tzinfo=UTC)
HELD = 300
ROOT = trust_root.parse((RECORDING / "trusted_root.json").read_bytes())


class Nothing(Prefilter):
    """Finds nothing: what is tested here is what is read, not what it says."""

    def candidates(self, block: Block, protocol: Protocol) -> list[int]:  # noqa: ARG002 - as its base has it
        return []


@pytest.fixture(params=["rfc6962", "static"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[ServedLog]:
    style: Style = request.param
    log = ServedLog(style=style, page_size=32)
    async with log:
        for number in range(HELD):
            log.submit(Submission(1_795_000_000_000 + number, b"certificate %d" % number, (b"issuer",)))
        yield log


def opened(served: ServedLog, client: Client) -> Log:
    if served.style == "static":
        return StaticCtLog(served.origin, served.read_url, client, requests_per_second=100_000.0)
    key = NoteKey.tree_head(served.origin, served.spki)
    return CtLog(served.origin, served.read_url, key.key_id, client, requests_per_second=100_000.0)


async def no_link(_raw: bytes) -> NoReturn:
    raise AssertionError("no certificate log sends a note with its proofs")


def bench() -> Bench:
    return Bench(Policy(), ROOT, BEGUN)


class Following:
    """A follower of one log from its first leaf, and what it left in the store. A new one on the same store is a restart."""

    def __init__(self, log: Log, protocol: Protocol, key: NoteKey, store: Store) -> None:
        self.log = FollowedLog(log.origin, protocol, "", Mode.COMPLETE, LogState.ACTIVE)
        self.store = store
        self.ahead = timedelta(0)
        keeper = Keeper(log, self.log, (LogKey(key, BEGUN),), store, Policy(), self.now)
        tools = Tools(store, Nothing(("TruStacks",)), bench, Policy(), self.now)
        self.follower = Follower(log, self.log, keeper, tools, 0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def poll(self) -> Pass:
        async with self.store.write() as tx:
            await logs.upsert(tx, self.log, self.now())
        return await self.follower.run_pass(lambda: False)

    async def cursor(self) -> Cursor:
        async with self.store.read() as tx:
            cursor = await logs.cursor(tx, self.log.origin)
        assert cursor is not None
        return cursor

    async def conflicts(self) -> list[tuple[ConflictKind, int | None]]:
        async with self.store.read() as tx:
            found = await troubles.list_conflicts(tx, self.log.origin, Page(limit=1000))
        return [(row.conflict.kind, row.conflict.index) for row in found]

    async def holes(self) -> set[int]:
        async with self.store.read() as tx:
            found = await logs.holes(tx, self.log.origin, 10_000)
        return {index for hole in found for index in range(hole.begin, hole.end)}

    async def retries(self) -> int:
        async with self.store.read() as tx:
            return (await logs.counters(tx, self.log.origin)).get("retries", 0)


@pytest.fixture
def following(served: ServedLog, client: Client, store: Store) -> Following:
    key = NoteKey.tree_head(served.origin, served.spki)
    protocol = Protocol.STATIC_CT if served.style == "static" else Protocol.RFC6962
    return Following(opened(served, client), protocol, key, store)


async def caught_up(following: Following, served: ServedLog) -> bool:
    """Whether everything that the log holds in truth is proven."""
    cursor = await following.cursor()
    return cursor.position == served.size and cursor.range.root() == served.history.tree.root(served.size)


async def test_all_recorded_leaves_are_proven_to_the_signed_tree_head(client: Client) -> None:
    trusted = ROOT.ct_keys[0].log()
    async with RecordedCT() as server:
        log = CtLog(trusted.origin, server.base, trusted.key_id, client, requests_per_second=100_000.0)
        target = Checkpoint.parse(await log.checkpoint())
        followed = FollowedLog(log.origin, trusted.protocol, server.base, Mode.COMPLETE, LogState.ACTIVE)
        scanner = Scanner(log, followed, Nothing(("TruStacks",)), no_link)
        cursor = Cursor(log.origin, 0, CompactRange.empty(), 0)
        first = await scanner.stride(cursor, 53, target)
        second = await scanner.stride(Cursor(log.origin, 53, first.range, 0), SIZE, target)
    assert (second.range.end, second.range.root()) == (SIZE, target.root)
    assert (first.conflicts, second.conflicts, first.holes, second.holes) == ((), (), (), ())


async def test_the_recorded_log_is_followed_into_the_store(client: Client, store: Store) -> None:
    trusted = ROOT.ct_keys[0].log()
    async with RecordedCT() as server:
        log = CtLog(trusted.origin, server.base, trusted.key_id, client, requests_per_second=100_000.0)
        following = Following(log, trusted.protocol, trusted.key, store)
        passed = await following.poll()
    assert (passed.position, passed.size, passed.leaves, passed.error) == (SIZE, SIZE, SIZE, None)


async def test_a_log_that_grows_is_proven_consistent_and_read_on(served: ServedLog, following: Following) -> None:
    assert (await following.poll()).error is None
    served.submit(Submission(1_796_000_000_000, b"one more", ()))
    passed = await following.poll()
    assert (passed.leaves, passed.error) == (1, None)
    assert await caught_up(following, served)
    assert await following.conflicts() == []


async def test_a_leaf_that_differs_once_is_a_counted_retry(served: ServedLog, following: Following) -> None:
    served.alter_leaf(77, served.history.entry(78).leaf_input, times=1)
    assert (await following.poll()).error is None
    assert await caught_up(following, served)
    assert (await following.retries(), await following.conflicts()) == (1, [])


@pytest.mark.parametrize("index", [0, 77, HELD - 1])
async def test_a_leaf_that_stays_altered_is_evidence_and_holds_nothing_up(
    served: ServedLog, following: Following, index: int
) -> None:
    altered = served.history.entry(index).restamped(1)
    served.alter_leaf(index, altered.leaf_input)
    passed = await following.poll()
    assert (passed.position, passed.error) == (HELD, None)
    assert await caught_up(following, served)
    assert await following.conflicts() == [(ConflictKind.REWRITTEN, index)]
    assert await following.holes() == {index}


async def test_another_certificate_in_a_leafs_place_is_evidence(served: ServedLog, following: Following) -> None:
    served.answer_with(100, 200)
    assert (await following.poll()).error is None
    assert await caught_up(following, served)
    assert await following.conflicts() == [(ConflictKind.REWRITTEN, 100)]


async def test_a_leaf_left_out_of_its_page_costs_no_proof(served: ServedLog, following: Following) -> None:
    served.omit(10)
    passed = await following.poll()
    assert (passed.position, passed.error) == (HELD, None)
    assert await caught_up(following, served)
    assert await following.holes() <= {10}
    served.tell_the_truth()
    await following.poll()
    assert await following.holes() == set()


async def test_leaves_that_are_signed_and_not_given_are_holes_with_proven_hashes(
    served: ServedLog, following: Following
) -> None:
    served.hide_from(296)
    passed = await following.poll()
    assert (passed.position, passed.error) == (HELD, None)
    assert await caught_up(following, served)
    assert await following.holes() == set(range(256 if served.style == "static" else 296, HELD))
    served.tell_the_truth()
    while await following.holes():
        assert (await following.poll()).error is None


async def test_leaves_whose_hash_is_in_nobodys_proof_hold_the_log_up_and_are_told(
    served: ServedLog, following: Following
) -> None:
    served.hide_from(288)  # no perfect subtree of 300 leaves; a log of tiles gives every hash singly
    passed = await following.poll()
    static = served.style == "static"
    assert passed.position == (HELD if static else 288)
    assert await following.conflicts() == []
    following.ahead += timedelta(minutes=11)
    await following.poll()
    assert await following.conflicts() == ([] if static else [(ConflictKind.MISSING, 288)])
    served.tell_the_truth()
    assert (await following.poll()).position == HELD


async def test_one_leaf_that_is_never_given_is_a_hole_with_a_proven_hash(
    served: ServedLog, following: Following
) -> None:
    served.hide_from(HELD - 1)
    passed = await following.poll()
    assert (passed.position, passed.error) == (HELD, None)
    assert await caught_up(following, served)
    assert HELD - 1 in await following.holes()


async def test_two_histories_under_one_key_are_a_fork(served: ServedLog, following: Following) -> None:
    await following.poll()
    served.fork(HELD - 5)
    passed = await following.poll()
    assert passed.error is not None
    assert [kind for kind, _ in await following.conflicts()] == [ConflictKind.FORKED]


async def test_an_old_replica_is_no_conflict(served: ServedLog, following: Following) -> None:
    await following.poll()
    served.serve_old(200)
    await following.poll()
    assert await following.conflicts() == []
    assert await caught_up(following, served)


async def test_a_tree_head_that_the_logs_key_did_not_sign_is_never_believed(
    served: ServedLog, following: Following
) -> None:
    served.sign_with(generate_private_key(SECP256R1()), keep_key_id=True)
    passed = await following.poll()
    assert (passed.position, passed.size) == (0, 0)
    assert [kind for kind, _ in await following.conflicts()] == [ConflictKind.INVALID_CHECKPOINT]


async def test_a_server_that_hangs_up_now_and_then_is_read_all_the_same(
    served: ServedLog, following: Following
) -> None:
    served.drop(times=1, path_prefix=served.base_path)
    assert (await following.poll()).error is None
    assert await caught_up(following, served)
