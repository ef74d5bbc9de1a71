"""The checks of a certificate, a signer's or one in a certificate log, each by itself: how far it is Fulcio's word.

Whoever can log an entry chooses every byte that comes in here: nothing raises, and nothing unknown passes for good.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from monitor.model.entry import Step, Trust, TrustVerdict
from monitor.trust import chain, sct
from monitor.trust.outcome import HELD, REFUSALS, Outcome, Result, failed
from monitor.trust.signature import entry_timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.entry import Certificate, LogStamp
    from monitor.model.log import Promise
    from monitor.trust.root import TrustRoot

_NO_CERTIFICATE = TrustVerdict(Trust.UNTRUSTED, (Step.CHAIN,), within_validity=False, detail="not a certificate")
CLOCK_SKEW = timedelta(seconds=60)
"""How far the CT log's clock may be behind the authority's."""


def check(
    certificate: Certificate, root: TrustRoot, *, promise: Promise | None, data: bytes, signer_verifies: bool | None
) -> TrustVerdict:
    """Check a signer's certificate against `root`.

    `promise` is what Rekor v1 said beside the leaf `data`; `signer_verifies` whether the signer's key verifies its signature (None: the
    body does not hold what was signed). UNTRUSTED: no authority issued it. BROKEN: one did, and another check failed. UNCHECKED: a key
    needed to tell is not in `root`. `failed` names every step that did not hold, whatever the trust.
    """
    outcomes: dict[Step, Outcome] = {}
    loaded = _loaded(certificate)
    if loaded is None:
        return _NO_CERTIFICATE
    issued_at = _issuance(certificate, loaded, root, outcomes)
    outcomes[Step.USAGE] = _usage(loaded)
    if promise is not None:
        outcomes[Step.SET] = entry_timestamp(promise, data, root.logs)
    if signer_verifies is False:
        outcomes[Step.SIGNATURE] = failed("its key does not verify the signature beside it")
    within = promise is None or certificate.not_before <= promise.integrated_time <= certificate.not_after
    return _verdict(outcomes, issued_at, within=within)


def check_logged(certificate: Certificate, root: TrustRoot, stamp: LogStamp) -> TrustVerdict:
    """Check a certificate that stands in a certificate log, by what its leaf says (`stamp`), against `root`.

    The log's word takes the place of a certificate timestamp, and where a precertificate's own signature is not at hand, of that too:
    it names the key that made it. `detail` says so. UNTRUSTED, BROKEN and `failed` as in `check`.
    """
    loaded = _loaded(certificate)
    if loaded is None:
        return _NO_CERTIFICATE
    outcomes = {Step.CHAIN: HELD, Step.SCT: HELD, Step.USAGE: _usage(loaded)}
    paths, note = _logged_paths(loaded, root, stamp, outcomes)
    issued_at = None
    if paths:
        issued_at = _taken_in(certificate, stamp.timestamp)
        if stamp.issuer_key_hash is None and _stamped(loaded):
            embedded = sct.check(loaded, paths[0].issuer, root.ct_keys)
            issued_at = embedded.time or issued_at
            if embedded.result is Result.FAILED:
                outcomes[Step.SCT] = embedded
        outcomes[Step.VALIDITY] = _validity(certificate, paths, issued_at)
    return _verdict(outcomes, issued_at, note=note)


def _logged_paths(
    loaded: x509.Certificate, root: TrustRoot, stamp: LogStamp, outcomes: dict[Step, Outcome]
) -> tuple[list[chain.Path], str]:
    """The paths to an authority, and what of them rests on the log's word alone."""
    try:
        signed = list(chain.paths(loaded, root.authorities))
    except REFUSALS:
        signed = []
    if stamp.issuer_key_hash is None:
        found, note = signed, ""
    else:
        found = [path for path in signed if path.key_hash == stamp.issuer_key_hash]
        if signed and not found:
            outcomes[Step.SCT] = failed("the log names another issuer than the one that signed it")
            return signed, ""
        note = "" if found else "its authority's signature is not at hand: the certificate log vouches for it"
        found = found or list(chain.of_key(stamp.issuer_key_hash, root.authorities))
    if not found:
        outcomes[Step.CHAIN] = failed("no certificate authority of the trusted root issued it")
        return [], ""
    return found, note


def _taken_in(certificate: Certificate, timestamp: datetime) -> datetime:
    """When it was issued, as far as a log can tell: to one that takes it in later, anybody may have sent it again."""
    return timestamp if timestamp <= certificate.not_after else certificate.not_before


def _stamped(loaded: x509.Certificate) -> bool:
    """Whether it carries certificate timestamps, be they readable or not: what was logged whole carries none."""
    try:
        loaded.extensions.get_extension_for_oid(ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS)
    except x509.ExtensionNotFound:
        return False
    except REFUSALS:
        return True
    return True


def _loaded(certificate: Certificate) -> x509.Certificate | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of what it will refuse one day
            return x509.load_der_x509_certificate(certificate.der)
    except REFUSALS:
        return None


def _verdict(
    outcomes: dict[Step, Outcome], issued_at: datetime | None, *, within: bool = True, note: str = ""
) -> TrustVerdict:
    wrong = [step for step in Step if step in outcomes and outcomes[step].result is not Result.HELD]
    detail = "; ".join(filter(None, (*(outcomes[step].why for step in wrong), note)))
    return TrustVerdict(_trust(outcomes), tuple(wrong), issued_at, within, detail)


def _issuance(
    certificate: Certificate, loaded: x509.Certificate, root: TrustRoot, outcomes: dict[Step, Outcome]
) -> datetime | None:
    """Chain, timestamp and validity, which hang together; the verified time of issuance."""
    try:
        paths = list(chain.paths(loaded, root.authorities))
    except REFUSALS as error:
        outcomes[Step.CHAIN] = failed(f"its issuer cannot be read: {error}")
        paths = []
    if not paths:
        outcomes.setdefault(Step.CHAIN, failed("no certificate authority of the trusted root issued it"))
        outcomes[Step.SCT] = failed("without its authority no certificate timestamp can be checked")
        return None
    outcomes[Step.CHAIN] = HELD
    stamped = sct.check(loaded, paths[0].issuer, root.ct_keys)
    outcomes[Step.SCT] = stamped
    moment = stamped.time or certificate.not_before
    outcomes[Step.VALIDITY] = _validity(certificate, paths, moment)
    return stamped.time


def _validity(certificate: Certificate, paths: list[chain.Path], moment: datetime) -> Outcome:
    if not certificate.not_before - CLOCK_SKEW <= moment <= certificate.not_after:
        return failed("its certificate timestamp lies outside its validity")
    outside = [path.outside(moment) for path in paths]
    return HELD if "" in outside else failed(outside[0])


def _usage(certificate: x509.Certificate) -> Outcome:
    """Code signing, by an end entity."""
    try:
        extensions = certificate.extensions
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.CODE_SIGNING not in usages:
            return failed("it is not for code signing")
        if any(isinstance(e.value, x509.BasicConstraints) and e.value.ca for e in extensions):
            return failed("it is a certificate authority's")
    except x509.ExtensionNotFound:
        return failed("it is not for code signing")
    except REFUSALS as error:
        return failed(f"its extensions cannot be read: {error}")
    return HELD


def _trust(outcomes: dict[Step, Outcome]) -> Trust:
    if outcomes[Step.CHAIN].result is not Result.HELD:
        return Trust.UNTRUSTED
    results = {outcome.result for outcome in outcomes.values()}
    if Result.FAILED in results:
        return Trust.BROKEN
    return Trust.UNCHECKED if Result.UNKNOWN in results else Trust.TRUSTED
