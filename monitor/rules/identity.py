"""The identity rules: what a certificate in our name must not say. One function a rule, all of them asked.

They judge what Fulcio vouches for; whether it does is decided before, in `trust`. They never look at the digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.model.entry import CLAIM_NAMES, Claim, WorkflowName, parse_workflow_name
from monitor.model.finding import Severity
from monitor.model.release import release_version
from monitor.model.text import clip
from monitor.rules.hit import Hit, fact
from monitor.rules.policy import folded
from monitor.rules.subject import names_repository, names_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.model.entry import Signer
    from monitor.model.finding import Fact
    from monitor.rules.policy import Policy
    from monitor.rules.subject import Subject

_BRANCH = "refs/heads/"
_RELEASE_REF = "refs/tags/v1.2.3 (a version tag)"
_IN_SENTENCE = 120
_SHOWN = 20
"""Anomalies of one certificate that are listed; one is enough to fire."""

_TWICE = (
    (Claim.ISSUER_RAW, Claim.ISSUER),
    (Claim.TRIGGER_RAW, Claim.TRIGGER),
    (Claim.SHA_RAW, Claim.SOURCE_DIGEST),
    (Claim.REF_RAW, Claim.SOURCE_REF),
)
"""Claims that stand raw and as DER; the repository, which differs by its host, is compared by itself."""


def judge(subject: Subject, policy: Policy) -> tuple[Hit, ...]:
    """Return every identity rule that holds of a trusted signer in scope."""
    rules = (_unknown_workflow, _wrong_issuer, _lookalike_identity) if subject.elsewhere else _RULES
    return tuple(hit for rule in rules for hit in rule(subject, policy))


def contributor_key(signer: Signer, policy: Policy) -> tuple[Hit, ...]:
    """Return `contributor-key` for a signer of any trust whose key is a contributor's and whose signature is not known bad."""
    if not signer.spki or signer.verifies is False or signer.key_id not in policy.contributor_keys:
        return ()
    sure = "it verifies" if signer.verifies else "not in the log: it holds no payload to check it against"
    carrier = "in a certificate" if signer.certificate else "bare"
    return (
        Hit(
            "contributor-key",
            "A contributor's private signing key was used for a signature in the public log.",
            (
                fact("key (SHA-256 of its SPKI)", signer.key_id, "in no public log"),
                fact("carried", carrier),
                fact("signature", sure),
            ),
        ),
    )


def _branch_ref(subject: Subject, policy: Policy) -> Iterator[Hit]:
    bad = [(place, ref) for place, ref in subject.refs() if ref.startswith(_BRANCH)]
    if bad and not subject.known(policy):
        branch = bad[0][1].removeprefix(_BRANCH)
        facts = tuple(fact(f"ref ({place})", ref, _RELEASE_REF) for place, ref in bad)
        yield Hit(
            "branch-ref", f"{subject.title} {subject.deed} the branch {_quoted(branch)}, not a version tag.", facts
        )


def _non_release_ref(subject: Subject, policy: Policy) -> Iterator[Hit]:
    bad = [
        (place, ref) for place, ref in subject.refs() if not ref.startswith(_BRANCH) and release_version(ref) is None
    ]
    if bad and not subject.known(policy):
        facts = tuple(fact(f"ref ({place})", ref, _RELEASE_REF) for place, ref in bad)
        yield Hit(
            "non-release-ref", f"{subject.title} {subject.deed} {_quoted(bad[0][1])}, which is no version tag.", facts
        )


def _identity_casing(subject: Subject, policy: Policy) -> Iterator[Hit]:
    if subject.name is None or subject.publishing is None:
        return
    expected = policy.identity(subject.publishing)
    if subject.name.prefix != expected:
        yield Hit(
            "identity-casing",
            "The signer's name is ours but for upper and lower case; customers' check refuses it.",
            (fact("identity", subject.name.prefix, expected),),
        )


def _claims_disagree(subject: Subject, policy: Policy) -> Iterator[Hit]:
    facts = [*_raw_and_der(subject, policy)]
    signer = subject.claim(Claim.BUILD_SIGNER)
    if signer is not None and not subject.same_workflow(signer):
        facts.append(fact("build signer (claim .9)", signer, clip(subject.identity, _IN_SENTENCE)))
    source = _source(subject, policy)
    run = subject.claim(Claim.RUN)
    if run is not None and source is not None and not folded(run).startswith(folded(source) + "/"):
        facts.append(fact("run (claim .21)", run, f"a run in {clip(source, _IN_SENTENCE)}"))
    names = subject.certificate.names
    if len(names) > 1:
        facts.append(fact("subject alternative names", ", ".join(value for _, value in names), "exactly one"))
    facts.extend(fact("form", anomaly, "as Fulcio writes it") for anomaly in subject.certificate.anomalies[:_SHOWN])
    if facts:
        yield Hit(
            "claims-disagree",
            "A certificate in our name contradicts itself, as the real authority never lets it.",
            tuple(facts),
        )


def _raw_and_der(subject: Subject, policy: Policy) -> Iterator[Fact]:
    for raw, der in _TWICE:
        first, second = subject.claim(raw), subject.claim(der)
        if first is not None and second is not None and first != second:
            yield fact(f"{CLAIM_NAMES[der]} (claim .{der})", second, f"as claim .{raw}: {clip(first, _IN_SENTENCE)}")
    repository, source = subject.claim(Claim.REPOSITORY_RAW), subject.claim(Claim.SOURCE_REPOSITORY)
    if repository is None or source is None:
        return
    host, slashes, rest = source.partition("://")
    path = rest.partition("/")[2] if slashes else host
    if folded(path) != folded(repository):
        expected = f"as claim .5: {policy.host}/{clip(repository, _IN_SENTENCE)}"
        yield fact("source repository (claim .12)", source, expected)


def _source(subject: Subject, policy: Policy) -> str | None:
    """Return the URL of the repository whose run it was, by claim .12, else .5."""
    source, repository = subject.claim(Claim.SOURCE_REPOSITORY), subject.claim(Claim.REPOSITORY_RAW)
    return source if source is not None else f"{policy.host}/{repository}" if repository is not None else None


def _unknown_workflow(subject: Subject, policy: Policy) -> Iterator[Hit]:
    if not subject.owners or subject.publishing or subject.known(policy):
        return
    publish = " or ".join(policy.workflows)
    if subject.ours:
        yield Hit(
            "unknown-workflow",
            f"{subject.title} of our repository signed, a workflow that does not publish releases.",
            (fact("workflow", subject.name.path if subject.name else subject.identity, publish),),
        )
    else:
        yield Hit(
            "unknown-workflow",
            "A workflow of another repository of ours signed; it publishes no release.",
            (fact("identity", subject.identity, f"{publish} of {policy.owner}/{policy.repository}"),),
            Severity.LOW,
        )


def _foreign_caller(subject: Subject, _: Policy) -> Iterator[Hit]:
    if subject.publishing is None or not subject.claimed:
        return
    facts = []
    config = subject.claim(Claim.BUILD_CONFIG)
    if not subject.same_workflow(config):
        facts.append(fact("calling workflow (claim .18)", config, clip(subject.identity, _IN_SENTENCE)))
    for number in (Claim.REF_RAW, Claim.SOURCE_REF):
        ref = subject.claim(number)
        if ref != subject.ref:
            facts.append(fact(f"{CLAIM_NAMES[number]} (claim .{number})", ref, clip(subject.ref or "", _IN_SENTENCE)))
    if facts:
        caller = parse_workflow_name(config) if config else None
        by = f" by {_quoted(caller.file)}" if caller and caller.file != subject.publishing else ""
        yield Hit(
            "foreign-caller",
            f"{subject.title} was not started by its own tag: something else in our repository called it{by}.",
            tuple(facts),
        )


def _foreign_repository(subject: Subject, policy: Policy) -> Iterator[Hit]:
    if subject.ours:
        facts = tuple(_named_elsewhere(subject, policy))
        if facts:
            yield Hit(
                "foreign-repository",
                f"{subject.title} of ours was run by, or for, a repository that is not ours.",
                (*facts, *_unpinned(policy)),
            )
    elif subject.claimed and not subject.accepted and not subject.known(policy):
        yield Hit(
            "foreign-repository",
            "A workflow of another repository signed in a run of our repository.",
            (
                fact("identity", subject.identity, f"a workflow of {policy.owner}/{policy.repository}"),
                fact("repository (claim .5)", subject.claim(Claim.REPOSITORY_RAW)),
                fact("source repository (claim .12)", subject.claim(Claim.SOURCE_REPOSITORY)),
            ),
        )


def _named_elsewhere(subject: Subject, policy: Policy) -> Iterator[Fact]:
    ours = f"{policy.owner}/{policy.repository}"
    repository, source, config = (
        subject.claim(number) for number in (Claim.REPOSITORY_RAW, Claim.SOURCE_REPOSITORY, Claim.BUILD_CONFIG)
    )
    if not names_repository(repository, policy):
        yield fact("repository (claim .5)", repository, ours)
    if not names_source(source, policy):
        yield fact("source repository (claim .12)", source, f"{policy.host}/{ours}")
    if not policy.ours(_workflow(config)):
        yield fact("calling workflow (claim .18)", config, f"a workflow of {ours}")
    for number, pinned in ((Claim.REPOSITORY_ID, policy.repository_id), (Claim.OWNER_ID, policy.owner_id)):
        seen = subject.claim(number)
        if seen is None or (pinned is not None and seen != pinned):
            yield fact(f"{CLAIM_NAMES[number]} (claim .{number})", seen, pinned or "an id")


def _workflow(uri: str | None) -> WorkflowName | None:
    return parse_workflow_name(uri) if uri is not None else None


def _unpinned(policy: Policy) -> Iterator[Fact]:
    missing = [
        name for name, pin in (("repository_id", policy.repository_id), ("owner_id", policy.owner_id)) if pin is None
    ]
    if missing:
        yield fact("not checked", f"{' and '.join(missing)} not pinned in the settings: names were compared")


def _wrong_issuer(subject: Subject, policy: Policy) -> Iterator[Hit]:
    present = [
        (number, issuer) for number in (Claim.ISSUER, Claim.ISSUER_RAW) if (issuer := subject.claim(number)) is not None
    ]
    bad = [
        fact(f"issuer (claim .{number})", issuer, policy.issuer)
        for number, issuer in present
        if issuer != policy.issuer
    ]
    if not present:
        bad = [fact("issuer", None, policy.issuer)]
    if bad:
        yield Hit(
            "wrong-issuer",
            "Somebody other than GitHub Actions stated that the signer bears our name.",
            tuple(bad),
        )


def _lookalike_identity(subject: Subject, policy: Policy) -> Iterator[Hit]:
    if subject.accepted and not subject.ours:
        yield Hit(
            "lookalike-identity",
            "A name that is not ours passes customers' check, because the published pattern accepts it.",
            (fact("identity", subject.identity, " or ".join(policy.identity(file) for file in policy.workflows)),),
        )


def _unusual_build(subject: Subject, policy: Policy) -> Iterator[Hit]:
    if subject.known(policy):
        return
    facts = []
    runner = subject.claim(Claim.RUNNER)
    if runner != "github-hosted":
        facts.append(fact("runner (claim .11)", runner, "github-hosted"))
    for number in (Claim.TRIGGER, Claim.TRIGGER_RAW):
        event = subject.claim(number)
        if event is not None and event != "push":
            facts.append(fact(f"{CLAIM_NAMES[number]} (claim .{number})", event, "push"))
    visibility = subject.claim(Claim.VISIBILITY)
    if policy.visibility is not None and visibility != policy.visibility:
        facts.append(fact("visibility (claim .22)", visibility, policy.visibility))
    if facts:
        seen = ", ".join(f"{each.name.partition(' (')[0]} {_quoted(each.seen)}" for each in facts)
        yield Hit("unusual-build", f"{subject.title} was built in an unusual way: {seen}.", tuple(facts))


def _quoted(text: str) -> str:
    return f"“{clip(text, _IN_SENTENCE)}”"


_RULES = (
    _branch_ref,
    _non_release_ref,
    _identity_casing,
    _claims_disagree,
    _unknown_workflow,
    _foreign_caller,
    _foreign_repository,
    _wrong_issuer,
    _lookalike_identity,
    _unusual_build,
)
