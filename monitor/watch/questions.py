"""What a Rekor v1 index is asked: every exact name, hash and key under which it could hold a signature of ours. Pure.

An index finds what is asked for to the letter, so every name must be known beforehand: each workflow on each release and branch.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from textwrap import wrap
from typing import TYPE_CHECKING

from monitor.entries import keys
from monitor.model.release import Version
from monitor.model.search import IndexField, Question

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.model.release import ExpectedDigest, ExpectedHash
    from monitor.rules.policy import Policy

LONGEST_SUBJECT = 512
"""Characters of a subject that the index takes."""
_LINE = 64


def subject(name: str) -> Question | None:
    """The question for one subject alternative name; None for one that no index can be asked for."""
    return Question(IndexField.SUBJECT, name) if 0 < len(name) <= LONGEST_SUBJECT else None


def subjects(policy: Policy, branches: Iterable[str], tags: Iterable[str]) -> list[Question]:
    """Every publishing workflow on the git tag of every release, the newest first, and on every branch. Other tags are passed over."""
    versions = sorted({version for tag in tags if (version := Version.parse(tag))}, reverse=True)
    refs = [*(f"refs/heads/{branch}" for branch in branches), *(f"refs/tags/v{version}" for version in versions)]
    names = [f"{policy.identity(workflow)}@{ref}" for ref in refs for workflow in policy.workflows]
    return [question for name in names if (question := subject(name))]


def hashes(digests: Iterable[ExpectedDigest], known: Iterable[ExpectedHash]) -> list[Question]:
    """Every expected digest, and the hash of every payload about one that Rekor v1 logs: never that of an encoding."""
    values = [digest.digest for digest in digests]
    values += [f"sha256:{each.value}" for each in known if not each.encoded]
    return [Question(IndexField.HASH, value) for value in dict.fromkeys(values)]


def of_keys(spkis: Iterable[bytes]) -> list[Question]:
    """Every watched key (DER), as the index keeps it for each kind of entry: by the key, and by the hash of its canonical PEM."""
    found = []
    for spki in spkis:
        text = pem(spki)
        found.append(Question(IndexField.KEY, text))
        found.append(Question(IndexField.HASH, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"))
    return found


def pem(spki: bytes) -> str:
    """A public key in the PEM that Rekor makes of it before it hashes."""
    lines = wrap(b64encode(keys.canonical(spki)).decode("ascii"), _LINE)
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
