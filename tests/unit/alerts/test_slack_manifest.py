"""The Slack app's manifest asks for exactly the scopes of the methods that the sink calls, and Slack would take it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import monitor.alerts.sinks
from monitor.alerts.sinks import slack_manifest
from monitor.alerts.sinks.slack import PRIVATE, SCOPES

_METHOD = re.compile(
    r'"((?:admin|apps|auth|bots|chat|conversations|files|reactions|team|users|usergroups|views)\.\w+)"'
)


def test_every_method_that_the_sinks_name_is_in_the_table_and_the_table_names_no_other() -> None:
    folder = Path(str(monitor.alerts.sinks.__file__)).parent
    text = "".join(path.read_text() for path in folder.glob("slack*.py"))
    table = re.search(r"SCOPES: Mapping\[str, str\] = \{.*?\n\}\n", text, re.DOTALL)
    assert table
    assert set(_METHOD.findall(text.replace(table[0], ""))) == set(SCOPES)


@pytest.mark.parametrize("private", [False, True])
def test_the_manifest_asks_for_the_scopes_of_these_methods_and_no_other(private: bool) -> None:  # noqa: FBT001 - a parameter of the test
    needed = {scope for scope in SCOPES.values() if scope}
    if private:
        needed = {PRIVATE.get(scope, scope) for scope in needed}
    document = json.loads(slack_manifest.manifest(private=private))
    assert document["oauth_config"] == {"scopes": {"bot": sorted(needed)}}


def test_the_manifest_is_within_slacks_limits() -> None:
    document = json.loads(slack_manifest.manifest())
    shown = document["display_information"]
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert re.fullmatch(r"#[0-9a-f]{6}", shown["background_color"])
    assert re.fullmatch(r"[a-z0-9._-]{1,80}", document["features"]["bot_user"]["display_name"])


def test_the_token_of_the_app_does_not_end_by_itself() -> None:
    assert json.loads(slack_manifest.manifest())["settings"]["token_rotation_enabled"] is False
