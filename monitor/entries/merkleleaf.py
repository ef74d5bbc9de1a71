"""A certificate log's leaf (RFC 6962 §3.4 MerkleTreeLeaf) to the certificate that it logs. Strict: every length must fit.

What the log serves beside a leaf (§4.6 extra_data) is proven by nothing: it may lend a precertificate its signature, and can change
nothing that the leaf says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from monitor.entries import certificate, der, issuance
from monitor.errors import FormatError
from monitor.model.entry import Certificate, DecodedEntry, LogStamp, Signer
from monitor.tlog.treehead import MAX_TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.model.log import Protocol

API_VERSION = "v1"
CERTIFICATE = "certificate"
PRECERTIFICATE = "precertificate"
"""The kinds of entry: a whole certificate, or what its issuer promised to make one of."""

_VERSION: Final = 0
_TIMESTAMPED_ENTRY: Final = 0
_X509_ENTRY: Final = 0
_PRECERT_ENTRY: Final = 1
_HEADER: Final = 12
"""Version, leaf type, eight octets of time, two of the entry's type."""
_KEY_HASH: Final = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION_TAG: Final = 0xA0
_NOT_SIGNED = der.encoded(der.BIT_STRING, b"\x00")
CONTRADICTED = "the log serves another precertificate beside it"
"""An anomaly: the leaf is what the log signed for, and what it serves beside it is not of the same certificate."""


@dataclass(frozen=True, slots=True)
class MerkleLeaf:
    """A leaf cut into its fields. `content` is a certificate, or with an `issuer_key_hash` a TBSCertificate without poison."""

    timestamp: datetime
    issuer_key_hash: bytes | None
    content: bytes = field(repr=False)


def parse(data: bytes) -> MerkleLeaf:
    """Cut a leaf into its fields. FormatError for another version, an unknown kind of leaf or entry, and lengths that do not fit."""
    if len(data) < _HEADER:
        raise FormatError(f"a leaf of {len(data)} bytes: it breaks off")
    if data[0] != _VERSION:
        raise FormatError(f"unknown version {data[0]} of a certificate log's leaf")
    if data[1] != _TIMESTAMPED_ENTRY:
        raise FormatError(f"unknown leaf type {data[1]}")
    milliseconds, kind = int.from_bytes(data[2:10], "big"), int.from_bytes(data[10:_HEADER], "big")
    if milliseconds > MAX_TIMESTAMP:
        raise FormatError(f"a timestamp beyond the year 9999: {milliseconds}")
    if kind not in {_X509_ENTRY, _PRECERT_ENTRY}:
        raise FormatError(f"unknown entry type {kind}")
    start = _HEADER + (_KEY_HASH if kind == _PRECERT_ENTRY else 0)
    content, end = _vector(data, start, 3)
    _, end = _vector(data, end, 2)  # the extensions of the timestamp, which say nothing of the certificate
    if end != len(data):
        raise FormatError(f"{len(data) - end} bytes after a certificate log's leaf")
    key_hash = data[_HEADER:start] if kind == _PRECERT_ENTRY else None
    return MerkleLeaf(_EPOCH + timedelta(milliseconds=milliseconds), key_hash, content)


def common(data: bytes, start: int, end: int) -> bool:
    """Whether the leaf data[start:end] has the form that `parse` takes: its certificate's bytes stand in it as they are."""
    if end - start < _HEADER or data[start] or data[start + 1] or data[start + 10] or data[start + 11] > _PRECERT_ENTRY:
        return False
    if int.from_bytes(data[start + 2 : start + 10], "big") > MAX_TIMESTAMP:
        return False
    at = start + _HEADER + (_KEY_HASH if data[start + 11] else 0)
    at += 3 + int.from_bytes(data[at : at + 3], "big")
    return at + 2 <= end and at + 2 + int.from_bytes(data[at : at + 2], "big") == end


def uncommon(data: bytes, starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Which of the leaves are not of that form."""
    return [i for i, (start, end) in enumerate(zip(starts, ends, strict=True)) if not common(data, start, end)]


def decode(data: bytes, protocol: Protocol, extra: bytes) -> DecodedEntry:
    """The certificate of a leaf, as the signer of an entry without a digest. FormatError also where it is no certificate.

    A precertificate keeps its issuer's signature where the log serves it and it is of the very certificate in the leaf, so that anyone
    can verify it; else it is wrapped as a certificate whose signature is empty.
    """
    leaf = parse(data)
    found = certificate.read(leaf.content) if leaf.issuer_key_hash is None else _precertificate(leaf.content, extra)
    signer = Signer(certificate.spki(found.der), found, b"", None)
    kind = CERTIFICATE if leaf.issuer_key_hash is None else PRECERTIFICATE
    stamp = LogStamp(leaf.timestamp, leaf.issuer_key_hash)
    return DecodedEntry(protocol, kind, API_VERSION, (signer,), None, stamp=stamp)


def _precertificate(tbs: bytes, extra: bytes) -> Certificate:
    served = _served(extra)
    contradicted = False
    if served is not None:
        try:
            contradicted = issuance.bare(_parts(served)[0].encoded) != tbs
            if not contradicted:
                return certificate.read(served)
        except FormatError:
            pass  # it is no certificate at all, so it contradicts nothing
    algorithm = _parts(tbs, skip=_VERSION_TAG)[1].encoded
    wrapped = certificate.read(der.encoded(der.SEQUENCE, tbs + algorithm + _NOT_SIGNED))
    return replace(wrapped, anomalies=(*wrapped.anomalies, CONTRADICTED)) if contradicted else wrapped


def _served(extra: bytes) -> bytes | None:
    """The precertificate at the head of a PrecertChainEntry (RFC 6962 §4.6); None where there is none."""
    try:
        return _vector(extra, 0, 3)[0] or None
    except FormatError:
        return None


def _parts(sequence: bytes, *, skip: int | None = None) -> list[der.Element]:
    """The elements of a DER SEQUENCE, those of the tag `skip` left out. FormatError where it has not two."""
    found = [each for each in der.children(der.expect(sequence, der.SEQUENCE)) if each.tag != skip]
    if len(found) < 2:  # noqa: PLR2004 - of a TBSCertificate the serial number and the algorithm
        raise FormatError("a certificate that breaks off")
    return found


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """The content of a TLS vector whose length takes `width` octets, and where it ends. FormatError when it breaks off."""
    start = at + width
    end = start + int.from_bytes(data[at:start], "big")
    if start > len(data) or end > len(data):
        raise FormatError("a certificate log's leaf that breaks off")
    return data[start:end], end
