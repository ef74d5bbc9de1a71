"""Settings: what may be written, where it is looked for, and the one line that refuses what cannot be meant."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from monitor import config
from monitor.config import names, shapes, sources
from monitor.config import settings as rooms
from monitor.config.unset import unset
from monitor.errors import SettingsError
from monitor.model.finding import Severity
from monitor.model.log import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.config import Settings

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
NOWHERE = Path("/nonexistent/config.toml")
HOME = {"HOME": "/Users/ada"}
DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Settings]:
    def load(text: str = "", **environ: str) -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return config.load(path, {**HOME, **{f"TRUSTACKS_MONITOR_{name}": value for name, value in environ.items()}})

    return load


def refused(load: Callable[..., Settings], text: str, **environ: str) -> str:
    """The complaint without its folder, in one line, and its cure."""
    with pytest.raises(SettingsError) as caught:
        load(text, **environ)
    assert "\n" not in str(caught.value)
    return f"{re.sub(r'^.*/config.toml', 'config.toml', str(caught.value))} ({caught.value.cure})"


def test_the_example_file_says_exactly_what_is_built_in() -> None:
    example = config.load(EXAMPLE, HOME)
    assert replace(example, file=None) == config.load(None, HOME, system=NOWHERE)


def test_the_example_file_needs_three_edits_which_stand_at_its_top(load: Callable[..., Settings]) -> None:
    top = [line for line in EXAMPLE.read_text().splitlines()[:10] if line and not line.startswith("#")]
    assert top == ['slack.channel = ""', 'slack.mention = ""', 'alerts.security_contact = ""']
    text = EXAMPLE.read_text()
    for line, value in zip(top, ("C0123", "S0123", "security@example.com"), strict=True):
        text = text.replace(f"\n{line}\n", f"\n{line[:-2]}{value!r}\n")
    settings = load(text, SLACK_TOKEN="xoxb-1")  # noqa: S106 - made up
    assert (settings.slack.channel, settings.slack.mention) == ("C0123", "S0123")
    assert settings.alerts.security_contact == "security@example.com"
    assert not any("slack" in said or "contact" in said for said in unset(settings))


def test_an_artifact_whose_repository_is_not_read_is_said(load: Callable[..., Settings]) -> None:
    assert not any("registry.repositories" in said for said in unset(load()))
    some = load('[registry.repositories]\n"runner" = "ghcr.io/trustacks/runner"\n')
    (missing,) = (said for said in unset(some) if "registry.repositories" in said)
    assert "no repository of control-plane, ui, policy/constitution" in missing


def test_every_setting_stands_in_the_example_file() -> None:
    text = EXAMPLE.read_text()
    model = shapes._model(rooms.File, rooms._OURS)
    for section, found in model.model_fields.items():
        table = names.table_of(found.rebuild_annotation())
        for key in table.model_fields if table else [section]:
            assert re.search(rf"^(# )?\[*[a-z.]*\b{key}\b\]* *(=|$)", text, re.MULTILINE), f"{section}: {key}"


def test_nothing_that_is_somebodys_own_stands_in_the_example_file() -> None:
    settings = config.load(EXAMPLE, HOME)
    assert settings.policy.repository_id is None
    assert settings.policy.owner_id is None
    assert settings.contributor_keys == ()
    assert settings.expected == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "\n[watch]\npoll_intervall = '30s'",
            "config.toml:3: watch.poll_intervall: unknown key (did you mean poll_interval?)",
        ),
        ("wach = 1", "config.toml:1: wach: unknown key (did you mean watch?)"),
        ("[watch]\n\npoll_interval = 'soon'", "config.toml:3: watch.poll_interval: 'soon' is not a duration"),
        ("[watch]\npoll_interval = 30", "config.toml:2: watch.poll_interval: 30 is not a duration"),
        (
            "[watch]\npoll_interval = '0s'",
            "config.toml:2: watch.poll_interval: '0s' should be from 50ms to 1d",
        ),
        ("[alerts]\nbackoff_first = '0s'", "config.toml:2: alerts.backoff_first: '0s' should be from 50ms to 1h"),
        ("[watch]\nsearch_branches = 'main'", "config.toml:2: watch.search_branches: 'main' should be a list"),
        ("[watch]\nwords = []", "config.toml:2: watch.words: none of them stands in TruStacks/trustacks-mvp"),
        ("[watch]\nwords = ['']", "config.toml:2: watch.words: '' cannot be looked for"),
        ("[watch]\nwords = ['Globex']", "config.toml:2: watch.words: none of them stands in TruStacks/trustacks-mvp"),
        (
            "[policy]\nowner = 'Globex'\nrepository = 'svc'",
            "config.toml: watch.words: none of them stands in Globex/svc",
        ),
        (
            "[registry.repositories]\ncontrol_plane = 'ghcr.io/trustacks/control-plane'",
            "config.toml:2: registry.repositories.control_plane: no workflow publishes 'control_plane'",
        ),
        ("[watch]\nv1_in_flight = 0", "config.toml:2: watch.v1_in_flight: 0 should be greater than or equal to 1"),
        ("[watch]\nv1_requests_per_second = nan", "config.toml:2: watch.v1_requests_per_second: nan is not a number"),
        ("[watch]\nv2_in_flight = true", "config.toml:2: watch.v2_in_flight: True is not a number"),
        ("[watch]\nstart = -1", "config.toml:2: watch.start: -1 should be"),
        ("[watch]\nstart = 'top'", "config.toml:2: watch.start: 'top' should be 'tip'"),
        ("[[watch.logs]]\nread_url = 'https://x'", "config.toml:1: watch.logs[0].origin: is missing"),
        (
            "[watch]\nct_requests_per_second = 0",
            "config.toml:2: watch.ct_requests_per_second: 0 should be greater than",
        ),
        (
            "[[watch.logs]]\norigin = 'a'\nprotocol = 'rekor-v2'\nmode = 'search'",
            "config.toml:4: watch.logs[0].mode: 'search' is no mode of a rekor-v2 log",
        ),
        (
            "[[watch.logs]]\norigin = 'a'\n[[watch.logs]]\norigin = 'a'",
            "config.toml:4: watch.logs[1].origin: 'a' has a table already",
        ),
        (
            "[[watch.logs]]\norigin = 'a'\n[[watch.logs]]\norigin = 'b'\nread_url = 'ftp://x'",
            "config.toml:5: watch.logs[1].read_url: 'ftp://x' is not an http or https URL",
        ),
        (
            "[[watch.logs]]\norigin='a'\nread_url='https://u:p@x'",
            "config.toml:3: watch.logs[0].read_url: the URL holds a user",
        ),
        (
            "[trust]\nsource = 'https://tuf.example.com'",
            "config.toml:2: trust.source: a TUF repository of your own needs",
        ),
        ("[trust]\nsource = 'nowhere.json'", "config.toml:2: trust.source: 'nowhere.json' is no file"),
        (
            "[[known]]\nworkflow='https://github.com/a/b/.github/workflows/c.yml'\nrefs='('\nreason='x'\nowner='y'",
            "config.toml:3: known[0].refs: '(' is not an RE2 pattern",
        ),
        ("[policy]\npublished_pattern = '{workflow}(?=x)'", "config.toml:2: policy.published_pattern: "),
        ("[policy]\nrepository_id = 'x1'", "config.toml:2: policy.repository_id: repository_id: 'x1' is not one"),
        ("[policy]\nrepository_id = 12", "config.toml:2: policy.repository_id: 12 should be a valid string"),
        ("[policy.severities]\nbranch-ref = 'low'", "config.toml:1: policy.severities: severities lowers branch-ref"),
        ("[policy.severities]\nlog-forked = 'awful'", "config.toml:2: policy.severities.log-forked: 'awful' should be"),
        ("[policy]\nsufficient = ['claimed']", "config.toml:2: policy.sufficient: sufficient holds 'claimed'"),
        ("[slack]\nmention = 'joe'", "config.toml:2: slack.mention: slack: mention 'joe' is nobody"),
        ("database = 'mysql://h/x'", "config.toml:1: database: mysql://h/x is no database"),
        ("contributor_keys = ['nowhere.pub']", "config.toml:1: contributor_keys[0]: "),
        (
            "contributor_keys = ['-----BEGIN PUBLIC KEY-----']",
            "config.toml:1: contributor_keys[0]: is no public key in PEM",
        ),
        ("release_files = ['nowhere.toml']", "config.toml:1: release_files[0]: "),
        (
            "[[release]]\nversion = '0.1.2'\n[release.artifacts]\nrunner = 'sha256:abc'",
            "config.toml:4: release 0.1.2: artifacts: runner: 'sha256:abc' is not sha256:",
        ),
        ("[watch\n", "config.toml:1: not TOML: "),
    ],
)
def test_what_cannot_be_meant_is_refused_by_file_line_key_and_reason(
    load: Callable[..., Settings], text: str, complaint: str
) -> None:
    assert refused(load, text).startswith(complaint)


def _bounded() -> list[tuple[str, str]]:
    """Every setting, by its section, of which 0 would mean never, nothing or at once."""
    model = shapes._model(rooms.File, rooms._OURS)
    sections = {name: names.table_of(found.rebuild_annotation()) for name, found in model.model_fields.items()}
    return [
        (section, key)
        for section, table in sections.items()
        if table is not None
        for key in table.model_fields
        if key in shapes._RANGES and shapes._RANGES[key][0]
    ]


def test_every_ceiling_and_every_count_of_requests_has_a_least_value() -> None:
    ceilings = {
        *(("watch", f"{log}_in_flight") for log in ("v1", "v2", "ct")),
        *(("watch", f"{log}_requests_per_second") for log in ("v1", "ct")),
        ("http", "max_connections"), ("http", "attempts"), ("http", "timeout"), ("http", "connect_timeout"),
        ("registry", "in_flight"), ("alerts", "batch"), ("alerts", "attempt_timeout"), ("slack", "timeout"),
    }  # fmt: skip
    assert ceilings <= set(_bounded())


@pytest.mark.parametrize(("section", "key"), _bounded())
def test_a_ceiling_of_nothing_or_less_is_refused_by_its_name_and_value_wherever_it_is_written(
    load: Callable[..., Settings], section: str, key: str
) -> None:
    for value in ("0", "-1", "-0.5"):
        from_file = refused(load, f"[{section}]\n{key} = {value}")
        assert from_file.startswith(f"config.toml:2: {section}.{key}: {value} ")
        name = f"{section}__{key}".upper()
        from_environment = refused(load, "", **{name: value})
        assert from_environment.startswith(f"environment variable TRUSTACKS_MONITOR_{name}: {value!r} ")
        assert "should be" in from_file or "is not a duration" in from_file


def test_of_several_faults_the_first_is_told_and_the_others_counted(load: Callable[..., Settings]) -> None:
    assert "(and 2 more)" in refused(load, "[watch]\npoll_interval = 1\nv1_in_flight = 0\nv2_in_flight = 0")


@pytest.mark.parametrize(
    "text", ["[slack]\ntoken = 'xoxb-SECRET'", "slack_token = 'xoxb-SECRET'", "[alerts]\nslack_webhook = 'xoxb-SECRET'"]
)
def test_a_secret_in_the_file_is_refused_by_name_and_never_shown(load: Callable[..., Settings], text: str) -> None:
    complaint = refused(load, text)
    assert "a secret does not belong here" in complaint
    assert "TRUSTACKS_MONITOR_SLACK_" in complaint
    assert "SECRET" not in complaint


def test_a_password_in_the_files_database_url_is_refused_and_in_the_environments_it_is_taken(
    load: Callable[..., Settings],
) -> None:
    url = "postgresql://monitor:hunter2@db/monitor"
    assert "hunter2" not in refused(load, f"database = '{url}'")
    taken = load(DATABASE=url)
    assert "hunter2" in taken.database
    assert "hunter2" not in repr(taken)
    assert "hunter2" not in taken.database_name


def test_postgresql_without_its_driver_is_refused_with_what_to_install(
    load: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "find_spec", lambda _name: None)
    assert "pip install" in refused(load, "database = 'postgresql://monitor@db/monitor'")


def test_secrets_come_from_the_environment_or_from_files_it_names_and_never_into_a_repr(
    load: Callable[..., Settings], tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("xoxb-from-file\n")
    settings = load("[slack]\nchannel = 'C0123'", SLACK_TOKEN_FILE=str(secret))
    assert settings.slack.token == "xoxb-from-file"  # noqa: S105 - made up
    assert "xoxb" not in repr(settings)
    assert load(SLACK_WEBHOOK="https://hooks.slack.com/services/T/B/X").slack.webhook.endswith("/X")


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff", b"x" * 70_000])
def test_a_secret_file_that_holds_no_one_line_is_refused(
    load: Callable[..., Settings], tmp_path: Path, content: bytes
) -> None:
    secret = tmp_path / "token"
    secret.write_bytes(content)
    assert "SLACK_TOKEN_FILE" in refused(load, "", SLACK_TOKEN_FILE=str(secret))


def test_a_token_without_a_channel_is_refused(load: Callable[..., Settings]) -> None:
    assert "channel" in refused(load, "", SLACK_TOKEN="xoxb-1")  # noqa: S106 - made up


def test_the_environment_goes_over_the_file_key_by_key(load: Callable[..., Settings]) -> None:
    settings = load(
        "[watch]\npoll_interval = '1m'\nended_interval = '2h'",
        WATCH__POLL_INTERVAL="5s",
        WATCH__WORDS='["TruStacks", "acme"]',
        POLICY__SEVERITIES='{"unusual-build": "high"}',
        WATCH__V1_REQUESTS_PER_SECOND="2.5",
    )
    assert settings.watch.poll_interval == timedelta(seconds=5)
    assert settings.watch.ended_interval == timedelta(hours=2)
    assert settings.watch.words == ("TruStacks", "acme")
    assert settings.watch.v1_requests_per_second == 2.5
    assert settings.policy.severities == {"unusual-build": Severity.HIGH}


@pytest.mark.parametrize(
    ("name", "value"), [("WATCH__POLL_INTERVAL", "soon"), ("WACH", "1"), ("WATCH__WORDS", "[1"), ("STATE_DIR__X", "1")]
)
def test_a_bad_variable_is_refused_by_its_name(load: Callable[..., Settings], name: str, value: str) -> None:
    complaint = refused(load, "state_dir = '/tmp'", **{name: value})
    assert complaint.startswith(f"environment variable TRUSTACKS_MONITOR_{name}: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SLACK_CHANNEL", "SLACK__CHANNEL"),
        ("SLACK_CHANEL", "SLACK__CHANNEL"),
        ("WATCH_POLL_INTERVAL", "WATCH__POLL_INTERVAL"),
        ("WACTH__POLL_INTERVAL", "WATCH__POLL_INTERVAL"),
        ("WATCH__POL_INTERVAL", "WATCH__POLL_INTERVAL"),
        ("V1_REQUESTS_PER_SECOND", "WATCH__V1_REQUESTS_PER_SECOND"),
        ("SLACK_TOKN", "SLACK_TOKEN"),
        ("REGISTRY_PASWORD_FILE", "REGISTRY_PASSWORD_FILE"),
    ],
)
def test_a_variable_that_is_not_quite_a_settings_is_answered_with_the_one_that_was_meant(
    load: Callable[..., Settings], name: str, meant: str
) -> None:
    complaint = refused(load, "state_dir = '/tmp'", **{name: "x"})
    assert complaint == (
        f"environment variable TRUSTACKS_MONITOR_{name}: unknown key (did you mean TRUSTACKS_MONITOR_{meant}?)"
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("WATCH__LOGS__ORIGIN", "should be a list"),
        ("POLICY__GRACE__X", "is not a duration"),
        ("NONSENSE", "unknown key"),
    ],
)
def test_a_table_that_only_a_variable_makes_is_refused_by_its_name(
    load: Callable[..., Settings], name: str, told: str
) -> None:
    complaint = refused(load, "state_dir = '/tmp'", **{name: "x"})
    assert complaint.startswith(f"environment variable TRUSTACKS_MONITOR_{name}: ")
    assert told in complaint


def test_a_variable_that_holds_a_table_is_refused_by_the_key_within_it(load: Callable[..., Settings]) -> None:
    within = {
        '[{"mode": "search"}]': "watch.logs[0].origin: is missing",
        '[{"origin": "a", "mode": "complet"}]': "watch.logs[0].mode: 'complet' should be",
    }
    for value, complaint in within.items():
        told = refused(load, "", WATCH__LOGS=value)
        assert told.startswith(f"environment variable TRUSTACKS_MONITOR_WATCH__LOGS: {complaint}")


def test_what_kubernetes_injects_beside_a_service_of_our_name_is_no_setting(load: Callable[..., Settings]) -> None:
    load(
        "",
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="80",
        SERVICE_PORT_HTTP="80",
        PORT="tcp://10.0.0.1:80",
        PORT_80_TCP="x",
    )


def test_a_secret_given_twice_is_refused(load: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-1")
    complaint = refused(load, "", SLACK_TOKEN="xoxb-2", SLACK_TOKEN_FILE=str(tmp_path / "token"))  # noqa: S106 - made up
    assert "both set" in complaint


def test_the_file_is_the_options_then_the_environments_then_the_systems(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.toml" for name in ("option", "environment", "system")}
    for name, path in files.items():
        path.write_text(f"[policy]\nowner = '{name}'")
    environ = {**HOME, "TRUSTACKS_MONITOR_CONFIG": str(files["environment"])}
    assert config.load(files["option"], environ, system=files["system"]).policy.owner == "option"
    assert config.load(None, environ, system=files["system"]).policy.owner == "environment"
    assert config.load(None, HOME, system=files["system"]).policy.owner == "system"
    assert config.load(None, HOME, system=NOWHERE).file is None


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        config.load(NOWHERE, HOME)


def test_state_is_kept_where_the_setting_systemd_or_xdg_says() -> None:
    def state(**environ: str) -> str:
        return str(config.load(None, {**HOME, **environ}, system=NOWHERE).state_dir)

    assert state() == "/Users/ada/.local/state/trustacks-monitor"
    assert state(XDG_STATE_HOME="/xdg") == "/xdg/trustacks-monitor"
    assert state(XDG_STATE_HOME="relative") == "/Users/ada/.local/state/trustacks-monitor"
    assert state(XDG_STATE_HOME="/xdg", STATE_DIRECTORY="/var/lib/trustacks-monitor:/b") == "/var/lib/trustacks-monitor"
    assert state(STATE_DIRECTORY="/systemd", TRUSTACKS_MONITOR_STATE_DIR="/mine") == "/mine"


def test_relative_paths_begin_at_the_files_folder(load: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text("{}")
    settings = load("database = 'sqlite:///x.db'\nstate_dir = 'state'\n[trust]\nsource = 'root.json'")
    assert settings.database.endswith(f"{tmp_path}/x.db")
    assert settings.state_dir == tmp_path / "state"
    assert settings.trust.source == str(tmp_path / "root.json")
    assert settings.trust.cache_dir == tmp_path / "state" / "trust"


def test_a_contributor_key_is_taken_from_pem_or_its_file_as_der_and_by_its_hash(
    load: Callable[..., Settings], tmp_path: Path
) -> None:
    public = generate_private_key(SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(pem)
    by_file = load("contributor_keys = ['key.pub']")
    inline = load(f"contributor_keys = ['''{pem.decode()}''']")
    assert by_file.contributor_keys == inline.contributor_keys == (der,)
    assert len(by_file.policy.contributor_keys) == 1
    assert by_file.policy == inline.policy


def test_a_private_key_in_the_place_of_a_public_one_is_refused(load: Callable[..., Settings], tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    assert "is a private key" in refused(load, "contributor_keys = ['key.pem']")


def test_releases_are_taken_from_the_settings_and_from_the_files_they_name(
    load: Callable[..., Settings], tmp_path: Path
) -> None:
    release = f"[[release]]\nversion = '{{}}'\n[release.artifacts]\nrunner = '{DIGEST}'\n"
    (tmp_path / "more.toml").write_text("schema = 1\n" + release.format("0.1.1"))
    settings = load("release_files = ['more.toml']\n" + release.format("0.1.2"))
    assert [each.version for file in settings.expected for each in file.releases] == ["0.1.2", "0.1.1"]


def test_the_known_signers_and_the_logs_of_the_settings_reach_their_rooms(load: Callable[..., Settings]) -> None:
    settings = load("""
[[known]]
workflow = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/nightly.yml"
refs = 'refs/heads/main'
reason = "nightly"
owner = "platform"
[[watch.logs]]
origin = "rekor.sigstore.dev"
mode = "complete"
start = 5
[policy.workflows]
"a.yml" = ["x"]
""")
    assert settings.policy.known[0].covers("refs/heads/main")
    assert settings.watch.logs[0].mode is Mode.COMPLETE
    assert settings.watch.logs[0].start == 5
    assert settings.alerts.publishing == ("a.yml",)


@given(st.integers(0, 3650), st.sampled_from("smhd"))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert shapes.duration(f"{number}{unit}") == timedelta(seconds=number * seconds)


@given(st.text(max_size=12))
def test_no_text_makes_a_duration_fail_with_anything_but_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert shapes.duration(text) >= timedelta(0)


@given(st.text(max_size=200), st.lists(st.sampled_from(["watch", "logs", 0, 1, "x"]), min_size=1, max_size=4))
def test_looking_for_a_line_never_fails_and_finds_only_lines_there_are(text: str, key: list[str | int]) -> None:
    line = sources.find_line(text, tuple(key))
    assert line is None or 1 <= line <= len(text.splitlines())
