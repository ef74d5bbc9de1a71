"""What the NOTICE file quotes for `cosign verify` is what the settings watch, or somebody is told."""

from __future__ import annotations

import pytest

from monitor.rules.notice import drift, published
from monitor.rules.policy import Policy

POLICY = Policy()
PATTERNS = [POLICY.published_pattern.replace("{workflow}", file) for file in POLICY.workflows]


def notice(patterns: list[str], issuer: str = POLICY.issuer, quote: str = "'", gap: str = " ") -> bytes:
    commands = [
        f"cosign verify \\\n  --certificate-identity-regexp{gap}{quote}{pattern}{quote} \\\n"
        f"  --certificate-oidc-issuer{gap}{quote}{issuer}{quote} \\\n  ghcr.io/trustacks/runner:0.1.2\n"
        for pattern in patterns
    ]
    return "\n".join(["Licence words.", *commands]).encode()


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("gap", [" ", "="])
def test_the_published_patterns_are_no_drift_however_they_are_quoted(quote: str, gap: str) -> None:
    assert drift(notice(PATTERNS, quote=quote, gap=gap), "NOTICE", POLICY) is None


@pytest.mark.parametrize(
    "data",
    [
        notice(PATTERNS[:1]),
        notice([*PATTERNS, "^https://github.com/evil/"]),
        notice([PATTERNS[0].replace("v[0-9]", "v?[0-9]"), PATTERNS[1]]),
        notice(PATTERNS, issuer="https://accounts.google.com"),
        b"no command at all",
        b"",
        bytes(range(256)),
    ],
    ids=["one is missing", "one more", "another pattern", "another issuer", "prose", "empty", "no text"],
)
def test_anything_else_is_drift(data: bytes) -> None:
    found = drift(data, "https://example.test/NOTICE", POLICY)
    assert found is not None
    assert (found.rule, found.severity, found.category) == ("published-identity-drift", "medium", "release")


def test_flags_that_only_begin_alike_are_not_read() -> None:
    text = "--certificate-oidc-issuer-regexp 'x' --certificate-identity 'y' --certificate-identity-regexp-other 'z'"
    assert published(text) == ((), ())
