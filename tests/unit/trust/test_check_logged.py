from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.entries import decode
from monitor.errors import FormatError
from monitor.model.entry import Step, Trust, TrustVerdict
from monitor.model.log import Protocol
from monitor.trust import root as roots
from monitor.trust.check import check_logged
from tests.replay import RECORDING
from tests.unit.entries.recorded import ct_leaves
from tests.unit.trust.issuing import (
    NOW,
    SERVER_AUTH,
    USUAL,
    Fulcio,
    Wish,
    as_bytes,
    merkle_leaf,
    usage,
)

FULCIO = Fulcio()
ROOT = roots.parse(as_bytes(FULCIO.trusted_root()))
STAMPED = NOW + timedelta(milliseconds=137)
LATER = NOW + timedelta(days=400)
UNSIGNED = "its authority's signature is not at hand: the certificate log vouches for it"


def verdict(leaf: bytes, extra: bytes = b"", root: roots.TrustRoot = ROOT) -> TrustVerdict:
    entry = decode.decode(leaf, Protocol.RFC6962, extra)
    (signer,) = entry.signers
    assert signer.certificate is not None
    assert entry.stamp is not None
    return check_logged(signer.certificate, root, entry.stamp)


def whole(wish: Wish, moment: datetime = STAMPED, fulcio: Fulcio = FULCIO) -> TrustVerdict:
    return verdict(merkle_leaf(fulcio.issue(wish), moment))


def test_a_precertificate_signed_by_the_authority_is_trusted_and_dated_by_its_log() -> None:
    assert verdict(*FULCIO.logged(Wish())) == TrustVerdict(Trust.TRUSTED, (), STAMPED)


def test_where_the_log_keeps_the_signature_to_itself_its_word_for_it_is_taken_and_that_is_said() -> None:
    leaf, _ = FULCIO.logged(Wish())
    assert verdict(leaf) == TrustVerdict(Trust.TRUSTED, (), STAMPED, detail=UNSIGNED)


def test_a_signature_beside_the_leaf_that_does_not_verify_cannot_make_our_certificate_a_strangers() -> None:
    leaf, extra = FULCIO.logged(Wish())
    size = int.from_bytes(extra[:3], "big")
    broken = bytearray(extra)
    broken[3 + size - 5] ^= 1
    assert verdict(leaf, bytes(broken)) == TrustVerdict(Trust.TRUSTED, (), STAMPED, detail=UNSIGNED)


@pytest.mark.parametrize("served", [True, False])
def test_another_authority_of_the_same_name_makes_nobody_trusted(*, served: bool) -> None:
    leaf, extra = Fulcio().logged(Wish())
    found = verdict(leaf, extra if served else b"")
    assert (found.trust, found.failed, found.issued_at) == (Trust.UNTRUSTED, (Step.CHAIN,), None)


def test_a_log_that_names_another_issuer_than_the_one_that_signed_breaks_it() -> None:
    leaf, extra = FULCIO.logged(Wish())
    named = leaf[:12] + hashlib.sha256(b"another key").digest() + leaf[44:]
    found = verdict(named, extra)
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.SCT,))
    assert "names another issuer" in found.detail


def test_one_that_is_not_for_code_signing_is_broken() -> None:
    found = verdict(*FULCIO.logged(Wish(extensions=(usage(SERVER_AUTH), *USUAL[1:]))))
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.USAGE,))


@pytest.mark.parametrize(
    ("moment", "failed"),
    [
        (NOW - timedelta(seconds=61), (Step.VALIDITY,)),
        (NOW - timedelta(seconds=59), ()),
        (NOW + timedelta(minutes=10), ()),
    ],
)
def test_it_must_be_valid_when_the_log_took_it_in(moment: datetime, failed: tuple[Step, ...]) -> None:
    found = verdict(*FULCIO.logged(Wish(), moment))
    assert (found.failed, found.issued_at) == (failed, moment)


@pytest.mark.parametrize("precertificate", [True, False])
def test_one_that_somebody_sent_to_a_log_again_after_it_ended_is_trusted_and_dated_by_itself(
    *, precertificate: bool
) -> None:
    found = verdict(*FULCIO.logged(Wish(), LATER)) if precertificate else whole(Wish(stamped=None), LATER)
    assert found == TrustVerdict(Trust.TRUSTED, (), NOW)


def test_one_issued_outside_the_authoritys_window_is_broken() -> None:
    closed = FULCIO.trusted_root(ca={"start": "2026-01-01T00:00:00Z", "end": "2026-05-31T00:00:00Z"})
    found = verdict(*FULCIO.logged(Wish()), roots.parse(as_bytes(closed)))
    assert (found.trust, found.failed) == (Trust.BROKEN, (Step.VALIDITY,))


def test_a_certificate_is_dated_by_its_own_timestamp_whenever_it_was_logged() -> None:
    assert whole(Wish(), LATER) == TrustVerdict(Trust.TRUSTED, (), STAMPED)


def test_a_certificate_that_was_logged_whole_needs_no_timestamp_of_its_own() -> None:
    assert whole(Wish(stamped=None)) == TrustVerdict(Trust.TRUSTED, (), STAMPED)


def test_a_timestamp_by_an_unknown_log_is_made_up_for_by_this_one() -> None:
    stranger = Fulcio(root_key=FULCIO.root_key, issuing_key=FULCIO.issuing_key)
    assert whole(Wish(), fulcio=stranger) == TrustVerdict(Trust.TRUSTED, (), STAMPED)


def test_a_certificate_whose_own_timestamp_is_forged_is_broken() -> None:
    found = whole(Wish(after_list=b"more"))
    assert found.trust is Trust.BROKEN
    assert Step.SCT in found.failed


def test_a_certificate_signed_by_a_stranger_is_untrusted() -> None:
    found = whole(Wish(), fulcio=Fulcio())
    assert (found.trust, found.failed) == (Trust.UNTRUSTED, (Step.CHAIN,))


def test_every_recorded_precertificate_is_trusted_by_its_own_signature() -> None:
    root = roots.parse((RECORDING / "trusted_root.json").read_bytes())
    for leaf, extra in ct_leaves():
        signed, unsigned = verdict(leaf, extra, root), verdict(leaf, b"", root)
        assert (signed.trust, signed.failed, signed.detail) == (Trust.TRUSTED, (), "")
        assert unsigned == replace(signed, detail=UNSIGNED)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_of_strangers_raise(data: st.DataObject) -> None:
    leaf, extra = bytearray(_LEAF), bytearray(_EXTRA)
    for part in (leaf, extra):
        for _ in range(data.draw(st.integers(0, 3))):
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = verdict(bytes(leaf), bytes(extra))
    except FormatError:
        return
    assert (found.trust is Trust.TRUSTED) == (not found.failed)


_LEAF, _EXTRA = FULCIO.logged(Wish())
