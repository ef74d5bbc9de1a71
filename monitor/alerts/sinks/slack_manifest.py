"""The Slack app that the monitor needs, as a manifest to paste: exactly the scopes of the methods that the sink calls.

Pure. JSON, which Slack takes as it is and which is YAML too.
"""

from __future__ import annotations

import json

from monitor.alerts.sinks.slack import PRIVATE, SCOPES

BOT = "trustacks-monitor"


def scopes(*, private: bool = False) -> tuple[str, ...]:
    """The bot scopes for a public channel, or for a `private` one, in order of their names."""
    needed = {scope for scope in SCOPES.values() if scope}
    return tuple(sorted(PRIVATE.get(scope, scope) if private else scope for scope in needed))


def manifest(*, private: bool = False) -> str:
    """The manifest, with a newline at its end (https://docs.slack.dev/reference/app-manifest)."""
    document = {
        "display_information": {
            "name": "TruStacks signing monitor",
            "description": "Tells when TruStacks' signing identity signs what it should not.",
            "background_color": "#1d2833",
        },
        "features": {"bot_user": {"display_name": BOT, "always_online": True}},
        "oauth_config": {"scopes": {"bot": list(scopes(private=private))}},
        "settings": {
            "org_deploy_enabled": False,
            "socket_mode_enabled": False,
            "token_rotation_enabled": False,
        },
    }
    return json.dumps(document, indent=2) + "\n"
