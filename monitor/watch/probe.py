"""Tries the logs that would be followed: a checkpoint of each, fetched now and counted under its key from the trusted root.

Of a Rekor v1 server also the search index, where that is relied on. It keeps nothing and judges nothing: what a log served before is
not looked at here. A further question to a log is one more function of this kind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.errors import BadSignatureError, FetchError, FormatError, UnknownKeyError
from monitor.model.check import Check, CheckState, failed, ok, refused, skipped
from monitor.model.log import LogState, Mode, Protocol, title
from monitor.watch import control, questions
from monitor.watch.keys import counted

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.watch.fleet import Opener, Shards
    from monitor.watch.ports import Log
    from monitor.watch.trusted import Trusted

_READ_URL = "check the log's read_url in the settings"
_OPERATOR = f"{_READ_URL}; if that is right, ask the operator of the log (Sigstore's: https://status.sigstore.dev)"
_UNKNOWN = (
    f"{_READ_URL}; if that is right, the log has a key newer than the trust root: see how `trust root` fares above"
)
_BAD = f"{_READ_URL}; if that is right, `poll` asks again, keeps what was served as evidence, and alerts"
_KIND = 'it answers as a log of the kind {0}: set protocol = "{0}" for it under [[watch.logs]] in the settings'
_SAMPLES = 3
_WITHOUT_INDEX = {
    Mode.CERTIFICATES: (
        "no signature by a trusted certificate is lost: the ten minutes of each certificate are read in place of the index, with up to "
        "13,600 requests; untrusted certificates and bare keys are not seen meanwhile. Ask the operator of the server to turn its "
        "index on, or to run Rekor 1.5.4 or newer"
    ),
    Mode.SEARCH: (
        'by its index alone nothing new of this log is seen: set mode = "certificates" for it, or ask the operator of the server to '
        "turn the index on, or to run Rekor 1.5.4 or newer"
    ),
}


def name(origin: str, url: str = "") -> str:
    """What the checks of a log are called."""
    return f"log {title(origin, url)}"


def index_name(host: str) -> str:
    """What the check of a Rekor v1 server's index is called."""
    return f"search index {host}"


async def checkpoints(opener: Opener, trusted: Trusted, now: datetime) -> tuple[Check, ...]:
    """The newest checkpoint of a log; of a Rekor v1 server, of every shard that it lists."""
    if trusted.protocol is not Protocol.REKOR_V1:
        check = await _checkpoint(_opened(opener, trusted), trusted, now)
        other = await _other_kind(opener, trusted) if check.state is CheckState.FAILED else None
        return (check if other is None else failed(check.name, check.said, _KIND.format(other.value)),)
    server = opener.v1(trusted.url)
    try:
        shards = await server.shards()
    except (FetchError, FormatError) as error:
        return (refused(name(trusted.origin, trusted.url), error, _OPERATOR),)
    return tuple([
        await _checkpoint(server.shard(shard), trusted, now, "ended" if shard.state is LogState.ENDED else "active")
        for shard in shards
    ])  # fmt: skip


def _opened(opener: Opener, trusted: Trusted) -> Log:
    if trusted.protocol is Protocol.REKOR_V2:
        return opener.v2(trusted.origin, trusted.url)
    return opener.ct(trusted.followed, trusted.keys[0].key.key_id)


async def _other_kind(opener: Opener, trusted: Trusted) -> Protocol | None:
    """The other protocol of certificate logs, where that is what answers: the trust root does not tell which one a log speaks."""
    if not trusted.protocol.certificates:
        return None
    other = Protocol.STATIC_CT if trusted.protocol is Protocol.RFC6962 else Protocol.RFC6962
    try:
        await opener.ct(replace(trusted.followed, protocol=other), trusted.keys[0].key.key_id).checkpoint()
    except (FetchError, FormatError):
        return None
    return other


async def _checkpoint(log: Log, trusted: Trusted, now: datetime, shard: str = "") -> Check:
    called = name(log.origin, trusted.url)
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


async def index(opener: Opener, trusted: Trusted, now: datetime) -> tuple[Check, ...]:
    """Whether a Rekor v1 server's index finds by subject what stands in its log; no check where all of the log is read."""
    if trusted.protocol is not Protocol.REKOR_V1 or trusted.mode is Mode.COMPLETE:
        return ()
    called, server = index_name(trusted.origin), opener.v1(trusted.url)
    try:
        samples = await _samples(server, trusted, now)
    except (FetchError, FormatError, UnknownKeyError, BadSignatureError) as error:
        return (skipped(called, f"the log gives no entry to ask it for: {error}"),)
    if not samples:
        return (skipped(called, "there is nothing in the log yet to ask it for"),)
    said = f"asked for {len(samples)} subjects that are in the log, it named none of their entries"
    for subject, uuid in samples:
        question = questions.subject(subject)
        try:
            if question is not None and uuid in await control.answer(server, question):
                return (
                    ok(called, f"asked for a subject that is in the log, it names its entry (mode {trusted.mode})"),
                )
        except FetchError as error:
            said = str(error)
    return (failed(called, said, _WITHOUT_INDEX[trusted.mode]),)


async def _samples(server: Shards, trusted: Trusted, now: datetime) -> list[tuple[str, str]]:
    """Subjects of entries in the newest shard that has any, each with its entry's UUID."""
    for shard in reversed(await server.shards()):
        log = server.shard(shard)
        size = counted(await log.checkpoint(), shard.origin, trusted.keys, now).size
        for below in control.BELOW if size else ():
            found = await control.page(log, shard, size, below)
            if found:
                return found[:_SAMPLES]
    return []
