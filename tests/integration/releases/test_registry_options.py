"""The settings of registries: what cannot be meant is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitor.errors import SettingsError
from monitor.releases.auth import Credentials
from monitor.releases.reference import Reference
from monitor.releases.registry import RegistryOptions


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ghcr.io",
        "trustacks/runner",
        "ghcr.io/",
        "ghcr.io/Trustacks/runner",
        "ghcr.io/trustacks/runner:0.1.1",
        "ghcr.io/trustacks/runner@sha256:" + "0" * 64,
        "https://ghcr.io/trustacks/runner",
        "ghcr.io/trustacks//runner",
        "ghcr.io/../etc",
        "user@ghcr.io/a",
        "ghcr.io:port/a",
        "ghcr.io/" + "a" * 256,
        "ghcr.io/a\u202eb",
    ],
)
def test_a_reference_that_is_none_is_a_settings_error(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RegistryOptions({"runner": text})
    assert str(caught.value).isprintable()


def test_a_reference_has_a_host_and_a_repository() -> None:
    assert Reference.parse("GHCR.io/trustacks/policy/constitution") == Reference(
        "ghcr.io", "trustacks/policy/constitution"
    )
    assert Reference.parse("localhost/a__b/c-d.e").repository == "a__b/c-d.e"
    assert str(Reference.parse("[::1]:5000/a")) == "[::1]:5000/a"


@pytest.mark.parametrize(
    "host", ["ghcr.io", "10.0.0.1:5000", "127.0.0.1.evil.example", "localhost.evil.example", "", "["]
)
def test_only_this_machine_may_be_asked_by_http(host: str) -> None:
    with pytest.raises(SettingsError, match="not this machine"):
        RegistryOptions(insecure_hosts=(host,))


def test_a_host_is_insecure_with_its_port_or_with_any() -> None:
    any_port = RegistryOptions(insecure_hosts=("127.0.0.1", "[::1]:5000"))
    assert any_port.insecure("127.0.0.1:5000")
    assert any_port.insecure("[::1]:5000")
    assert not any_port.insecure("[::1]:5001")
    assert not any_port.insecure("ghcr.io")
    assert any_port.refresh_interval == timedelta(minutes=5)


@pytest.mark.parametrize("wrong", [("a:b", "c", ""), ("a", "", ""), ("", "c", ""), ("", "", "a b"), ("", "", "a\nb")])
def test_credentials_that_cannot_be_sent_are_a_settings_error(wrong: tuple[str, str, str]) -> None:
    with pytest.raises(SettingsError):
        Credentials(*wrong)
