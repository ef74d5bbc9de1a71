"""Whether a certificate was issued by one of the trusted authorities, and which. Time is not looked at here."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.trust.outcome import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from monitor.trust.root import Authority

_KEPT = 64


@lru_cache(maxsize=_KEPT)
def _loaded(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def validate(certificates: Sequence[bytes]) -> None:
    """Check that each of an authority's certificates is a CA's and was issued by the next. ValueError, TypeError, InvalidSignature."""
    if not certificates:
        raise ValueError("no certificate")
    chain = [_loaded(der) for der in certificates]
    for certificate in chain:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        if not constraints.value.ca:
            raise ValueError("one of them is not a CA's")
    for issued, issuer in pairwise(chain):
        issued.verify_directly_issued_by(issuer)


class Path:
    """One way from a certificate up: its issuer, and the certificates above to the anchor."""

    def __init__(self, authority: Authority, certificates: tuple[x509.Certificate, ...]) -> None:
        self.authority = authority
        self.certificates = certificates

    @property
    def issuer(self) -> x509.Certificate:
        """The certificate that issued."""
        return self.certificates[0]

    @property
    def key_hash(self) -> bytes:
        """SHA-256 of the issuer's SubjectPublicKeyInfo: how a certificate log names it (RFC 6962 §3.2)."""
        spki = self.issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).digest()

    def outside(self, moment: datetime) -> str:
        """What of the path was not valid at `moment`; an empty string when all of it was."""
        if not self.authority.window.holds(moment):
            return "issued outside the authority's window in the trusted root"
        for certificate in self.certificates:
            if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
                return "issued outside the validity of a certificate authority's certificate"
        return ""


def paths(certificate: x509.Certificate, authorities: Iterable[Authority]) -> Iterator[Path]:
    """Every path from `certificate` to an anchor whose names and signatures hold (RFC 5280 §6.1.3 (a) (1) and (4))."""
    for authority in authorities:
        chain = tuple(_loaded(der) for der in authority.certificates)
        for i, issuer in enumerate(chain):
            if _issued(certificate, issuer):
                yield Path(authority, chain[i:])


def of_key(key_hash: bytes, authorities: Iterable[Authority]) -> Iterator[Path]:
    """Every path whose issuer has this `Path.key_hash`, whatever it issued: for what a log says that such a key has signed."""
    for authority in authorities:
        chain = tuple(_loaded(der) for der in authority.certificates)
        for i in range(len(chain)):
            path = Path(authority, chain[i:])
            if path.key_hash == key_hash:
                yield path


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer.public_bytes() != issuer.subject.public_bytes():
        return False  # the cheap half of the next call
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *REFUSALS):
        return False
    return True
