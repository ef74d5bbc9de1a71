"""Whether what lies beside an artifact verifies: by our own checks always, and where it carries a proof by sigstore's verifier too.

A *no* needs one check that failed; what could not be checked is never a *no* (P6), and never a *yes*. An authority or key that the
trusted root does not hold is a *no* only once the root was found newest after the signature was fetched: until then a newer one may
hold it. Whose name the certificate bears is not looked at here.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from monitor.entries import certificate as certificates
from monitor.entries import decode, keys
from monitor.errors import FormatError, MonitorError, ProofError
from monitor.model.entry import Trust
from monitor.model.log import Protocol
from monitor.model.text import clip, visible
from monitor.releases.bundles import Kind
from monitor.tlog import note
from monitor.tlog.checkpoint import Checkpoint
from monitor.tlog.proofs import verify_inclusion
from monitor.trust.check import check
from monitor.trust.signature import verifies as signed_by

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509
    from sigstore.verify import Verifier

    from monitor.model.entry import Certificate, DecodedEntry
    from monitor.releases.bundles import Attached, Cited
    from monitor.trust.root import TrustedLog, TrustRoot

_SHOWN = 200
_KEY_ID = 4
_KEYS = (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, rsa.RSAPublicKey)
"""Kinds of keys whose signatures are checked."""
_SIGSTORE_KINDS = frozenset({"dsse", "hashedrekord"})


class Verified(StrEnum):
    """What verification came to."""

    YES = "yes"
    NO = "no"
    CANNOT_CHECK = "cannot-check"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and where it is not a yes, why. `stranger`: it hangs on an authority or key that the trusted root does not hold."""

    verified: Verified
    why: str = ""
    stranger: bool = False


_YES = Verdict(Verified.YES)


class SignatureVerifier:
    """Verifies what lies beside an artifact under one trusted root, last found to be the newest at `refreshed_at`.

    Make a new one for a new root, and whenever it is found to be the newest again.
    """

    def __init__(self, root: TrustRoot, refreshed_at: datetime | None = None) -> None:
        self.root = root
        self.refreshed_at = refreshed_at
        self._one_at_a_time = Lock()

    async def verify(self, attached: Attached, fetched_at: datetime | None = None) -> Verdict:
        """Verify one signature: its certificate, its signature over the payload, and every log entry that it cites. Never raises.

        One that was fetched before the root was found to be the newest is refused where that root does not know who vouches for it.
        """
        found = self._own(attached)
        if found.verified is Verified.YES and _for_sigstore(attached):
            found = await asyncio.to_thread(self._locked, attached)
        newest = fetched_at is not None and self.refreshed_at is not None and self.refreshed_at > fetched_at
        return self._known_by_none(found.why) if found.stranger and newest else found

    def _known_by_none(self, why: str) -> Verdict:
        """A stranger to the newest root; that is no accusation where a part of that root is not understood."""
        if self.root.skipped:
            return _cannot(f"{why} (of which this is not understood: {self.root.skipped[0]})")
        return _no(why)

    def _own(self, attached: Attached) -> Verdict:
        """Our own checks; a *no* by one stands whatever another cannot tell, and one that becomes a *no* before what never can."""
        signer = attached.certificate
        if signer is None:
            return _cannot("it is signed with a bare key, without a certificate")
        if not attached.entries:
            return _cannot("it cites no log entry")
        found = [_signature(attached, signer)]
        for cited in attached.entries:
            found += [_bound(attached, signer, cited), _trusted(signer, cited, self.root), _logged(cited, self.root)]
        order = (Verified.NO, Verified.CANNOT_CHECK, Verified.YES)
        return min(found, key=lambda verdict: (order.index(verdict.verified), not verdict.stranger))

    def _locked(self, attached: Attached) -> Verdict:
        """Nothing says that sigstore's verifier may be asked from several threads at once."""
        with self._one_at_a_time:
            return self._by_sigstore(attached)

    def _by_sigstore(self, attached: Attached) -> Verdict:
        """What sigstore's public verifier says, which checks timestamps too. It blocks."""
        from sigstore import errors  # noqa: PLC0415 - late: half a second and 50 MB that only a bundle needs
        from sigstore.hashes import Hashed  # noqa: PLC0415
        from sigstore.models import Bundle, InvalidBundle  # noqa: PLC0415
        from sigstore_models.common.v1 import HashAlgorithm  # noqa: PLC0415

        try:
            verifier = self._verifier
        except Exception as error:  # noqa: BLE001 - whatever it cannot read in a root is our trouble, not the signature's
            return _cannot(f"sigstore cannot load the trusted root: {_said(error)}")
        try:
            bundle = Bundle.from_json(attached.data)
            if attached.signed.digest is None:
                verifier.verify_dsse(bundle, _AnyName())
            else:
                hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=attached.signed.digest)
                verifier.verify_artifact(hashed, bundle, _AnyName())
        except InvalidBundle as error:
            return _cannot(f"sigstore cannot read the bundle: {_said(error)}")
        except errors.VerificationError as error:
            # It does not say whether it is for want of a key: the timestamp authorities are known to it alone.
            return _stranger(f"sigstore does not accept it: {_said(error)}")
        except Exception as error:  # noqa: BLE001 - foreign bytes: a library that stumbles over them has not said no
            return _cannot(f"sigstore fails on the bundle: {type(error).__name__}: {_said(error)}")
        return _YES

    @cached_property
    def _verifier(self) -> Verifier:
        from sigstore.models import TrustedRoot  # noqa: PLC0415
        from sigstore.verify import Verifier  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="trusted-root-") as folder:  # its public interface reads files only
            path = Path(folder, "trusted_root.json")
            path.write_bytes(self.root.data)
            return Verifier(trusted_root=TrustedRoot.from_file(str(path)))


class _AnyName:
    """A verification policy that leaves the certificate's name to the rules."""

    def verify(self, cert: x509.Certificate) -> None:
        """Accept every name."""


def _for_sigstore(attached: Attached) -> bool:
    """Whether sigstore's verifier reads it: a bundle of one entry, with its proof, of a kind it has a verifier for."""
    if attached.kind is not Kind.BUNDLE or len(attached.entries) != 1 or attached.entries[0].proof is None:
        return False
    return _decoded(attached.entries[0]).kind in _SIGSTORE_KINDS


def _no(why: str) -> Verdict:
    return Verdict(Verified.NO, why)


def _cannot(why: str) -> Verdict:
    return Verdict(Verified.CANNOT_CHECK, why)


def _stranger(why: str) -> Verdict:
    return Verdict(Verified.CANNOT_CHECK, why, stranger=True)


def _said(error: Exception) -> str:
    return clip(visible(" ".join(str(error).split())), _SHOWN)


def _signature(attached: Attached, signer: Certificate) -> Verdict:
    """The certificate's key over what is said to be signed."""
    held = [_verifies(attached, signer, signature) for signature in attached.signatures]
    if True in held:
        return _YES
    if None in held:
        return _cannot("its key is of a kind that cannot be checked")
    return _no("its certificate's key did not make the signature")


def _verifies(attached: Attached, signer: Certificate, signature: bytes) -> bool | None:
    try:
        spki = certificates.spki(signer.der)
        if attached.signed.message is not None:
            if not isinstance(keys.load(spki), _KEYS):
                return None
            return signed_by(spki, signature, attached.signed.message)
        return keys.verifies(spki, signature, "sha256", attached.signed.digest or b"")
    except FormatError:
        return None


def _bound(attached: Attached, signer: Certificate, cited: Cited) -> Verdict:
    """The cited entry must be about this certificate, signature and payload (CVE-2026-22703: a promise of any entry passed)."""
    try:
        entry = _decoded(cited)
    except FormatError as error:
        return _cannot(f"the log entry it cites cannot be read: {error}")
    differing = differs(attached, signer, entry)
    return _no(f"the log entry it cites is of another {' and another '.join(differing)}") if differing else _YES


def _decoded(cited: Cited) -> DecodedEntry:
    """The cited entry's body. Only Rekor v1 makes promises, and it may leave them out beside a proof. FormatError."""
    if cited.promise is None:
        try:
            return decode.decode(cited.body, Protocol.REKOR_V2)
        except FormatError:
            pass
    return decode.decode(cited.body, Protocol.REKOR_V1)


def differs(attached: Attached, signer: Certificate | None, entry: DecodedEntry) -> tuple[str, ...]:
    """In what a log entry is not the one of `attached`: certificate, signature, digest; empty when it may be.

    What an entry does not hold (some kinds keep no signature or digest) is not held against it.
    """
    named = [each for each in entry.signers if signer is None or _same(each.certificate, signer)]
    if not named:
        return ("certificate", *_other_digest(attached, entry))
    logged = [each.signature for each in named if each.signature]
    other = bool(logged) and not any(each in attached.signatures for each in logged)
    return (*(("signature",) if other else ()), *_other_digest(attached, entry))


def _same(found: Certificate | None, signer: Certificate) -> bool:
    return found is not None and found.der == signer.der


def _other_digest(attached: Attached, entry: DecodedEntry) -> tuple[str, ...]:
    """`digest` where the entry's SHA-256 is none of the payload's; another algorithm's is recomputed from the message."""
    if entry.digest is None:
        return ()
    return () if entry.digest.value in _values(attached, entry.digest.algorithm) else ("digest",)


def _values(attached: Attached, algorithm: str) -> tuple[str, ...]:
    if algorithm == "sha256":
        return attached.signed.hashes
    name = algorithm.replace("sha3-", "sha3_")
    message = attached.signed.message
    if message is None or name not in hashlib.algorithms_guaranteed or name.startswith("shake"):
        return ()
    return tuple(hashlib.new(name, each).hexdigest() for each in (attached.signed.payload, message))


def _trusted(signer: Certificate, cited: Cited, root: TrustRoot) -> Verdict:
    verdict = check(signer, root, promise=cited.promise, data=cited.body, signer_verifies=True)
    if verdict.trust is Trust.UNCHECKED:
        return _stranger(verdict.detail)
    if verdict.trust is not Trust.TRUSTED:
        why = f"its certificate does not verify: {verdict.detail}"
        return _stranger(why) if verdict.trust is Trust.UNTRUSTED else _no(why)
    return _YES if verdict.within_validity else _no("it was logged outside its certificate's validity")


def _logged(cited: Cited, root: TrustRoot) -> Verdict:
    """The proof that it brings, if any, under a checkpoint signed by the log that it names; without one it needs a promise."""
    if cited.proof is None:
        return _YES if cited.promise else _no("it brings neither a promise nor a proof of its log entry")
    log = cited_log(cited, root)
    if log is None:
        return _stranger(f"the log it cites is not in the trusted root ({cited.log_id.hex()[:16]})")
    if cited.proof.note is None:
        return _no("its proof of inclusion brings no checkpoint")
    try:
        checkpoint = Checkpoint.parse(cited.proof.note)
        note.verify(checkpoint.note, [log.key])
        if log.origin not in {checkpoint.origin, checkpoint.origin.partition(" - ")[0]}:
            raise ProofError("its checkpoint is another log's")
        if (checkpoint.size, checkpoint.root) != (cited.proof.size, cited.root):
            raise ProofError("its checkpoint is of another tree")
        verify_inclusion(cited.leaf_hash, cited.proof.index, checkpoint.size, cited.proof.hashes, checkpoint.root)
    except MonitorError as error:
        return _no(f"its log entry is not proven: {error}")
    return _YES


def cited_log(cited: Cited, root: TrustRoot) -> TrustedLog | None:
    """The log of the trusted root that an entry is said to stand in."""
    for log in root.logs:
        if cited.log_id == log.log_id:
            return log
        if log.protocol is Protocol.REKOR_V2 and len(cited.log_id) >= _KEY_ID and log.log_id.startswith(cited.log_id):
            return log
    return None
