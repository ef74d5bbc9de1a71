"""What is to be followed of a trusted root, and in which mode: nothing is left out in silence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.model.log import Mode, Protocol
from monitor.testbed.ca import CertificateAuthority
from monitor.testbed.keys import LogKey
from monitor.testbed.trust_root import ListedLog, trusted_root
from monitor.trust import root as trust_root
from monitor.trust.root import CtKey, TrustRoot, Window
from monitor.watch.options import LogOverride, WatchOptions
from monitor.watch.trusted import Followable, Trusted, followable

NOW = datetime(2026, 11, 25, tzinfo=UTC)
V1, V2 = "rekor-v1.trustacks.test", "log2026-1.rekor.trustacks.test"
START = NOW - timedelta(days=30)


def key(url: str = "https://ctfe.trustacks.test/2026", *, of_rsa: bool = False) -> CtKey:
    private = rsa.generate_private_key(65537, 2048) if of_rsa else generate_private_key(SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return CtKey(url, hashlib.sha256(spki).digest(), spki, Window(START))


CT = key()


def root(*ct_keys: CtKey) -> TrustRoot:
    logs = [ListedLog(V1, LogKey.ecdsa(V1), START), ListedLog(V2, LogKey.ed25519(V2), START)]
    return replace(trust_root.parse(trusted_root([CertificateAuthority()], logs)), ct_keys=ct_keys)


def wanted(*overrides: LogOverride, ct_keys: tuple[CtKey, ...] = (CT,)) -> Followable:
    return followable(root(*ct_keys), WatchOptions(logs=overrides), NOW)


def of(found: Followable, origin: str) -> Trusted:
    (one,) = [each for each in found.logs if each.origin == origin]
    return one


def test_by_default_rekor_v1_is_led_to_by_the_certificate_logs_and_all_others_are_read_completely() -> None:
    found = wanted()
    assert {each.origin: each.mode for each in found.logs} == {
        V1: Mode.CERTIFICATES,
        V2: Mode.COMPLETE,
        CT.log_id.hex(): Mode.COMPLETE,
    }
    assert found.unfollowable == ()
    assert not any(each.refused for each in found.logs)


@pytest.mark.parametrize("ct_keys", [(), (CT,)], ids=["none is trusted", "it is ignored"])
def test_without_a_certificate_log_rekor_v1_can_only_be_searched(ct_keys: tuple[CtKey, ...]) -> None:
    found = wanted(LogOverride(CT.log_id.hex(), ignore=True), ct_keys=ct_keys)
    assert (of(found, V1).mode, of(found, V1).refused) == (Mode.SEARCH, "")


def test_asked_for_certificates_without_a_certificate_log_it_says_what_is_done_instead() -> None:
    found = wanted(LogOverride(V1, mode=Mode.CERTIFICATES), ct_keys=())
    assert of(found, V1).mode is Mode.SEARCH
    assert "searched only" in of(found, V1).refused


@pytest.mark.parametrize("mode", [Mode.CERTIFICATES, Mode.SEARCH])
def test_a_mode_that_a_log_cannot_run_is_refused_by_name_and_the_log_followed_completely(mode: Mode) -> None:
    found = wanted(LogOverride(V2, mode=mode))
    assert of(found, V2).mode is Mode.COMPLETE
    assert f"{mode.value!r} is none that a rekor-v2 log can run" in of(found, V2).refused
    assert of(found, V1).refused == ""


def test_a_certificate_log_is_found_in_the_settings_by_its_id_or_its_url() -> None:
    for name in (CT.log_id.hex(), "ctfe.trustacks.test/2026"):
        assert of(wanted(LogOverride(name, read_url="http://elsewhere")), CT.log_id.hex()).url == "http://elsewhere"


def test_a_certificate_log_of_tiles_is_named_by_its_submission_prefix() -> None:
    found = wanted(LogOverride(CT.log_id.hex(), protocol=Protocol.STATIC_CT))
    log = of(found, "ctfe.trustacks.test/2026")
    assert log.protocol is Protocol.STATIC_CT
    assert log.keys[0].key.name == log.origin


@pytest.mark.parametrize("lost", [key(of_rsa=True), key("")], ids=["its tree heads cannot be verified", "no URL"])
def test_a_certificate_log_that_cannot_be_followed_is_said_and_holds_up_no_other(lost: CtKey) -> None:
    found = wanted(ct_keys=(lost, CT))
    assert len(found.unfollowable) == 1
    assert {each.origin for each in found.logs} == {V1, V2, CT.log_id.hex()}


def test_a_log_that_the_settings_ignore_is_not_followed() -> None:
    assert V2 not in {each.origin for each in wanted(LogOverride(V2, ignore=True)).logs}


def test_a_certificate_log_that_cannot_be_followed_is_said_until_the_settings_leave_it_out() -> None:
    lost, unsigned = key(""), key("https://ctfe.trustacks.test/rsa", of_rsa=True)
    left = [LogOverride(name, ignore=True) for name in (lost.log_id.hex(), "ctfe.trustacks.test/rsa")]
    assert wanted(*left, ct_keys=(lost, unsigned, CT)).unfollowable == ()


def began(days: int, url: str) -> CtKey:
    return replace(key(url), window=Window(NOW - timedelta(days=days)))


def test_of_several_keys_at_one_address_the_newest_that_began_is_read_and_the_others_are_accused_of_nothing() -> None:
    newest, future, other = (
        began(10, f"{CT.base_url}/"),
        began(-5, CT.base_url),
        key("https://ctfe.trustacks.test/2027"),
    )

    found = wanted(ct_keys=(CT, newest, future, other))

    assert [each.origin for each in found.logs] == [V1, V2, newest.log_id.hex(), other.log_id.hex()]
    assert [name for name, _ in found.unfollowable] == [CT.log_id.hex(), future.log_id.hex()]
    assert all("another log" in why for _, why in found.unfollowable)


def test_a_certificate_log_that_is_read_elsewhere_shares_no_address() -> None:
    newest = began(10, CT.base_url)
    found = wanted(LogOverride(CT.log_id.hex(), read_url="https://archive.example/ct"), ct_keys=(CT, newest))
    assert found.unfollowable == ()
    assert [each.origin for each in found.logs] == [V1, V2, CT.log_id.hex(), newest.log_id.hex()]


def test_what_the_settings_leave_out_is_named_by_its_origin() -> None:
    other = key("https://ctfe.trustacks.test/2027")
    left = [LogOverride(name, ignore=True) for name in (V2, "ctfe.trustacks.test/2026")]
    found = wanted(*left, ct_keys=(CT, other))
    assert {V2, CT.log_id.hex()} <= found.left
    assert not {V1, other.log_id.hex()} & found.left


@pytest.mark.parametrize(
    ("origin", "meant"),
    [
        (f"{V1} - 6288188818732819919", V1),
        ("log2026-1.rekor.trustacks.tset", V2),
        (f"https://{CT.base_url.partition('://')[2]}", CT.base_url.partition("://")[2]),
        ("example.com", ""),
    ],
)
def test_a_table_for_a_log_that_the_root_does_not_have_is_said_with_the_one_that_may_be_meant(
    origin: str, meant: str
) -> None:
    found = wanted(LogOverride(origin, mode=Mode.COMPLETE))
    ((name, why),) = found.unfollowable
    assert name == origin
    assert why.startswith("the trust root has no log of this origin, so its table under [[watch.logs]] does nothing")
    assert why.endswith(f"is {meant!r} meant?" if meant else "does nothing")
    assert of(found, V1).mode is Mode.CERTIFICATES


def test_a_table_that_leaves_out_a_log_that_the_root_has_no_more_is_in_order() -> None:
    assert wanted(LogOverride("gone.example", ignore=True)).unfollowable == ()
