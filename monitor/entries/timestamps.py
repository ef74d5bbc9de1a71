"""What an RFC 3161 time-stamp response says in an entry: the hash it stamps and the certificates it carries. Verifies nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.entries import certificate, der
from monitor.errors import FormatError
from monitor.model.entry import DigestRole, LoggedDigest

if TYPE_CHECKING:
    from monitor.model.entry import Certificate

_EXPLICIT_0 = 0xA0
_MAX_CERTIFICATES = 10
_ALGORITHMS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def read(response: bytes) -> tuple[LoggedDigest | None, tuple[Certificate, ...]]:
    """The message imprint of a TimeStampResp (None for an unknown hash) and its certificates, at most ten. FormatError."""
    try:
        _status, token = list(der.children(der.expect(response, der.SEQUENCE)))[:2]
        _type, content = der.children(token.content)
        signed = list(der.children(der.expect(content.content, der.SEQUENCE)))
        _version, _digests, encapsulated = signed[:3]
        _content_type, stamped = der.children(encapsulated.content)
        info = list(der.children(der.expect(der.expect(stamped.content, der.OCTET_STRING), der.SEQUENCE)))
        algorithm, imprint = der.children(info[2].content)
        oid = der.oid(next(der.children(algorithm.content)).content)
    except (ValueError, IndexError, StopIteration) as error:
        raise FormatError(f"not a time-stamp response: {error}") from None
    certificates = [
        certificate.read_or_keep(found.encoded)
        for field in signed[3:]
        if field.tag == _EXPLICIT_0
        for found in list(der.children(field.content))[:_MAX_CERTIFICATES]
    ]
    name = _ALGORITHMS.get(oid)
    return LoggedDigest(name, imprint.content.hex(), DigestRole.ARTIFACT) if name else None, tuple(certificates)
