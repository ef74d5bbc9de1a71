"""Turns what `watch` found against a log into findings. The evidence stays with the conflict; a finding only points to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.model.entry import Claim
from monitor.model.finding import Fact, Finding, Severity
from monitor.model.log import ConflictKind
from monitor.model.rulebook import RULES
from monitor.model.text import clip, rfc3339
from monitor.rules import subject
from monitor.rules.hit import fact, severity

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.entry import Certificate
    from monitor.model.log import Conflict, Hole, QuarantinedLeaf
    from monitor.model.lookup import Lookup
    from monitor.rules.policy import Policy

RULE_OF = {
    ConflictKind.FORKED: "log-forked",
    ConflictKind.REWRITTEN: "log-rewritten",
    ConflictKind.INVALID_CHECKPOINT: "checkpoint-invalid",
    ConflictKind.MISSING: "entry-missing",
    ConflictKind.GREW_AFTER_END: "log-grew-after-end",
    ConflictKind.ROLLED_BACK: "log-rolled-back",
    ConflictKind.UNPROVEN: "consistency-unproven",
    ConflictKind.SHARDS_CHANGED: "shard-list-changed",
    ConflictKind.BUNDLE_MISMATCH: "bundle-mismatch",
}
"""Every way in which a log contradicts itself has its rule."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A signature that lies beside a released digest, where a conflict is about one."""

    artifact: str
    digest: str
    version: str | None = None
    """The release that the digest belongs to."""
    identity: str | None = None
    """The name in its certificate."""
    run: str | None = None
    """The run that made it, only where it verifies."""
    foreign: bool = False
    """It does not verify and does not bear our name: anyone with the right to push may have put it there."""
    history: bool = False


def conflict(found: Conflict, policy: Policy | None = None, beside: Beside | None = None) -> Finding:
    """Return the finding of a conflict; the same (log, kind, key) is the same finding.

    A foreign signature that does not verify is medium: customers' verification refuses it, and no log has lied.
    """
    rule = RULE_OF[found.kind]
    facts = [fact("log", found.log)]
    if found.index is not None:
        facts.append(fact("index", str(found.index)))
    if beside is not None:
        facts += [fact("beside", beside.artifact), fact("image", beside.digest)]
        facts += [fact("name in its certificate", beside.identity)] if beside.identity else []
    facts.extend(Fact(f"kept: {name}", f"{len(data)} bytes") for name, data in found.evidence)
    finding = Finding(
        rule,
        severity(rule, Severity.MEDIUM if beside is not None and beside.foreign else None, policy),
        RULES[rule].category,
        f"log:{found.log}:{found.key}",
        found.summary,
        tuple(facts),
        log=found.log,
        index=found.index,
    )
    if beside is None:
        return finding
    return replace(
        finding,
        artifacts=(beside.artifact,),
        digest=beside.digest,
        version=beside.version,
        run=beside.run,
        history=beside.history,
    )


def hole(found: Hole, policy: Policy | None = None) -> Finding:
    """Return `entry-missing` for leaves that the log signed for and does not give."""
    count = found.end - found.begin
    what = f"entry {found.begin}" if count == 1 else f"{count} entries from {found.begin} on"
    return Finding(
        "entry-missing",
        severity("entry-missing", None, policy),
        RULES["entry-missing"].category,
        f"log:{found.log}:hole:{found.begin}",
        f"The log signed for {what} and does not give the bytes.",
        (
            fact("log", found.log),
            fact("missing", f"[{found.begin}, {found.end})", "every entry below the signed size"),
            fact("reason", found.reason),
            fact("proven hash", found.hash.hex()),
        ),
        log=found.log,
        index=found.begin,
    )


_REASON = 120
"""How much of a reason stands in a summary: some of it may be a stranger's words."""


def quarantined(leaf: QuarantinedLeaf, policy: Policy | None = None) -> Finding:
    """Return `entry-quarantined`: low, or medium where the unreadable leaf bears our name."""
    ours = "An unreadable entry bears our name" if leaf.ours else "An entry of the log cannot be read"
    return Finding(
        "entry-quarantined",
        severity("entry-quarantined", Severity.MEDIUM if leaf.ours else None, policy),
        RULES["entry-quarantined"].category,
        f"entry:{leaf.log}:{leaf.index}:{leaf.leaf_hash.hex()[:16]}",
        f"{ours}: {clip(leaf.reason, _REASON)}",
        (
            fact("log", leaf.log),
            fact("index", str(leaf.index)),
            fact("reason", leaf.reason, "an entry of a kind we read"),
            fact("size", f"{len(leaf.data)} bytes"),
        ),
        log=leaf.log,
        index=leaf.index,
    )


UNLOGGED = "unlogged-certificate"


@dataclass(frozen=True, slots=True)
class LoggedCertificate:
    """A trusted certificate at its place in a certificate log. `event` is its signing event, `issued_at` the log's time for it."""

    certificate: Certificate
    log: str
    index: int
    event: str | None
    issued_at: datetime | None


def certificate_subject(issuance: str) -> str:
    """Return the subject of a finding about an issuance: the same for each log that shows it."""
    return f"certificate:{issuance}"


def unlogged(lookup: Lookup, shown: LoggedCertificate, policy: Policy) -> Finding:
    """Return `unlogged-certificate` of a certificate for which all was read in which its entry could stand."""
    certificate = shown.certificate
    about = subject.read(certificate, policy)
    return Finding(
        UNLOGGED,
        severity(UNLOGGED, None, policy),
        RULES[UNLOGGED].category,
        certificate_subject(lookup.issuance),
        f"A certificate was issued to {about.title}, and no signature log that is watched holds a signature made with it.",
        (
            fact("log", shown.log),
            fact("index", str(shown.index)),
            fact("certificate serial", certificate.serial),
            fact("valid", f"{rfc3339(certificate.not_before)} to {rfc3339(certificate.not_after)}"),
            fact("signature", None, "an entry of a signature log"),
        ),
        log=shown.log,
        index=shown.index,
        identity=about.identity,
        issuer=certificate.oidc_issuer or None,
        event=shown.event,
        run=certificate.run,
        attempt=certificate.attempt,
        commit=certificate.claims.get(Claim.SOURCE_DIGEST),
        ref=about.ref,
        workflow=about.name.file if about.name else None,
        trusted=True,
        signed_at=shown.issued_at or certificate.not_before,
        history=lookup.history,
    )
