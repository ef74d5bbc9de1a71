"""How customers reach what was signed is read from the store when it is told, and a tag that appears later is told once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.alerts import appeared, handling
from monitor.alerts.message import Paragraph
from monitor.errors import LostRaceError
from monitor.model.finding import Accepted, Fact
from monitor.model.incident import IncidentState
from monitor.model.log import Conflict, ConflictKind, Coverage, Hole
from monitor.model.release import ExpectedHash, InLog
from monitor.rules import integrity
from monitor.store import bundles, health, logs, releases, tags, timeline
from monitor.store.bundles import StoredBundle
from tests.unit.alerts.examples import NOW, signed

if TYPE_CHECKING:
    from monitor.alerts.message import Message
    from tests.integration.alerts.desk import Desk

IMAGE = f"sha256:{'a' * 64}"
LOGGED = f"sha256:{'1' * 64}"
DIGEST = signed("unexpected-digest", digest=LOGGED, accepted=Accepted.YES, ref="refs/tags/v0.1.2")


async def show(desk: Desk, *shown: str, image: str = IMAGE) -> None:
    """Have these tags of runner, and no others, resolve to an image from now on."""
    async with desk.store.write() as tx:
        await tags.observe(tx, "runner", dict.fromkeys(shown, image), [], desk.now)


async def explain(desk: Desk) -> None:
    async with desk.store.write() as tx:
        await releases.add_digests(tx, [], [ExpectedHash(LOGGED[7:], IMAGE, "statement")], desk.now)


async def read_whole(desk: Desk) -> None:
    async with desk.store.write() as tx:
        await health.report(tx, releases.UNREACHABLE, "registry:ghcr.io", desk.now, None)


def reach(message: Message) -> str:
    """The words of the section on reach."""
    (section,) = [each for each in message.sections if each.heading == "Can customers reach it?"]
    return "\n".join(f"{i.name}: {i.seen}" if isinstance(i, Fact) else getattr(i, "text", "") for i in section.items)


def said(message: Message) -> list[str]:
    return [each.text for section in message.sections for each in section.items if isinstance(each, Paragraph)]


async def alarm(desk: Desk) -> None:
    await desk.tell(DIGEST)
    desk.wait(minutes=5)


async def appear(desk: Desk) -> int:
    return await appeared.gather(desk.store, desk.now)


async def test_a_tag_that_appears_after_the_alarm_is_told_in_its_thread_and_closes_nothing(any_desk: Desk) -> None:
    await explain(any_desk)
    await alarm(any_desk)
    assert await appear(any_desk) == 0
    await show(any_desk, "0.1.2")
    assert await appear(any_desk) == 1
    await any_desk.deliver()
    post = any_desk.memory.posts[-1]
    assert post.thread == any_desk.memory.posts[0].id
    assert "tag seen after the alarm" in post.message.title
    assert any(f"runner:0.1.2 shows {IMAGE}" in each and "by monitor at" in each for each in said(post.message))
    assert (await any_desk.incident()).state is IncidentState.OPEN
    assert ("monitor", appeared.TAG) in await any_desk.events()
    async with any_desk.store.read() as tx:
        rows = await timeline.rows(tx)
    assert any(row.kind == "operator" and f"runner:0.1.2 shows {IMAGE}" in row.what for row in rows)


async def test_each_tag_and_digest_is_told_once_however_often_it_comes_and_goes(any_desk: Desk) -> None:
    await explain(any_desk)
    await alarm(any_desk)
    for shown in (("0.1.2",), (), ("0.1.2",), ("0.1.2", "latest")):
        await show(any_desk, *shown)
        any_desk.wait(minutes=5)
        await appear(any_desk)
        assert await appear(any_desk) == 0
    told = [what for _, what in await any_desk.events() if what == appeared.TAG]
    assert len(told) == 2
    await any_desk.drain()
    assert len([each for each in any_desk.titles() if appeared.TAG in each]) == 2


async def test_a_pass_that_is_killed_and_begun_again_or_runs_twice_tells_once(any_desk: Desk) -> None:
    await explain(any_desk)
    await alarm(any_desk)
    await show(any_desk, "0.1.2")
    passes = [asyncio.create_task(appear(any_desk)) for _ in range(4)]
    await asyncio.sleep(0)
    passes[0].cancel()
    done = await asyncio.gather(*passes, return_exceptions=True)
    assert all(isinstance(each, int | LostRaceError | asyncio.CancelledError) for each in done)
    await appear(any_desk)
    assert [what for _, what in await any_desk.events()].count(appeared.TAG) == 1
    await any_desk.drain()
    assert len([each for each in any_desk.titles() if appeared.TAG in each]) == 1


async def test_an_image_signed_by_its_own_digest_is_recognised_by_any_tag_that_shows_it(desk: Desk) -> None:
    await alarm(desk)
    await show(desk, "latest", image=LOGGED)
    assert await appear(desk) == 1


@pytest.mark.parametrize("before", [True, False])
async def test_a_tag_seen_before_the_alarm_or_once_it_is_resolved_is_not_told_as_new(
    desk: Desk, *, before: bool
) -> None:
    await explain(desk)
    if before:
        await show(desk, "0.1.2")
        desk.wait(minutes=1)
    await alarm(desk)
    if not before:
        await handling.resolve(desk.store, 1, "Ada", "we know", desk.now)
        desk.wait(minutes=1)
        await show(desk, "0.1.2")
    assert await appear(desk) == 0


HOLES = tuple(Hole("log.test", begin, begin + 1, b"h" * 32, "404") for begin in (7, 8, 20))


async def test_entries_that_a_log_gives_after_all_are_told_once_those_in_a_row_together(any_desk: Desk) -> None:
    async with any_desk.store.write() as tx:
        await logs.cover(tx, Coverage("log.test", 0, 30, 30), any_desk.now)
        for each in HOLES:
            await logs.add_hole(tx, each, any_desk.now)
    stuck = Conflict(ConflictKind.MISSING, "log.test", "30", "gives neither leaf 30 nor a proof of it", 30)
    await any_desk.tell(*(integrity.hole(each) for each in HOLES), integrity.conflict(stuck))
    assert await appear(any_desk) == 0

    for begin, told in ((7, 0), (8, 1), (20, 1)):
        async with any_desk.store.write() as tx:
            await logs.fill_hole(tx, "log.test", begin, any_desk.now)
        assert await appear(any_desk) == told
        any_desk.wait(minutes=5)
    async with any_desk.store.write() as tx:
        await logs.cover(tx, Coverage("log.test", 30, 31, 31), any_desk.now)
    assert await appear(any_desk) == 1
    assert await appear(any_desk) == 0

    await any_desk.drain()
    posts = [post for post in any_desk.memory.posts if appeared.ENTRY in post.message.title]
    assert {post.thread for post in posts} == {any_desk.memory.posts[0].id}
    for post, words in zip(posts, ("entries 7 to 8 are all in", "entry 20 is in", "entry 30 is in"), strict=True):
        assert any(f"{words} log.test by now; only a person closes this" in each for each in said(post.message))
    assert (await any_desk.incident()).state is IncidentState.OPEN


async def test_the_message_says_which_tags_lead_to_it_now_and_did_and_when_the_registry_was_read(
    any_desk: Desk,
) -> None:
    await explain(any_desk)
    await show(any_desk, "0.1.1", "0.1.2")
    any_desk.wait(minutes=10)
    await show(any_desk, "0.1.2")
    await read_whole(any_desk)
    await any_desk.tell(DIGEST)
    words = reach(any_desk.memory.posts[0].message)
    assert "YES: 1 tag leads to it now." in words
    assert f"image: {IMAGE}" in words
    assert "runner:0.1.2: since 2026-11-23T03:00:00Z, last read 2026-11-23T03:10:00Z" in words
    assert "runner:0.1.1: from 2026-11-23T03:00:00Z until 2026-11-23T03:10:00Z" in words
    assert "registry last read whole: 2026-11-23T03:10:00Z" in words


async def test_a_signature_found_beside_an_image_leads_to_it_too(any_desk: Desk) -> None:
    found = StoredBundle(
        "runner", IMAGE, "sha256:ff", "bundle", None, (LOGGED[7:],), (IMAGE,), None, None, "yes", "", None, None, None,
        InLog.UNCHECKED, "", NOW,
    )  # fmt: skip
    async with any_desk.store.write() as tx:
        await bundles.add(tx, found)
    await show(any_desk, "0.1.2")
    await read_whole(any_desk)
    await any_desk.tell(DIGEST)
    assert "runner:0.1.2: since" in reach(any_desk.memory.posts[0].message)


async def test_what_is_not_known_of_reach_is_said(desk: Desk) -> None:
    await desk.tell(DIGEST)
    assert "No registry is read: whether a tag leads to it is not known." in reach(desk.memory.posts[0].message)

    async with desk.store.write() as tx:
        await health.report(tx, releases.UNREACHABLE, "registry:ghcr.io", desk.now, "503")
    await desk.tell(signed("unexpected-digest", 2, digest=LOGGED, accepted=Accepted.YES))
    assert "The registry was never read whole" in reach(desk.memory.posts[1].message)

    desk.wait(minutes=1)
    await read_whole(desk)
    await desk.tell(signed("unexpected-digest", 3, digest=LOGGED, accepted=Accepted.YES))
    words = reach(desk.memory.posts[2].message)
    assert "that of no image that the registry has shown us" in words
    assert "registry last read whole: 2026-11-23T03:01:00Z" in words


async def test_reach_is_told_as_it_is_when_the_message_is_sent(desk: Desk) -> None:
    await explain(desk)
    await desk.gather(DIGEST)
    desk.wait(minutes=1)
    await show(desk, "0.1.2")
    await read_whole(desk)
    await desk.deliver()
    assert "YES: 1 tag leads to it now." in reach(desk.memory.posts[0].message)
    assert desk.now - NOW == timedelta(minutes=1)
