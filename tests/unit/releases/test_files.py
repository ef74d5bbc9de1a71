"""A release file is read whole or refused whole, and every fault in it is told by its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import SettingsError
from monitor.model.release import DigestKind
from monitor.releases.files import MAX_BYTES, ListedDigest, ListedRelease, parse, read
from monitor.rules.policy import Policy

POLICY = Policy()
A, B, C, D = (f"sha256:{digit * 64}" for digit in "abcd")

TOML = f"""\
schema = 1

[[release]]
version = "0.1.2"
reason = "first"
author = "Ada"
[release.artifacts]
"control-plane" = "{A}"
"policy/constitution" = "{B}"
[release.manifests]
"control-plane" = ["{C}", "{D}"]
[release.files]
"runner.tar.gz" = "{C}"

[[release]]
version = "0.2.0-rc1"
artifacts.runner = "{D}"
"""
RELEASES = (
    ListedRelease(
        "0.1.2",
        (
            ListedDigest("control-plane", A, DigestKind.TAG),
            ListedDigest("policy/constitution", B, DigestKind.TAG),
            ListedDigest("control-plane", C, DigestKind.MANIFEST),
            ListedDigest("control-plane", D, DigestKind.MANIFEST),
            ListedDigest("runner.tar.gz", C, DigestKind.FILE),
        ),
        "first",
        "Ada",
    ),
    ListedRelease("0.2.0-rc1", (ListedDigest("runner", D, DigestKind.TAG),)),
)
JSON = json.dumps(
    {
        "schema": 1,
        "release": [
            {
                "version": "0.1.2",
                "reason": "first",
                "author": "Ada",
                "artifacts": {"control-plane": A, "policy/constitution": B},
                "manifests": {"control-plane": [C, D]},
                "files": {"runner.tar.gz": C},
            },
            {"version": "0.2.0-rc1", "artifacts": {"runner": D}},
        ],
    },
    indent=2,
)


@pytest.mark.parametrize(("name", "text"), [("r.toml", TOML), ("r.json", JSON), ("r", TOML), ("-", JSON)])
def test_toml_and_json_say_the_same(name: str, text: str) -> None:
    assert parse(text.encode(), name, POLICY).releases == RELEASES


def test_a_table_of_the_settings_reads_like_a_file() -> None:
    assert read(json.loads(JSON), "settings", POLICY).releases == RELEASES


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("schema = 1", "schema = 2", 1, "schema"),
        ("schema = 1", "schema = true", 1, "schema"),
        ("schema = 1\n", "", None, "schema is missing"),
        ("schema = 1", "schema = 1\nowner = 'x'", 2, "unknown key 'owner'"),
        ('"0.1.2"', '"v0.1.2"', 4, "without the v"),
        ('"0.1.2"', '"0.1"', 4, "semantic version"),
        ('"0.1.2"', '"0.1.2+build"', 4, "semantic version"),
        ('"0.2.0-rc1"', '"0.1.2"', 16, "listed twice"),
        ("reason =", "reasons =", 5, "unknown key 'reasons'"),
        ('"first"', "7", 5, "reason"),
        ('"control-plane" = "', '"control-plan" = "', 8, "control-plan'; they are control-plane"),
        (f'constitution" = "{B}', f'constitution" = "{B[:-1]}', 9, "64 lower-case"),
        (f'constitution" = "{B}', f'constitution" = "{B.upper()}', 9, "64 lower-case"),
        (f'constitution" = "{B}', f'constitution" = "{B[7:]}', 9, "64 lower-case"),
        (f'["{C}", "{D}"]', f'["{C}", "{C}"]', 11, "twice"),
        (f'["{C}", "{D}"]', f'["{C}", 1]', None, "not sha256"),
        (f'["{C}", "{D}"]', f'"{C}"', 11, "not a list"),
        ('"control-plane" = [', '"ui" = [', 11, "not among its artifacts"),
        ('"runner.tar.gz"', '"runner"', 13, "is an artifact, not a file"),
        ('"runner.tar.gz"', '"\\u202e"', None, "no file's name"),
        (f'artifacts.runner = "{D}"', "", None, "artifacts are missing"),
        (f'artifacts.runner = "{D}"', "artifacts = {}", 17, "lists nothing"),
        (f'artifacts.runner = "{D}"', "artifacts = 1", 17, "not a table"),
    ],
)
def test_a_fault_is_told_with_its_line_and_refuses_the_whole_file(
    old: str, new: str, line: int | None, said: str
) -> None:
    assert TOML.count(old) >= 1
    with pytest.raises(SettingsError) as caught:
        parse(TOML.replace(old, new, 1).encode(), "r.toml", POLICY)
    told = str(caught.value).splitlines()
    assert any(said in each for each in told)
    assert line is None or any(each.startswith(f"r.toml:{line}: ") and said in each for each in told)


def test_every_fault_is_told_at_once() -> None:
    text = TOML.replace('"0.1.2"', '"0.1"').replace("author", "autor").replace(f'runner = "{D}"', 'runner = "x"')
    with pytest.raises(SettingsError) as caught:
        parse(text.encode(), "r.toml", POLICY)
    assert [each.partition(": ")[0] for each in str(caught.value).splitlines()] == ["r.toml:4", "r.toml:6", "r.toml:17"]


def test_json_faults_have_lines_too() -> None:
    text = JSON.replace(f'"runner": "{D}"', '"runner": "x"')
    with pytest.raises(SettingsError, match=r"^r\.json:25: release 0\.2\.0-rc1: artifacts: runner: 'x'"):
        parse(text.encode(), "r.json", POLICY)


@pytest.mark.parametrize("again", [f'"runner": "{B}"', f'"\\u0072unner" : "{B}"'])
def test_a_key_that_a_json_object_gives_twice_is_told_with_its_line(again: str) -> None:
    """The same key in other objects, and as a text, is no repetition."""
    text = JSON.replace(f'"runner": "{D}"', f'"runner": "{D}",\n"ui": "\\"runner\\": {{",\n{again}')
    with pytest.raises(SettingsError, match=r"^r\.json:27: the key 'runner' stands twice in one object"):
        parse(text.encode(), "r.json", POLICY)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("r.json", b'{"schema": 1, "schema": 1}', "r.json:1: the key 'schema' stands twice"),
        ("r.json", b"{", "not JSON"),
        ("r.json", b"[]", "no table"),
        ("r.json", b"[" * 100_000, "not JSON"),
        ("r.toml", b"schema = ", "not TOML"),
        ("r.toml", b"\xff", "not UTF-8"),
        ("r.toml", b"schema = 1\nrelease = []", "no \\[\\[release\\]\\]"),
        ("r.toml", b"schema = 1\nrelease = [1]", "number 1 is no table"),
        ("r.toml", b"#" * (MAX_BYTES + 1), "bytes"),
    ],
)
def test_what_is_no_release_file_is_refused_by_name(name: str, data: bytes, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        parse(data, name, POLICY)
    assert str(caught.value).startswith(name)
    assert caught.value.cure


def test_a_flood_of_faults_is_cut_and_counted() -> None:
    digests = ", ".join(f'"{number}"' for number in range(500))
    text = f'schema = 1\n[[release]]\nversion = "1.0.0"\nartifacts.ui = "{A}"\nmanifests.ui = [{digests}]\n'
    with pytest.raises(SettingsError) as caught:
        parse(text.encode(), "r.toml", POLICY)
    assert str(caught.value).endswith("and 450 more")


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.sampled_from([A, "0.1.2", "runner"]))
keys = st.sampled_from(["schema", "release", "version", "artifacts", "manifests", "files", "runner", "reason", "x"])
documents = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=6))
)


@given(documents)
def test_whatever_is_in_it_a_file_is_read_or_refused(document: object) -> None:
    data = json.dumps({"schema": 1, "release": [document]}).encode()
    try:
        releases = parse(data, "r.json", POLICY).releases
    except SettingsError:
        return
    assert len(releases) == 1
    assert releases[0].digests


def test_a_number_too_long_to_print_is_a_fault_like_any_other() -> None:
    with pytest.raises(SettingsError, match=r"bad\.toml:1: schema is a number too long to print"):
        parse(f"schema = 0x{'f' * 6000}\n".encode(), "bad.toml", POLICY)
