"""One leaf's bytes to what they say. Strict: what it does not understand it refuses by name, so that the leaf is quarantined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.entries import kinds, merkleleaf, strictjson
from monitor.errors import FormatError
from monitor.model.entry import DecodedEntry
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from monitor.model.log import Protocol

MAX_LEAF = 8 * 1024 * 1024
_SHOWN = 40


def decode(data: bytes, protocol: Protocol, extra: bytes = b"") -> DecodedEntry:
    """Decode a leaf of at most 8 MiB; `extra` is what a certificate log serves beside it, which nothing proves.

    FormatError names what is wrong and where: not JSON, an unknown kind, a field, a certificate.
    """
    if len(data) > MAX_LEAF:
        raise FormatError(f"a leaf of {len(data)} bytes; at most {MAX_LEAF} are read")
    if protocol.certificates:
        return merkleleaf.decode(data, protocol, extra)
    leaf = strictjson.parse(data)
    kind, api_version = leaf.at("kind").text(), leaf.at("apiVersion").text()
    decoder = kinds.decoder(kind, api_version, protocol)
    if decoder is None:
        raise FormatError(f"unknown kind {_shown(kind)} {_shown(api_version)} in a {protocol} log")
    body = decoder(leaf.at("spec"))
    return DecodedEntry(protocol, kind, api_version, body.signers, body.digest, body.others)


def _shown(text: str) -> str:
    return clip(visible(text), _SHOWN)
