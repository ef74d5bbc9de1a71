from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from monitor.testbed.ca import FULCIO_ARC, CertificateAuthority, Claims
from monitor.testbed.keys import spki_of

CA = CertificateAuthority()
KEY = generate_private_key(SECP256R1())
SAN = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml@refs/tags/v0.1.2"


def claim(certificate: x509.Certificate, number: int) -> bytes | None:
    """The bytes of a Fulcio extension."""
    for extension in certificate.extensions:
        if extension.oid == ObjectIdentifier(f"{FULCIO_ARC}{number}"):
            assert isinstance(extension.value, x509.UnrecognizedExtension)
            return extension.value.value
    return None


def verify_sct(ca: CertificateAuthority, certificate: x509.Certificate) -> None:
    """Check the embedded SCT as RFC 6962 §3.2 says, with cryptography's own reading of the certificate."""
    scts = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    [sct] = list(scts)
    assert ca.ct_log_id == sct.log_id
    stamp = int(sct.timestamp.replace(tzinfo=UTC).timestamp() * 1000)
    tbs = certificate.tbs_precertificate_bytes
    issuer_key = ca.intermediate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer = sha256(issuer_key).digest()
    signed = b"\x00\x00" + struct.pack(">Q", stamp) + b"\x00\x01" + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
    ca.ct_key.public_key().verify(sct.signature, signed, ECDSA(SHA256()))


def chains(ca: CertificateAuthority, certificate: x509.Certificate) -> bool:
    """Whether a certificate chains to the authority's root while it is valid."""
    try:
        certificate.verify_directly_issued_by(ca.intermediate)
        ca.intermediate.verify_directly_issued_by(ca.root)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_a_certificate_has_the_shape_of_fulcios() -> None:
    when = datetime(2026, 11, 23, 12, tzinfo=UTC)
    certificate = CA.issue(KEY.public_key(), Claims(), when)
    assert chains(CA, certificate)
    verify_sct(CA, certificate)
    assert (when, when + timedelta(minutes=10)) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert not list(certificate.subject)
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical
    assert san.value.get_values_for_type(x509.UniformResourceIdentifier) == [SAN]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CODE_SIGNING]
    assert [*range(1, 7), *range(8, 23), 24] == [n for n in range(1, 25) if claim(certificate, n) is not None]


def test_claims_are_raw_up_to_six_and_der_strings_after() -> None:
    certificate = CA.issue(KEY.public_key(), Claims(attempt=3, environment="production"))
    assert claim(certificate, 6) == b"refs/tags/v0.1.2"
    assert claim(certificate, 14) == b"\x0c\x10refs/tags/v0.1.2"
    assert claim(certificate, 23) == b"\x0c\x0aproduction"
    run = claim(certificate, 21)
    assert run is not None
    assert run.endswith(b"/actions/runs/17000000001/attempts/3")


def test_a_called_workflow_names_its_caller_in_the_source_and_build_claims() -> None:
    claims = Claims(src_org="globex", src_repo="app", src_ref="refs/heads/main", caller_workflow="ci.yml")
    certificate = CA.issue(KEY.public_key(), claims)
    assert claim(certificate, 5) == b"globex/app"
    config = claim(certificate, 18)
    assert config is not None
    assert config.endswith(b"https://github.com/globex/app/.github/workflows/ci.yml@refs/heads/main")
    signer = claim(certificate, 9)
    assert signer is not None
    assert signer.endswith(SAN.encode())


def test_claims_can_be_replaced_left_out_and_names_added() -> None:
    certificate = CA.issue(KEY.public_key(), Claims(extra={14: b"raw", 20: None}, more_sans=("https://other.example",)))
    assert claim(certificate, 14) == b"raw"
    assert claim(certificate, 20) is None
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.UniformResourceIdentifier) == [SAN, "https://other.example"]


def test_a_forged_or_missing_sct_is_no_sct_of_the_log() -> None:
    forged = CA.issue(KEY.public_key(), Claims(), sct_signed_with=generate_private_key(SECP256R1()))
    with pytest.raises(InvalidSignature):
        verify_sct(CA, forged)
    with pytest.raises(x509.ExtensionNotFound):
        verify_sct(CA, CA.issue(KEY.public_key(), Claims(), sct=False))


def test_what_a_stranger_or_a_rogue_authority_issues_does_not_chain() -> None:
    assert not chains(CA, CA.issue(KEY.public_key(), Claims(), self_signed_with=KEY))
    rogue = CertificateAuthority()
    certificate = rogue.issue(KEY.public_key(), Claims())
    assert CA.intermediate.subject == certificate.issuer
    assert chains(rogue, certificate)
    assert not chains(CA, certificate)


def test_a_certificate_can_lack_code_signing() -> None:
    certificate = CA.issue(KEY.public_key(), Claims(), code_signing=False)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CODE_SIGNING not in list(usage)


def test_no_private_key_shows_in_a_representation() -> None:
    assert "PRIVATE" not in repr(CA)
    assert len(spki_of(KEY)) > 64
