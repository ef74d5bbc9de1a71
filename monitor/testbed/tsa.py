"""A timestamp authority (RFC 3161): what gives a Rekor v2 bundle the time that the log itself does not.

It stamps whatever it is handed, at whatever time it is told: that is its use.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from monitor.testbed.der import integer, octets, oid, sequence, set_of, tagged

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY: Final = "1.3.6.1.4.1.57264.2"
SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
SHA_256: Final = "2.16.840.1.101.3.4.2.1"
ECDSA_SHA_256: Final = "1.2.840.10045.4.3.2"


class TimestampAuthority:
    """A root and a certificate that may only stamp."""

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        """Make both, valid from a year before `now` on."""
        self._now = now or (lambda: datetime.now(UTC))
        self.start = self._now().replace(microsecond=0) - timedelta(days=365)
        self._key = generate_private_key(SECP256R1())
        root_key = generate_private_key(SECP256R1())
        self.root = self._certificate("tsa root", "tsa root", root_key, root_key)
        self.leaf = self._certificate("tsa", "tsa root", self._key, root_key)

    @property
    def chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        """The stamping certificate and its root, as trusted_root.json lists them."""
        return self.leaf, self.root

    def stamp(self, data: bytes, when: datetime | None = None) -> bytes:
        """Return a TimeStampResp, DER, over SHA-256 of `data`; its times are whole seconds."""
        moment = (when or self._now()).astimezone(UTC).replace(microsecond=0)
        sha_256 = sequence(oid(SHA_256))
        info = sequence(
            integer(1),
            oid(POLICY),
            sequence(sequence(oid(SHA_256), b"\x05\x00"), octets(sha256(data).digest())),
            integer(secrets.randbits(150)),
            tagged(0x18, f"{moment:%Y%m%d%H%M%SZ}".encode()),
            sequence(integer(1)),
            tagged(0xA0, tagged(0xA4, self.leaf.subject.public_bytes())),
        )
        attributes = self._attributes(info, moment)
        signature = self._key.sign(set_of(*attributes), ECDSA(SHA256()))
        signer = sequence(
            integer(1),
            sequence(self.leaf.issuer.public_bytes(), integer(self.leaf.serial_number)),
            sha_256,
            tagged(0xA0, b"".join(sorted(attributes))),
            sequence(oid(ECDSA_SHA_256)),
            octets(signature),
        )
        content = sequence(oid(TST_INFO), tagged(0xA0, octets(info)))
        signed = sequence(integer(3), set_of(sha_256), content, set_of(signer))
        return sequence(sequence(integer(0)), sequence(oid(SIGNED_DATA), tagged(0xA0, signed)))

    def _attributes(self, info: bytes, moment: datetime) -> list[bytes]:
        """Return what is signed: the kind of content, its hash, the time, and which certificate signs."""
        issuer = sequence(tagged(0xA4, self.leaf.issuer.public_bytes()))
        certificate = sequence(
            octets(sha256(self.leaf.public_bytes(Encoding.DER)).digest()),
            sequence(issuer, integer(self.leaf.serial_number)),
        )
        values = {
            CONTENT_TYPE: oid(TST_INFO),
            SIGNING_TIME: tagged(0x17, f"{moment:%y%m%d%H%M%SZ}".encode()),
            MESSAGE_DIGEST: octets(sha256(info).digest()),
            SIGNING_CERTIFICATE_V2: sequence(sequence(certificate)),
        }
        return [sequence(oid(kind), set_of(value)) for kind, value in values.items()]

    def _certificate(
        self, name: str, issuer: str, key: EllipticCurvePrivateKey, signer: EllipticCurvePrivateKey
    ) -> x509.Certificate:
        authority = name == issuer
        builder = (
            x509.CertificateBuilder(_name(issuer), _name(name), key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.start)
            .not_valid_after(self.start + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=1 if authority else None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if not authority:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(signer, SHA256())


def _name(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sigstore.dev")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
