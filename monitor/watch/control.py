"""The positive control of a Rekor v1 index: asked for a subject that is surely in the log, it must name its entry.

A server that does not know the field answers with an empty list, as if nothing were there. Until the test is passed, silence is worth
nothing; and it never says anything about what is in the log.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.entries import decode
from monitor.errors import FetchError, FormatError, ProofError
from monitor.model.log import Block
from monitor.model.search import IndexState
from monitor.store import entries
from monitor.watch import questions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from monitor.model.log import FollowedLog
    from monitor.model.search import Question
    from monitor.store.engine import Store
    from monitor.watch.fleet import Shards, V1Server
    from monitor.watch.ports import Log

    Sample = tuple[str, str]

_SAMPLES = 3
"""How many subjects are asked for, of our own entries and of strangers': the index may have lost any one of them."""
_ERRORS = 2
BELOW = (500, 5_000, 50_000)
"""How many leaves below the newest checkpoint a stranger's entry is looked for: the index is written a little later than the log."""
_PAGE = 10
_RELEASED = "@refs/tags/"


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test came to. `answers`: the index answered, if not as it should; an index that is off answers nothing."""

    state: IndexState
    answers: bool


async def check(server: V1Server, store: Store, now: datetime) -> Tested:
    """Test the server's index by subject. Raises nothing: what goes wrong is the reason why it is not honoured."""
    asked = 0
    errors: list[str] = []
    try:
        async with aclosing(_samples(server, store)) as samples:
            async for name, uuid in samples:
                question = questions.subject(name)
                if question is None:
                    continue
                asked += 1
                try:
                    if uuid in await answer(server.server, question):
                        return Tested(IndexState(honoured=True, reason="", at=now), answers=True)
                except FetchError as error:  # one subject may have too many entries for an answer
                    errors.append(str(error))
                if len(errors) == _ERRORS:
                    break
    except (FetchError, FormatError, ProofError) as error:
        errors.append(str(error))
    reason = f"asked for {asked} subjects that are in the log, it named none of their entries"
    if errors or not asked:
        reason = errors[-1] if errors else "there is nothing in the log yet to test it with"
    return Tested(IndexState(honoured=False, reason=reason, at=now), answers=not errors)


async def answer(server: Shards, question: Question) -> tuple[str, ...]:
    """The UUIDs that a server's index names for a question. FetchError where it cannot be asked."""
    async with aclosing(server.search([question])) as answers:
        async for each in answers:
            if each.error:
                raise FetchError(each.error)
            return each.uuids
    return ()


async def _samples(server: V1Server, store: Store) -> AsyncGenerator[Sample, None]:
    """Subjects of entries that stand in the log, each with its entry's UUID: some of ours, then some of strangers."""
    async with store.read() as tx:
        ours = await entries.named(tx, [each.followed.origin for each in server.shards], _SAMPLES)
    for sample in ours:
        yield sample
    given = 0
    for follower in reversed(server.shards):
        target = await follower.target()
        if target is None or not target.size:
            continue
        for below in BELOW:
            strangers = await page(follower.log, follower.followed, target.size, below)
            for sample in sorted(strangers, key=lambda each: _RELEASED not in each[0])[: _SAMPLES - given]:
                given += 1
                yield sample
            if given == _SAMPLES:
                return


async def page(log: Log, followed: FollowedLog, size: int, below: int) -> list[Sample]:
    """The first subject of each entry on a page that lies `below` the newest leaf, or at the beginning of the shard."""
    begin = max(0, size - below)
    found = []
    async with aclosing(log.blocks(begin, min(begin + _PAGE, size), size)) as pieces:
        async for piece in pieces:
            if not isinstance(piece, Block):
                continue
            for offset in range(len(piece)):
                leaf = piece.taken(followed.origin, followed.protocol, offset)
                try:
                    decoded = decode.decode(leaf.data, leaf.protocol)
                except FormatError:
                    continue
                first = decoded.signers[0].certificate if decoded.signers else None
                if first is not None and first.san and leaf.promise is not None:
                    found.append((first.san, leaf.promise.uuid))
    return found
