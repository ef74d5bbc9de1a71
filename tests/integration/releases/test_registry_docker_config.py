"""Credentials out of a Docker config file."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from monitor.errors import SettingsError
from monitor.releases.registry import Registry
from monitor.testbed import registry as testbed
from tests.integration.releases.asked import REPO, options, ref

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.fetch import Client


def docker_config(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


async def test_a_docker_config_file_gives_the_credentials_of_its_hosts(client: Client, tmp_path: Path) -> None:
    async with testbed.Registry(protection="token") as server:
        server.users["bot"] = "wo:rd"
        server.image(REPO, "0.1.1")
        auth = b64encode(b"bot:wo:rd").decode()
        for held in ({"auth": auth}, {"username": "bot", "password": "wo:rd"}):
            for key in (server.host, f"https://{server.host}", f"http://{server.host}/v2/"):
                path = docker_config(tmp_path / "config.json", {"auths": {"ghcr.io": {}, key: held}})
                registry = Registry(client, replace(options(server), docker_config=path))
                assert await registry.tags(ref(server)) == ("0.1.1",)


async def test_credentials_of_the_settings_come_before_those_of_the_file(client: Client, tmp_path: Path) -> None:
    async with testbed.Registry(protection="token") as server:
        server.users["bot"] = "right"
        server.image(REPO, "0.1.1")
        held = {"username": "bot", "password": "wrong"}
        path = docker_config(tmp_path / "config.json", {"auths": {server.host: held}})
        known = options(server, username="bot", password="right")  # noqa: S106 - of a test
        assert await Registry(client, replace(known, docker_config=path)).tags(ref(server)) == ("0.1.1",)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"auths": []},
        {"auths": {"HOST": "x"}},
        {"auths": {"HOST": {"auth": "not base64!"}}},
        {"auths": {"HOST": {"auth": 5}}},
        {"auths": {"HOST": {"username": "bot"}}},
        {"auths": {"HOST": {"identitytoken": "secret-x"}}},
        {"auths": {"HOST": {}}, "credsStore": "desktop"},
        {"credHelpers": {"HOST": "gcloud"}},
    ],
)
async def test_a_docker_config_file_of_no_use_is_a_settings_error_without_its_secrets(
    server: testbed.Registry, client: Client, tmp_path: Path, document: object
) -> None:
    text = json.dumps(document).replace("HOST", server.host)
    path = docker_config(tmp_path / "config.json", json.loads(text))
    with pytest.raises(SettingsError) as caught:
        Registry(client, replace(options(server), docker_config=path))
    assert "secret-x" not in str(caught.value)
    assert caught.value.cure


async def test_a_docker_config_file_that_is_missing_or_no_json_is_a_settings_error(
    server: testbed.Registry, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError):
        Registry(client, replace(options(server), docker_config=tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text('{"auths": {"x": "secret-x')
    with pytest.raises(SettingsError) as caught:
        Registry(client, replace(options(server), docker_config=tmp_path / "bad.json"))
    assert "secret-x" not in str(caught.value)


async def test_what_a_docker_config_file_says_of_other_hosts_does_not_matter(
    server: testbed.Registry, client: Client, tmp_path: Path
) -> None:
    server.image(REPO, "0.1.1")
    document = {"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}, "auths": {"ghcr.io": {"auth": "!"}}}
    path = docker_config(tmp_path / "config.json", document)
    assert await Registry(client, replace(options(server), docker_config=path)).tags(ref(server)) == ("0.1.1",)
