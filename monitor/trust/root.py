"""`trusted_root.json` (Sigstore protobuf-specs) as logs, authorities and CT keys with their windows.

Strict about JSON and about what it uses, open to what is new: an unknown field is passed over, an unknown kind of key is noted in
`skipped`. It must never take half a root for a whole one in silence.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from monitor.errors import FormatError, TrustRootError
from monitor.model.log import Protocol
from monitor.model.text import clip, parse_rfc3339, visible
from monitor.tlog.note import NoteKey
from monitor.trust import chain
from monitor.trust.outcome import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_ROOT = 4 * 1024 * 1024

_MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot"
_CURE = "check the source of the trusted root; the last good one stays in force"
_MAX_LISTED = 256
_LOG_ID = 32
_KEY_ID = 4
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Window:
    """When a key or authority may be used: from `start` to `end`, both included; an end that is None has not been set."""

    start: datetime
    end: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether `moment` lies in the window."""
        return self.start <= moment and (self.end is None or moment <= self.end)


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A transparency log and its key.

    `origin` names it: a v2 or static-CT log's checkpoint origin, a v1 log's host, an RFC 6962 log's id in hex.
    """

    base_url: str
    origin: str
    protocol: Protocol
    log_id: bytes
    key_id: bytes
    """The four bytes by which its signature lines name the key."""
    spki: bytes = field(repr=False)
    window: Window

    @property
    def start(self) -> datetime:
        """When the key's window begins."""
        return self.window.start

    @property
    def end(self) -> datetime | None:
        """When the log ends, if that is set."""
        return self.window.end

    @property
    def key(self) -> NoteKey:
        """The key as it signs checkpoints."""
        if self.protocol.certificates:
            return NoteKey.tree_head(self.origin, self.spki)
        return NoteKey.from_spki(self.origin, self.spki, self.key_id)


@dataclass(frozen=True, slots=True)
class Authority:
    """A Fulcio CA: DER certificates from the one that issues to its anchor, and when it may issue."""

    uri: str
    certificates: tuple[bytes, ...] = field(repr=False)
    window: Window


@dataclass(frozen=True, slots=True)
class CtKey:
    """The key of a certificate transparency log."""

    base_url: str
    log_id: bytes
    spki: bytes = field(repr=False)
    window: Window

    def log(self, *, static: bool = False) -> TrustedLog:
        """The log that signs with this key, as one to follow. FormatError where its tree heads cannot be verified, or found.

        A root does not say how a log is read: `static` names it by its submission prefix, as C2SP static-ct-api does.
        """
        bare = self.base_url.partition("://")[2].rstrip("/")
        if not bare:
            raise FormatError(f"the certificate log {self.log_id.hex()[:16]} has no URL in the trusted root")
        origin, protocol = (bare, Protocol.STATIC_CT) if static else (self.log_id.hex(), Protocol.RFC6962)
        key_id = NoteKey.tree_head(origin, self.spki).key_id
        return TrustedLog(self.base_url, origin, protocol, self.log_id, key_id, self.spki, self.window)


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """A trusted root, read. `skipped` says what of it is not understood and therefore not used."""

    logs: tuple[TrustedLog, ...]
    authorities: tuple[Authority, ...]
    ct_keys: tuple[CtKey, ...]
    digest: str
    """SHA-256 of `data`, in hex."""
    data: bytes = field(repr=False)
    skipped: tuple[str, ...] = ()


def parse(data: bytes) -> TrustRoot:
    """Read a trusted root of at most 4 MiB. TrustRootError when it is none, or names no log or no authority that can be used."""
    if len(data) > MAX_ROOT:
        raise TrustRootError(f"a trusted root of {len(data)} bytes; at most {MAX_ROOT} are read", cure=_CURE)
    try:
        root = _Place(json.loads(data, object_pairs_hook=_once), "trusted root")
        media_type = root.text("mediaType", "")
        if media_type and not media_type.startswith(_MEDIA_TYPE):
            raise FormatError(f"mediaType is {clip(visible(media_type), 80)}")  # noqa: TRY301 - every refusal is told as one error
        skipped: list[str] = []
        logs = _each(root.items("tlogs"), _log, skipped)
        authorities = _each(root.items("certificateAuthorities"), _authority, skipped)
        ct_keys = _each(root.items("ctlogs"), _ct_key, skipped)
    except (FormatError, ValueError, RecursionError) as error:
        raise TrustRootError(f"cannot read the trusted root: {error}", cure=_CURE) from None
    if not logs or not authorities:
        missing = "transparency log" if not logs else "certificate authority"
        because = f" ({'; '.join(skipped)})" if skipped else ""
        raise TrustRootError(f"the trusted root names no {missing} that can be used{because}", cure=_CURE)
    return TrustRoot(logs, authorities, ct_keys, hashlib.sha256(data).hexdigest(), data, tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Place:
    """A JSON object and where it stands."""

    value: object
    path: str

    def _get(self, key: str) -> object:
        if not isinstance(self.value, dict):
            raise FormatError(f"{self.path} is not an object")
        return self.value.get(key)

    def below(self, key: str) -> _Place:
        return _Place(self._get(key), f"{self.path}.{key}")

    def has(self, key: str) -> bool:
        return self._get(key) is not None

    def items(self, key: str) -> list[_Place]:
        listed = self._get(key)
        if listed is None:
            return []
        if not isinstance(listed, list) or len(listed) > _MAX_LISTED:
            raise FormatError(f"{self.path}.{key} is not an array of at most {_MAX_LISTED}")
        return [_Place(value, f"{key}[{i}]") for i, value in enumerate(listed)]

    def text(self, key: str, default: str | None = None) -> str:
        found = self._get(key)
        if found is None and default is not None:
            return default
        if not isinstance(found, str):
            raise FormatError(f"{self.path}.{key} is not a string")
        return found

    def raw(self, key: str) -> bytes:
        try:
            return base64.b64decode(self.text(key), validate=True)
        except (binascii.Error, ValueError):
            raise FormatError(f"{self.path}.{key} is not base64") from None

    def window(self) -> Window:
        if not self.has("validFor"):
            return Window(datetime.min.replace(tzinfo=UTC))
        period = self.below("validFor")
        try:
            start = parse_rfc3339(period.text("start", "0001-01-01T00:00:00Z"))
            return Window(start, parse_rfc3339(period.text("end")) if period.has("end") else None)
        except ValueError as error:
            raise FormatError(f"{period.path}: {error}") from None


def _each(places: list[_Place], read: Callable[[_Place], _T], skipped: list[str]) -> tuple[_T, ...]:
    found: list[_T] = []
    for place in places:
        try:
            found.append(read(place))
        except FormatError as error:
            skipped.append(str(error))
    return tuple(found)


def _log(place: _Place) -> TrustedLog:
    key = place.below("publicKey")
    log_id = place.below("logId").raw("keyId")
    loaded, spki = _public_key(key)
    if not isinstance(loaded, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)):
        raise FormatError(f"{key.path} is of a kind that signs no checkpoints we read")
    if not _KEY_ID <= len(log_id) <= _LOG_ID:
        raise FormatError(f"{place.path}.logId is of {len(log_id)} bytes")
    base_url = place.text("baseUrl")
    by_key = log_id == hashlib.sha256(spki).digest()
    modern = isinstance(loaded, ed25519.Ed25519PublicKey) and not by_key
    origin = (
        _origin(base_url, loaded, log_id, place)
        if isinstance(loaded, ed25519.Ed25519PublicKey)
        else _host(base_url, place)
    )
    checkpoint = place.below("checkpointKeyId").raw("keyId") if place.has("checkpointKeyId") else log_id
    protocol = Protocol.REKOR_V2 if modern else Protocol.REKOR_V1
    log = TrustedLog(base_url, origin, protocol, log_id, checkpoint[:_KEY_ID], spki, key.window())
    _ = log.key
    return log


def _host(base_url: str, place: _Place) -> str:
    try:
        host = urlsplit(base_url).hostname
    except ValueError:
        host = None
    if not host:
        raise FormatError(f"{place.path}.baseUrl names no host")
    return host


def _origin(base_url: str, key: ed25519.Ed25519PublicKey, log_id: bytes, place: _Place) -> str:
    """A v2 log's id is a hash of its origin and key (C2SP signed-note): of the names its URL may mean, the one that fits; else its host."""
    host = _host(base_url, place)
    bare = base_url.partition("://")[2].rstrip("/")
    for name in (host, urlsplit(base_url).netloc, bare):
        if hashlib.sha256(name.encode() + b"\n\x01" + key.public_bytes_raw()).digest().startswith(log_id):
            return name
    return host


def _authority(place: _Place) -> Authority:
    listed = place.below("certChain").items("certificates")
    certificates = tuple(item.raw("rawBytes") for item in listed)
    try:
        chain.validate(certificates)
    except (InvalidSignature, x509.ExtensionNotFound, *REFUSALS) as error:
        raise FormatError(f"{place.path}: its certificates are no chain: {error}") from None
    return Authority(place.text("uri", ""), certificates, place.window())


def _ct_key(place: _Place) -> CtKey:
    key = place.below("publicKey")
    loaded, spki = _public_key(key)
    if not isinstance(loaded, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        raise FormatError(f"{key.path} is of a kind that signs no certificate timestamps")
    return CtKey(place.text("baseUrl", ""), place.below("logId").raw("keyId"), spki, key.window())


def _public_key(place: _Place) -> tuple[object, bytes]:
    raw = place.raw("rawBytes")
    try:
        key = serialization.load_der_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        details = clip(visible(place.text("keyDetails", "unnamed")), 40)
        raise FormatError(f"{place.path} is a key of an unknown kind ({details})") from None
    return key, key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("an object with the same key twice")
    return found
