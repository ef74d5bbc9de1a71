"""What a message says, in the order in which somebody woken at 3 a.m. needs it (DESIGN section 8).

Pure, and neutral of the sink: nothing here escapes or clips for an edge, or decides whether or whom to tell.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from monitor.alerts import exposure, parts
from monitor.alerts.message import Link, Message, Paragraph, Section, Step
from monitor.alerts.routing import pages
from monitor.model.finding import Fact, Severity
from monitor.model.incident import DeliveryKind, IncidentState
from monitor.model.log import titled
from monitor.model.rulebook import RULES
from monitor.model.text import number, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.alerts.message import Item
    from monitor.alerts.options import AlertOptions
    from monitor.model.finding import Finding
    from monitor.model.incident import Incident
    from monitor.model.release import Exposure

BASELINE_KEY = "baseline"
DAY_KEY = "day:"
_MAX_ALSO = 6
_MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody did to an incident, as far as a message repeats it."""

    at: datetime
    who: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Telling:
    """All that one delivery needs to be put into words.

    `findings` are the worst of those to tell now, the worst first; `total` counts them all; `rules` counts the incident's findings
    by rule; `told_at` is when this message (or the one it edits) was first told; `certificate_logs` are the logs in which
    certificates stand, not signatures, each with what people call it.
    """

    kind: DeliveryKind
    incident: Incident
    findings: tuple[Finding, ...]
    total: int
    rules: Mapping[str, int]
    said: tuple[Said, ...]
    told_at: datetime
    severity: Severity
    exposures: tuple[Exposure, ...] = ()
    """How customers reach what the findings are about, a logged digest each."""
    certificate_logs: Mapping[str, str] = field(default_factory=dict)

    @property
    def issued(self) -> bool:
        """Whether all that is told of is certificates, with no signature known yet."""
        return parts.issued(self.findings, self.certificate_logs)


def rule_title(rule: str) -> str:
    """What a rule is called."""
    known = RULES.get(rule)
    return known.title if known else rule


def title(finding: Finding) -> str:
    """The title of an incident that this finding heads: the rule's own, and what it is about."""
    release = finding.version if finding.event is None else None
    about = ", ".join(finding.artifacts) or release or finding.workflow or parts.source(finding)
    return f"{rule_title(finding.rule)}: {about}" if about else rule_title(finding.rule)


def quiet_title(key: str, count: int) -> str:
    """The title of an incident that gathers what nobody is woken for."""
    if key.startswith(DAY_KEY):
        return f"{number(count, 'untrusted or unreadable entry', 'untrusted or unreadable entries')} on {key.removeprefix(DAY_KEY)}"
    return f"{number(count, 'finding')} from before watching began"


def quiet(incident: Incident) -> bool:
    """Whether an incident only gathers: history and what anyone can write wake nobody."""
    return incident.history or incident.key.startswith(DAY_KEY)


def compose(telling: Telling, options: AlertOptions) -> Message:
    """The message for one delivery."""
    if telling.kind in (DeliveryKind.EVENT, DeliveryKind.SIGNATURE):
        message = _reply(telling, options) if telling.findings else _notice(telling)
    else:
        message = (_gathered if quiet(telling.incident) else _whole)(telling, options)
    return _readable(message, telling.certificate_logs)


def _readable(message: Message, titles: Mapping[str, str]) -> Message:
    """The message with logs called as people call them; what is a fact keeps its exact words."""

    def read(item: Item) -> Item:
        return replace(item, text=titled(item.text, titles)) if isinstance(item, Paragraph) else item

    sections = tuple(replace(each, items=tuple(read(item) for item in each.items)) for each in message.sections)
    return replace(message, title=titled(message.title, titles), sections=sections)


def test_message(sink: str, now: datetime) -> Message:
    """Proves that the wiring works; asks nothing of anybody."""
    words = "This is a test of the signing monitor: if you read it, alerts reach you here. Nothing is wrong."
    section = Section("", (Paragraph(words), Fact("sink", sink), Fact("sent", rfc3339(now))))
    return Message("Test message", Severity.LOW, (section,), footer="nothing to do")


def _whole(telling: Telling, options: AlertOptions) -> Message:
    incident = telling.incident
    worst = telling.findings[0] if telling.findings else None
    sections = [Section("", (*_state(telling), *_happened(telling)))]
    if worst is not None:
        sections += [
            *_accepted(telling),
            *_reached(telling),
            *_expected(telling.findings),
            _when_and_where(telling),
            *_run(worst),
        ]
    sections.append(_steps(telling, options, worst))
    alarming = incident.state is not IncidentState.RESOLVED and telling.kind is not DeliveryKind.STATE
    return Message(
        title=f"#{incident.id} {incident.title}",
        severity=incident.severity,
        sections=tuple(each for each in sections if each.items),
        state=incident.state,
        page=alarming and pages(incident.severity, history=incident.history),
        footer=_footer(incident, telling.rules),
    )


_UNREAD = "entry-quarantined"
_UNTRUSTED = (
    "Anyone can put such entries into a public log. Customers' verification refuses them. "
    "They are counted here, once a day, and need no answer."
)
_UNREADABLE = (
    "Anyone can put such entries into a public log. They are counted here, once a day. Customers' verification refuses what is "
    "untrusted; what is unreadable was not checked, and may be of a kind that a newer version of the monitor reads."
)


def _gathered(telling: Telling, options: AlertOptions) -> Message:
    """An incident that gathers what wakes nobody: how much of what, and a few examples."""
    incident = telling.incident
    if incident.history:
        words = "Signed before watching began. Nobody is paged for it: look through it once, by daylight."
    else:
        words = _UNREADABLE if _UNREAD in telling.rules else _UNTRUSTED
    counts = tuple(
        Fact(rule_title(rule), number(count, "finding")) for rule, count in list(telling.rules.items())[:_MAX_ALSO]
    )
    alike = Counter((f.severity, f.summary) for f in telling.findings)
    counted = telling.total == len(telling.findings)  # of more, only the worst are at hand
    examples = tuple(
        Paragraph(f"{severity.value}: {summary}{f' (×{count})' if counted and count > 1 else ''}")
        for (severity, summary), count in list(alike.items())[:_MAX_EXAMPLES]
    )
    show = Step(f"Read them: `{options.command} findings list --incident {incident.id}`")
    pin = Step(
        f"Pin the ids of our repository and its owner: `{options.command} ids list` shows those that our releases carry, `ids pin` "
        "accepts them. Until then a repository that somebody makes anew under our name passes for ours."
    )
    done = Step("Then resolve this incident; what comes after it is told anew.")
    steps = (show, *((pin,) if options.unpinned else ()), done) if incident.history else (show,)
    sections = (
        Section("", (*_state(telling), Paragraph(words))),
        *_accepted(telling),
        Section("What was found", counts),
        Section("The worst of it", examples),
        Section("What to do", steps),
    )
    return Message(
        title=f"#{incident.id} {incident.title}",
        severity=incident.severity,
        sections=tuple(each for each in sections if each.items),
        state=incident.state,
        footer=_footer(incident, telling.rules),
    )


def _reply(telling: Telling, options: AlertOptions) -> Message:
    """Something new in an incident that was told before."""
    incident = telling.incident
    worst = telling.findings[0]
    if telling.kind is DeliveryKind.SIGNATURE:
        what = "certificate" if telling.issued else "signature"
        heading = f"New {what} in #{incident.id}: {title(worst)}"
    else:
        heading = f"New in #{incident.id}: {title(worst)}"
    where = _when_and_where(telling)
    more = telling.total - len(telling.findings)
    rest = f"And {more} more: `{options.command} findings list --incident {incident.id}`"
    sections = (
        Section("", _happened(telling)),
        *_accepted(telling),
        *(() if quiet(incident) else _reached(telling)),
        *(() if quiet(incident) else _expected(telling.findings)),
        where,
        *(() if quiet(incident) else _run(worst)),
        Section("", (Step(rest),) if more > 0 else ()),
    )
    signature = telling.kind is DeliveryKind.SIGNATURE
    return Message(
        title=heading,
        severity=telling.severity,
        sections=tuple(each for each in sections if each.items),
        page=signature and pages(telling.severity, history=incident.history),
        footer=_footer(incident, telling.rules),
    )


def _notice(telling: Telling) -> Message:
    """A change of state, for the thread."""
    last = telling.said[-1] if telling.said else None
    what = last.what if last else telling.incident.state.value
    return Message(
        title=f"#{telling.incident.id} {what}: {telling.incident.title}",
        severity=telling.incident.severity,
        sections=(Section("", _state(telling)),),
        state=telling.incident.state,
        footer=_footer(telling.incident, telling.rules),
    )


def _state(telling: Telling) -> tuple[Item, ...]:
    said: list[Item] = []
    if telling.incident.previous_id is not None and telling.kind is not DeliveryKind.EVENT:
        said.append(Paragraph(f"This happened before: incident #{telling.incident.previous_id} was resolved."))
    for each in telling.said:
        why = f": {each.why}" if each.why else ""
        said.append(Paragraph(f"{each.what.capitalize()} by {each.who} at {rfc3339(each.at)}{why}"))
    return tuple(said)


def _happened(telling: Telling) -> tuple[Item, ...]:
    """The worst finding in its own words, why it matters, and one line for every other rule."""
    if not telling.incident.count:
        return ()
    if not telling.findings:
        return (Paragraph(f"{number(telling.incident.count, 'finding')}, all taken back since by later judgement."),)
    worst = telling.findings[0]
    rule = RULES.get(worst.rule)
    said: list[Item] = [Paragraph(worst.summary, strong=True)]
    if rule is not None and telling.kind in (DeliveryKind.INCIDENT, DeliveryKind.ESCALATION, DeliveryKind.STATE):
        said.append(Paragraph(rule.words))
    if parts.sought(telling.findings, telling.certificate_logs):
        said.append(Paragraph(parts.SOUGHT))
    signatures = len({f.event for f in telling.findings if f.event is not None})
    if signatures > 1:
        said.append(Paragraph(f"These are {signatures} {'certificates' if telling.issued else 'signatures'}."))
    others = {(f.rule, f.summary): f for f in telling.findings if (f.rule, f.summary) != (worst.rule, worst.summary)}
    said += [Paragraph(f"Also {f.severity.value}: {f.summary}") for f in list(others.values())[:_MAX_ALSO]]
    if len(others) > _MAX_ALSO:
        left = list(others.values())[_MAX_ALSO:]
        names = ", ".join(dict.fromkeys(f.rule for f in left))
        said.append(
            Paragraph(f"And {number(len(left) + telling.total - len(telling.findings), 'more finding')}: {names}")
        )
    return tuple(said)


def _accepted(telling: Telling) -> tuple[Section, ...]:
    answer = parts.worst_answer(telling.findings)
    if answer is None:
        return ()
    words = (parts.ANSWERS_BEFORE if telling.issued else parts.ANSWERS)[answer]
    return (Section("Would customers' verification accept it?", (Paragraph(words, strong=True),)),)


def _reached(telling: Telling) -> tuple[Section, ...]:
    """Whether customers reach it; of a certificate, that nobody can tell."""
    sections = exposure.section(telling.findings, telling.exposures)
    return parts.UNREACHED if sections and telling.issued else sections


def _when_and_where(telling: Telling) -> Section:
    items = parts.when_and_where(telling.findings, telling.told_at, telling.certificate_logs)
    return Section("When and where", tuple(items))


def _expected(findings: tuple[Finding, ...]) -> tuple[Section, ...]:
    facts = parts.distinct_facts(findings)
    heading = "Expected, and seen" if any(fact.expected for fact in facts) else "Details"
    return (Section(heading, facts),) if facts else ()


def _run(worst: Finding) -> tuple[Section, ...]:
    items: list[Item] = []
    if worst.run:
        attempt = f" (attempt {worst.attempt})" if worst.attempt is not None else ""
        items.append(Link(f"Run{attempt}", worst.run))
    if worst.commit:
        items.append(Fact("commit", worst.commit))
    return (Section("Who made it", tuple(items)),) if items else ()


def _steps(telling: Telling, options: AlertOptions, worst: Finding | None) -> Section:
    rule = RULES.get(worst.rule) if worst is not None else None
    steps: list[Item] = [Step(step) for step in rule.first_steps] if rule else []
    if parts.sought(telling.findings, telling.certificate_logs):
        steps.insert(0, Step(parts.LOOK))
    steps.append(Step(f"Everything known of it: `{options.command} incidents show {telling.incident.id}`"))
    if options.security_contact:
        steps.append(Fact("security contact", options.security_contact))
    steps += [Link(label, url) for label, url in (options.links or {}).items()]
    return Section("First steps", tuple(steps))


def _footer(incident: Incident, rules: Mapping[str, int]) -> str:
    names = ", ".join(f"{rule} ×{count}" if count > 1 else rule for rule, count in list(rules.items())[: _MAX_ALSO * 2])
    return f"incident #{incident.id} · {incident.category.value} · {names}" if names else f"incident #{incident.id}"
