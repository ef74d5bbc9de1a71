from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import certificate, decode, der, issuance, merkleleaf
from monitor.errors import FormatError
from monitor.model.log import Protocol
from monitor.testbed.ca import CertificateAuthority, Claims
from monitor.trust import root as roots
from monitor.trust.check import check
from tests.replay import RECORDING
from tests.unit.entries.recorded import ct_leaves, v1_entries, v2_leaves
from tests.unit.trust.issuing import POISON, Fulcio, Wish, sequence, tlv

CA = CertificateAuthority()
KEY = generate_private_key(SECP256R1()).public_key()
FULCIO = Fulcio()


def trusted_certificates() -> list[bytes]:
    """DER of every certificate in the recorded signature logs that the recorded root trusts."""
    root = roots.parse((RECORDING / "trusted_root.json").read_bytes())
    found = []
    logged = [(data, None, Protocol.REKOR_V2) for data in v2_leaves().values()]
    for data, promise, protocol in (*logged, *((*each, Protocol.REKOR_V1) for each in v1_entries().values())):
        try:
            signers = decode.decode(data, protocol).signers
        except FormatError:
            continue
        for signer in signers:
            if signer.certificate is not None:
                verdict = check(signer.certificate, root, promise=promise, data=data, signer_verifies=signer.verifies)
                found += [signer.certificate.der] if verdict.trust == "trusted" else []
    return found


@settings(max_examples=50, deadline=None)
@given(
    sct=st.booleans(),
    claims=st.dictionaries(st.integers(1, 24), st.none() | st.binary(max_size=300), max_size=8),
    names=st.lists(st.text("abc/:.", min_size=1, max_size=200), max_size=2),
)
def test_it_is_the_hash_of_what_the_library_takes_for_the_precertificate(
    claims: dict[int, bytes | None], names: list[str], *, sct: bool
) -> None:
    wanted = Claims(extra=claims, more_sans=tuple(names))
    loaded = CA.issue(KEY, wanted, sct=sct)
    own = loaded.tbs_precertificate_bytes if sct else loaded.tbs_certificate_bytes
    assert issuance.bare(loaded.tbs_certificate_bytes) == own
    assert issuance.of(loaded.tbs_certificate_bytes) == hashlib.sha256(own).hexdigest()


def test_it_is_the_same_for_certificate_and_precertificate() -> None:
    key = generate_private_key(SECP256R1())
    leaf, extra = FULCIO.logged(Wish(), key=key)
    (signer,) = decode.decode(leaf, Protocol.RFC6962, extra).signers
    assert signer.certificate is not None
    assert signer.certificate.issuance == certificate.read(FULCIO.issue(Wish(), key)).issuance
    assert signer.certificate.issuance == hashlib.sha256(merkleleaf.parse(leaf).content).hexdigest()


def test_every_trusted_certificate_of_the_recorded_logs_stands_in_the_recorded_certificate_log() -> None:
    logged = {hashlib.sha256(merkleleaf.parse(leaf).content).hexdigest() for leaf, _ in ct_leaves()}
    signing = {certificate.read(each).issuance for each in trusted_certificates()}
    assert len(signing) > 80
    assert signing <= logged
    for each in trusted_certificates():
        loaded = x509.load_der_x509_certificate(each)
        assert issuance.bare(loaded.tbs_certificate_bytes) == loaded.tbs_precertificate_bytes


def test_an_extension_list_that_held_nothing_else_is_left_out() -> None:
    poisoned = FULCIO.issue(Wish(extensions=((POISON, b"\x05\x00"),), stamped=None))
    (tbs, _, _) = der.children(der.expect(poisoned, der.SEQUENCE))
    bare = issuance.bare(tbs.encoded)
    assert [each.tag for each in der.children(der.expect(bare, der.SEQUENCE))][-1] == der.SEQUENCE


@pytest.mark.parametrize(
    "tbs", [b"", b"\x30", sequence(tlv(0xA3, b"\x30\x01")), sequence(tlv(0xA3, sequence(tlv(0x30, b"\x06\x00"))))]
)
def test_what_cannot_be_read_has_none(tbs: bytes) -> None:
    assert not issuance.of(tbs)
    with pytest.raises(FormatError):
        issuance.bare(tbs)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 70_000), st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F))
def test_an_element_that_is_written_is_read_again(size: int, tag: int) -> None:
    assert der.read(der.encoded(tag, bytes(size))) == (tag, bytes(size), der.encoded(tag, bytes(size)))
