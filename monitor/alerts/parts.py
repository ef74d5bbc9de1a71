"""The pieces that messages are put together from: times, places, answers, facts told once. Pure; raw strings in, raw strings out."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from monitor.alerts.message import Link, Paragraph, Section
from monitor.model.finding import Accepted, Fact
from monitor.model.text import number, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from monitor.alerts.message import Item
    from monitor.model.finding import Finding

ANSWERS = {
    Accepted.YES: "YES. The published cosign verify command accepts this signature.",
    Accepted.IF_TIMESTAMPED: "YES, if it was timestamped within the certificate's ten minutes, as cosign does by default.",
    Accepted.NO: "NO. The published cosign verify command refuses it.",
}
ANSWERS_BEFORE = {
    Accepted.YES: "YES. The published cosign verify command accepts what is signed with it.",
    Accepted.IF_TIMESTAMPED: "YES, every signature made with it and timestamped within its ten minutes.",
    Accepted.NO: "NO. The published cosign verify command refuses whatever is signed with it.",
}
"""The same, of a certificate of which no signature is known."""
SOUGHT = "Up to now this is a certificate: it was issued, and what was signed with it is being looked for."
LOOK = (
    "What was signed with it? The run's log says what it signed and pushed. The monitor looks for the signature in the signature "
    "logs, and tells it here, or that there is none."
)
UNREACHED = (
    Section("Can customers reach it?", (Paragraph("That is not known before what was signed with it is found."),)),
)
_ANSWER_RANK = (Accepted.NO, Accepted.IF_TIMESTAMPED, Accepted.YES)
_PUBLIC_SEARCH = "rekor.sigstore.dev"
_TOLD_ELSEWHERE = frozenset({"log", "index", "source"})
_NONE: Mapping[str, str] = MappingProxyType({})
_MAX_FACTS = 10
_MAX_PLACES = 5
_UNITS = (
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
    (timedelta(seconds=1), "s"),
)


def duration(length: timedelta) -> str:
    """A length of time in its two largest units: `1 d 3 h`, `42 s`."""
    shown: list[str] = []
    for unit, name in _UNITS:
        count = length // unit
        length -= count * unit
        if count and len(shown) < 2:  # noqa: PLR2004 - two units, as documented
            shown.append(f"{count} {name}")
        elif shown:
            break
    return " ".join(shown) or "0 s"


def source(finding: Finding) -> str:
    """What an operational or integrity finding is about: a log, or the source named in its subject."""
    if finding.event is not None:
        return ""
    named = finding.subject.removeprefix(f"source:{finding.rule}:")
    if named != finding.subject:
        return (named.rpartition("@")[0] or named).removeprefix("log:").removeprefix("settings:")
    return finding.log or ""


def worst_answer(findings: tuple[Finding, ...]) -> Accepted | None:
    """The answer that is worst for customers; None when no finding is about a signature."""
    answers = [f.accepted for f in findings if f.accepted is not None]
    return max(answers, key=_ANSWER_RANK.index) if answers else None


def issued(findings: tuple[Finding, ...], certificate_logs: Mapping[str, str]) -> bool:
    """Whether these are about certificates in certificate logs, and about no signature."""
    acts = [f for f in findings if f.event is not None]
    return bool(acts) and all(f.log in certificate_logs for f in acts)


def sought(findings: tuple[Finding, ...], certificate_logs: Mapping[str, str]) -> bool:
    """Whether what was signed with such a certificate is still being looked for."""
    return issued(findings, certificate_logs) and all(f.rule != "unlogged-certificate" for f in findings)


def refused(answer: Accepted) -> bool:
    """Whether customers are safe from the signature itself."""
    return answer is Accepted.NO


def distinct_facts(findings: tuple[Finding, ...]) -> tuple[Fact, ...]:
    """The facts of all findings, what has an expectation first; what several places say alike is told once.

    Log and index are left out: they are told with the time and place.
    """
    facts = list(dict.fromkeys(fact for f in findings for fact in f.facts if fact.name not in _TOLD_ELSEWHERE))
    places: dict[tuple[str, str], list[str]] = {}
    for fact in facts:
        if fact.expected:
            names = places.setdefault((fact.seen, fact.expected), [])
            names += [] if fact.name in names else [fact.name]
    wanted = [
        Fact(names[0] if len(names) == 1 else f"{names[0]} and {number(len(names) - 1, 'other place')}", seen, expected)
        for (seen, expected), names in places.items()
    ]
    return (*wanted, *(fact for fact in facts if not fact.expected and fact.seen))[:_MAX_FACTS]


def when_and_where(
    findings: tuple[Finding, ...], told_at: datetime, certificate_logs: Mapping[str, str] = _NONE
) -> Iterator[Item]:
    """Each signature once: when it was made, how long until this alert, and its places in the logs."""
    acts: dict[str, list[Finding]] = {}
    for finding in findings:
        acts.setdefault(finding.event or f"{finding.log}:{finding.index}", []).append(finding)
    for act in list(acts.values())[:_MAX_PLACES]:
        yield from _act(act, told_at, certificate_logs)
    if len(acts) > _MAX_PLACES:
        yield Fact("and", number(len(acts) - _MAX_PLACES, "more signature"))


def _act(act: list[Finding], told_at: datetime, certificate_logs: Mapping[str, str]) -> Iterator[Item]:
    first = act[0]
    digest = next((f.digest for f in act if f.digest), None)  # a certificate's finding has none
    if digest and not any(fact.seen == digest for f in act for fact in f.facts):
        yield Fact("logged hash", digest)
    if first.identity:
        yield Fact("identity", first.identity)
    if first.signed_at is not None:
        late = duration(max(told_at - first.signed_at, timedelta(0)))
        done = "issued" if issued(tuple(act), certificate_logs) else "signed"
        yield Fact(done, f"{rfc3339(first.signed_at)}, told {late} later")
    for place in list({(f.log, f.index): f for f in act if f.log}.values())[:_MAX_PLACES]:
        yield from _place(place, certificate_logs)


def _place(finding: Finding, certificate_logs: Mapping[str, str]) -> Iterator[Item]:
    kind = "certificate log" if finding.log in certificate_logs else "log"
    log = certificate_logs.get(finding.log or "", finding.log or "")
    if finding.index is None:
        yield Fact(kind, log)
        return
    elsewhere = f" (global {finding.global_index})" if finding.global_index is not None else ""
    yield Fact(kind, f"{log}, index {finding.index}{elsewhere}")
    if finding.uuid is not None:
        yield Fact("UUID", finding.uuid)
        if finding.global_index is not None and log.startswith(_PUBLIC_SEARCH):
            yield Link("Public search", f"https://search.sigstore.dev/?logIndex={finding.global_index}")
