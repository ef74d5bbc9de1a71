"""trusted_root.json and signing_config.v0.2.json for the logs and the authority of a testbed, in Sigstore's wording.

Pure: from keys and names to JSON. A log's base URL names its origin, as in public; where it is read is said elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from monitor.testbed.keys import spki_of, text64

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.testbed.ca import CertificateAuthority
    from monitor.testbed.keys import LogKey
    from monitor.testbed.tsa import TimestampAuthority


@dataclass(frozen=True, slots=True)
class ListedLog:
    """A log as trusted_root.json lists it, with the time from which (and to which) its key counts."""

    host: str
    key: LogKey
    start: datetime
    end: datetime | None = None

    @property
    def base_url(self) -> str:
        """The address under which the log is listed."""
        return f"https://{self.host}"


def trusted_root(
    authorities: Sequence[CertificateAuthority], logs: Iterable[ListedLog], stamps: Iterable[TimestampAuthority] = ()
) -> bytes:
    """Return trusted_root.json (version 0.1)."""
    root = {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [_tlog(log) for log in logs],
        "certificateAuthorities": [_authority(authority, "fulcio") for authority in authorities],
        "ctlogs": [_ct_log(authority) for authority in authorities],
        "timestampAuthorities": [_authority(stamp, "tsa") for stamp in stamps],
    }
    return json.dumps(root, indent=1).encode()


def signing_config(v1: Iterable[ListedLog], v2: Iterable[ListedLog]) -> bytes:
    """Return signing_config.v0.2.json."""
    services = [_service(log.base_url, 2, log.start) for log in v2] + [
        _service(log.base_url, 1, log.start) for log in v1
    ]
    start = min((log.start for log in (*v1, *v2)), default=datetime.now(UTC))
    config = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [_service("https://fulcio.trustacks.test", 1, start)],
        "oidcUrls": [],
        "rekorTlogUrls": services,
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [],
        "tsaConfig": {"selector": "ANY"},
    }
    return json.dumps(config, indent=1).encode()


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tlog(log: ListedLog) -> dict[str, object]:
    valid = {"start": rfc3339(log.start)} | ({"end": rfc3339(log.end)} if log.end else {})
    return {
        "baseUrl": log.base_url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": text64(log.key.spki), "keyDetails": log.key.key_details, "validFor": valid},
        "logId": {"keyId": text64(log.key.log_id)},
    }


def _authority(authority: CertificateAuthority | TimestampAuthority, host: str) -> dict[str, object]:
    certificates = [{"rawBytes": text64(certificate.public_bytes(Encoding.DER))} for certificate in authority.chain]
    return {
        "subject": {"organization": "sigstore.dev", "commonName": "sigstore"},
        "uri": f"https://{host}.trustacks.test",
        "certChain": {"certificates": certificates},
        "validFor": {"start": rfc3339(authority.start)},
    }


def _ct_log(authority: CertificateAuthority) -> dict[str, object]:
    key = {
        "rawBytes": text64(spki_of(authority.ct_key)),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": rfc3339(authority.start)},
    }
    return {
        "baseUrl": "https://ctfe.trustacks.test" if authority.ct is None else authority.ct.listed_url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": key,
        "logId": {"keyId": text64(authority.ct_log_id)},
    }


def _service(url: str, version: int, start: datetime) -> dict[str, object]:
    return {"url": url, "majorApiVersion": version, "validFor": {"start": rfc3339(start)}, "operator": "testbed"}
