"""The table of rules: what each is called, how bad it is, why it matters and what to do first.

Words for the person who is woken at 3 a.m. stand here and nowhere else. When a rule fires is decided in `rules`, never
here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.model.finding import Category, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

EDITION = 2
"""Raised whenever a rule decides differently for the same entry: every stored entry is then judged again."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the rulebook. `severity` is the rule's own; some rules have a milder or a graver variant."""

    id: str
    category: Category
    severity: Severity
    title: str
    words: str
    """One sentence: why it matters."""
    first_steps: tuple[str, ...]
    lowerable: bool = True
    """Whether a setting may lower the severity."""


_REPOSITORY = "https://github.com/TruStacks/trustacks-mvp"
_RUN = (
    f"Open the run (the full link is in this message; it begins {_REPOSITORY}/actions/runs/…): "
    "who started it, from which branch, tag and commit?"
)
_STOP = (
    "If nobody can explain it, treat it as a break-in: `gh workflow disable publish-images.yml -R TruStacks/trustacks-mvp`, "
    "the same for publish-policy.yml, then call the security contact."
)
_REACH = (
    "Can customers get it? The run's log prints the image digests it pushed (the log holds only a hash of what was signed): look "
    "for them at https://github.com/orgs/TruStacks/packages; if a tag points to one, point the tag back to the released digest."
)
_SHOW = "`trustacks-monitor entries show ID` prints the certificate, every claim in it and the proof from the log."
_CA = (
    "GitHub and Fulcio issue no such certificate: call the security contact, then write to security@sigstore.dev "
    "with the output of `trustacks-monitor entries show ID`."
)
_KEEP = "Delete nothing: both sides of the contradiction are in the database; copy the file (or dump it) now."
_SIGSTORE = (
    "Tell the operators of the log: security@sigstore.dev, with the log's name, the index and both pieces of evidence."
)
_FREEZE = "Until it is cleared up, take no release out: a customer's check against this log proves nothing."
_STATUS = "`trustacks-monitor status` says which log or server it is, since when, and the last error."
_SIGSTORE_STATUS = (
    "Look at https://status.sigstore.dev: if the service is down for everybody, wait; the monitor catches up by itself."
)
_RELEASES = (
    f"Compare the digests in the run's log with the release notes at {_REPOSITORY}/releases: "
    "do they stand there, under which version?"
)

_IDENTITY = (
    Rule(
        "branch-ref",
        Category.IDENTITY,
        Severity.CRITICAL,
        "Our identity on a branch",
        "We sign from version tags only: what is signed on a branch puts our name on code that nobody released.",
        (_RUN, _REACH, _STOP),
        lowerable=False,
    ),
    Rule(
        "non-release-ref",
        Category.IDENTITY,
        Severity.HIGH,
        "Our identity on what is no version tag",
        "We sign from tags such as v0.1.2 only; a pull request, another tag or a bare commit is not a release.",
        (_RUN, _REACH, "If the tag was a mistake, delete it on GitHub and say so in this thread.", _STOP),
    ),
    Rule(
        "identity-casing",
        Category.IDENTITY,
        Severity.HIGH,
        "Our name in other capitals",
        "So it looks after a rename on GitHub, or when somebody imitates us.",
        (_RUN, f"Check that owner, repository and workflow files are still spelt as published: {_REPOSITORY}.", _STOP),
    ),
    Rule(
        "claims-disagree",
        Category.IDENTITY,
        Severity.HIGH,
        "A certificate that contradicts itself",
        (
            "Two places of one certificate say different things about the same signer, which the certificate "
            "authority never issues."
        ),
        (_SHOW, _CA, _RUN),
    ),
    Rule(
        "unknown-workflow",
        Category.IDENTITY,
        Severity.HIGH,
        "Signed by a workflow that does not publish",
        "Only publish-images.yml and publish-policy.yml sign releases; another workflow of ours signed in our name.",
        (
            _RUN,
            (
                "Was it added on purpose? Look at the workflow's history on GitHub: who merged it, and does "
                "it need `id-token: write`?"
            ),
            (
                "If it is lawful, list it under [[known]] in the settings with a reason; if not, remove the "
                "permission and tell security."
            ),
        ),
    ),
    Rule(
        "foreign-caller",
        Category.IDENTITY,
        Severity.CRITICAL,
        "Our publishing workflow called by something else of ours",
        (
            "The name is right, but another workflow, branch or tag of our repository called it; customers' "
            "check does not see that."
        ),
        (_RUN, f"Read the calling workflow at the commit shown: {_REPOSITORY}/commit/….", _REACH, _STOP),
    ),
    Rule(
        "foreign-repository",
        Category.IDENTITY,
        Severity.CRITICAL,
        "Our name and another repository in one certificate",
        (
            "Somebody else's repository ran our workflow, or ours ran somebody else's; customers' check can "
            "accept the first of the two."
        ),
        (
            "Open the run (link in this message): whose repository is it, who owns it, since when?",
            "If it is a stranger's, report it at https://github.com/contact/report-abuse.",
            _REACH,
            "If it is ours (a moved or recreated repository), correct repository_id and owner_id in the settings.",
        ),
    ),
    Rule(
        "wrong-issuer",
        Category.IDENTITY,
        Severity.CRITICAL,
        "Our name from another issuer",
        (
            "The signer's identity was not stated by GitHub Actions itself but by another issuer, so our name "
            "was claimed elsewhere."
        ),
        (
            _SHOW,
            "Has the owner or its enterprise changed its OIDC issuer on GitHub? Ask an owner of the organisation.",
            _CA,
            _STOP,
        ),
    ),
    Rule(
        "lookalike-identity",
        Category.IDENTITY,
        Severity.CRITICAL,
        "A look-alike that customers' check accepts",
        (
            "The name is not ours, yet the pattern we published accepts it, because it is neither anchored "
            "nor are its dots escaped."
        ),
        (
            _CA,
            _REACH,
            (
                "Warn customers with an anchored pattern: "
                "`^https://github\\.com/TruStacks/trustacks-mvp/\\.github/workflows/…`."
            ),
        ),
    ),
    Rule(
        "untrusted-certificate",
        Category.IDENTITY,
        Severity.LOW,
        "A certificate in our name that nobody vouches for",
        "Anyone can log a home-made certificate in our name, and customers' check refuses it; one that "
        "the certificate authority did "
        "make and that fails another check is a different matter, and critical.",
        (
            "Low: nothing to do. Do not contact whoever logged it; it is counted.",
            f"Critical: the authority itself made it. {_CA}",
            _SHOW,
        ),
    ),
    Rule(
        "contributor-key",
        Category.IDENTITY,
        Severity.HIGH,
        "A contributor's key in the public log",
        (
            "This key is for contributors' own signatures and never belongs in a public log: somebody used it "
            "elsewhere, or has stolen it."
        ),
        (
            "Ask the key's owner whether they signed something with `cosign sign --key` and uploaded it to the log.",
            "If they did not: retire the key now, and look through what it has signed since the time in this message.",
            _SHOW,
        ),
    ),
    Rule(
        "unusual-build",
        Category.IDENTITY,
        Severity.LOW,
        "A build unlike our others",
        (
            "Releases are built on GitHub's own machines, by a push, in a public repository; this one was "
            "not, or does not say so."
        ),
        (_RUN, "Was the change of runner, trigger or visibility announced? If not, ask whoever started the run."),
    ),
)

_DIGEST = (
    Rule(
        "unexpected-digest",
        Category.DIGEST,
        Severity.CRITICAL,
        "Signed something that is in no release",
        "It is a build that nobody published, or one that somebody put in the place of a release.",
        (
            _RUN,
            _RELEASES,
            _REACH,
            "If it is a release we did not know: `trustacks-monitor releases import FILE`, and this closes by itself.",
            _STOP,
        ),
    ),
    Rule(
        "digest-unjudged",
        Category.DIGEST,
        Severity.HIGH,
        "A signature we cannot judge",
        (
            "Our identity signed a digest we do not know, and the registry could not be asked whether it is a "
            "release: it may be harmless or not."
        ),
        (
            _RUN,
            (
                "Ask the registry yourself: `crane ls ghcr.io/trustacks/runner`, `crane digest "
                "ghcr.io/trustacks/runner:0.1.2`, for each artifact."
            ),
            "`trustacks-monitor status` says since when the registry has not answered.",
        ),
    ),
    Rule(
        "digest-of-other-release",
        Category.DIGEST,
        Severity.HIGH,
        "Signed the digest of another release",
        (
            "The digest is one of ours, but of another version or of an artifact this workflow does not "
            "publish: an old image could pass as new."
        ),
        (
            _RUN,
            _RELEASES,
            "Check what the version's tag points to: `crane digest ghcr.io/trustacks/runner:0.1.2`.",
            _STOP,
        ),
    ),
    Rule(
        "late-signature",
        Category.DIGEST,
        Severity.MEDIUM,
        "A released digest signed again, long afterwards",
        (
            "A release is signed once, when it is made; a signature weeks later means that somebody ran the "
            "workflow again."
        ),
        (_RUN, "Ask whoever started it why an old release was signed again."),
    ),
)

_RELEASE = (
    Rule(
        "tag-moved",
        Category.RELEASE,
        Severity.CRITICAL,
        "A release now points to something else",
        "A released tag never changes: customers who install this version now get other bytes than before.",
        (
            "Put the tag back to its first digest (both are in this message).",
            "Find out who pushed: https://github.com/orgs/TruStacks/packages.",
            _STOP,
        ),
    ),
    Rule(
        "superseded-attempt",
        Category.RELEASE,
        Severity.MEDIUM,
        "A repeated run replaced what it had signed",
        "A run was tried again and signed other bytes; the first attempt's signature stays valid for ever.",
        (_RUN, "Compare both attempts; if only a build time differs, acknowledge."),
    ),
    Rule(
        "commit-mismatch",
        Category.RELEASE,
        Severity.CRITICAL,
        "One version signed from different commits",
        "All parts of a version come from one commit; where they do not, the git tag was moved between the runs.",
        (
            _RUN,
            f"Look at the tag's history: {_REPOSITORY}/tags and `git ls-remote --tags {_REPOSITORY}`.",
            _STOP,
        ),
    ),
    Rule(
        "withdrawn-release-signed",
        Category.RELEASE,
        Severity.CRITICAL,
        "A withdrawn release came back",
        (
            "This version was withdrawn, and now it was signed again or its tag has returned: customers can "
            "install it once more."
        ),
        (_RUN, "Remove the tag again, and ask who pushed it.", _STOP),
    ),
    Rule(
        "unsigned-artifact",
        Category.RELEASE,
        Severity.HIGH,
        "A release without a signature",
        (
            "A released tag points to something that our workflows never signed in public: customers' check "
            "fails, or somebody pushed by hand."
        ),
        (
            _RELEASES,
            "Did the publishing workflow run for this version? https://github.com/TruStacks/trustacks-mvp/actions",
            _STOP,
        ),
    ),
    Rule(
        "new-release",
        Category.RELEASE,
        Severity.MEDIUM,
        "A new release",
        "Only the registry vouches for this release so far; a person should confirm that we made it.",
        (
            "Did we release this version today? If so: `trustacks-monitor releases approve VERSION --reason …`.",
            "If nobody knows of it, treat it as a break-in.",
            _RELEASES,
        ),
    ),
    Rule(
        "incomplete-release",
        Category.RELEASE,
        Severity.MEDIUM,
        "A release with parts missing",
        "A version has four parts and this one lacks some: a publishing run failed, or was made to fail.",
        ("Open the failed run at https://github.com/TruStacks/trustacks-mvp/actions and run its failed jobs again.",),
    ),
    Rule(
        "prerelease-latest",
        Category.RELEASE,
        Severity.MEDIUM,
        "`latest` points to a pre-release",
        "Customers who name no version now install a pre-release.",
        ("Point `latest` back to the newest full release.",),
    ),
    Rule(
        "tag-deleted",
        Category.RELEASE,
        Severity.LOW,
        "A released tag is gone",
        "Customers can no longer install this version by its tag; what was signed stays expected.",
        ("Was it withdrawn on purpose? Then record it; else restore the tag to the digest in this message.",),
    ),
    Rule(
        "published-identity-drift",
        Category.RELEASE,
        Severity.MEDIUM,
        "Published and watched identity differ",
        "What we tell customers to check is not what this monitor checks, so its answers may not be theirs.",
        (
            (
                "Compare the NOTICE file with the settings, correct the wrong one, and run `trustacks-monitor "
                "config check`."
            ),
        ),
    ),
)


def _integrity(rule: str, severity: Severity, title: str, words: str, *steps: str) -> Rule:
    return Rule(rule, Category.INTEGRITY, severity, title, words, steps, lowerable=False)


_INTEGRITY = (
    _integrity(
        "log-forked",
        Severity.CRITICAL,
        "The log shows two histories",
        "The log signed two statements that cannot both be true: it can show customers something that we do not see.",
        _KEEP,
        _SIGSTORE,
        _FREEZE,
    ),
    _integrity(
        "log-rewritten",
        Severity.CRITICAL,
        "The log changed what it had recorded",
        "The bytes the log serves are not those under its own signature: an entry was changed after the fact.",
        _KEEP,
        _SIGSTORE,
        _FREEZE,
    ),
    _integrity(
        "checkpoint-invalid",
        Severity.CRITICAL,
        "The log's signature is wrong",
        (
            "The log's newest statement bears a signature by its known key that does not verify: somebody "
            "stands between, or its key is misused."
        ),
        "Ask from another network: `curl -s URL/checkpoint` (the address is in this message): the same answer?",
        _KEEP,
        _SIGSTORE,
    ),
    _integrity(
        "entry-missing",
        Severity.CRITICAL,
        "The log does not show an entry it signed for",
        (
            "The log vouches for an entry whose bytes it will not give: what is in it, nobody can check. The "
            "monitor keeps asking."
        ),
        _SIGSTORE_STATUS,
        "Ask for it from another network; if it is there, the monitor closes the hole by itself.",
        _SIGSTORE,
    ),
    _integrity(
        "log-grew-after-end",
        Severity.CRITICAL,
        "A closed log has grown",
        "This log had ended and took new entries all the same: whoever holds its old key can write into the past.",
        _KEEP,
        _SIGSTORE,
    ),
    _integrity(
        "bundle-mismatch",
        Severity.CRITICAL,
        "A signature beside an artifact does not hold",
        "A signature beside one of our artifacts does not verify, or its log entry is of another certificate or digest.",
        "Pull the artifact's signature again and compare it with the one kept here.",
        _REACH,
        _STOP,
    ),
    _integrity(
        "log-rolled-back",
        Severity.HIGH,
        "The log shows only an old state",
        "For longer than a stale copy would explain, the log has served a state older than one it has already signed.",
        _SIGSTORE_STATUS,
        _KEEP,
        _SIGSTORE,
    ),
    _integrity(
        "consistency-unproven",
        Severity.HIGH,
        "The log cannot prove that it only grew",
        "The log's new state could not be joined to the one we know: a fault, or the first sign of two histories.",
        _SIGSTORE_STATUS,
        _KEEP,
        "If it lasts, tell the operators of the log (security@sigstore.dev).",
    ),
    _integrity(
        "shard-list-changed",
        Severity.HIGH,
        "Parts of the log were moved or left out of its list",
        "The list of the log's parts lost or moved one that we know; that part is watched on, under its own number.",
        "Compare with `curl -s https://rekor.sigstore.dev/api/v1/log` from another network.",
        _SIGSTORE_STATUS,
        _SIGSTORE,
    ),
    _integrity(
        "unlogged-certificate",
        Severity.LOW,
        "A certificate in our name without a public signature",
        (
            "A certificate was made for our workflow and nothing public was signed with it: a failed run, or "
            "a signature kept out of sight."
        ),
        _RUN,
        "If the run failed before it signed, that explains it.",
    ),
    _integrity(
        "entry-quarantined",
        Severity.LOW,
        "An entry we cannot read",
        "The entry breaks the format of its kind and was set aside; medium where it bears our name.",
        "`trustacks-monitor findings list --rule entry-quarantined` says what is wrong with it.",
        "If it bears our name, look at its bytes; if it is a new format, the monitor needs an update.",
    ),
)


def _operational(rule: str, title: str, words: str, *steps: str) -> Rule:
    return Rule(rule, Category.OPERATIONAL, Severity.MEDIUM, title, words, (_STATUS, *steps))


_OPERATIONAL = (
    _operational(
        "log-unreachable",
        "A log does not answer",
        "Nothing signed in this log since then has been seen; nothing is lost, it is read once the log answers.",
        _SIGSTORE_STATUS,
        "If others reach it, check this machine's network, proxy and DNS.",
    ),
    _operational(
        "not-as-configured",
        "A log is not followed as the settings ask",
        "What is asked cannot be done; the error says what, and what is done instead. What is read of the log is proven as ever.",
        "Correct [[watch.logs]] in the settings, and restart; `trustacks-monitor doctor` tries every log as the settings have it.",
    ),
    _operational(
        "log-key-unknown",
        "A log signs with a key we do not know",
        (
            "The log was rotated and our list of keys is old, or its answers come from somebody else; nothing "
            "of it is believed meanwhile."
        ),
        "If `trust-root-stale` is open too, cure that first.",
        _SIGSTORE_STATUS,
    ),
    _operational(
        "log-stalled",
        "A log has stopped growing",
        "A busy public log took no entry for hours: it is down, or we are shown an old copy.",
        _SIGSTORE_STATUS,
    ),
    _operational(
        "falling-behind",
        "Reading a log is falling behind",
        "Signatures are seen later than promised until the backlog is read.",
        (
            "Is the machine busy, or does the log answer slowly or with 429? Raise the limits in the settings "
            "if it has room."
        ),
    ),
    _operational(
        "registry-unreachable",
        "The registry does not answer",
        "Releases made since then are not known, so their signatures cannot be told from others.",
        "Look at https://www.githubstatus.com; check this machine's network and token.",
    ),
    _operational(
        "trust-root-stale",
        "The list of trusted keys is old",
        "Sigstore's key list could not be renewed: certificates and logs under newer keys cannot be checked.",
        (
            "Check that this machine reaches https://tuf-repo-cdn.sigstore.dev, or give a newer "
            "trusted_root.json in the settings."
        ),
    ),
    _operational(
        "delivery-failing",
        "Messages do not get through",
        "Findings are kept and are told once the channel takes messages again, but until then nobody is told.",
        "`trustacks-monitor notify test` tries every channel and says what came back.",
    ),
    _operational(
        "rule-failed",
        "A rule broke on an entry",
        "An entry was kept but could not be judged: until the fault is mended, it is neither clean nor a finding.",
        (
            "Look at the entry with `trustacks-monitor entries show ID` yourself, and report the fault with "
            "the error shown."
        ),
    ),
)

RULES: Mapping[str, Rule] = {rule.id: rule for rule in (*_IDENTITY, *_DIGEST, *_RELEASE, *_INTEGRITY, *_OPERATIONAL)}
"""Every rule by its id, in the order of DESIGN section 6."""

REVISION = (
    f"{EDITION}-"
    + hashlib.sha256(
        "\n".join(f"{rule.id} {rule.category} {rule.severity}" for rule in RULES.values()).encode()
    ).hexdigest()[:8]
)
"""Names what the rules decide, not how they say it: entries judged under another revision are judged again."""
