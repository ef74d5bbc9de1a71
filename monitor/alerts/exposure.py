"""Says whether customers can reach what was signed: which tags lead to it now, which did, and how far that is known.

Pure. That no tag is known is never said without saying what was read, and when (P6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.alerts import parts
from monitor.alerts.message import Paragraph, Section
from monitor.model.finding import Fact
from monitor.model.text import number, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.alerts.message import Item
    from monitor.model.finding import Finding
    from monitor.model.release import Exposure, TagObservation

_MOST_DIGESTS = 3
_MOST_TAGS = 6


def asked(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """The logged digests of which a message on these findings says how customers reach them."""
    answer = parts.worst_answer(findings)
    if answer is None or parts.refused(answer):
        return ()
    wanted = (f.digest for f in findings if f.digest and f.accepted is not None and not parts.refused(f.accepted))
    return tuple(dict.fromkeys(wanted))[:_MOST_DIGESTS]


def section(findings: tuple[Finding, ...], exposures: tuple[Exposure, ...]) -> tuple[Section, ...]:
    """Whether customers reach it; nothing where their verification refuses it anyway."""
    answer = parts.worst_answer(findings)
    if answer is None or parts.refused(answer):
        return ()
    artifacts = tuple(dict.fromkeys(artifact for f in findings for artifact in f.artifacts))
    if artifacts:
        words = f"It is on a digest that we released ({', '.join(artifacts)}): customers have it already."
    else:
        words = "No release that we know carries it."
    items = [Paragraph(words), *(item for each in exposures for item in _reach(each, alone=len(exposures) == 1))]
    return (Section("Can customers reach it?", tuple(items)),)


def _reach(exposure: Exposure, *, alone: bool) -> Iterator[Item]:
    now = [each for each in exposure.tags if each.gone_at is None]
    before = [each for each in exposure.tags if each.gone_at is not None]
    if not alone:
        yield Fact("logged hash", exposure.logged)
    if now:
        yield Paragraph(f"YES: {number(len(now), 'tag')} lead{'s' if len(now) == 1 else ''} to it now.", strong=True)
    elif before:
        yield Paragraph("No tag leads to it now; one did before, and whoever pulled it then has it.", strong=True)
    elif exposure.read_at is not None and exposure.digests:
        yield Paragraph("No tag that we read leads to it, or ever did.")
    elif exposure.read_at is not None:
        yield Paragraph(
            "The logged hash is that of no image that the registry has shown us. An image that no release tag and no "
            "`latest` showed may have it all the same: `digest show sha256:…` with the image's digest from the run's log."
        )
    for digest in exposure.digests if exposure.tags else ():
        yield Fact("image", digest)
    yield from (_tag(each) for each in [*now, *reversed(before)][:_MOST_TAGS])
    if len(exposure.tags) > _MOST_TAGS:
        yield Fact("and", number(len(exposure.tags) - _MOST_TAGS, "more stretch of a tag", "more stretches of tags"))
    yield _read(exposure)


def _tag(seen: TagObservation) -> Fact:
    since = f"since {rfc3339(seen.first_seen)}" if seen.gone_at is None else f"from {rfc3339(seen.first_seen)}"
    until = f"last read {rfc3339(seen.last_seen)}" if seen.gone_at is None else f"until {rfc3339(seen.gone_at)}"
    return Fact(f"{seen.artifact}:{seen.tag}", f"{since}, {until}" if seen.gone_at is None else f"{since} {until}")


def _read(exposure: Exposure) -> Item:
    if exposure.read_at is not None:
        return Fact("registry last read whole", rfc3339(exposure.read_at))
    if exposure.registry:
        return Paragraph("The registry was never read whole: which tags lead to it is not known.")
    return Paragraph("No registry is read: whether a tag leads to it is not known.")
