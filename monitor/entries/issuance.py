"""What ties a certificate to its precertificate: its TBSCertificate without what certificate transparency puts in.

The same bytes stand in a certificate log's leaf, under each of the certificate's timestamps, and behind `Certificate.issuance`.
Everything else is taken over as it is, octet by octet.
"""

from __future__ import annotations

import hashlib

from monitor.entries import der
from monitor.errors import FormatError

TIMESTAMPS = "1.3.6.1.4.1.11129.2.4.2"
"""The list of signed certificate timestamps (RFC 6962 §3.3)."""
POISON = "1.3.6.1.4.1.11129.2.4.3"
"""What makes a precertificate useless as a certificate (RFC 6962 §3.1)."""
_EXTENSIONS = 0xA3


def bare(tbs: bytes) -> bytes:
    """A DER TBSCertificate without timestamps and poison: what a log is given to sign (RFC 6962 §3.2). FormatError."""
    fields = [_without(field) for field in der.children(der.expect(tbs, der.SEQUENCE))]
    return der.encoded(der.SEQUENCE, b"".join(fields))


def of(tbs: bytes) -> str:
    """The issuance of a certificate: SHA-256 in hex of `bare`; empty where it cannot be read."""
    try:
        return hashlib.sha256(bare(tbs)).hexdigest()
    except FormatError:
        return ""


def _without(field: der.Element) -> bytes:
    if field.tag != _EXTENSIONS:
        return field.encoded
    kept = [each.encoded for each in der.children(der.expect(field.content, der.SEQUENCE)) if not _transparency(each)]
    return der.encoded(_EXTENSIONS, der.encoded(der.SEQUENCE, b"".join(kept))) if kept else b""


def _transparency(extension: der.Element) -> bool:
    name = next(der.children(extension.content), None)
    return name is not None and name.tag == der.OBJECT_IDENTIFIER and der.oid(name.content) in {TIMESTAMPS, POISON}
