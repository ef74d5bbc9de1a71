from __future__ import annotations

import base64
import json
import textwrap
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.entries import decode, keys, patterns, scanner
from monitor.entries.prefilter import Prefilter
from monitor.errors import FormatError
from monitor.model.log import Protocol
from tests.unit.entries.recorded import (
    as_block,
    contributor_key,
    ct_leaves,
    expected,
    v1_entries,
    v2_blocks,
    v2_leaves,
)
from tests.unit.trust.issuing import NOW, USUAL, Extension, Fulcio, Wish, claim, merkle_leaf, san, uri

if TYPE_CHECKING:
    from monitor.model.entry import DecodedEntry

V1, V2, CT = Protocol.REKOR_V1, Protocol.REKOR_V2, Protocol.RFC6962
FULCIO = Fulcio()
FILTER = Prefilter(["TruStacks"], [contributor_key()])
DIGEST = bytes(range(32))
QUIET = {
    V1: json.dumps(
        {"apiVersion": "0.0.1", "kind": "rpm", "spec": {"package": {}, "publicKey": {}}}, separators=(",", ":")
    ).encode(),
    V2: b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{}}}}',
    CT: merkle_leaf(b"0", NOW),
}
"""A leaf of a common form that nobody looks for."""

cased = st.lists(st.booleans(), min_size=9, max_size=9).map(
    lambda ups: "".join(c.upper() if up else c.lower() for c, up in zip("trustacks", ups, strict=True))
)


def bears(entry: DecodedEntry) -> bool:
    """What a full parse matches: a name or claim with the owner in it, or the watched key."""
    texts = [
        text
        for certificate in (*(s.certificate for s in entry.signers), *entry.other_certificates)
        if certificate
        for text in (certificate.issuer, *(value for _, value in certificate.names), *certificate.claims.values())
    ]
    return any("trustacks" in text.lower() for text in texts) or any(s.spki == contributor_key() for s in entry.signers)


def pem(label: str, der: bytes, width: int = 64, newline: str = "\n") -> bytes:
    body = newline.join(textwrap.wrap(base64.b64encode(der).decode(), width))
    return f"-----BEGIN {label}-----{newline}{body}{newline}-----END {label}-----{newline}".encode()


def b64(data: bytes, *, url_safe: bool = False, padded: bool = True) -> str:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    return text if padded else text.rstrip("=")


def canonical(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def v2_leaf(material: str, kind: str, *, bare: bool = False) -> dict[str, object]:
    key = {"publicKey" if bare else "x509Certificate": {"rawBytes": material}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    signature = {"content": b64(b"signature"), "verifier": key}
    hashed = {"algorithm": "SHA2_256", "digest": b64(DIGEST)}
    if kind == "hashedrekord":
        spec: dict[str, object] = {"hashedRekordV002": {"data": hashed, "signature": signature}}
    else:
        spec = {"dsseV002": {"payloadHash": hashed, "signatures": [signature]}}
    return {"apiVersion": "0.0.2", "kind": kind, "spec": spec}


def v1_leaf(material: str, kind: str) -> dict[str, object]:
    hashed = {"algorithm": "sha256", "value": DIGEST.hex()}
    if kind == "hashedrekord":
        signature = {"content": b64(b"signature"), "publicKey": {"content": material}}
        return {"apiVersion": "0.0.1", "kind": kind, "spec": {"data": {"hash": hashed}, "signature": signature}}
    signatures = [{"signature": b64(b"signature"), "verifier": material}]
    spec = {"envelopeHash": hashed, "payloadHash": hashed, "signatures": signatures}
    return {"apiVersion": "0.0.1", "kind": kind, "spec": spec}


def escaped(leaf: bytes, places: list[int]) -> bytes:
    """Some letters and digits inside strings written as JSON escapes."""
    out = bytearray()
    quoted = False
    for i, octet in enumerate(leaf):
        quoted ^= octet == 0x22
        out += b"\\u%04x" % octet if quoted and chr(octet).isalnum() and i % 7 in places else bytes((octet,))
    return bytes(out)


def found(leaf: bytes, protocol: Protocol, looks: Prefilter = FILTER) -> bool:
    """Whether the leaf is a candidate, in the middle of others, which are none."""
    quiet = QUIET[protocol]
    got = looks.candidates(as_block([quiet, leaf, quiet], prefixed=protocol is V2), protocol)
    assert got in ([], [1])
    return got == [1]


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """For a certificate that bears the owner's name somewhere, at any alignment."""
    word = draw(cased)
    before, after = draw(st.text("abc/:.", max_size=9)), draw(st.text("xyz@/.", max_size=9))
    place = draw(st.integers(0, 2))
    text = before + word + after
    extensions: tuple[Extension, ...]
    if place == 0:
        extensions = (USUAL[0], san(uri(text)))
    elif place == 1:
        extensions = (USUAL[0], san(uri("https://elsewhere.example")), claim(draw(st.integers(8, 24)), text))
    else:
        extensions = (USUAL[0], san(uri("https://elsewhere.example"), uri(text)))
    serial = b"\x01" + draw(st.binary(max_size=8))
    return Wish(extensions, serial=serial)


certificates = wishes().map(FULCIO.issue)


@settings(max_examples=150, deadline=None)
@given(
    der=certificates,
    kind=st.sampled_from(["hashedrekord", "dsse"]),
    url_safe=st.booleans(),
    padded=st.booleans(),
    form=st.sampled_from(["canonical", "spaced", "escaped", "reordered"]),
    places=st.lists(st.integers(0, 6), min_size=1, max_size=7),
)
def test_every_v2_leaf_that_a_full_parse_would_match_is_a_candidate(
    der: bytes, kind: str, form: str, places: list[int], *, url_safe: bool, padded: bool
) -> None:
    value = v2_leaf(b64(der, url_safe=url_safe, padded=padded), kind)
    leaf = canonical(value)
    if form == "spaced":
        leaf = json.dumps(value, indent=1).encode()
    elif form == "escaped":
        leaf = escaped(leaf, places)
    elif form == "reordered":
        leaf = canonical(dict(reversed(value.items()))).replace(
            b'{"apiVersion":"0.0.2",', b'{ "apiVersion":"0.0.2",', 1
        )
    assert bears(decode.decode(leaf, V2))
    assert found(leaf, V2)


@settings(max_examples=150, deadline=None)
@given(
    der=certificates,
    kind=st.sampled_from(["hashedrekord", "dsse"]),
    width=st.integers(1, 100),
    newline=st.sampled_from(["\n", "\r\n", " \n", "\n\t"]),
    preamble=st.sampled_from([b"", b"subject=nobody\n", b"\n\n"]),
    url_safe=st.booleans(),
    form=st.sampled_from(["canonical", "spaced", "escaped"]),
)
def test_every_v1_leaf_that_a_full_parse_would_match_is_a_candidate(
    der: bytes, kind: str, width: int, newline: str, preamble: bytes, form: str, *, url_safe: bool
) -> None:
    value = v1_leaf(b64(preamble + pem("CERTIFICATE", der, width, newline), url_safe=url_safe), kind)
    leaf = canonical(value)
    if form == "spaced":
        leaf = json.dumps(value, indent=2).encode()
    elif form == "escaped":
        leaf = escaped(leaf, [0, 3])
    assert bears(decode.decode(leaf, V1))
    assert found(leaf, V1)


def test_the_name_of_a_certificate_beside_the_signers_is_found_too() -> None:
    stranger = FULCIO.issue(Wish((USUAL[0], san(uri("https://elsewhere.example")))))
    leaf = canonical(
        v1_leaf(b64(pem("CERTIFICATE", stranger) + pem("CERTIFICATE", FULCIO.issue(Wish()))), "hashedrekord")
    )
    entry = decode.decode(leaf, V1)
    assert entry.other_certificates[0].san.startswith("https://github.com/TruStacks/")
    assert found(leaf, V1)


@pytest.mark.parametrize("padding", range(4))
@pytest.mark.parametrize("protocol", [V1, V2])
def test_the_watched_key_is_found_at_every_alignment_bare_or_in_a_certificate(padding: int, protocol: Protocol) -> None:
    holder = ec.generate_private_key(ec.SECP256R1())
    looks = Prefilter(["nobody-we-know"], [keys.spki_of(holder.public_key())])
    wish = Wish((USUAL[0], san(uri("https://elsewhere.example"))), serial=b"\x01" * (1 + padding))
    der = FULCIO.issue(wish, holder)
    bare = keys.spki_of(holder.public_key())
    if protocol is V2:
        for kind in ("hashedrekord", "dsse"):
            assert found(canonical(v2_leaf(b64(der), kind)), V2, looks)
            assert found(canonical(v2_leaf(b64(bare), kind, bare=True)), V2, looks)
    else:
        for kind in ("hashedrekord", "dsse"):
            assert found(canonical(v1_leaf(b64(pem("CERTIFICATE", der)), kind)), V1, looks)
            assert found(canonical(v1_leaf(b64(pem("PUBLIC KEY", bare)), kind)), V1, looks)
            assert found(canonical(v1_leaf(b64(b"x" * padding + b"\n" + pem("PUBLIC KEY", bare)), kind)), V1, looks)


def test_a_watched_key_is_found_in_every_encoding_of_it() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = curve.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    usual = keys.spki_of(curve)
    compressed = b"\x30\x39" + usual[2:23] + b"\x03\x22\x00" + point
    assert keys.canonical(compressed) == usual
    looks = Prefilter(["nobody-we-know"], [usual])
    assert found(canonical(v2_leaf(b64(compressed), "hashedrekord", bare=True)), V2, looks)
    modulus = rsa.generate_private_key(65537, 2048).public_key()
    pkcs1 = modulus.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    looks = Prefilter(["nobody-we-know"], [keys.spki_of(modulus)])
    leaf = canonical(v1_leaf(b64(pem("RSA PUBLIC KEY", pkcs1)), "hashedrekord"))
    assert decode.decode(leaf, V1).signers[0].spki == keys.spki_of(modulus)
    assert found(leaf, V1, looks)


@pytest.mark.parametrize("upper", [False, True])
def test_a_watched_key_of_a_tuf_root_is_found_in_hexadecimal_and_in_pem(*, upper: bool) -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    raw = key.public_bytes_raw().hex()
    looks = Prefilter(["nobody-we-know"], [keys.spki_of(key)])
    for public in (raw.upper() if upper else raw, pem("PUBLIC KEY", keys.spki_of(key)).decode()):
        listed = {"0" * 64: {"keytype": "ed25519", "keyval": {"public": public}}}
        spec = {"metadata": {"content": {}}, "root": {"content": {"signed": {"keys": listed}}}}
        leaf = canonical({"apiVersion": "0.0.1", "kind": "tuf", "spec": spec})
        assert decode.decode(leaf, V1).signers[0].spki == keys.spki_of(key)
        assert found(leaf, V1, looks)


def test_the_recorded_signing_acts_are_candidates() -> None:
    """They, and the forks and namesakes among the recorded strangers: what a full parse matches, no more and no less."""
    v2 = {block.start + i for block in v2_blocks() for i in FILTER.candidates(block, V2)}
    assert v2 == {i for i, leaf in v2_leaves().items() if bears(decode.decode(leaf, V2))}
    entries = v1_entries()
    leaves = [entries[i][0] for i in sorted(entries)]
    v1 = FILTER.candidates(as_block(leaves, prefixed=False), V1)
    assert v1 == [i for i, leaf in enumerate(leaves) if bears(decode.decode(leaf, V1))]
    for row in expected():
        assert set(row["indexes"]) <= (v2 if row["log"] == "v2" else set(v1))


def test_without_the_key_nobody_is_a_candidate_for_it() -> None:
    (index,) = (r["indexes"][0] for r in expected() if r["log"] == "v2" and r["rules"] == ["contributor-key"])
    names = Prefilter(["TruStacks"])
    assert not found(v2_leaves()[index], V2, names)
    assert found(v2_leaves()[index], V2)


@pytest.mark.parametrize("protocol", [V1, V2])
@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        b"{",
        b"\x01" + bytes(64),
        b"<html>",
        b'{"apiVersion":"0.0.9","kind":"hashedrekord","spec":{}}',
        b'{"kind":"novelty","apiVersion":"0.0.1","spec":{}}',
        b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV003":{}}}',
        b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"a":"\\u0054"}}}',
        QUIET[V2][:40],
        b"\\" * 300,
    ],
)
def test_a_leaf_of_no_form_we_know_is_a_candidate(leaf: bytes, protocol: Protocol) -> None:
    assert found(leaf, protocol)


def test_a_leaf_of_an_uncommon_form_that_can_be_read_and_is_nobodys_is_none() -> None:
    stranger = FULCIO.issue(Wish((USUAL[0], san(uri("https://elsewhere.example")))))
    value = v2_leaf(b64(stranger), "hashedrekord")
    for leaf in (json.dumps(value, indent=1).encode(), escaped(canonical(value), [1])):
        assert not bears(decode.decode(leaf, V2))
        assert not found(leaf, V2)


def test_a_length_prefix_that_looks_like_text_hides_nothing() -> None:
    """A leaf of 0x5c5c bytes puts two backslashes between leaves, one of 0x7b22 bytes the beginning of a prefix."""
    ours = canonical(v2_leaf(b64(FULCIO.issue(Wish())), "hashedrekord"))
    for size in (0x5C5C, 0x7B22, 0x5472):
        long = QUIET[V2][:-1] + b',"x":"' + b"y" * (size - len(QUIET[V2]) - 7) + b'"}'
        assert len(long) == size
        assert FILTER.candidates(as_block([QUIET[V2], long, ours, long, ours]), V2) == [2, 4]
    cut = QUIET[V2][:19]
    tail = QUIET[V2][21:] + b" " * (int.from_bytes(QUIET[V2][19:21], "big") - len(QUIET[V2][21:]))
    assert FILTER.candidates(as_block([cut, tail, QUIET[V2]]), V2) == [0, 1]


def test_a_backslash_marks_only_its_own_leaf() -> None:
    odd = QUIET[V2][:-3] + b'"\\\\":"\\\\"}}}'
    assert FILTER.candidates(as_block([QUIET[V2], QUIET[V2], odd, odd, QUIET[V2]]), V2) == [2, 3]


@settings(max_examples=200, deadline=None)
@given(
    word=st.text("abcXYZ-_/.0129", min_size=4, max_size=12),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
    lower=st.booleans(),
)
def test_a_words_expressions_match_its_base64_wherever_it_stands(
    word: str, before: bytes, after: bytes, *, lower: bool
) -> None:
    looks = scanner.build(patterns.of_word(word))
    text = before + (word.lower() if lower else word.upper()).encode() + after
    for encoded in (base64.b64encode(text), base64.urlsafe_b64encode(text), text):
        assert looks.spans(encoded)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.just(b"TruStacks"), st.just(b"trustacks"), st.just(b"VHJ1U3RhY2tz"), st.binary(max_size=9)),
        max_size=12,
    )
)
def test_both_engines_mark_the_same_leaves(leaves: list[bytes]) -> None:
    block = as_block(leaves)
    marked = []
    for engine in (scanner.Hyperscan, scanner.Re2):
        looks = Prefilter(["TruStacks"])
        looks._scanner = engine([*patterns.of_word("TruStacks")])
        marked.append(looks._in_raw(block))
    bearing = {i for i, leaf in enumerate(leaves) if b"trustacks" in leaf.lower() or b"VHJ1U3RhY2tz" in leaf}
    assert bearing <= marked[0]
    assert bearing <= marked[1]


def test_without_hyperscan_google_re2_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: object, expressions: object) -> None:
        raise ImportError(f"{self}, {expressions}")

    monkeypatch.setattr(scanner.Hyperscan, "__init__", missing)
    looks = Prefilter(["TruStacks"], [contributor_key()])
    assert isinstance(looks._scanner, scanner.Re2)
    for block in v2_blocks():
        assert looks.candidates(block, V2) == FILTER.candidates(block, V2)


@pytest.mark.parametrize(
    "text",
    [
        b"plain trustACKS",
        b"\x00\x01TruStacks",
        b'{"a":"\\u0054ru\\u0053tacks"',
        base64.b64encode(b"..TruStacks...") * 1,
        base64.b64encode(pem("CERTIFICATE", b"....TruStacks....", 5)),
        base64.b64encode(base64.b64encode(b"is it TruStacks or somebody else who is here")),
        b'"' + base64.b64encode(pem("CERTIFICATE", b"12345 TruStacks 1234567890", 7)).replace(b"T", b"\\u0054") + b'"',
    ],
)
def test_an_unreadable_leaf_that_bears_the_name_is_known_by_it(text: bytes) -> None:
    assert FILTER.matches_text(text)


def test_an_unreadable_leaf_without_it_is_not() -> None:
    assert not FILTER.matches_text(base64.b64encode(bytes(range(256))) + b"TruStack \\u0054")


@pytest.mark.parametrize("word", ["", "abc", "Tru Stacks", "Trüstacks", "x" * 65, "tab\tbed"])
def test_a_word_that_cannot_be_looked_for_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="cannot be looked for"):
        Prefilter([word])


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Prefilter([])


@settings(max_examples=150, deadline=None)
@given(
    wish=wishes(),
    whole=st.booleans(),
    change=st.sampled_from(["none", "version", "type", "entry", "longer", "shorter"]),
    extensions=st.binary(max_size=9),
)
def test_every_leaf_of_a_certificate_log_that_a_full_parse_would_match_is_a_candidate(
    wish: Wish, change: str, extensions: bytes, *, whole: bool
) -> None:
    leaf = merkle_leaf(FULCIO.issue(wish), NOW, None, extensions) if whole else FULCIO.logged(wish)[0]
    at = {"version": 0, "type": 1, "entry": 11}.get(change)
    if at is not None:
        leaf = leaf[:at] + bytes((leaf[at] + 2,)) + leaf[at + 1 :]
    leaf = leaf + b"\x00" if change == "longer" else leaf[:-1] if change == "shorter" else leaf
    assert found(leaf, CT)
    if change == "none":
        assert bears(decode.decode(leaf, CT))


def test_a_leaf_of_a_certificate_log_in_an_unknown_form_is_a_candidate_whoever_it_names() -> None:
    quiet = QUIET[CT]
    odd = [
        b"",
        quiet[:11],
        quiet[:-1],
        quiet + b"\x00",
        b"\x01" + quiet[1:],
        b"\x00\x01" + quiet[2:],
        quiet[:11] + b"\x02" + quiet[12:],
        quiet[:2] + b"\xff" * 8 + quiet[10:],
    ]
    block = as_block([quiet, *odd, quiet], prefixed=False)
    assert FILTER.candidates(block, CT) == list(range(1, len(odd) + 1))


def test_the_candidates_of_the_recorded_certificate_log_are_those_that_bear_the_name() -> None:
    leaves = [leaf for leaf, _ in ct_leaves()]
    got = FILTER.candidates(as_block(leaves, prefixed=False), CT)
    assert got == [i for i, leaf in enumerate(leaves) if bears(decode.decode(leaf, CT))]
    assert len(leaves) == 106
    assert 0 < len(got) < 106


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.sampled_from([V1, V2, CT]))
def test_no_bytes_of_strangers_raise(leaves: list[bytes], protocol: Protocol) -> None:
    got = FILTER.candidates(as_block(leaves, prefixed=protocol is V2), protocol)
    for i, leaf in enumerate(leaves):
        try:
            assume(not bears(decode.decode(leaf, protocol)))
        except FormatError:
            assert i in got
