"""Whether what customers are told to check is what we watch: the NOTICE file beside the settings' patterns.

Only what the file quotes as values of the two `cosign verify` flags counts. It fetches nothing, and reads prose for nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from monitor.model.finding import Finding
from monitor.model.rulebook import RULES
from monitor.model.text import clip
from monitor.rules.hit import fact, severity

if TYPE_CHECKING:
    from monitor.rules.policy import Policy

MAX_BYTES = 1 << 20
SUBJECTS = "notice:"
"""How the subject of its finding begins; where the file was read follows."""
_VALUE = r"""[=\s]\s*(?:\\\s*)?(?:'([^'\n]{1,1000})'|"([^"\n]{1,1000})"|([^\s'"\\`]{1,1000}))"""
_IDENTITY = re.compile(r"--certificate-identity-regexp" + _VALUE)
_ISSUER = re.compile(r"--certificate-oidc-issuer(?!-)" + _VALUE)
_SHOWN = 200


def published(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the identity patterns and the issuers that a text quotes, each once, in its order."""
    return _values(_IDENTITY, text), _values(_ISSUER, text)


def drift(data: bytes, source: str, policy: Policy) -> Finding | None:
    """Return `published-identity-drift` where the NOTICE file `data` quotes other patterns or issuers than the settings have.

    None where they are the same. A file that quotes no pattern at all publishes none of ours.
    """
    patterns, issuers = published(data[:MAX_BYTES].decode("utf-8", "replace"))
    expected = {policy.published_pattern.replace("{workflow}", file) for file in policy.workflows}
    if set(patterns) == expected and set(issuers) == {policy.issuer}:
        return None
    facts = [
        fact("published identity pattern", _listed(patterns), _listed(sorted(expected)) or ""),
        fact("published issuer", _listed(issuers), policy.issuer),
        fact("read from", clip(source, _SHOWN)),
    ]
    rule = RULES["published-identity-drift"]
    return Finding(
        rule.id,
        severity(rule.id, None, policy),
        rule.category,
        f"{SUBJECTS}{clip(source, _SHOWN)}",
        "The identity that customers are told to check is not the one in these settings.",
        tuple(facts),
    )


def _values(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = (next(filter(None, match.groups()), "") for match in pattern.finditer(text))
    return tuple(dict.fromkeys(value for value in found if value))


def _listed(values: tuple[str, ...] | list[str]) -> str | None:
    return "; ".join(values) or None
