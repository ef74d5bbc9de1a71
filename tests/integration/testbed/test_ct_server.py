from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from monitor.testbed.ca import SCT_DELAY_MS, CertificateAuthority, Claims
from monitor.testbed.ct import CtLog, Style
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.note import Note
from monitor.tlog.proofs import verify_consistency, verify_inclusion
from monitor.tlog.tiles import tile_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RECORDING = Path(__file__).parents[2] / "fixtures" / "recording" / "ct.jsonl"
KEY = generate_private_key(SECP256R1())
SIZE = 23


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def attached(style: Style, clock: Clock, *, page_size: int = 100) -> CertificateAuthority:
    """An authority with a log that holds SIZE certificates, one a second."""
    ca = CertificateAuthority(now=clock)
    ca.ct = CtLog(ca.ct_key, style=style, roots=[ca.root], page_size=page_size, now=clock)
    for number in range(SIZE):
        clock.time += timedelta(seconds=1)
        ca.issue(KEY.public_key(), Claims(run=str(number)))
    return ca


def log_of(ca: CertificateAuthority) -> CtLog:
    assert isinstance(ca.ct, CtLog)
    return ca.ct


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ca(clock: Clock) -> AsyncIterator[CertificateAuthority]:
    """An authority whose certificates are in a running RFC 6962 log that gives ten entries a page."""
    made = attached("rfc6962", clock, page_size=10)
    async with log_of(made):
        yield made


@pytest.fixture
async def static(clock: Clock) -> AsyncIterator[CertificateAuthority]:
    """An authority whose certificates are in a running static log."""
    made = attached("static", clock)
    async with log_of(made):
        yield made


async def get(log: CtLog, path: str, **query: str | int) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{log.read_url}/{path}", params=query)


async def ask(log: CtLog, name: str, **query: str | int) -> dict[str, Any]:
    return dict((await get(log, f"ct/v1/{name}", **query)).raise_for_status().json())


async def page(log: CtLog, start: int, end: int) -> list[tuple[bytes, bytes]]:
    entries = (await ask(log, "get-entries", start=start, end=end))["entries"]
    return [(b64decode(entry["leaf_input"]), b64decode(entry["extra_data"])) for entry in entries]


async def leaves(log: CtLog, size: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < size:
        found += [leaf for leaf, _ in await page(log, len(found), size - 1)]
    return found


def verify_signed(spki: bytes, signed: bytes, signature: bytes) -> None:
    """Verify a DigitallySigned by the key of a log."""
    assert signature[:2] == b"\x04\x03"
    assert int.from_bytes(signature[2:4], "big") == len(signature) - 4
    key = load_der_public_key(spki)
    assert isinstance(key, EllipticCurvePublicKey)
    key.verify(signature[4:], signed, ECDSA(SHA256()))


def head_of(log: CtLog, sth: dict[str, Any]) -> tuple[int, bytes]:
    """Size and root of a signed tree head, once its signature holds (RFC 6962 §3.5)."""
    root = b64decode(sth["sha256_root_hash"])
    signed = b"\0\x01" + struct.pack(">QQ", sth["timestamp"], sth["tree_size"]) + root
    verify_signed(log.spki, signed, b64decode(sth["tree_head_signature"]))
    return sth["tree_size"], root


def verify_checkpoint(log: CtLog, raw: bytes) -> tuple[int, bytes]:
    """Size and root of a checkpoint, once its signature holds (static-ct-api, read by hand)."""
    note = Note.parse(raw)
    origin, size, root = note.text.decode().splitlines()
    [line] = note.signatures
    assert line.name == origin == log.origin
    assert sha256(origin.encode() + b"\n\x05" + log.log_id).digest()[:4] == line.key_id
    signed = b"\0\x01" + line.signature[:8] + struct.pack(">Q", int(size)) + b64decode(root)
    verify_signed(log.spki, signed, line.signature[8:])
    return int(size), b64decode(root)


def cut(data: bytes, width: int) -> tuple[bytes, bytes]:
    """Cut a TLS vector of a length of `width` bytes off the front; it and the rest."""
    end = width + int.from_bytes(data[:width], "big")
    assert end <= len(data)
    return data[width:end], data[end:]


def verify_leaf(ca: CertificateAuthority, certificate: x509.Certificate, leaf: bytes) -> bytes:
    """Require that a leaf is this certificate's and carries its SCT's timestamp, and the SCT is good; its extensions."""
    assert leaf[:2] == b"\0\0"
    assert leaf[10:12] == b"\0\1"
    issuer = ca.intermediate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert sha256(issuer).digest() == leaf[12:44]
    tbs, rest = cut(leaf[44:], 3)
    assert certificate.tbs_precertificate_bytes == tbs
    extensions, rest = cut(rest, 2)
    assert not rest
    [sct] = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    assert log_of(ca).log_id == sct.log_id
    stamp = int.from_bytes(leaf[2:10], "big")
    assert stamp == round(sct.timestamp.replace(tzinfo=UTC).timestamp() * 1000)
    assert stamp == int(certificate.not_valid_before_utc.timestamp()) * 1000 + SCT_DELAY_MS
    assert extensions == sct.extension_bytes
    ca.ct_key.public_key().verify(sct.signature, leaf, ECDSA(SHA256()))
    return extensions


def verify_chain(ca: CertificateAuthority, certificate: x509.Certificate, extra: bytes) -> None:
    """Require that `extra_data` holds the precertificate and its issuers, and that these signed it."""
    precertificate, rest = cut(extra, 3)
    chain, rest = cut(rest, 3)
    assert not rest
    issuer, chain = cut(chain, 3)
    root, chain = cut(chain, 3)
    assert not chain
    assert [x509.load_der_x509_certificate(each) for each in (issuer, root)] == list(ca.chain)
    read = x509.load_der_x509_certificate(precertificate)
    read.verify_directly_issued_by(ca.intermediate)
    poison = read.extensions.get_extension_for_class(x509.PrecertPoison)
    assert poison.critical
    assert certificate.serial_number == read.serial_number


async def test_a_certificate_that_is_issued_is_in_the_log_and_carries_the_logs_promise(
    ca: CertificateAuthority,
) -> None:
    certificate = ca.issue(KEY.public_key(), Claims(ref="refs/tags/v9"), datetime(2026, 5, 5, tzinfo=UTC))
    [(leaf, extra)] = await page(log_of(ca), SIZE, SIZE)
    assert verify_leaf(ca, certificate, leaf) == b""
    verify_chain(ca, certificate, extra)


async def test_heads_consistency_and_inclusion_hold_at_every_size(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    size, root = head_of(log, await ask(log, "get-sth"))
    hashes = [leaf_hash(leaf) for leaf in await leaves(log, size)]
    assert (size, root) == (SIZE, tree_root(hashes))
    for first in range(1, size + 1):
        proof = [
            b64decode(node) for node in (await ask(log, "get-sth-consistency", first=first, second=size))["consistency"]
        ]
        verify_consistency(first, size, tree_root(hashes[:first]), root, proof)
    for index, hashed in enumerate(hashes):
        found = await ask(log, "get-proof-by-hash", hash=b64encode(hashed).decode(), tree_size=size)
        assert found["leaf_index"] == index
        verify_inclusion(hashed, index, size, [b64decode(node) for node in found["audit_path"]], root)
        single = await ask(log, "get-entry-and-proof", leaf_index=index, tree_size=size)
        assert found["audit_path"] == single["audit_path"]
        assert leaf_hash(b64decode(single["leaf_input"])) == hashed


async def test_pages_are_cut_at_the_servers_cap_and_at_the_end(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    assert len(await page(log, 0, SIZE - 1)) == 10
    assert len(await page(log, 4, SIZE - 1)) == 6, "a long page ends at a multiple of the cap"
    assert len(await page(log, 4, 12)) == 9
    assert len(await page(log, 20, 29)) == SIZE - 20
    log.page_size = 3
    assert len(await page(log, 0, SIZE - 1)) == 3


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [
        ("get-entries", {"start": SIZE, "end": SIZE + 5}, 400),
        ("get-entries", {"start": 5, "end": 4}, 400),
        ("get-entries", {"start": -1, "end": 4}, 400),
        ("get-entries", {"start": "x", "end": 4}, 400),
        ("get-sth-consistency", {"first": 5, "second": SIZE + 1}, 400),
        ("get-sth-consistency", {"first": 5, "second": 4}, 400),
        ("get-entry-and-proof", {"leaf_index": 5, "tree_size": 5}, 400),
        ("get-entry-and-proof", {"leaf_index": 5, "tree_size": SIZE + 1}, 400),
        ("get-proof-by-hash", {"hash": "!", "tree_size": 5}, 400),
        ("get-proof-by-hash", {"tree_size": 5}, 400),
        ("get-proof-by-hash", {"hash": b64encode(bytes(32)).decode(), "tree_size": 5}, 404),
        ("get-proof-by-hash", {"hash": b64encode(bytes(32)).decode(), "tree_size": 0}, 400),
        ("get-proof-by-hash", {"hash": b64encode(bytes(32)).decode(), "tree_size": SIZE + 1}, 404),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_plain_text(
    ca: CertificateAuthority, name: str, query: dict[str, str | int], status: int
) -> None:
    reply = await get(log_of(ca), f"ct/v1/{name}", **query)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_every_recorded_request_is_answered_as_the_real_server_did() -> None:
    """The recorded entries, put into the testbed's log, make the same replies but for the head's signature."""
    recorded = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    replies = {row["path"]: row for row in recorded}
    whole = json.loads(replies["/trustacks/ct/v1/get-entries?start=0&end=105"]["response"])["entries"]
    roots = json.loads(replies["/trustacks/ct/v1/get-roots"]["response"])["certificates"]
    log = CtLog(base_path="/trustacks", page_size=1000)
    log.roots = tuple(b64decode(root) for root in roots)
    for entry in whole:
        log.append_raw(b64decode(entry["leaf_input"]), b64decode(entry["extra_data"]))
    async with log, httpx.AsyncClient(base_url=log.url) as client:
        for row in recorded:
            reply = await client.get(row["path"])
            assert (row["status"], row["content_type"]) == (reply.status_code, reply.headers["content-type"])
            if row["path"].endswith("/get-sth"):
                real, ours = json.loads(row["response"]), reply.json()
                assert list(real) == list(ours)
                assert (real["tree_size"], real["sha256_root_hash"]) == (ours["tree_size"], ours["sha256_root_hash"])
            else:
                assert row["response"] == reply.text


async def test_a_head_is_the_same_until_the_log_grows_or_an_hour_passes(ca: CertificateAuthority, clock: Clock) -> None:
    log = log_of(ca)
    first = await ask(log, "get-sth")
    clock.time += timedelta(minutes=59)
    assert await ask(log, "get-sth") == first
    clock.time += timedelta(minutes=2)
    second = await ask(log, "get-sth")
    assert second["timestamp"] >= first["timestamp"] + 3_600_000
    ca.issue(KEY.public_key(), Claims())
    assert head_of(log, await ask(log, "get-sth"))[0] == SIZE + 1


async def test_only_what_the_authority_itself_signed_and_promised_is_logged(ca: CertificateAuthority) -> None:
    stranger = generate_private_key(SECP256R1())
    ca.issue(KEY.public_key(), Claims(), sct=False)
    ca.issue(KEY.public_key(), Claims(), sct_signed_with=stranger)
    ca.issue(KEY.public_key(), Claims(), self_signed_with=stranger)
    hidden = ca.issue(KEY.public_key(), Claims(), logged=False)
    assert log_of(ca).size == SIZE
    [_promise] = hidden.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value


async def test_a_final_certificate_is_logged_with_its_chain(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    certificate = ca.issue(KEY.public_key(), Claims(), sct=False)
    index = log.add_certificate(certificate, ca.chain)
    [(leaf, extra)] = await page(log, index, index)
    assert leaf[10:12] == b"\0\0"
    logged, rest = cut(leaf[12:], 3)
    assert certificate == x509.load_der_x509_certificate(logged)
    assert rest == b"\0\0"
    chain, rest = cut(extra, 3)
    assert not rest
    assert cut(chain, 3)[0] == ca.intermediate.public_bytes(Encoding.DER)


async def test_any_bytes_at_all_can_be_logged(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    index = log.append_raw(b"\0\0" + bytes(8) + b"\x80\x00future", b"what goes with it")
    assert await page(log, index, index) == [(b"\0\0" + bytes(8) + b"\x80\x00future", b"what goes with it")]
    assert head_of(log, await ask(log, "get-sth"))[0] == index + 1


# static-CT


async def test_a_static_logs_tiles_lead_to_its_signed_checkpoint(static: CertificateAuthority) -> None:
    log = log_of(static)
    for number in range(SIZE, 300):
        log.append_raw(b"\0\0" + bytes(8) + b"\x80\x00" + struct.pack(">I", number), b"")
    reply = await get(log, "checkpoint")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    size, root = verify_checkpoint(log, reply.content)
    assert size == 300
    first = (await get(log, tile_path(0, 0))).raise_for_status().content
    second = (await get(log, tile_path(0, 1, 44))).raise_for_status().content
    hashes = [(first + second)[at : at + 32] for at in range(0, 32 * size, 32)]
    assert tree_root(hashes) == root
    assert (await get(log, tile_path(1, 0, 1))).content == tree_root(hashes[:256])
    for wrong in ("tile/0/001.p/45", "tile/0/001", "tile/1/000.p/2", "tile/6/000.p/1", "tile/data/001.p/45", "tile/x"):
        assert (await get(log, wrong)).status_code == 404
    assert (await get(log, "ct/v1/get-sth")).status_code == 404


@pytest.mark.parametrize("gzip", [False, True])
async def test_a_data_tile_holds_certificate_leaf_index_precertificate_and_fingerprints(
    static: CertificateAuthority, *, gzip: bool
) -> None:
    log = log_of(static)
    log.gzip = gzip
    certificate = static.issue(KEY.public_key(), Claims(ref="refs/tags/v9"))
    final = static.issue(KEY.public_key(), Claims(), sct=False)
    log.add_certificate(final, static.chain)
    reply = (await get(log, f"tile/data/000.p/{SIZE + 2}")).raise_for_status()
    assert ("content-encoding" in reply.headers) == gzip
    data, hashes = reply.content, (await get(log, f"tile/0/000.p/{SIZE + 2}")).content
    chain = b""
    for index in range(SIZE + 2):
        precertificate = index != SIZE + 1
        start, rest = (data[:42], data[42:]) if precertificate else (data[:10], data[10:])
        signed, rest = cut(rest, 3)
        extensions, rest = cut(rest, 2)
        assert extensions == b"\0\0\5" + index.to_bytes(5, "big")
        leaf = b"\0\0" + data[: len(data) - len(rest)]
        assert leaf_hash(leaf) == hashes[32 * index : 32 * index + 32]
        if precertificate:
            assert start[8:10] == b"\0\1"
            whole, rest = cut(rest, 3)
            x509.load_der_x509_certificate(whole).verify_directly_issued_by(static.intermediate)
            if index == SIZE:
                assert verify_leaf(static, certificate, leaf) == extensions
        else:
            assert (start[8:10], signed) == (b"\0\0", final.public_bytes(Encoding.DER))
        chain, data = cut(rest, 2)
    assert not data
    for place, issuer in enumerate(static.chain):
        fetched = await get(log, f"issuer/{chain[32 * place : 32 * place + 32].hex()}")
        assert fetched.headers["content-type"] == "application/pkix-cert"
        assert x509.load_der_x509_certificate(fetched.content) == issuer
    assert (await get(log, f"issuer/{'0' * 64}")).status_code == 404


async def test_a_static_log_is_named_by_its_submission_prefix(static: CertificateAuthority) -> None:
    log = log_of(static)
    assert log.read_url == log.listed_url == f"http://{log.origin}"
    named = CtLog(style="static", origin="ct.trustacks.test/2026")
    assert (named.origin, named.listed_url) == ("ct.trustacks.test/2026", "https://ct.trustacks.test/2026")
    assert CtLog().origin != CtLog().origin, "an RFC 6962 log is named by the hash of its key"


async def test_partial_tiles_may_go_once_the_full_one_is_there(static: CertificateAuthority) -> None:
    log = log_of(static)
    for number in range(SIZE, 260):
        log.append_raw(b"\0\0" + bytes(8) + b"\x80\x00" + struct.pack(">I", number), b"")
    assert (await get(log, "tile/0/000.p/200")).status_code == 200
    log.hide_partials()
    assert (await get(log, "tile/0/000.p/200")).status_code == 404
    assert (await get(log, "tile/data/000.p/200")).status_code == 404
    assert (await get(log, "tile/0/001.p/4")).status_code == 200


# lies


async def test_a_fork_is_signed_and_of_another_root_and_of_the_same_certificates(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    true = head_of(log, await ask(log, "get-sth"))
    before = await leaves(log, SIZE)
    log.fork(20)
    size, root = head_of(log, await ask(log, "get-sth"))
    forked = await leaves(log, SIZE)
    assert (size, forked[:20]) == (SIZE, before[:20])
    assert root == tree_root([leaf_hash(leaf) for leaf in forked]) != true[1]
    assert [leaf[10:] for leaf in forked] == [leaf[10:] for leaf in before]
    ca.issue(KEY.public_key(), Claims())
    log.tell_the_truth()
    assert log.size == SIZE + 1, "what was logged meanwhile is in the honest history too"
    assert await leaves(log, SIZE) == before


async def test_a_static_fork_is_signed_and_of_another_root(static: CertificateAuthority) -> None:
    log = log_of(static)
    true = verify_checkpoint(log, (await get(log, "checkpoint")).content)
    log.fork(3)
    size, root = verify_checkpoint(log, (await get(log, "checkpoint")).content)
    assert size == true[0]
    assert root != true[1]
    log.tell_the_truth()
    assert verify_checkpoint(log, (await get(log, "checkpoint")).content) == true


async def test_an_old_replica_shows_an_earlier_head_and_no_later_entry(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    log.serve_old(7)
    assert head_of(log, await ask(log, "get-sth"))[0] == 7
    assert (await get(log, "ct/v1/get-entries", start=7, end=9)).status_code == 400
    assert (await get(log, "ct/v1/get-sth-consistency", first=7, second=8)).status_code == 400


async def test_entries_below_the_signed_size_can_be_held_back(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    log.hide_last_page()
    assert head_of(log, await ask(log, "get-sth"))[0] == SIZE
    assert (await get(log, "ct/v1/get-entries", start=20, end=22)).status_code == 400
    log.hide_from(15)
    assert len(await page(log, 10, 19)) == 5
    log.tell_the_truth()
    assert len(await page(log, 20, 22)) == 3


async def test_an_entry_can_be_left_out_of_its_page_and_denied_singly(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    true = await page(log, 0, 9)
    log.omit(4)
    assert await page(log, 0, 9) == true[:4] + true[5:]
    assert await ask(log, "get-entry-and-proof", leaf_index=4, tree_size=SIZE)
    log.omit(4, also_singly=True)
    reply = await get(log, "ct/v1/get-entry-and-proof", leaf_index=4, tree_size=SIZE)
    assert reply.status_code == 400


async def test_a_static_log_can_hold_entries_back(static: CertificateAuthority) -> None:
    log = log_of(static)
    whole = (await get(log, f"tile/data/000.p/{SIZE}")).content
    log.omit(4)
    assert len((await get(log, f"tile/data/000.p/{SIZE}")).content) < len(whole)
    log.hide_last_page()
    assert (await get(log, f"tile/data/000.p/{SIZE}")).status_code == 404
    assert (await get(log, f"tile/0/000.p/{SIZE}")).status_code == 200


async def test_entries_can_be_exchanged_altered_and_padded(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    true = await page(log, 0, 9)
    log.answer_with(2, 7)
    assert (await page(log, 2, 2))[0] == true[7]
    log.alter_leaf(3, b"altered", times=1)
    assert await page(log, 3, 3) == [(b"altered", true[3][1])]
    assert await page(log, 3, 3) == [true[3]]
    log.alter_leaf(3, b"altered", b"too")
    assert [await page(log, 3, 3) for _ in range(2)] == [[(b"altered", b"too")]] * 2
    log.pad(5, 1 << 20)
    assert len((await page(log, 5, 5))[0][1]) == len(true[5][1]) + (1 << 20)
    log.tell_the_truth()
    assert await page(log, 0, 9) == true


async def test_a_head_can_be_signed_by_another_key_or_be_anything(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    log.sign_with(generate_private_key(SECP256R1()))
    with pytest.raises(InvalidSignature):
        head_of(log, await ask(log, "get-sth"))
    log.serve_head(b'{"tree_size":true}')
    assert await ask(log, "get-sth") == {"tree_size": True}
    log.tell_the_truth()
    assert head_of(log, await ask(log, "get-sth"))[0] == SIZE


async def test_a_checkpoint_can_be_signed_badly_under_the_logs_id_or_under_another(
    static: CertificateAuthority,
) -> None:
    log, other = log_of(static), generate_private_key(SECP256R1())
    true = Note.parse((await get(log, "checkpoint")).content).signatures[0].key_id
    log.sign_with(other, keep_key_id=True)
    raw = (await get(log, "checkpoint")).content
    assert Note.parse(raw).signatures[0].key_id == true
    with pytest.raises(InvalidSignature):
        verify_checkpoint(log, raw)
    log.sign_with(other)
    assert Note.parse((await get(log, "checkpoint")).content).signatures[0].key_id != true


async def test_a_certificate_log_fails_as_every_server_of_the_testbed_does(ca: CertificateAuthority) -> None:
    log = log_of(ca)
    log.reply(status=503, times=1, path_prefix="/2026/ct/v1/get-entries")
    assert (await get(log, "ct/v1/get-sth")).status_code == 200
    assert (await get(log, "ct/v1/get-entries", start=0, end=1)).status_code == 503
    assert (await get(log, "ct/v1/get-entries", start=0, end=1)).status_code == 200
