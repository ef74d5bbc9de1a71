"""An X.509 certificate as a Fulcio one is read: names, issuer, every claim .1-.24, and what no Fulcio certificate has.

Extensions are read from the certificate's own bytes, because a library that refuses a repeated extension would hide the rest.
Strings stay as they are in the certificate; nothing here says whether anyone vouches for them.
"""

from __future__ import annotations

import ipaddress
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from monitor.entries import der as asn1
from monitor.entries import issuance, keys
from monitor.entries.encoding import pem_blocks
from monitor.errors import FormatError
from monitor.model.entry import Certificate, Claim, SanKind
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CERTIFICATE = 256 * 1024

_CLAIMS = "1.3.6.1.4.1.57264.1."
_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
_USERNAME = "1.3.6.1.4.1.57264.1.7"
_RAW_CLAIMS = range(Claim.ISSUER_RAW, Claim.REF_RAW + 1)
_DER_CLAIMS = range(Claim.ISSUER, Claim.SUBJECT + 1)
_EXTENSIONS_TAG = 0xA3
_VERSION_TAG = 0xA0
_SPKI_AT = 5
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_NAME_TAGS = {0x81: SanKind.EMAIL, 0x82: SanKind.DNS, 0x86: SanKind.URI}
_IP_TAG = 0x87
_OTHER_NAME_TAG = 0xA0
_MAX_ANOMALIES = 16


def read(der: bytes) -> Certificate:
    """Read one DER certificate (RFC 5280). FormatError when it is none, is too large, or breaks rules that hide what it says."""
    if len(der) > MAX_CERTIFICATE:
        raise FormatError(f"a certificate of {len(der)} bytes; at most {MAX_CERTIFICATE} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of what it will refuse one day; until then it can be read
            loaded = x509.load_der_x509_certificate(der)
            issuer = _issuer(loaded)
            serial = f"{loaded.serial_number:x}"
            not_before, not_after = loaded.not_valid_before_utc, loaded.not_valid_after_utc
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion) as error:
        raise FormatError(f"not a certificate: {clip(visible(str(error)), 160)}") from None
    anomalies: list[str] = []
    tbs = loaded.tbs_certificate_bytes
    names, claims = _say(tbs, anomalies)
    return Certificate(
        der,
        issuer,
        serial,
        not_before,
        not_after,
        names,
        claims,
        tuple(dict.fromkeys(anomalies))[:_MAX_ANOMALIES],
        issuance.of(tbs),
    )


def read_pem(pem: bytes) -> tuple[Certificate, ...]:
    """Read the certificates of a PEM, at most ten; the first is the signer's. FormatError."""
    blocks = [content for label, content in pem_blocks(pem) if label == "CERTIFICATE"]
    if not blocks:
        raise FormatError("no certificate in the PEM")
    return (read(blocks[0]), *(read_or_keep(block) for block in blocks[1:]))


def read_or_keep(der: bytes) -> Certificate:
    """Read a certificate that nothing is decided by; one that cannot be read is kept without names, its anomaly saying why."""
    try:
        return read(der)
    except FormatError as error:
        return Certificate(der, "", "", _NEVER, _NEVER, (), {}, (f"cannot be read: {error}",))


def spki(der: bytes) -> bytes:
    """The certificate's SubjectPublicKeyInfo in its usual form (`keys.canonical`). FormatError."""
    tbs = next(asn1.children(asn1.expect(der, asn1.SEQUENCE)), None)
    if tbs is None:
        raise FormatError("an empty certificate")
    fields = [field.encoded for field in asn1.children(tbs.content) if field.tag != _VERSION_TAG]
    if len(fields) <= _SPKI_AT:
        raise FormatError("a certificate without a public key")
    return keys.canonical(fields[_SPKI_AT])


def _issuer(certificate: x509.Certificate) -> str:
    try:
        return certificate.issuer.rfc4514_string()
    except ValueError:
        return ""


def _say(tbs: bytes, anomalies: list[str]) -> tuple[tuple[tuple[SanKind, str], ...], dict[int, str]]:
    names: list[tuple[SanKind, str]] = []
    claims: dict[int, str] = {}
    seen: set[str] = set()
    for oid, value in _extensions(tbs):
        if oid in seen:
            anomalies.append(f"extension {oid} is repeated")
        if oid == _SUBJECT_ALTERNATIVE_NAME:
            names += _names(value, anomalies)
        elif oid.startswith(_CLAIMS) and oid not in seen and oid[len(_CLAIMS) :].isdigit():
            number = int(oid[len(_CLAIMS) :])
            claims[number] = _claim(number, value, anomalies)
        seen.add(oid)
    return tuple(names), claims


def _extensions(tbs: bytes) -> Iterator[tuple[str, bytes]]:
    """(OID, value) of each extension, in order, repeated ones too."""
    for field in asn1.children(asn1.expect(tbs, asn1.SEQUENCE)):
        if field.tag != _EXTENSIONS_TAG:
            continue
        for extension in asn1.children(asn1.expect(field.content, asn1.SEQUENCE)):
            parts = list(asn1.children(extension.content))
            if not parts or parts[0].tag != asn1.OBJECT_IDENTIFIER or parts[-1].tag != asn1.OCTET_STRING:
                raise FormatError("an extension that is none")
            yield asn1.oid(parts[0].content), parts[-1].content


def _claim(number: int, value: bytes, anomalies: list[str]) -> str:
    if number in _RAW_CLAIMS:
        return _utf8(value, f"claim .{number}", anomalies)
    try:
        return _utf8(asn1.expect(value, asn1.UTF8_STRING), f"claim .{number}", anomalies)
    except FormatError:
        if number in _DER_CLAIMS:
            anomalies.append(f"claim .{number} is not a DER UTF8String")
        return _utf8(value, f"claim .{number}", [])


def _names(value: bytes, anomalies: list[str]) -> Iterator[tuple[SanKind, str]]:
    try:
        names = list(asn1.children(asn1.expect(value, asn1.SEQUENCE)))
    except FormatError as error:
        anomalies.append(f"subject alternative names: {error}")
        return
    for name in names:
        if name.tag in _NAME_TAGS:
            if not name.content.isascii():
                anomalies.append("a subject alternative name is not ASCII")
            yield _NAME_TAGS[name.tag], _utf8(name.content, "a subject alternative name", anomalies)
        elif name.tag == _IP_TAG:
            yield SanKind.IP, _address(name.content)
        elif name.tag == _OTHER_NAME_TAG:
            yield SanKind.OTHER, _other_name(name, anomalies)
        else:
            yield SanKind.OTHER, name.encoded.hex()


def _address(content: bytes) -> str:
    try:
        return str(ipaddress.ip_address(content))
    except ValueError:
        return content.hex()


def _other_name(name: asn1.Element, anomalies: list[str]) -> str:
    """Fulcio's user names are a UTF8String in an otherName (claim .7); of any other we show the bytes."""
    try:
        oid, value = asn1.children(name.content)
        if oid.tag == asn1.OBJECT_IDENTIFIER and asn1.oid(oid.content) == _USERNAME and value.tag == _OTHER_NAME_TAG:
            return _utf8(asn1.expect(value.content, asn1.UTF8_STRING), "a user name", anomalies)
    except (FormatError, ValueError):
        anomalies.append("an otherName that cannot be read")
    return name.encoded.hex()


def _utf8(value: bytes, what: str, anomalies: list[str]) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        anomalies.append(f"{what} is not UTF-8")
        return value.decode("utf-8", "backslashreplace")
