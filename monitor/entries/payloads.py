"""What cosign logs for a digest: seldom the digest, mostly the hash of a statement about it. Every value is computed in advance.

The statement is a protobuf in JSON, written by Go: field order is fixed, and a space follows each comma or none, by the build of cosign.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from monitor.model.release import ENCODED, ExpectedHash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STATEMENT_TYPE = b"application/vnd.in-toto+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_HTML_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def pae(payload_type: bytes, payload: bytes) -> bytes:
    """The DSSE v1 pre-authentication encoding of a payload."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type, len(payload), payload)


def predicted(
    digest: str, references: Iterable[str], annotations: Mapping[str, str] | None = None
) -> tuple[ExpectedHash, ...]:
    """Every hash under which `cosign sign` may log `digest` (`sha256:` and 64 hex digits), and `sign-blob` the digest itself.

    Thirteen values, and one for each of `references`, whose legacy simple-signing payload names it. `annotations` are those that cosign
    was given with `-a`. ValueError when `digest` is none.
    """
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise ValueError(f"{digest!r} is not sha256: and 64 hexadecimal digits")
    found = [ExpectedHash(match[1], digest, "the digest itself")]
    for how, payload in _statements(match[1], annotations or {}):
        found.append(ExpectedHash(_sha256(payload), digest, how))
        found.append(ExpectedHash(_sha256(pae(STATEMENT_TYPE, payload)), digest, f"{how}{ENCODED}"))
    for reference in references:
        payload = simple_signing(digest, reference, annotations)
        found.append(ExpectedHash(_sha256(payload), digest, f"simple-signing payload for {reference}"))
    return tuple(found)


def simple_signing(digest: str, reference: str, annotations: Mapping[str, str] | None = None) -> bytes:
    """The legacy payload of `cosign sign --new-bundle-format=false`, as Go's `json.Marshal` writes it."""
    if reference.startswith("docker.io/"):
        reference = f"index.{reference}"
    image = {"docker-manifest-digest": digest}
    critical = {"identity": {"docker-reference": reference}, "image": image, "type": "cosign container image signature"}
    optional = dict(sorted(annotations.items())) if annotations else None
    text = _json({"critical": critical, "optional": optional}, ",")
    return "".join(_HTML_ESCAPES.get(character, character) for character in text).encode()


def _statements(value: str, annotations: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The statement of cosign 2.6-3.0.2 (A), 3.0.3-3.0.4 (B) and 3.0.5 on (C), each without and with spaces."""
    digest = {"digest": {"sha256": value}}
    annotated = {**digest, "annotations": dict(sorted(annotations.items()))}
    predicate: Mapping[str, object] = {"predicate": {}}
    shapes: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("A", digest, {}),
        ("B", annotated, {}),
        ("C", annotated, predicate),
    )
    for shape, subject, tail in shapes:
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": SIGN_PREDICATE,
            **tail,
        }
        yield f"cosign statement {shape}", _json(statement, ",").encode()
        yield f"cosign statement {shape}, spaced", _json(statement, ", ").encode()


def _json(value: object, comma: str) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(comma, ":"))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
