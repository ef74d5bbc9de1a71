"""What a signed payload is about: an in-toto statement, or cosign's legacy simple-signing payload.

Two readers must not be able to read one payload differently: duplicate keys, keys that some reader takes for the same, and a subject
that is named by anything but its sha256 make it say nothing. It never looks at who signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.entries import strictjson
from monitor.errors import FormatError

if TYPE_CHECKING:
    from monitor.entries.strictjson import Json

MAX_SUBJECTS = 1024
"""As many as GitHub's attestations may name."""

_STATEMENTS = frozenset({"https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"})
_SIMPLE_SIGNING = "cosign container image signature"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_TYPE = 512


@dataclass(frozen=True, slots=True)
class Statement:
    """The digests (`sha256:` and 64 hex digits) that a payload is about, at least one, and its predicate type."""

    subjects: tuple[str, ...]
    predicate_type: str


def read(payload: bytes) -> Statement:
    """Read an in-toto statement (in-toto attestation spec, v0.1 and v1). FormatError: it is none, or can be read in two ways."""
    whole = _parsed(payload)
    kind = whole.at("_type")
    if kind.text() not in _STATEMENTS:
        kind.refuse("not an in-toto statement")
    subjects = tuple(_sha256(subject.at("digest")) for subject in whole.at("subject").items(MAX_SUBJECTS))
    predicate = whole.at("predicateType")
    if not 0 < len(predicate.text()) <= _MAX_TYPE:
        predicate.refuse(f"not a text of 1 to {_MAX_TYPE} characters")
    return Statement(tuple(dict.fromkeys(subjects)), predicate.text())


def read_simple_signing(payload: bytes) -> Statement:
    """Read the payload of a legacy `.sig` layer (sigstore `pkg/signature/payload`). It has no predicate type. FormatError."""
    critical = _parsed(payload).at("critical")
    kind = critical.at("type")
    if kind.text() != _SIMPLE_SIGNING:
        kind.refuse(f"not {_SIMPLE_SIGNING!r}")
    digest = critical.at("image", "docker-manifest-digest")
    algorithm, _, value = digest.text().partition(":")
    if algorithm != "sha256" or not _SHA256.fullmatch(value):
        digest.refuse("not sha256: and 64 lower-case hexadecimal digits")
    return Statement((digest.text(),), "")


def _parsed(payload: bytes) -> Json:
    whole = strictjson.Json(strictjson.parse(payload).value, "payload")
    _refuse_look_alikes(whole.value)
    return whole


def _refuse_look_alikes(value: object) -> None:
    """Go's reader takes a long s for an s: keys that Unicode folds to the same are the same to somebody."""
    level = [value]
    while level:
        for each in level:
            if isinstance(each, dict) and len({key.casefold() for key in each}) != len(each):
                raise FormatError("payload: an object with keys that are equal but for case")
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]


def _sha256(place: Json) -> str:
    """The one digest of a subject. A second algorithm could name something else, to whoever prefers it."""
    value = place.at("sha256")
    if len(place.values()) > 1:
        place.refuse("more than the sha256")
    if not _SHA256.fullmatch(value.text()):
        value.refuse("not 64 lower-case hexadecimal digits")
    return f"sha256:{value.text()}"
