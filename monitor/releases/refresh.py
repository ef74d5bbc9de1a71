"""Reads the registry: one bounded pass over the artifacts' tags and what lies beside their digests.

What a release tag showed first is pinned; what it shows later only explains. Everything read in a pass is kept, and judged, in
transactions that hold no network; a registry that could not be read wholly never counts as read. It decides no finding itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from monitor.errors import FetchError, NotFoundError
from monitor.judge import releases as judging
from monitor.judge.releases import BELOW
from monitor.model.release import VOUCHING, Authority, DigestKind, ExpectedDigest, Version
from monitor.model.text import clip, rfc3339, visible
from monitor.releases import attachments, beside
from monitor.releases import locate as locating
from monitor.releases.ledger import BASELINE_READ, of_tag, predicted
from monitor.releases.reference import INDEXES
from monitor.rules.release import LATEST
from monitor.store import bundles, health, meta, releases, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from monitor.model.release import TagObservation
    from monitor.releases.beside import Examiner
    from monitor.releases.lookup import Lookup
    from monitor.releases.reference import Manifest, Reference
    from monitor.rules.policy import Policy
    from monitor.store.engine import Store, Tx

_log = structlog.get_logger(__name__)

_AT_ONCE = 8
"""Requests in flight for one artifact."""
_MOST_TAGS = 20_000
_MOST_BELOW = 500
_DEEPEST = 3
_SHOWN = 300
_NAMED = 3


class Registry(Protocol):
    """A registry as this room reads it. Every method raises FetchError when it cannot be asked or contradicts itself."""

    async def tags(self, ref: Reference) -> tuple[str, ...]:
        """Return every tag of a repository."""

    async def resolve(self, ref: Reference, tag: str) -> str | None:
        """Return the verified digest that a tag resolves to; None when there is no such tag."""

    async def manifest(self, ref: Reference, tag_or_digest: str) -> Manifest | None:
        """Return a manifest whose bytes hash to its digest; None when there is none such."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a pass works with. `repositories` names the repository of each artifact, none where no registry is configured."""

    store: Store
    registry: Registry
    repositories: Mapping[str, Reference]
    examiner: Examiner
    policy: Policy
    clock: Callable[[], datetime]
    lookup: Lookup | None = None
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


@dataclass(frozen=True, slots=True)
class _Listing:
    """One artifact's tags as read: `seen` those resolved, `below` every manifest below a digest that is new to us."""

    artifact: str
    ref: Reference
    listed: frozenset[str]
    seen: Mapping[str, str]
    below: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]


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
    read = [each for each in listings if each is not None]
    async with tools.store.write() as tx:
        begun, expected = await _observe(tx, read, tools.policy, began)
        reviewed = await judging.review(tx, tools.policy, began)
    found = expected + reviewed.promoted
    kept, more = await attachments.ask(tools, troubles, stopping)
    looked = 0
    if tools.lookup is not None:
        looked = await locating.look_up(tools.store, tools.lookup, tools.policy, tools.clock, stopping)
    errors = troubles.told()
    async with tools.store.write() as tx:
        await _report(tx, tools, errors, began, whole=not more and not stopping())
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


async def _listing(tools: Tools, artifact: str, ref: Reference, troubles: Troubles) -> _Listing | None:
    """Read one artifact's tags. None, and a trouble, when they could not be listed."""
    try:
        named = await tools.registry.tags(ref)
    except FetchError as error:
        troubles.add(ref.host, str(error))
        async with tools.store.read() as tx:
            seen_before = await tags.current(tx, artifact)
        # Where there is no repository yet, its first tag will be a new release and no baseline.
        empty = isinstance(error, NotFoundError) and not seen_before
        return _Listing(artifact, ref, frozenset(), {}, {}, ()) if empty else None
    wanted = [tag for tag in dict.fromkeys(named) if tag == LATEST or Version.parse(tag)][:_MOST_TAGS]
    limit = asyncio.Semaphore(_AT_ONCE)
    seen: dict[str, str] = {}
    gone: set[str] = set()
    errors: list[str] = []

    async def resolve(tag: str) -> None:
        async with limit:
            try:
                digest = await tools.registry.resolve(ref, tag)
            except FetchError as error:
                errors.append(str(error))
                return
        if digest is None:
            gone.add(tag)
        else:
            seen[tag] = digest

    await asyncio.gather(*(resolve(tag) for tag in wanted))
    async with tools.store.read() as tx:
        known = {each.digest for each in await tags.current(tx, artifact)}
    below: dict[str, tuple[str, ...]] = {}
    for digest in dict.fromkeys(digest for tag, digest in seen.items() if tag != LATEST and digest not in known):
        try:
            below[digest] = await _below(tools.registry, ref, digest)
        except FetchError as error:
            errors.append(str(error))
            # What lies below it is not known: it is read again in the next pass, and not pinned half.
            for tag in [tag for tag, resolved in seen.items() if resolved == digest and tag != LATEST]:
                del seen[tag]
    for told in errors:
        troubles.add(ref.host, told)
    return _Listing(artifact, ref, frozenset(wanted) - gone, seen, below, tuple(errors))


async def _below(registry: Registry, ref: Reference, digest: str) -> tuple[str, ...]:
    """Return every manifest below an index, the nested ones too. FetchError."""
    found: dict[str, None] = {}
    level = [digest]
    for _ in range(_DEEPEST):
        nested: list[str] = []
        for each in level:
            manifest = await registry.manifest(ref, each)
            for child in manifest.manifests if manifest is not None else ():
                if child.digest in found or child.digest == digest or len(found) >= _MOST_BELOW:
                    continue
                if child.digest.startswith("sha256:"):
                    found[child.digest] = None
                    if child.media_type in INDEXES:
                        nested.append(child.digest)
        level = nested
    return tuple(found)


async def _observe(tx: Tx, read: Sequence[_Listing], policy: Policy, now: datetime) -> tuple[int, int]:
    """Keep what the tags resolve to, and make first sights expected. Returns how many stretches began and rows are new."""
    begun = expected = 0
    for listing in read:
        first = await _first_reading(tx, listing, now)
        new = await tags.observe(tx, listing.artifact, listing.seen, listing.listed, now)
        digests: list[ExpectedDigest] = []
        for each in new:
            if Version.parse(each.tag):
                digests.extend(
                    await _expected(tx, each, listing.below.get(each.digest, ()), first=first, among=digests)
                )
        # `latest` vouches for nothing: its hashes only say that customers who name no version reach what a log shows.
        latest = [of_tag(each) for each in new if each.tag == LATEST]
        hashes = [every for each in (*digests, *latest) for every in predicted(each, policy)]
        expected += await releases.add_digests(tx, digests, hashes, now)
        await bundles.want(tx, listing.artifact, [each.digest for each in (*digests, *latest)], now)
        begun += len(new)
    return begun, expected


async def _first_reading(tx: Tx, listing: _Listing, now: datetime) -> bool:
    """Whether this is the first reading of an artifact's tags that is whole: what stands there is the baseline."""
    key = f"{BASELINE_READ}{listing.artifact}"
    if await meta.get(tx, key) is not None:
        return False
    if not listing.errors:
        await meta.set(tx, key, rfc3339(now))
    return True


async def _expected(
    tx: Tx, seen: TagObservation, below: tuple[str, ...], *, first: bool, among: Sequence[ExpectedDigest]
) -> list[ExpectedDigest]:
    """Return the rows of a release tag's digest: pinned when it is the first that anybody vouches for, else only observed."""
    held = [
        each.digest
        for each in (*await releases.digests(tx, seen.tag), *among)
        if (each.version, each.artifact, each.kind) == (seen.tag, seen.artifact, DigestKind.TAG)
        and each.authority in VOUCHING
    ]
    authority = Authority.BASELINE if first else Authority.PINNED
    if held and seen.digest not in held:
        authority = Authority.OBSERVED
    own = ExpectedDigest(seen.tag, seen.artifact, seen.digest, DigestKind.TAG, authority, "registry", "")
    under = [replace(own, digest=each, kind=DigestKind.MANIFEST, reason=BELOW + seen.digest) for each in below]
    return [own, *under]
