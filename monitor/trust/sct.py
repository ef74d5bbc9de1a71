"""The signed certificate timestamps inside a certificate (RFC 6962 §3.2, §3.3): proof that it was sent to a CT log, and when."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.certificate_transparency import LogEntryType, SignatureAlgorithm

from monitor.trust.outcome import REFUSALS, Outcome, Result, failed, unknown
from monitor.trust.signature import verifies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.x509.certificate_transparency import SignedCertificateTimestamp

    from monitor.trust.root import CtKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TIMESTAMPS = 16


def check(certificate: x509.Certificate, issuer: x509.Certificate, keys: Iterable[CtKey]) -> Outcome:
    """Whether one of the certificate's timestamps verifies under a key in force at its time; the outcome carries the earliest such time."""
    try:
        return _check(certificate, issuer, tuple(keys))
    except x509.ExtensionNotFound:
        return failed("no signed certificate timestamp")
    except REFUSALS as error:
        return failed(f"its certificate timestamps cannot be read: {error}")


def _check(certificate: x509.Certificate, issuer: x509.Certificate, keys: tuple[CtKey, ...]) -> Outcome:
    listed = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    timestamps = list(listed)
    if listed.public_bytes() not in certificate.tbs_certificate_bytes:
        return failed("its list of certificate timestamps holds more than timestamps")
    precertificate = certificate.tbs_precertificate_bytes
    if not 0 < len(timestamps) <= _MAX_TIMESTAMPS:
        return failed(f"{len(timestamps)} signed certificate timestamps")
    outcomes = [_one(timestamp, precertificate, issuer, keys) for timestamp in timestamps]
    times = [outcome.time for outcome in outcomes if outcome.time is not None]
    if times:
        return Outcome(Result.HELD, time=min(times))
    return next((outcome for outcome in outcomes if outcome.result is Result.FAILED), outcomes[0])


def _one(
    timestamp: SignedCertificateTimestamp, precertificate: bytes, issuer: x509.Certificate, keys: tuple[CtKey, ...]
) -> Outcome:
    known = [key for key in keys if key.log_id == timestamp.log_id]
    if not known:
        return unknown(
            f"its certificate timestamp is by a CT log that is not in the trusted root ({timestamp.log_id.hex()[:16]})"
        )
    if timestamp.entry_type is not LogEntryType.PRE_CERTIFICATE:
        return failed("its certificate timestamp is not over a precertificate")
    algorithms = timestamp.signature_algorithm, type(timestamp.signature_hash_algorithm)
    if algorithms not in {(SignatureAlgorithm.ECDSA, hashes.SHA256), (SignatureAlgorithm.RSA, hashes.SHA256)}:
        return failed("its certificate timestamp is signed with an unknown algorithm")
    moment = timestamp.timestamp.replace(tzinfo=UTC)
    signed = _signed(timestamp, moment, precertificate, issuer)
    signer = next((key for key in known if verifies(key.spki, timestamp.signature, signed, hashes.SHA256())), None)
    if signer is None:
        return failed("its certificate timestamp does not verify")
    if not signer.window.holds(moment):
        return failed("its certificate timestamp was made outside the window of the CT log's key")
    return Outcome(Result.HELD, time=moment)


def _signed(
    timestamp: SignedCertificateTimestamp, moment: datetime, precertificate: bytes, issuer: x509.Certificate
) -> bytes:
    """The digitally-signed struct of RFC 6962 §3.2 for a precertificate."""
    spki = issuer.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    extensions = timestamp.extension_bytes
    return b"".join(
        (
            b"\x00\x00",  # version 1, certificate_timestamp
            milliseconds.to_bytes(8, "big"),
            b"\x00\x01",  # precert_entry
            hashlib.sha256(spki).digest(),
            len(precertificate).to_bytes(3, "big"),
            precertificate,
            len(extensions).to_bytes(2, "big"),
            extensions,
        )
    )
