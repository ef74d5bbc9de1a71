"""Reads one artifact's tags out of its registry: what each resolves to, and every manifest below what was never read before.

It keeps nothing and judges nothing. What could not be had is told as an error and left out whole, never cut; a registry that no more
answers is not asked a thousand times over.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError, RegistryError
from monitor.model.release import Version
from monitor.model.text import number
from monitor.releases.reference import INDEXES
from monitor.rules.release import LATEST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from monitor.releases.reference import Manifest, Reference

_AT_ONCE = 8
"""Requests in flight for one artifact; as many in a row in vain, and the rest is left for the next pass."""
_MOST_TAGS = 20_000
_MOST_BELOW = 500
_DEEPEST = 3
_REFUSED = frozenset({int(HTTPStatus.UNAUTHORIZED), int(HTTPStatus.FORBIDDEN)})
_CURE = "look at what was pushed there: no release of ours is like that"


class Registry(Protocol):
    """A registry as this room reads it. Every method raises FetchError when it cannot be asked or contradicts itself."""

    async def tags(self, ref: Reference) -> tuple[str, ...]:
        """Return every tag of a repository."""

    async def resolve(self, ref: Reference, tag: str) -> str | None:
        """Return the verified digest that a tag resolves to; None when there is no such tag."""

    async def manifest(self, ref: Reference, tag_or_digest: str) -> Manifest | None:
        """Return a manifest whose bytes hash to its digest; None when there is none such."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One artifact's tags as read: `listed` those there are, `seen` those resolved.

    `below` maps each digest that was not pinned before to every manifest below it; it holds none that could not be read whole.
    """

    artifact: str
    ref: Reference
    listed: frozenset[str] = frozenset()
    seen: Mapping[str, str] = field(default_factory=dict)
    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


def unanswered(error: FetchError) -> bool:
    """Whether the registry itself does not answer or refuses us, and it is not one thing in it that is wrong."""
    if isinstance(error, RegistryError):
        return error.status in _REFUSED
    return not isinstance(error, NotFoundError | OversizeError)


async def read(registry: Registry, artifact: str, ref: Reference, pinned: Collection[tuple[str, str]]) -> Listing:
    """Read an artifact's tags. `pinned` holds the (tag, digest) pairs of which all that lies below is known already.

    FetchError when the tags cannot be listed at all.
    """
    wanted = [tag for tag in await registry.tags(ref) if tag == LATEST or Version.parse(tag)][:_MOST_TAGS]
    resolving = _Resolving(registry, ref)
    # In no order that anybody else chooses: tags that fail in a row must not hide the same others in every pass.
    await asyncio.gather(*(resolving.one(tag) for tag in random.sample(wanted, len(wanted))))
    errors = resolving.told()
    seen = {tag: resolving.seen[tag] for tag in wanted if tag in resolving.seen}
    below: dict[str, tuple[str, ...]] = {}
    for digest in dict.fromkeys(
        digest for tag, digest in seen.items() if tag != LATEST and (tag, digest) not in pinned
    ):
        try:
            below[digest] = await _below(registry, ref, digest)
        except FetchError as error:
            errors.append(str(error))
            if unanswered(error):
                break
    return Listing(artifact, ref, frozenset(wanted) - resolving.gone, seen, below, tuple(errors))


class _Resolving:
    """Resolves tags until the registry stops answering."""

    def __init__(self, registry: Registry, ref: Reference) -> None:
        self._registry = registry
        self._ref = ref
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._in_vain = 0
        self._left = 0
        self._errors: list[str] = []
        self.seen: dict[str, str] = {}
        self.gone: set[str] = set()

    async def one(self, tag: str) -> None:
        async with self._limit:
            if self._in_vain >= _AT_ONCE:
                self._left += 1
                return
            try:
                digest = await self._registry.resolve(self._ref, tag)
            except FetchError as error:
                self._errors.append(str(error))
                if unanswered(error):
                    self._in_vain += _AT_ONCE if isinstance(error, RateLimitedError) else 1
                return
        if self._in_vain < _AT_ONCE:
            self._in_vain = 0
        if digest is None:
            self.gone.add(tag)
        else:
            self.seen[tag] = digest

    def told(self) -> list[str]:
        """What went wrong, in words."""
        left = f"{self._ref}: {number(self._left, 'tag')} left for the next pass, for it does not answer"
        return [*self._errors, *([left] if self._left else [])]


async def _below(registry: Registry, ref: Reference, digest: str) -> tuple[str, ...]:
    """Return every manifest below an index, the nested ones too. FetchError; RegistryError where there are more than can be meant."""
    found: dict[str, None] = {}
    level = [digest]
    for _ in range(_DEEPEST):
        nested: list[str] = []
        for each in level:
            manifest = await registry.manifest(ref, each)
            for child in manifest.manifests if manifest is not None else ():
                if child.digest in found or child.digest == digest:
                    continue
                if child.digest.startswith("sha256:"):
                    found[child.digest] = None
                    if child.media_type in INDEXES:
                        nested.append(child.digest)
        if len(found) > _MOST_BELOW:
            raise RegistryError(f"{ref}: more than {_MOST_BELOW} manifests below {digest}", cure=_CURE)
        level = nested
    if level:
        raise RegistryError(f"{ref}: indexes more than {_DEEPEST} deep below {digest}", cure=_CURE)
    return tuple(found)
