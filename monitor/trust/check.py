"""The checks of a signer's certificate, all of them, each by itself: how far it is Fulcio's word.

Whoever can log an entry chooses every byte that comes in here: nothing raises, and nothing unknown passes for good.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from monitor.model.entry import Step, Trust, TrustVerdict
from monitor.trust import chain, sct
from monitor.trust.outcome import HELD, REFUSALS, Outcome, Result, failed
from monitor.trust.signature import entry_timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.model.entry import Certificate
    from monitor.model.log import Promise
    from monitor.trust.root import TrustRoot

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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of what it will refuse one day
            loaded = x509.load_der_x509_certificate(certificate.der)
    except REFUSALS:
        return TrustVerdict(Trust.UNTRUSTED, (Step.CHAIN,), within_validity=False, detail="not a certificate")
    issued_at = _issuance(certificate, loaded, root, outcomes)
    outcomes[Step.USAGE] = _usage(loaded)
    if promise is not None:
        outcomes[Step.SET] = entry_timestamp(promise, data, root.logs)
    if signer_verifies is False:
        outcomes[Step.SIGNATURE] = failed("its key does not verify the signature beside it")
    within = promise is None or certificate.not_before <= promise.integrated_time <= certificate.not_after
    wrong = [step for step in Step if step in outcomes and outcomes[step].result is not Result.HELD]
    detail = "; ".join(outcomes[step].why for step in wrong)
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
