"""Checkpoints: read strictly, written so that they read back, real ones of both log versions under their keys."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import BadSignatureError, FormatError
from monitor.tlog.checkpoint import Checkpoint, checkpoint_text
from monitor.tlog.note import NoteKey, Verified, signature_line, verify

ROOT = bytes(range(32))
ENCODED = b64encode(ROOT).decode()
SIGNATURE = signature_line("log.test", b"abcd", b"signature")
LINES = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), min_size=1, max_size=30)

V2_NOTE = (
    "log2026-1.rekor.trustacks.test\n457\nntXD+I1xQ+AM7iqU/cIEuFzDs1UMFJ2YdAZrFk0pyxA=\n\n"
    "— log2026-1.rekor.trustacks.test "
    "d12Ajv9xmzvRb56yrXT3x8Q4T3RWWUfXBwx1e2U3l49GUi38qG5j+EBkmj9LLY5FLV6nrnuaSlXAl09sn7D3gQVELAo=\n"
).encode()
V2_SPKI = b64decode("MCowBQYDK2VwAyEAaJ6xZsyyXsIiLmRU6Ue43OtEHvM8STCfFpJQiS5k6BI=")
V1_NOTE = (
    "rekor-v1.trustacks.test - 6938692350066500902\n121\n31/8z1j4W4Xex0CXBMu2IlLPRWeYs+a0FHLUy/savGQ=\n\n"
    "— rekor-v1.trustacks.test "
    "GYDaWTBGAiEA/XB8GsZHZzZBRS30yvRFlLHuQAKHqUWuRs3rLDqqLD4CIQCdAkV8sxeqKN2NjRSoh5QVSuPBaT6ytgkziWQfOLOj6w==\n"
).encode()
V1_SPKI = b64decode(
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEg2d5PoK9NbAu4NkGyYBVBZTjO0FT5wGTb+fnf7mDN+jxXAjzf4EDRpogvTMRqpvGyBzGZHz9bXAp7FZHeHIggg=="
)


def note(text: str) -> bytes:
    return text.encode() + b"\n" + SIGNATURE


def test_a_checkpoint_of_a_real_v2_log_verifies_under_its_key() -> None:
    checkpoint = Checkpoint.parse(V2_NOTE)
    key = NoteKey.from_spki("log2026-1.rekor.trustacks.test", V2_SPKI)
    assert (checkpoint.origin, checkpoint.size) == ("log2026-1.rekor.trustacks.test", 457)
    assert checkpoint.root.hex().startswith("9ed5c3f88d71")
    assert key.key_id.hex() == "775d808e"
    assert verify(checkpoint.note, [key]) == (Verified(key, None),)
    assert checkpoint.raw == V2_NOTE


def test_a_checkpoint_of_a_real_v1_log_verifies_under_its_host_name_and_the_key_id_of_the_trusted_root() -> None:
    checkpoint = Checkpoint.parse(V1_NOTE)
    key = NoteKey.from_spki("rekor-v1.trustacks.test", V1_SPKI, bytes.fromhex("1980da59"))
    assert checkpoint.origin == "rekor-v1.trustacks.test - 6938692350066500902"
    assert key == NoteKey.from_spki("rekor-v1.trustacks.test", V1_SPKI)
    assert verify(checkpoint.note, [key]) == (Verified(key, None),)


@pytest.mark.parametrize("raw", [V1_NOTE, V2_NOTE])
def test_no_changed_byte_of_a_real_checkpoints_text_verifies(raw: bytes) -> None:
    keys = [
        NoteKey.from_spki("rekor-v1.trustacks.test", V1_SPKI),
        NoteKey.from_spki("log2026-1.rekor.trustacks.test", V2_SPKI),
    ]
    end = raw.index(b"\n\n")
    for place in range(end):
        altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises((FormatError, BadSignatureError)):
            verify(Checkpoint.parse(altered).note, keys)


@given(
    origin=LINES, size=st.integers(0, 2**63 - 1), root=st.binary(min_size=32, max_size=32), extensions=st.lists(LINES)
)
def test_a_checkpoint_written_reads_back(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    text = checkpoint_text(origin, size, root, extensions)
    checkpoint = Checkpoint.parse(text + b"\n" + SIGNATURE)
    assert (origin, size, root, tuple(extensions)) == (
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        checkpoint.extensions,
    )
    assert checkpoint.note.text == text


def test_extension_lines_are_kept() -> None:
    frozen = "Log frozen — Mon Nov 23 18:00:00 UTC 2026"
    checkpoint = Checkpoint.parse(note(f"log.test\n5\n{ENCODED}\n{frozen}\nTimestamp: 1689177396617352539\n"))
    assert checkpoint.extensions == (frozen, "Timestamp: 1689177396617352539")


def test_a_line_separator_of_unicode_is_text_and_ends_no_line() -> None:
    checkpoint = Checkpoint.parse(note(f"log.test\u2028x\u0085y\n5\n{ENCODED}\n"))
    assert checkpoint.origin == "log.test\u2028x\u0085y"


@pytest.mark.parametrize(
    "size",
    [
        "01",
        "00",
        "-1",
        "+1",
        "-0",
        " 5",
        "5 ",
        "5.0",
        "0x5",
        "1_000",
        "5e3",
        "\u0665",
        "\uff15",
        "\xb2",
        "five",
        "9223372036854775808",
        "9" * 20,
        "9" * 5000,
    ],
)
def test_a_size_that_is_not_one_plain_decimal_number_is_refused(size: str) -> None:
    with pytest.raises(FormatError, match="size"):
        Checkpoint.parse(note(f"log.test\n{size}\n{ENCODED}\n"))


def test_the_smallest_and_the_largest_size_are_read() -> None:
    for size in (0, 2**63 - 1):
        assert Checkpoint.parse(note(f"log.test\n{size}\n{ENCODED}\n")).size == size


@pytest.mark.parametrize(
    "root",
    [
        ENCODED.rstrip("="),
        ENCODED + "=",
        ENCODED[:-2] + "9=",
        ENCODED.replace("A", "-", 1),
        " " + ENCODED,
        ENCODED + " ",
        b64encode(bytes(31)).decode(),
        b64encode(bytes(33)).decode(),
        b64encode(bytes(64)).decode(),
        ROOT.hex(),
        "=",
        "é" * 44,
    ],
)
def test_a_root_that_is_not_32_bytes_in_canonical_base64_is_refused(root: str) -> None:
    with pytest.raises(FormatError, match="checkpoint root"):
        Checkpoint.parse(note(f"log.test\n5\n{root}\n"))


@pytest.mark.parametrize(
    "text",
    [
        f"\n5\n{ENCODED}\n",
        f"log.test\n\n5\n{ENCODED}\n",
        f"log.test\n5\n\n{ENCODED}\n",
        f"log.test\n5\n{ENCODED}\n\nextension\n",
        f"log.test\n5\n{ENCODED}\nextension\n\nextension\n",
    ],
)
def test_an_empty_line_in_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"is empty|no decimal"):
        Checkpoint.parse(note(text))


@pytest.mark.parametrize("text", ["log.test\n", "log.test\n5\n"])
def test_a_checkpoint_without_its_three_lines_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="origin, size and root"):
        Checkpoint.parse(note(text))


@pytest.mark.parametrize("origin", ["", "a\nb", "a\rb", "a\x00b", "a\n"])
def test_a_text_that_would_not_read_back_is_not_written(origin: str) -> None:
    with pytest.raises(FormatError):
        checkpoint_text(origin, 5, ROOT)
    with pytest.raises(FormatError):
        checkpoint_text("log.test", 5, ROOT, ["good", origin])


@pytest.mark.parametrize(("size", "root"), [(-1, ROOT), (2**63, ROOT), (5, ROOT[:31]), (5, b"")])
def test_a_size_or_root_that_would_not_read_back_is_not_written(size: int, root: bytes) -> None:
    with pytest.raises(FormatError):
        checkpoint_text("log.test", size, root)
