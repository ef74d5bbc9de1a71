"""What a signature beside an artifact explains: the hashes under which a log may show it, and whether all of them are one release's.

It also holds the log entry that a signature cites against what the log was proven to hold there. It never vouches for a digest:
an explanation only leads from a logged hash to digests, and others say which of those are expected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.entries import decode, payloads
from monitor.errors import FormatError
from monitor.model.log import Conflict, ConflictKind
from monitor.model.release import ATTESTED, ExpectedHash
from monitor.model.text import short_digest
from monitor.releases.bundles import Kind
from monitor.releases.verify import Verified, differs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from monitor.model.entry import Certificate
    from monitor.model.log import Protocol
    from monitor.releases.bundles import Attached, Cited
    from monitor.releases.collect import Fetched
    from monitor.releases.verify import SignatureVerifier

_OWN = "cosign's own signature, fetched"


@dataclass(frozen=True, slots=True)
class Explained:
    """One signature beside an artifact: what it is about, and whether it verifies.

    `payload_hashes` are recomputed from the payload: of an envelope its SHA-256 and that of its pre-authentication encoding.
    `subjects` (`sha256:…`) is empty where the payload says nothing that counts; `why` says why, or why it does not verify.
    """

    kind: Kind
    payload_hashes: tuple[str, ...]
    subjects: tuple[str, ...]
    predicate_type: str
    certificate: Certificate | None
    cited: Cited | None
    verified: Verified
    why: str
    attached: Attached | None = field(default=None, repr=False)
    """What was read; None where it could not be."""
    stranger: bool = False
    """It cannot be checked because the trusted root does not hold who vouches for it, and a newer one may."""

    @property
    def predicate(self) -> str:
        """The predicate type of an attestation; empty for a signature of cosign's own, whatever its form."""
        return "" if self.predicate_type == payloads.SIGN_PREDICATE else self.predicate_type


async def explain(fetched: Fetched, verifier: SignatureVerifier, fetched_at: datetime | None = None) -> Explained:
    """Read and verify what was fetched, for the first time at `fetched_at`.

    Never raises for foreign bytes: what cannot be read verifies as *no*, with the reason.
    """
    if fetched.error:
        return Explained(Kind.BUNDLE, (), (), "", None, None, Verified.CANNOT_CHECK, fetched.error)
    try:
        attached = fetched.read()
    except FormatError as error:
        return Explained(Kind.BUNDLE, (), (), "", None, None, Verified.NO, f"it cannot be read: {error}")
    return await explained(attached, verifier, fetched_at)


async def explained(attached: Attached, verifier: SignatureVerifier, fetched_at: datetime | None = None) -> Explained:
    """Verify what was read."""
    verdict = await verifier.verify(attached, fetched_at)
    told = attached.statement
    return Explained(
        attached.kind,
        attached.signed.hashes,
        told.subjects if told else (),
        told.predicate_type if told else "",
        attached.certificate,
        attached.cited,
        verdict.verified,
        verdict.why or attached.obscure,
        attached,
        verdict.stranger,
    )


def explains(found: Explained, expected: Mapping[str, Collection[tuple[str, str]]]) -> tuple[ExpectedHash, ...]:
    """Every hash that `found` makes lead to an expected digest; `expected` maps a digest to its (version, artifact) pairs.

    None unless *every* subject is an expected digest of one and the same version. What does not verify explains nothing. What cannot
    be checked still does: the hash is the payload's own, and the logged entry is judged by its own certificate.
    """
    if found.verified is Verified.NO or not found.subjects:
        return ()
    versions = [{version for version, _ in expected.get(subject, ())} for subject in found.subjects]
    if not set.intersection(*versions):
        return ()
    how = f"{ATTESTED}{found.predicate}" if found.predicate else _OWN
    return tuple(ExpectedHash(value, subject, how) for subject in found.subjects for value in found.payload_hashes)


def compare(found: Explained, log: str, index: int, leaf: bytes | None, protocol: Protocol) -> Conflict | None:
    """Hold a signature against the leaf proven to stand at the place that it cites, `index` in the log of this origin.

    `leaf` is None where the log is known to have none there: `entry-missing`. `bundle-mismatch` where the leaf is of another
    certificate, signature or digest, or is not the very entry that was promised. None when it is what it should be.
    """
    attached, cited = found.attached, found.cited
    if attached is None or cited is None:
        return None
    what = short_digest(found.subjects[0]) if found.subjects else "an unknown subject"
    kept = (("bundle", attached.data), ("promised", cited.body))
    key = f"{index}:{cited.leaf_hash.hex()[:16]}"
    if leaf is None:
        summary = f"The {found.kind} of {what} cites entry {index}, and the log has none there."
        return Conflict(ConflictKind.MISSING, log, missing_key(index, cited.leaf_hash), summary, index, kept)
    told = _against(attached, cited, leaf, protocol)
    if not told:
        return None
    summary = f"The {found.kind} of {what} cites entry {index} of the log, which is {told}."
    return Conflict(ConflictKind.BUNDLE_MISMATCH, log, f"bundle:{key}", summary, index, (*kept, ("leaf", leaf)))


def missing_key(index: int, leaf_hash: bytes) -> str:
    """Name an entry that a log does not have, the same for every signature that cites it; `store.late` knows it by its end."""
    return f"bundle-missing:{index}:{leaf_hash.hex()[:16]}"


def _against(attached: Attached, cited: Cited, leaf: bytes, protocol: Protocol) -> str:
    try:
        differing = differs(attached, attached.certificate, decode.decode(leaf, protocol))
    except FormatError:
        differing = ()
    if differing:
        return f"of another {' and another '.join(differing)}"
    return "" if leaf == cited.body else "not the entry that it was promised"
