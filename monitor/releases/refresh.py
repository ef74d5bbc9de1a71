"""Reads the registry: one bounded pass over the artifacts' tags and what lies beside their digests.

What a release tag showed first is pinned; what it shows later only explains. Everything read in a pass is kept, and judged, in
transactions that hold no network; a registry that could not be read wholly never counts as read. It decides no finding itself.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from monitor.errors import FetchError, NotFoundError
from monitor.judge import releases as judging
from monitor.judge.releases import BELOW
from monitor.model.release import VOUCHING, Authority, DigestKind, ExpectedDigest, Version
from monitor.model.text import clip, rfc3339, visible
from monitor.releases import attachments, beside, listing
from monitor.releases import locate as locating
from monitor.releases.ledger import BASELINE_READ, of_tag, predicted
from monitor.releases.listing import Listing
from monitor.releases.reverify import reverify
from monitor.store import bundles, health, meta, releases, tags

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from monitor.releases.beside import Examiner
    from monitor.releases.ports import Leaves
    from monitor.releases.reference import Reference
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx

_FROM_REGISTRY = frozenset({Authority.PINNED, Authority.BASELINE, Authority.OBSERVED, Authority.DISPUTED})
"""The authorities of what the registry itself showed."""
_BASELINE_LEFT = "registry-baseline-left:"
"""How the store's note begins of which tags of an artifact's first reading were not read with it; the artifact follows."""
_READING = "registry-reading:"
"""How the store's count of an artifact's readings begins; the artifact follows."""
_SHOWN = 300
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Tools:
    """What a pass works with. `repositories` names the repository of each artifact, none where no registry is configured."""

    store: Store
    registry: listing.Registry
    repositories: Mapping[str, Reference]
    examiner: Examiner
    policy: Policy
    clock: Callable[[], datetime]
    newest: Callable[[], Awaitable[Examiner]] | None = None
    """Asks for the trust root anew; the examiner under it."""
    lookup: Leaves | None = None
    """Fetches cited entries out of logs that are not read whole; without it those stay unchecked."""


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What a pass came to. `errors` names each host that could not be read wholly; `more` that the pass was full."""

    tags: int = 0
    begun: int = 0
    expected: int = 0
    bundles: int = 0
    findings: int = 0
    errors: Mapping[str, str] = field(default_factory=dict)
    more: bool = False


class Troubles:
    """What went wrong, by host."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}

    def add(self, host: str, error: str) -> None:
        """Keep one trouble of a host, clipped and made visible."""
        self.of.setdefault(host, []).append(clip(visible(error), _SHOWN))

    def told(self) -> dict[str, str]:
        """Return the troubles in words, the first few of each host and how many more."""
        return {
            host: "; ".join(errors[:_NAMED]) + (f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else "")
            for host, errors in self.of.items()
        }


async def refresh(tools: Tools, stopping: Callable[[], bool] = lambda: False) -> RefreshReport:
    """One pass over every artifact. A registry's trouble is reported to `health` and in the report, never raised."""
    began = tools.clock()
    troubles = Troubles()
    listings = await asyncio.gather(
        *(_listing(tools, artifact, ref, troubles) for artifact, ref in tools.repositories.items())
    )
    async with tools.store.write() as tx:
        read = [each for each, last in listings if each is not None and await _first_to_write(tx, each, last)]
        overtaken = len(read) < sum(each is not None for each, _ in listings)
        begun, expected = await _observe(tx, read, tools.policy, began)
        reviewed = await judging.review(tx, tools.policy, began)
    found = expected + reviewed.promoted
    kept, more = await attachments.ask(tools, troubles, stopping)
    await reverify(tools, stopping)
    looked = 0
    if tools.lookup is not None:
        looked = await locating.look_up(tools.store, tools.lookup, tools.policy, tools.clock, stopping)
    errors = troubles.told()
    async with tools.store.write() as tx:
        await _report(tx, tools, errors, began, whole=not (more or overtaken or stopping()))
        again = await judging.review(tx, tools.policy, tools.clock())
        explained = await beside.take_in(tx, tools.clock())
        located = await locating.locate(tx, tools.policy, tools.clock(), lookup=tools.lookup is not None)
    return RefreshReport(
        tags=sum(len(each.seen) for each in read),
        begun=begun,
        expected=found + explained + again.promoted,
        bundles=kept,
        findings=reviewed.findings + again.findings + looked + located,
        errors=errors,
        more=more,
    )


async def forget_hosts(tx: Tx, hosts: Iterable[str]) -> None:
    """Drop what is known of the health of registries that are not among `hosts` any more."""
    kept = {source_of(host) for host in hosts}
    for each in await releases.registries(tx):
        if each.source not in kept:
            await health.forget(tx, each.rule, each.source)
            await releases.begin_generation(tx)


def source_of(host: str) -> str:
    """Name a registry among the sources of `health`."""
    return f"{releases.REGISTRY}{host}"


async def _report(tx: Tx, tools: Tools, errors: Mapping[str, str], began: datetime, *, whole: bool) -> None:
    """Tell how each host fared. One that was read wholly is known until the pass began, and not a moment longer."""
    hosts = dict.fromkeys(ref.host for ref in tools.repositories.values())
    await forget_hosts(tx, hosts)
    known = {each.source for each in await releases.registries(tx)}
    for host in hosts:
        if source_of(host) not in known and (host in errors or whole):
            await releases.begin_generation(tx)
        if host in errors:
            await health.report(tx, releases.UNREACHABLE, source_of(host), tools.clock(), errors[host])
        elif whole:
            await health.report(tx, releases.UNREACHABLE, source_of(host), began, None)


async def _listing(
    tools: Tools, artifact: str, ref: Reference, troubles: Troubles
) -> tuple[Listing | None, str | None]:
    """Read one artifact's tags, and how often they were read before. None, and a trouble, when they could not be listed."""
    async with tools.store.read() as tx:
        last = await meta.get(tx, f"{_READING}{artifact}")
        pinned = _from_registry(await releases.digests(tx), artifact)
    try:
        read = await listing.read(tools.registry, artifact, ref, pinned)
    except FetchError as error:
        troubles.add(ref.host, str(error))
        async with tools.store.read() as tx:
            seen_before = await tags.current(tx, artifact)
        # Where there is no repository yet, its first tag will be a new release and no baseline.
        return (Listing(artifact, ref) if isinstance(error, NotFoundError) and not seen_before else None), last
    for told in read.errors:
        troubles.add(ref.host, told)
    return read, last


async def _first_to_write(tx: Tx, read: Listing, last: str | None) -> bool:
    """Whether nobody else kept a reading since this one began: which of the two is older cannot be told, so the next pass reads anew."""
    return await meta.next_number(tx, f"{_READING}{read.artifact}", last)


def _from_registry(known: Iterable[ExpectedDigest], artifact: str) -> set[tuple[str, str]]:
    """What an artifact's release tags were found to resolve to, with all that lies below it: (version, digest)."""
    return {
        (each.version, each.digest)
        for each in known
        if each.artifact == artifact and each.kind is DigestKind.TAG and each.authority in _FROM_REGISTRY
    }


async def _observe(tx: Tx, read: Sequence[Listing], policy: Policy, now: datetime) -> tuple[int, int]:
    """Keep what the tags resolve to, and make first sights expected. Returns how many stretches began and rows are new."""
    begun = expected = 0
    for each in read:
        baseline = await _baseline(tx, each, now)
        new = await tags.observe(tx, each.artifact, each.seen, each.listed, now)
        digests = await _expected(tx, each, baseline)
        # `latest`, and what cannot be read to its bottom yet, vouch for nothing: their hashes only say which tag leads to what a log shows.
        shown = [of_tag(stretch) for stretch in new]
        hashes = [every for one in (*digests, *shown) for every in predicted(one, policy)]
        expected += await releases.add_digests(tx, digests, hashes, now)
        await bundles.want(tx, each.artifact, [one.digest for one in (*digests, *shown)], now)
        begun += len(new)
    return begun, expected


async def _baseline(tx: Tx, read: Listing, now: datetime) -> frozenset[str]:
    """Return the tags that stood there when an artifact's tags were first listed, as far as none of them was pinned before."""
    key, left = f"{BASELINE_READ}{read.artifact}", f"{_BASELINE_LEFT}{read.artifact}"
    if await meta.get(tx, key) is not None:
        return frozenset(json.loads(await meta.get(tx, left) or "[]"))
    await meta.set(tx, key, rfc3339(now))
    unread = {tag for tag in read.listed if read.seen.get(tag) not in read.below}
    await meta.set(tx, left, json.dumps(sorted(unread)))
    return read.listed


async def _expected(tx: Tx, read: Listing, baseline: frozenset[str]) -> list[ExpectedDigest]:
    """Return the new rows of release tags: pinned where a digest is the first that anybody vouches for, else only observed.

    It works from state: what could not be read to its bottom is pinned in the pass that can, and is not pinned half.
    """
    known = await releases.digests(tx)
    done = _from_registry(known, read.artifact)
    held: dict[str, set[str]] = {}
    for each in known:
        if (each.artifact, each.kind) == (read.artifact, DigestKind.TAG) and each.authority in VOUCHING:
            held.setdefault(each.version, set()).add(each.digest)
    rows = []
    for tag, digest in read.seen.items():
        if Version.parse(tag) is None or (tag, digest) in done or digest not in read.below:
            continue
        authority = Authority.BASELINE if tag in baseline else Authority.PINNED
        if digest not in held.get(tag, {digest}):
            authority = Authority.OBSERVED
        own = ExpectedDigest(tag, read.artifact, digest, DigestKind.TAG, authority, "registry", "")
        rows.append(own)
        rows += [
            replace(own, digest=each, kind=DigestKind.MANIFEST, reason=BELOW + digest) for each in read.below[digest]
        ]
    return rows
