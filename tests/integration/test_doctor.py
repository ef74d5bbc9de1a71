"""The doctor, with each dependency broken in turn: what fails is that alone, the cause is named and the cure is right."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor import config, doctor
from monitor.model.check import CheckState
from monitor.model.log import title
from monitor.releases.auth import Credentials
from monitor.store import migrate
from monitor.store.engine import Store
from monitor.testbed.slack import Channel
from monitor.testbed.world import World
from monitor.trust.source import RootSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from monitor.config import Settings
    from monitor.model.check import Check

LIMIT = 20.0
"""Seconds: what is broken here fails at once, and a busy machine must not look broken."""
RUNNER = "trustacks/runner"
TOKEN = "xoxb-testbed"  # noqa: S105 - opens the testbed's Slack, which opens nothing


@dataclass
class Ward:
    """A world, and the settings by which everything in it is used."""

    folder: Path
    world: World
    top: str = ""
    source: str = ""
    channel: str = "C0SECURITY"
    v1_mode: str = "certificates"
    environ: dict[str, str] = field(default_factory=lambda: {"TRUSTACKS_MONITOR_SLACK_TOKEN": TOKEN})

    @property
    def settings(self) -> Settings:
        world, registry = self.world, self.world.registry.host
        logs = "".join(
            f'[[watch.logs]]\norigin = "{origin}"\nread_url = "{url}"\n'
            + (f'mode = "{self.v1_mode}"\n' if origin == world.v1.hostname else "")
            for origin, url in world.read_urls.items()
        )
        path = self.folder / "config.toml"
        path.write_text(
            f'state_dir = "state"\n{self.top}\n'
            f'[trust]\nsource = "{self.source or world.tuf.url}"\ntuf_root = "root.json"\n'
            f'[slack]\nchannel = "{self.channel}"\napi = "{world.slack.base_url}"\nmention = "here"\n'
            f'[alerts]\nsecurity_contact = "ada"\n[registry]\ninsecure_hosts = ["{registry}"]\n'
            f'repositories = {{ runner = "{registry}/{RUNNER}" }}\n{logs}'
        )
        return config.load(path, {"HOME": str(self.folder), **self.environ})

    async def examined(self, limit: float = LIMIT) -> list[Check]:
        return [check async for check in doctor.examine(self.settings, limit=limit)]

    @property
    def v1(self) -> str:
        return f"log {self.world.v1.hostname}"

    @property
    def shard(self) -> str:
        return f"log {self.world.v1.origin()}"

    @property
    def index(self) -> str:
        return f"search index {self.world.v1.hostname}"

    @property
    def v2(self) -> str:
        return f"log {self.world.v2.origin}"

    @property
    def ct(self) -> str:
        return f"log {title(self.world.ct.origin, self.world.ct.read_url)}"

    @property
    def registry(self) -> str:
        return f"registry {self.world.registry.host}/{RUNNER}"


@pytest.fixture
async def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ward]:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    async with World(slack_rate_limited=False) as world:
        world.noise(3)
        world.noise(3, "v1")
        world.registry.image(RUNNER, "0.1.2")
        (tmp_path / "root.json").write_bytes(world.tuf.root_json)
        yield Ward(tmp_path, world)


def failing(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.state is CheckState.FAILED}


def named(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


async def test_nothing_fails_where_all_is_well_and_everything_was_tried(ward: Ward) -> None:
    checks = await ward.examined()
    assert failing(checks) == {}
    tried = [check.name for check in checks if check.state is CheckState.OK]
    assert tried == [
        "settings", "state directory", "database", "clock", "trust root", ward.shard, ward.v2, ward.ct,
        ward.index, ward.registry, "Slack token", "Slack scopes", "Slack channel", "proxies",
    ]  # fmt: skip
    assert [check.said for check in checks if check.state is CheckState.NOT_SET] == [
        (
            "repository and owner ids are not set: foreign-repository judges names only "
            "(`ids list` shows those that our releases carry, `ids pin` accepts them)"
        ),
        "no contributor-flow key is set: contributor-key never fires",
        (
            "no repository of control-plane, ui, policy/constitution (registry.repositories): what is signed as such is "
            "unexpected unless a release file lists it, and every release lacks it"
        ),
    ]
    assert "checkpoint of 3 leaves, signed by its key" in named(checks, ward.v2).said
    assert "its metadata (" in named(checks, "trust root").said
    assert "1 tags, read without an account" in named(checks, ward.registry).said


async def test_an_examination_leaves_nothing_behind_and_posts_nothing(ward: Ward) -> None:
    await ward.examined()
    assert not (ward.folder / "state").exists()
    assert ward.world.slack.messages == []


# what is broken, and how


async def tuf_refuses(ward: Ward) -> None:
    await ward.world.tuf.stop()


async def tuf_has_expired(ward: Ward) -> None:
    ward.world.tuf.expire()


async def tuf_talks_nonsense(ward: Ward) -> None:
    ward.world.tuf.reply(body=b"<html>", path_prefix="/2.root.json")


async def root_is_newer_than_this_program(ward: Ward) -> None:
    root = json.loads(ward.world.trusted_root_json())
    root["tlogs"].append({**root["tlogs"][0], "publicKey": {"rawBytes": "AAAA", "keyDetails": "PQ_SOMETHING"}})
    (ward.folder / "trusted_root.json").write_text(json.dumps(root))
    ward.source = "trusted_root.json"


async def v2_refuses(ward: Ward) -> None:
    await ward.world.v2.stop()


async def v1_is_in_trouble(ward: Ward) -> None:
    ward.world.v1.reply(status=502, body=b"bad gateway")


async def v1_is_not_there(ward: Ward) -> None:
    ward.world.v1.reply(status=404)


async def index_is_off(ward: Ward) -> None:
    ward.world.v1.index_off = 501


async def index_ignores_subjects(ward: Ward) -> None:
    ward.world.v1.reply(body=b"[]", path_prefix="/api/v1/index/")


async def index_is_off_where_all_else_is(ward: Ward) -> None:
    ward.world.v1.index_off = 404
    ward.v1_mode = "search"


async def v2_has_another_key(ward: Ward) -> None:
    ward.world.v2.sign_with(Ed25519PrivateKey.generate())
    ward.world.v2.publish()


async def v2_signs_badly(ward: Ward) -> None:
    ward.world.v2.sign_with(Ed25519PrivateKey.generate(), keep_key_id=True)
    ward.world.v2.publish()


async def v2_serves_another_log(ward: Ward) -> None:
    ward.world.v2.serve_checkpoint(ward.world.v1.checkpoint())


async def registry_wants_a_password(ward: Ward) -> None:
    ward.world.registry.protection = "basic"
    ward.world.registry.users = {"ada": "right"}


async def registry_refuses_the_password(ward: Ward) -> None:
    await registry_wants_a_password(ward)
    ward.environ |= {"TRUSTACKS_MONITOR_REGISTRY_USERNAME": "ada", "TRUSTACKS_MONITOR_REGISTRY_PASSWORD": "SECRET"}


async def registry_gives_no_token(ward: Ward) -> None:
    ward.world.registry.protection = "token"
    ward.world.registry.users = {"ada": "right"}


async def registry_forbids(ward: Ward) -> None:
    ward.world.registry.reply(status=403)


async def registry_has_no_such_repository(ward: Ward) -> None:
    ward.world.registry.reply(status=404)


async def registry_has_had_enough(ward: Ward) -> None:
    ward.world.registry.rate_limit(header="7")


async def registry_is_asked_by_https_and_speaks_http(ward: Ward) -> None:
    ward.environ["TRUSTACKS_MONITOR_REGISTRY__INSECURE_HOSTS"] = "[]"


async def registry_refuses(ward: Ward) -> None:
    await ward.world.registry.stop()


async def database_refuses(ward: Ward) -> None:
    ward.top = 'database = "postgresql://monitor@127.0.0.1:1/monitor"'


async def database_is_newer(ward: Ward) -> None:
    path = ward.folder / "monitor.db"
    ward.top = 'database = "sqlite:///monitor.db"'
    await migrate.upgrade(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("UPDATE meta SET value = '99' WHERE key IN ('schema', 'serves')")


async def database_is_something_else(ward: Ward) -> None:
    ward.top = 'database = "sqlite:///config.toml"'


async def slack_does_not_know_the_token(ward: Ward) -> None:
    ward.environ["TRUSTACKS_MONITOR_SLACK_TOKEN"] = "xoxb-SECRET"  # noqa: S105 - made up


async def slack_refuses(ward: Ward) -> None:
    await ward.world.slack.down("refuse")


async def slack_is_in_trouble(ward: Ward) -> None:
    await ward.world.slack.down("error")


async def slack_may_only_read(ward: Ward) -> None:
    ward.world.slack.scopes = "channels:history"


async def slack_channel_lacks_the_bot(ward: Ward) -> None:
    ward.channel = "C0ELSEWHERE"


async def slack_channel_is_unknown(ward: Ward) -> None:
    ward.channel = "C0NOWHERE"


async def slack_channel_is_private(ward: Ward) -> None:
    ward.world.slack.channels.append(Channel("C0PRIVATE", "private", private=True))
    ward.channel = "C0PRIVATE"


async def slack_channel_is_a_name(ward: Ward) -> None:
    ward.channel = "#security-alerts"


async def slack_webhook_is_cut_short(ward: Ward) -> None:
    ward.environ = {"TRUSTACKS_MONITOR_SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/SECRET"}


BROKEN: list[tuple[Callable[[Ward], Awaitable[None]], str, str, str]] = [
    (tuf_refuses, "trust root", "Connection refused", "check the network"),
    (tuf_has_expired, "trust root", "timestamp.json is expired", "check this machine's clock"),
    (tuf_talks_nonsense, "trust root", "DeserializationError", "trust.source is the right repository"),
    (root_is_newer_than_this_program, "trust root", "PQ_SOMETHING", "install a newer version"),
    (v2_refuses, "{ward.v2}", "cannot connect to 127.0.0.1", "check the network and the server"),
    (v1_is_in_trouble, "{ward.v1}", "502", "nothing while it lasts minutes"),
    (v1_is_not_there, "{ward.v1}", "404", "check the log's read_url"),
    (index_is_off, "{ward.index}", "501", "no signature by a trusted certificate is lost"),
    (index_ignores_subjects, "{ward.index}", "it named none of their entries", "Rekor 1.5.4 or newer"),
    (index_is_off_where_all_else_is, "{ward.index}", "404", 'set mode = "certificates"'),
    (v2_has_another_key, "{ward.v2}", "signed by no key we know", "the log has a key newer than the trust root"),
    (v2_signs_badly, "{ward.v2}", "does not verify", "`poll` asks again, keeps what was served"),
    (v2_serves_another_log, "{ward.v2}", "got one of 'rekor-v1", "check the log's read_url"),
    (registry_wants_a_password, "{ward.registry}", "401, it asks for basic", "make trustacks/runner public, or give"),
    (registry_refuses_the_password, "{ward.registry}", "although it was shown what it had asked for", "may not read"),
    (registry_gives_no_token, "{ward.registry}", "no token to read", "make trustacks/runner public, or give"),
    (registry_forbids, "{ward.registry}", "403", "make trustacks/runner public, or give"),
    (registry_has_no_such_repository, "{ward.registry}", "404", "correct the name in [registry.repositories]"),
    (registry_has_had_enough, "{ward.registry}", "429", "wait 7 s and try again"),
    (registry_is_asked_by_https_and_speaks_http, "{ward.registry}", "wrong version number", "registry.insecure_hosts"),
    (registry_refuses, "{ward.registry}", "cannot connect to 127.0.0.1", "check the network and the server"),
    (database_refuses, "database", "Connection refused", "start PostgreSQL, or correct host and port"),
    (database_is_newer, "database", "newer than", "install the version of the monitor that upgraded"),
    (database_is_something_else, "database", "not a database", "this file is something else: check the URL"),
    (slack_does_not_know_the_token, "Slack token", "invalid_auth", "take a new one"),
    (slack_refuses, "Slack token", "cannot connect to 127.0.0.1", "check this machine's network"),
    (slack_is_in_trouble, "Slack token", "HTTP 500", "https://slack-status.com"),
    (slack_may_only_read, "Slack scopes", "it lacks chat:write", "add chat:write under OAuth & Permissions"),
    (slack_channel_lacks_the_bot, "Slack channel", "not_in_channel", "/invite @monitor"),
    (slack_channel_is_unknown, "Slack channel", "channel_not_found", "correct slack.channel"),
    (slack_channel_is_private, "Slack channel", "missing_scope", "for a private one groups:history"),
    (slack_channel_is_a_name, "Slack channel", "is a name", "set slack.channel to the channel's id"),
    (slack_webhook_is_cut_short, "Slack webhook", "not of the form", "copy the URL again"),
]


@pytest.mark.parametrize(("broken", "name", "said", "cure"), BROKEN, ids=[each[0].__name__ for each in BROKEN])
async def test_what_is_broken_fails_alone_with_its_cause_and_its_cure(
    ward: Ward, broken: Callable[[Ward], Awaitable[None]], name: str, said: str, cure: str
) -> None:
    await broken(ward)
    checks = await ward.examined()
    failed = failing(checks)
    called = name.format(ward=ward)
    assert list(failed) == [called]
    assert said in failed[called].said
    assert cure in failed[called].cure
    assert "SECRET" not in str(checks)


async def test_a_file_in_the_place_of_the_state_directory_fails_it_and_the_database_in_it(ward: Ward) -> None:
    (ward.folder / "state").write_text("")
    failed = failing(await ward.examined())
    assert list(failed) == ["state directory", "database"]
    for check in failed.values():
        assert "is a file" in check.said
        assert "directory there that it may write" in check.cure


async def test_a_clock_ten_minutes_off_is_named_with_its_direction(ward: Ward) -> None:
    ahead = timedelta(minutes=10)
    found = doctor.examine(ward.settings, clock=lambda: datetime.now(UTC) + ahead, limit=LIMIT)
    failed = failing([check async for check in found])
    assert list(failed) == ["clock"]
    assert "s ahead of the time that 6 of 6 servers gave" in failed["clock"].said
    assert "set the clock (NTP)" in failed["clock"].cure


async def test_without_tuf_the_logs_are_asked_by_the_root_that_was_kept(ward: Ward) -> None:
    await RootSource(ward.settings.trust).refresh()
    await ward.world.tuf.stop()
    checks = await ward.examined()
    assert list(failing(checks)) == ["trust root"]
    assert named(checks, ward.v2).state is CheckState.OK
    assert "the logs are asked by a root with logs: 2" in named(checks, "trust root").said


async def test_a_log_that_the_settings_ignore_is_shown_as_not_followed(ward: Ward) -> None:
    ward.environ["TRUSTACKS_MONITOR_WATCH__LOGS"] = json.dumps([{"origin": ward.world.v1.hostname, "ignore": True}])
    skipped = named(await ward.examined(), ward.v1)
    assert (skipped.state, skipped.said) == (CheckState.SKIPPED, "not followed: the settings say so")


async def test_an_index_is_not_asked_where_nothing_depends_on_it_or_nothing_can_be_asked(ward: Ward) -> None:
    ward.world.v1.index_off = 501
    ward.v1_mode = "complete"
    assert ward.index not in [check.name for check in await ward.examined()]
    ward.v1_mode = "certificates"
    ward.world.v1.reply(status=502, path_prefix="/api/v1/log")
    unasked = named(await ward.examined(), ward.index)
    assert unasked.state is CheckState.SKIPPED
    assert "the log gives no entry to ask it for" in unasked.said


async def test_an_index_of_an_empty_log_cannot_be_tried(ward: Ward) -> None:
    async with World(slack_rate_limited=False) as empty:
        (ward.folder / "root.json").write_bytes(empty.tuf.root_json)
        ward.world = empty
        unasked = named(await ward.examined(), ward.index)
    assert (unasked.state, unasked.said) == (CheckState.SKIPPED, "there is nothing in the log yet to ask it for")


async def test_servers_that_hang_cost_no_more_than_the_limit(ward: Ward) -> None:
    for server in (ward.world.v1, ward.world.v2, ward.world.tuf, ward.world.registry, ward.world.slack):
        server.hang(86_400)
    failed = failing(await ward.examined(limit=3.0))
    assert list(failed) == ["trust root", ward.registry, "Slack token"]
    assert "no whole answer within 3 s" in failed["trust root"].said


async def test_a_registrys_token_flow_is_gone_through(ward: Ward) -> None:
    ward.world.registry.protection = "token"
    assert failing(await ward.examined()) == {}
    ward.world.registry.users = {"ada": "right"}
    ward.environ |= {"TRUSTACKS_MONITOR_REGISTRY_USERNAME": "ada", "TRUSTACKS_MONITOR_REGISTRY_PASSWORD": "right"}
    assert ward.settings.registry.credentials[ward.world.registry.host] == Credentials("ada", "right")
    assert "read with the settings' credentials" in named(await ward.examined(), ward.registry).said


async def test_a_daemon_that_holds_the_database_is_said_and_is_no_failure(ward: Ward) -> None:
    async with await Store.open(ward.settings.database, lock=True):
        checks = await ward.examined()
    assert failing(checks) == {}
    assert "a daemon is running on it (process " in named(checks, "database").said
    assert "no daemon is running on it" in named(await ward.examined(), "database").said


async def test_a_proxy_is_named_without_its_password_and_one_that_is_none_is_a_failure(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.environ = {}
    monkeypatch.setenv("https_proxy", "http://ada:SECRET@proxy.internal:3128/")
    monkeypatch.setenv("no_proxy", "localhost")
    checks = await ward.examined()
    assert named(checks, "proxies").said.startswith("https by proxy.internal:3128; not by it: localhost")
    assert "SECRET" not in str(checks)
    monkeypatch.setenv("https_proxy", "nonsense")
    failed = failing(await ward.examined())
    assert failed["proxies"].cure == failed["clock"].cure == "correct HTTP_PROXY and HTTPS_PROXY"


async def test_without_slack_or_a_registry_what_that_costs_is_said(ward: Ward) -> None:
    ward.environ = {"TRUSTACKS_MONITOR_REGISTRY__REPOSITORIES": "{}"}
    checks = await ward.examined()
    assert failing(checks) == {}
    assert named(checks, "Slack").state is CheckState.NOT_SET
    assert "printed on the console, and nowhere else" in named(checks, "Slack").said
    assert "slack manifest" in named(checks, "Slack").cure
    assert named(checks, "registry").state is CheckState.NOT_SET
    assert any("no release's digests are known" in check.said for check in checks)


async def test_a_spare_scope_is_named_and_is_no_failure(ward: Ward) -> None:
    ward.world.slack.scopes = "chat:write,channels:history,users:read"
    said = named(await ward.examined(), "Slack scopes").said
    assert said.endswith("not needed, and better taken away: users:read")


async def test_a_fault_of_ours_in_one_check_hides_no_other(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("monitor.watch.probe.checkpoints", broken)
    failed = failing(await ward.examined())
    assert list(failed) == [ward.v1, ward.v2, ward.ct]
    assert "it is a fault of the monitor" in failed[ward.v2].cure
