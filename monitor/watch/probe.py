"""Tries the logs that would be followed: a checkpoint of each, fetched now and counted under its key from the trusted root.

It keeps nothing and judges nothing: what a log served before is not looked at here. A further question to a log (its search index,
a CT log's tree head) is one more function of this kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import BadSignatureError, FetchError, FormatError, UnknownKeyError
from monitor.model.check import Check, ok, refused
from monitor.model.log import LogState, Protocol
from monitor.watch.keys import counted

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.watch.fleet import Opener
    from monitor.watch.ports import Log
    from monitor.watch.trusted import Trusted

_READ_URL = "check the log's read_url in the settings"
_OPERATOR = f"{_READ_URL}; if that is right, ask the operator of the log (Sigstore's: https://status.sigstore.dev)"
_UNKNOWN = (
    f"{_READ_URL}; if that is right, the log has a key newer than the trust root: see how `trust root` fares above"
)
_BAD = f"{_READ_URL}; if that is right, `poll` asks again, keeps what was served as evidence, and alerts"


def name(origin: str) -> str:
    """What the checks of a log are called."""
    return f"log {origin}"


async def checkpoints(opener: Opener, trusted: Trusted, now: datetime) -> tuple[Check, ...]:
    """The newest checkpoint of a log; of a Rekor v1 server, of every shard that it lists."""
    if trusted.protocol is not Protocol.REKOR_V1:
        return (await _checkpoint(_opened(opener, trusted), trusted, now),)
    server = opener.v1(trusted.url)
    try:
        shards = await server.shards()
    except (FetchError, FormatError) as error:
        return (refused(name(trusted.origin), error, _OPERATOR),)
    return tuple([
        await _checkpoint(server.shard(shard), trusted, now, "ended" if shard.state is LogState.ENDED else "active")
        for shard in shards
    ])  # fmt: skip


def _opened(opener: Opener, trusted: Trusted) -> Log:
    if trusted.protocol is Protocol.REKOR_V2:
        return opener.v2(trusted.origin, trusted.url)
    return opener.ct(trusted.followed, trusted.keys[0].key.key_id)


async def _checkpoint(log: Log, trusted: Trusted, now: datetime, shard: str = "") -> Check:
    called = name(log.origin)
    try:
        checkpoint = counted(await log.checkpoint(), log.origin, trusted.keys, now)
    except UnknownKeyError as error:
        return refused(called, error, _UNKNOWN)
    except BadSignatureError as error:
        return refused(called, error, _BAD)
    except (FetchError, FormatError) as error:
        return refused(called, error, _OPERATOR)
    state = f"{shard} shard, " if shard else "ended, " if trusted.ended else ""
    return ok(called, f"{state}checkpoint of {checkpoint.size} leaves, signed by its key; read at {trusted.url}")
