"""All that is known of one digest: who signed it under any of its disguises, whose it is, which tags reach it, and how far we would know.

A customer's report starts here, so "nothing seen" is only ever said beside how far was looked (P6). It reads the store and asks nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.entries import payloads
from monitor.errors import SettingsError
from monitor.model.filters import EntryFilter, FindingFilter, Page
from monitor.model.finding import Accepted, Severity
from monitor.model.release import VOUCHING, DigestKind, DigestStatus
from monitor.model.rulebook import RULES
from monitor.model.text import clip, rfc3339, visible
from monitor.rules import published
from monitor.store import bundles, entries, findings, reading, releases, tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from monitor.model.release import ExpectedDigest, ExpectedHash, TagObservation, Withdrawal
    from monitor.rules.policy import Policy
    from monitor.store.bundles import StoredBundle
    from monitor.store.engine import Tx
    from monitor.store.entries import EntryRow

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_PAGE = 200
_MOST = 2_000
"""Entries of one digest that are looked through: more than any release has."""
_SHOWN = 80
_MOVED = "tag-moved"


class Standing(StrEnum):
    """The verdict, the worst that applies."""

    SUSPECT = "suspect"
    """A signature in our name over it has a high or critical finding, or a released tag was moved to it, which is no release's."""
    WITHDRAWN = "withdrawn"
    """It belongs only to releases that were pulled."""
    RELEASED = "released"
    UNSIGNED = "released, no signature seen"
    SIGNED = "signed, whose it is not known"
    """Signed in our name, or found beside a release, and no release's that we know of; no rule holds against it (yet)."""
    STRAY = "reached by a tag, in no release"
    UNKNOWN = "unknown"
    """Nothing that we saw concerns it."""


@dataclass(frozen=True, slots=True)
class Disguise:
    """A value under which the digest may stand in a log, with how it gets there, and the ids of entries that show it."""

    value: str
    how: str
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DigestAnswer:
    """Everything about one digest (`sha256:…`).

    `known_since` and `known_until` bound the time in which nothing logged can have been missed, over all followed logs; both None
    where a log has a gap. `stands_for` names the released digests that it is a disguise of, where it is a logged value itself.
    """

    digest: str
    standing: Standing
    verdict: str
    accepted: Accepted | None
    expected: tuple[ExpectedDigest, ...]
    withdrawn: tuple[Withdrawal, ...]
    stands_for: tuple[str, ...]
    signatures: tuple[EntryRow, ...]
    disguises: tuple[Disguise, ...]
    tags: tuple[TagObservation, ...]
    bundles: tuple[StoredBundle, ...]
    known_since: datetime | None
    known_until: datetime | None
    registry_read_at: datetime | None
    """Until when every registry is known; None where there is none, or one was never read whole."""
    caveats: tuple[str, ...]


def normalised(text: str) -> str:
    """`sha256:` and 64 lower-case hex digits, out of what a person gives. SettingsError when it is no SHA-256 digest."""
    found = _DIGEST.fullmatch(text.strip().rpartition("@")[2])
    if found is None:
        raise SettingsError(
            f"{visible(clip(text, _SHOWN))!r} is no SHA-256 digest",
            cure="give sha256: and 64 hexadecimal digits, as `docker inspect` or `crane digest` print them",
        )
    return f"sha256:{found[1].lower()}"


async def answer(tx: Tx, digest: str, policy: Policy) -> DigestAnswer:
    """Answer for a digest in the form of `normalised`, known or not."""
    mine = [each for each in await releases.digests(tx) if each.digest == digest]
    pulled = {each.version: each for each in await releases.withdrawn(tx)}
    matches = (await releases.expectations(tx, digest.removeprefix("sha256:"))).matches
    stands_for = tuple(dict.fromkeys(m.digest for m in matches if m.digest != digest and m.authority in VOUCHING))
    found, disguises, whole = await _signatures(tx, digest, await _values(tx, digest, policy))
    observed, beside = await tags.of_digest(tx, digest), await bundles.of_digest(tx, digest)
    watched = await reading.watched(tx)
    withdrawn = tuple(pulled[each.version] for each in _once(mine) if each.version in pulled)
    vouched = any(each.authority in VOUCHING for each in mine)
    moved = not vouched and bool(await findings.list_findings(tx, FindingFilter(rule=_MOVED, digest=digest), Page(1)))
    standing = _standing(mine, withdrawn, found, observed, stands_for, moved=moved)
    read_at = releases.known_until(await releases.registries(tx))
    caveats = [*_caveats(watched is not None, read_at, bool(observed), policy)]
    if not whole:
        caveats.append(f"more than {_MOST} entries show one value; the first of them were read")
    return DigestAnswer(
        digest=digest,
        standing=standing,
        verdict=_verdict(standing, mine, found, moved=moved),
        accepted=published.worst(each.accepted for each in found if not each.disproven) if found else None,
        expected=tuple(mine),
        withdrawn=withdrawn,
        stands_for=stands_for,
        signatures=found,
        disguises=disguises,
        tags=tuple(observed),
        bundles=tuple(beside),
        known_since=watched[0] if watched else None,
        known_until=watched[1] if watched else None,
        registry_read_at=read_at,
        caveats=tuple(caveats),
    )


async def _values(tx: Tx, digest: str, policy: Policy) -> list[ExpectedHash]:
    """Every value under which the digest may be logged: those predicted, and those that fetched signatures gave us."""
    references = dict.fromkeys(each for artifact in policy.artifacts for each in policy.references_of(artifact))
    every = (*references, *policy.extra_references)
    annotated = payloads.predicted(digest, every, policy.annotations) if policy.annotations else ()
    values = {each.value: each for each in (*annotated, *payloads.predicted(digest, every))}
    for each in await releases.hashes(tx, digest):
        values.setdefault(each.value, each)
    return list(values.values())


async def _signatures(
    tx: Tx, digest: str, values: Iterable[ExpectedHash]
) -> tuple[tuple[EntryRow, ...], tuple[Disguise, ...], bool]:
    """The entries that show any of the values or were matched to the digest, in their order; whether that is all of them."""
    rows, whole = await _listed(tx, digest)
    found = {row.id: row for row in rows}
    disguises: list[Disguise] = []
    for value in values:
        rows, all_of_it = await _listed(tx, f"sha256:{value.value}")
        whole = whole and all_of_it
        shown = [row for row in rows if row.digest == f"sha256:{value.value}"]
        found.update((row.id, row) for row in shown)
        disguises.append(Disguise(value.value, value.how, tuple(row.id for row in shown)))
    return tuple(found[each] for each in sorted(found)), tuple(disguises), whole


async def _listed(tx: Tx, digest: str) -> tuple[list[EntryRow], bool]:
    found: list[EntryRow] = []
    while len(found) < _MOST:
        page = await entries.list_entries(tx, EntryFilter(digest=digest), Page(_PAGE, found[-1].id if found else None))
        found += page
        if len(page) < _PAGE:
            return found, True
    return found, False


def _standing(
    mine: Sequence[ExpectedDigest],
    withdrawn: Sequence[Withdrawal],
    found: Sequence[EntryRow],
    observed: Sequence[TagObservation],
    stands_for: Sequence[str],
    *,
    moved: bool,
) -> Standing:
    vouched = {each.version for each in mine if each.authority in VOUCHING}
    standing = [row for row in found if not row.disproven]
    if moved or any(_grave(row) for row in standing):
        return Standing.SUSPECT
    if vouched:
        if vouched <= {each.version for each in withdrawn}:
            return Standing.WITHDRAWN
        below = all(each.kind is not DigestKind.TAG for each in mine)
        return Standing.RELEASED if standing or below else Standing.UNSIGNED
    if stands_for:
        return Standing.RELEASED
    if standing:
        return Standing.SIGNED
    return Standing.STRAY if observed else Standing.UNKNOWN


def _grave(row: EntryRow) -> bool:
    """Whether a finding against it says that the signature should not exist; what only strangers can make does not."""
    return any(rule in RULES and RULES[rule].severity >= Severity.HIGH for rule in row.rules)


def _verdict(standing: Standing, mine: Sequence[ExpectedDigest], found: Sequence[EntryRow], *, moved: bool) -> str:
    vouched = [each for each in mine if each.authority in VOUCHING]
    named = ", ".join(dict.fromkeys(f"{each.artifact} {each.version}" for each in vouched))
    rules = ", ".join(dict.fromkeys(rule for row in found for rule in row.rules))
    wrong = [f"a signature over it should not exist: {rules}"] if any(_grave(row) for row in found) else []
    wrong += [f"a released tag was moved to it: {_MOVED}"] if moved else []
    waits = any(row.digest_status is DigestStatus.PENDING for row in found)
    whose = f"It belongs to {named}" if named else "It belongs to no release we know"
    return {
        Standing.SUSPECT: f"{whose}, and {', and '.join(wrong)}.",
        Standing.WITHDRAWN: f"It was {named}, which was pulled: do not use it.",
        Standing.RELEASED: f"It belongs to {named}."
        if named
        else "It is a value that logs show for a released digest.",
        Standing.UNSIGNED: f"It belongs to {named}, and no signature over it was seen.",
        Standing.SIGNED: "It was signed in our name, and nobody vouches for it as a release's."
        + (" The grace period of its signature runs." if waits else ""),
        Standing.STRAY: "A tag of ours resolved to it; it belongs to no release, and no signature over it was seen.",
        Standing.UNKNOWN: "Nothing that we saw concerns it: no release, no tag, no signature in our name.",
    }[standing]


def _caveats(watched: bool, read_at: datetime | None, tagged: bool, policy: Policy) -> Iterator[str]:  # noqa: FBT001 - named where it is called
    yield (
        f"only signatures that bear {policy.owner}'s name, or are over a released digest's payload in that name, are kept: "
        "another signer's would not be seen here"
    )
    if not watched:
        yield "a followed log has a gap or was never read: a signature may exist that we did not see (`status` says where)"
    if read_at is None:
        yield "no registry was ever read whole: a tag may lead to it that we do not know"
    elif not tagged:
        yield "no tag that we read ever resolved to it; tags other than releases and `latest` are not read"


def _once(mine: Iterable[ExpectedDigest]) -> Iterator[ExpectedDigest]:
    seen: set[str] = set()
    for each in mine:
        if each.version not in seen:
            seen.add(each.version)
            yield each


def told(observation: TagObservation) -> str:
    """One stretch of a tag, as a line."""
    until = f"until {rfc3339(observation.gone_at)}" if observation.gone_at else "now"
    return (
        f"{observation.artifact}:{observation.tag} from {rfc3339(observation.first_seen)} "
        f"{until} (last read {rfc3339(observation.last_seen)})"
    )
