"""Signed notes: malformed ones are refused by name, strangers' lines passed over, known keys held to their word."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import BadSignatureError, FormatError, MonitorError, UnknownKeyError
from monitor.tlog.note import (
    MAX_NOTE_SIZE,
    MAX_SIGNATURES,
    KeyAlgorithm,
    Note,
    NoteKey,
    Verified,
    canonical_base64,
    signature_line,
    verify,
)

TEXT = b"log.test\n5\nroot\n"
LINE = signature_line("log.test", b"abcd", b"signature")
GOOD = TEXT + b"\n" + LINE
LOG = Ed25519PrivateKey.from_private_bytes(bytes(32))
ECDSA_LOG = ec.derive_private_key(7, ec.SECP256R1())
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)


def raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def spki(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


LOG_KEY = NoteKey.from_spki("log.test", spki(LOG))
ECDSA_KEY = NoteKey.from_spki("v1.test", spki(ECDSA_LOG))
WITNESS_KEY = NoteKey.cosigner("witness.test", raw_public(WITNESS))


def by_log(text: bytes = TEXT) -> bytes:
    return signature_line("log.test", LOG_KEY.key_id, LOG.sign(text))


def by_ecdsa_log(text: bytes = TEXT) -> bytes:
    return signature_line("v1.test", ECDSA_KEY.key_id, ECDSA_LOG.sign(text, ec.ECDSA(SHA256())))


def by_witness(time: int, text: bytes = TEXT) -> bytes:
    signature = WITNESS.sign(b"cosignature/v1\ntime %d\n" % time + text)
    return signature_line("witness.test", WITNESS_KEY.key_id, time.to_bytes(8, "big") + signature)


def signed(*lines: bytes) -> Note:
    return Note.parse(TEXT + b"\n" + b"".join(lines))


def test_a_note_is_split_into_text_and_lines() -> None:
    note = Note.parse(TEXT + b"\n" + LINE + signature_line("witness.test/w", b"efgh", b"x"))
    assert note.text == TEXT
    assert [(line.name, line.key_id, line.signature) for line in note.signatures] == [
        ("log.test", b"abcd", b"signature"),
        ("witness.test/w", b"efgh", b"x"),
    ]


def test_the_last_blank_line_separates_and_earlier_ones_are_text() -> None:
    assert Note.parse(b"one\n\ntwo\n\n" + LINE).text == b"one\n\ntwo\n"


def test_the_example_of_the_specification_is_read() -> None:
    raw = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    assert Note.parse(raw).signatures[0].key_id.hex() == "367ba04b"


MALFORMED = {
    "nothing at all": b"",
    "an HTML error page": b"<html>\n\n<body>502 Bad Gateway</body>\n</html>\n",
    "no signature": TEXT,
    "a blank line and no signature": TEXT + b"\n",
    "no blank line": TEXT + LINE,
    "no text": b"\n" + LINE,
    "blank text": b"\n\n" + LINE,
    "two blank lines": TEXT + b"\n\n" + LINE,
    "three blank lines": TEXT + b"\n\n\n" + LINE,
    "no newline at the end": GOOD[:-1],
    "another character for the newline at the end": GOOD[:-1] + b"x",
    "two newlines at the end": GOOD + b"\n",
    "trailing bytes": GOOD + b"x",
    "trailing spaces": GOOD[:-1] + b" \n",
    "a blank line between signatures and text again": GOOD + b"\nmore\n",
    "a line that is no signature among them": GOOD + b"hello\n" + LINE,
    "a carriage return in the text": TEXT.replace(b"\n", b"\r\n") + b"\n" + LINE,
    "a carriage return at the end": GOOD[:-1] + b"\r\n",
    "a NUL in the text": b"a\x00b\n\n" + LINE,
    "a tab in the text": b"a\tb\n\n" + LINE,
    "an escape in the text": b"a\x1b[31mb\n\n" + LINE,
    "a form feed in the name": TEXT + b"\n" + LINE.replace(b"log", b"l\x0cg"),
    "invalid UTF-8": b"a\xff\n\n" + LINE,
    "overlong UTF-8": b"a\xc0\x8a\n\n" + LINE,
    "a surrogate in UTF-8": b"a\xed\xa0\x80\n\n" + LINE,
    "a hyphen for the em dash": TEXT + b"\n- log.test YWJjZHNpZw==\n",
    "an en dash for the em dash": f"text\n\n\u2013 log.test {'YWJjZHNpZw=='}\n".encode(),
    "a horizontal bar for the em dash": f"text\n\n\u2015 log.test {'YWJjZHNpZw=='}\n".encode(),
    "no space after the em dash": "text\n\n\u2014log.test YWJjZHNpZw==\n".encode(),
    "two spaces after the em dash": "text\n\n\u2014  log.test YWJjZHNpZw==\n".encode(),
    "two spaces before the signature": "text\n\n\u2014 log.test  YWJjZHNpZw==\n".encode(),
    "no signature after the name": "text\n\n\u2014 log.test\n".encode(),
    "an empty signature": "text\n\n\u2014 log.test \n".encode(),
    "an empty name": "text\n\n\u2014  YWJjZHNpZw==\n".encode(),
    "a plus in the name": "text\n\n\u2014 log+test YWJjZHNpZw==\n".encode(),
    "a no-break space in the name": "text\n\n\u2014 log\u00a0test YWJjZHNpZw==\n".encode(),
    "an ideographic space in the name": "text\n\n\u2014 log\u3000test YWJjZHNpZw==\n".encode(),
    "a line separator in the name": "text\n\n\u2014 log\u2028test YWJjZHNpZw==\n".encode(),
    "base64 without padding": "text\n\n\u2014 log.test YWJjZHNpZw\n".encode(),
    "base64 with too much padding": "text\n\n\u2014 log.test YWJjZHNpZw===\n".encode(),
    "base64 with stray bits": "text\n\n\u2014 log.test YWJjZHNpZx==\n".encode(),
    "URL-safe base64": "text\n\n\u2014 log.test YWJjZHNp_w==\n".encode(),
    "a space within base64": "text\n\n\u2014 log.test YWJj ZHNpZw==\n".encode(),
    "two base64 strings in one": "text\n\n\u2014 log.test YWJjZA==YWJj\n".encode(),
    "letters from elsewhere in base64": "text\n\n\u2014 log.test YWJjZHNpZéé=\n".encode(),
    "a key id and nothing else": "text\n\n\u2014 log.test YWJjZA==\n".encode(),
    "less than a key id": "text\n\n\u2014 log.test YWJj\n".encode(),
    "one signature too many": TEXT + b"\n" + LINE * (MAX_SIGNATURES + 1),
    "one byte too many": b"x" * (MAX_NOTE_SIZE - len(LINE) - 1) + b"\n\n" + LINE,
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_note_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        Note.parse(raw)


def test_notes_as_large_as_the_bounds_are_read() -> None:
    assert len(Note.parse(TEXT + b"\n" + LINE * MAX_SIGNATURES).signatures) == MAX_SIGNATURES
    assert Note.parse(b"x" * (MAX_NOTE_SIZE - len(LINE) - 2) + b"\n\n" + LINE).text.endswith(b"x\n")


@given(raw=st.binary(max_size=80) | st.text(st.sampled_from("\n \u2014+ab=\u00a0"), max_size=60).map(str.encode))
def test_any_bytes_are_read_exactly_or_refused(raw: bytes) -> None:
    for candidate in (raw, raw + LINE, raw + b"\n\n" + LINE):
        try:
            note = Note.parse(candidate)
        except FormatError:
            continue
        lines = b"".join(signature_line(line.name, line.key_id, line.signature) for line in note.signatures)
        assert note.text + b"\n" + lines == candidate


def test_each_algorithm_verifies_and_a_cosignature_tells_its_time() -> None:
    note = signed(by_witness(1_700_000_000), by_ecdsa_log(), by_log())
    assert verify(note, [LOG_KEY, ECDSA_KEY, WITNESS_KEY]) == (
        Verified(WITNESS_KEY, 1_700_000_000),
        Verified(ECDSA_KEY, None),
        Verified(LOG_KEY, None),
    )


def test_lines_by_strangers_are_passed_over_even_when_they_share_a_name_or_an_id() -> None:
    same_name = signature_line("log.test", b"\x00\x00\x00\x00", b"nonsense")
    same_id = signature_line("other.test", LOG_KEY.key_id, b"nonsense")
    assert verify(signed(same_name, by_log(), same_id), [LOG_KEY]) == (Verified(LOG_KEY, None),)
    with pytest.raises(UnknownKeyError, match=r"other\.test"):
        verify(signed(same_name, same_id), [LOG_KEY])
    with pytest.raises(UnknownKeyError):
        verify(signed(by_log()), [])


def test_one_bad_line_by_a_known_key_refuses_the_note_whatever_the_others_say() -> None:
    forged = signature_line("witness.test", WITNESS_KEY.key_id, bytes(72))
    for lines in ((by_log(), forged), (forged, by_log())):
        with pytest.raises(BadSignatureError, match=r"witness\.test"):
            verify(signed(*lines), [LOG_KEY, WITNESS_KEY])
    with pytest.raises(BadSignatureError):
        verify(signed(by_log(), by_log(b"another text\n")), [LOG_KEY])


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (by_log(TEXT + b"x\n"), LOG_KEY),
        (by_ecdsa_log(TEXT[:-1]), ECDSA_KEY),
        (by_witness(5, TEXT + b"\n"), WITNESS_KEY),
        (signature_line("log.test", LOG_KEY.key_id, b"x"), LOG_KEY),
        (signature_line("v1.test", ECDSA_KEY.key_id, b"0\x00"), ECDSA_KEY),
        (signature_line("v1.test", ECDSA_KEY.key_id, bytes(64)), ECDSA_KEY),
        (signature_line("witness.test", WITNESS_KEY.key_id, b"short"), WITNESS_KEY),
        (signature_line("witness.test", WITNESS_KEY.key_id, WITNESS.sign(TEXT)), WITNESS_KEY),
        (signature_line("witness.test", WITNESS_KEY.key_id, bytes(8) + WITNESS.sign(TEXT)), WITNESS_KEY),
    ],
)
def test_a_signature_over_other_bytes_or_of_another_shape_is_refused(line: bytes, key: NoteKey) -> None:
    with pytest.raises(BadSignatureError, match="does not verify"):
        verify(signed(line), [key])


def test_no_flipped_bit_of_a_signature_verifies() -> None:
    for key, line in ((LOG_KEY, by_log()), (WITNESS_KEY, by_witness(1_700_000_000))):
        original = signed(line).signatures[0].signature
        for place in range(len(original)):
            for bit in range(8):
                altered = bytearray(original)
                altered[place] ^= 1 << bit
                with pytest.raises(BadSignatureError):
                    verify(signed(signature_line(key.name, key.key_id, bytes(altered))), [key])


def test_a_cosignature_time_that_no_clock_can_show_is_refused() -> None:
    assert verify(signed(by_witness(253_402_300_799)), [WITNESS_KEY])[0].timestamp == 253_402_300_799
    with pytest.raises(BadSignatureError, match="impossible time"):
        verify(signed(by_witness(253_402_300_800)), [WITNESS_KEY])


def test_a_key_counts_once_and_its_latest_time_is_told() -> None:
    note = signed(by_witness(7), by_log(), by_witness(9), by_witness(8), by_log())
    assert verify(note, [WITNESS_KEY, LOG_KEY]) == (Verified(WITNESS_KEY, 9), Verified(LOG_KEY, None))


def test_of_two_keys_with_one_name_and_one_id_either_may_have_signed() -> None:
    other = NoteKey.from_spki("log.test", spki(WITNESS), LOG_KEY.key_id)
    assert verify(signed(by_log()), [other, LOG_KEY]) == (Verified(LOG_KEY, None),)
    with pytest.raises(BadSignatureError):
        verify(signed(by_log()), [other])


def test_key_ids_are_those_of_the_specification() -> None:
    log, witness = raw_public(LOG), raw_public(WITNESS)
    assert LOG_KEY.key_id == sha256(b"log.test\n\x01" + log).digest()[:4]
    assert WITNESS_KEY.key_id == sha256(b"witness.test\n\x04" + witness).digest()[:4]
    assert ECDSA_KEY.key_id == sha256(spki(ECDSA_LOG)).digest()[:4]
    assert NoteKey.from_spki("log.test", spki(LOG), b"\x00\x00\x00\x00").key_id == bytes(4)


def test_keys_are_equal_by_what_they_are_and_show_no_key_material() -> None:
    assert NoteKey.from_spki("log.test", spki(LOG)) == LOG_KEY
    assert hash(NoteKey.from_spki("log.test", spki(LOG))) == hash(LOG_KEY)
    assert NoteKey.cosigner("log.test", raw_public(LOG)) != LOG_KEY
    assert "public" not in repr(LOG_KEY)
    assert "_key" not in repr(LOG_KEY)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"no key",
        spki(LOG)[:-1],
        spki(LOG) + b"\x00",
        spki(ec.derive_private_key(7, ec.SECP384R1())),
        spki(ec.derive_private_key(7, ec.SECP256K1())),
        spki(rsa.generate_private_key(65537, 2048)),
    ],
)
def test_a_key_of_another_kind_or_of_no_kind_is_refused(der: bytes) -> None:
    with pytest.raises(FormatError, match=r"public key of 'log\.test'"):
        NoteKey.from_spki("log.test", der)


@pytest.mark.parametrize("name", ["", "log test", "log+test", "log\ntest", "log\u00a0test", "log\x00", "log\ud800"])
def test_a_key_name_that_no_line_can_bear_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="key name"):
        NoteKey.from_spki(name, spki(LOG))
    with pytest.raises(FormatError, match="key name"):
        NoteKey.cosigner(name, raw_public(LOG))
    with pytest.raises(FormatError, match="key name"):
        signature_line(name, b"abcd", b"signature")


@pytest.mark.parametrize("key_id", [b"", b"abc", b"abcde", bytes(32)])
def test_a_key_id_that_is_not_four_bytes_is_refused(key_id: bytes) -> None:
    with pytest.raises(FormatError, match="key id"):
        NoteKey.from_spki("log.test", spki(LOG), key_id)


def test_a_cosigner_key_that_is_not_32_bytes_is_refused() -> None:
    with pytest.raises(FormatError, match="31 bytes"):
        NoteKey.cosigner("witness.test", raw_public(WITNESS)[:31])


def vkey(key: NoteKey, kind: int, public: bytes) -> str:
    return f"{key.name}+{key.key_id.hex()}+{b64encode(bytes([kind]) + public).decode()}"


def test_verifier_key_lines_give_the_keys_they_name() -> None:
    assert NoteKey.from_vkey(vkey(LOG_KEY, 1, raw_public(LOG))) == LOG_KEY
    assert NoteKey.from_vkey(vkey(ECDSA_KEY, 2, spki(ECDSA_LOG))) == ECDSA_KEY
    assert NoteKey.from_vkey(vkey(WITNESS_KEY, 4, raw_public(WITNESS))) == WITNESS_KEY


def test_a_verifier_key_line_published_for_go_is_read() -> None:
    key = NoteKey.from_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert (key.name, key.key_id.hex(), key.algorithm) == ("PeterNeumann", "c74f20a3", KeyAlgorithm.ED25519)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log.test",
        "log.test+00000000",
        vkey(LOG_KEY, 1, raw_public(LOG)) + "\n",
        " " + vkey(LOG_KEY, 1, raw_public(LOG)),
        vkey(LOG_KEY, 1, raw_public(LOG)).replace(LOG_KEY.key_id.hex(), LOG_KEY.key_id.hex().upper() + "0"),
        vkey(LOG_KEY, 4, raw_public(LOG)),
        vkey(LOG_KEY, 1, raw_public(WITNESS)),
        vkey(LOG_KEY, 1, raw_public(LOG)[:31]),
        vkey(LOG_KEY, 6, raw_public(LOG)),
        vkey(LOG_KEY, 2, spki(LOG)),
        vkey(LOG_KEY, 1, b""),
        vkey(LOG_KEY, 1, raw_public(LOG)).rstrip("=")[:-1],
        f"log.test+{LOG_KEY.key_id.hex()}+=",
    ],
)
def test_a_verifier_key_line_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        NoteKey.from_vkey(text)


@pytest.mark.parametrize("text", ["", "=", "====", "A", "AA", "AAA", "AB==", "AAB=", "AAAA\n", "AA A", "AA-_", "ÀAAA"])
def test_base64_that_has_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="the field"):
        canonical_base64(text, "the field")


@given(data=st.binary(min_size=1, max_size=100))
def test_base64_in_its_one_spelling_is_read(data: bytes) -> None:
    assert canonical_base64(b64encode(data).decode(), "the field") == data


def test_refusals_are_errors_of_this_program() -> None:
    assert issubclass(UnknownKeyError, MonitorError)
    assert not issubclass(UnknownKeyError, BadSignatureError)
    assert not issubclass(BadSignatureError, UnknownKeyError)
