"""Which tags lead to what a log shows: from a logged hash to the images that it stands for, and to the tags that showed them.

It joins what other files of this room keep, and keeps nothing. That no tag is found says only that none was read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa

from monitor.model.release import Exposure
from monitor.store import releases, tags
from monitor.store.tables import bundles, expected_digests, expected_hashes, tag_observations

if TYPE_CHECKING:
    from monitor.store.connect import Tx

_SHA256 = "sha256:"
_VALUE = re.compile(r"[0-9a-f]{64}", re.ASCII)


async def of(tx: Tx, logged: str) -> Exposure:
    """Return how customers reach what `logged` (`sha256:…`, as a log shows it) stands for."""
    digests = await _images(tx, logged)
    seen = [each for digest in digests for each in await tags.of_digest(tx, digest)]
    hosts = await releases.registries(tx)
    return Exposure(
        logged,
        digests,
        tuple(sorted(seen, key=lambda each: (each.first_seen, each.artifact, each.tag))),
        registry=bool(hosts),
        read_at=releases.known_until(hosts),
    )


async def _images(tx: Tx, logged: str) -> tuple[str, ...]:
    """The digests that a logged one is a hash of: by what was computed ahead, by what a signature beside an image says, or itself."""
    value = logged.removeprefix(_SHA256)
    if not _VALUE.fullmatch(value):
        return ()
    h, b, t, d = expected_hashes.c, bundles.c, tag_observations.c, expected_digests.c
    found = dict.fromkeys(await tx.scalars(sa.select(h.digest).where(h.value == value).order_by(h.digest)))
    shown = sa.type_coerce(b.payload_hashes, sa.Text()).contains(value)
    told = sa.select(b.subjects).where(shown, b.verified != "no").order_by(b.id)
    for subjects in await tx.scalars(told):
        found |= dict.fromkeys(subjects)
    itself = sa.select(sa.or_(sa.exists().where(t.digest == logged), sa.exists().where(d.digest == logged)))
    if await tx.scalar(itself):
        found[logged] = None
    return tuple(found)
