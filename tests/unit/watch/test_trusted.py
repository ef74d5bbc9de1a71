"""Which logs of a trusted root are followed, which cannot be, and which the settings leave out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from monitor.trust.root import CtKey, TrustRoot, Window
from monitor.watch.options import LogOverride, WatchOptions
from monitor.watch.trusted import followable

NOW = datetime(2026, 11, 25, tzinfo=UTC)
URL = "https://ct.example/log"


def key(number: int, url: str = URL, *, began: int = 100, rsa_key: bool = False) -> CtKey:
    """A certificate log's key that began so many days ago."""
    made = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    spki = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return CtKey(url, bytes([number]) * 32, spki, Window(NOW - timedelta(days=began)))


def root(*keys: CtKey) -> TrustRoot:
    return TrustRoot((), (), keys, "", b"")


def name(number: int) -> str:
    return (bytes([number]) * 32).hex()


def left_out(*names: str) -> WatchOptions:
    return WatchOptions(logs=tuple(LogOverride(each, ignore=True) for each in names))


def test_a_certificate_log_that_cannot_be_followed_is_said_until_the_settings_leave_it_out() -> None:
    keys = root(key(1, url=""), key(2, rsa_key=True))

    assert [each for each, _ in followable(keys, WatchOptions(), NOW).unfollowable] == [name(1), URL]

    assert followable(keys, left_out(name(1), "ct.example/log"), NOW).unfollowable == ()


def test_of_several_keys_at_one_address_the_newest_that_began_is_read_and_the_others_are_accused_of_nothing() -> None:
    keys = root(key(1), key(2, f"{URL}/", began=10), key(3, began=-5), key(4, "https://ct.example/other"))

    wanted = followable(keys, WatchOptions(), NOW)

    assert [each.origin for each in wanted.logs] == [name(2), name(4)]
    assert [each for each, _ in wanted.unfollowable] == [name(1), name(3)]
    assert all("another log" in why for _, why in wanted.unfollowable)


def test_a_log_that_is_read_elsewhere_shares_no_address() -> None:
    options = WatchOptions(logs=(LogOverride(name(1), read_url="https://archive.example/ct"),))
    wanted = followable(root(key(1), key(2, began=10)), options, NOW)
    assert [each.origin for each in wanted.logs] == [name(1), name(2)]


def test_what_the_settings_leave_out_is_named_by_its_origin() -> None:
    wanted = followable(root(key(1), key(2, "https://ct.example/other")), left_out("ct.example/log"), NOW)
    assert [each.origin for each in wanted.logs] == [name(2)]
    assert name(1) in wanted.left
    assert name(2) not in wanted.left
