"""Shows a registry what it asks to see: nothing, a password, or a token that its token service gave out for one repository.

Credentials go to the registry's own host, and to a token service only on that host or on the one named beside them. They
are kept in memory alone, and never shown in a message.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import b64encode
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from monitor.entries import strictjson
from monitor.entries.encoding import base64_bytes
from monitor.errors import FetchError, FormatError, RateLimitedError, RegistryError, SettingsError
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from monitor.fetch import Client
    from monitor.releases.reference import Reference

_MAX_CONFIG: Final = 1 << 20
_MAX_CHALLENGE: Final = 4096
_MAX_TOKEN: Final = 1 << 16
_LEAST_LIFE, _MOST_LIFE, _USUAL_LIFE = 10.0, 3600.0, 60.0
_USED_OF_LIFE = 0.8
"""A token is renewed before it ends, so that a request rarely meets its end on the way."""
_SHOWN = 80

_PART = re.compile(r"[\s,]*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s,\"]+))?")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_DENIED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Credentials:
    """How one registry knows us: a name and a password (at ghcr.io an access token is the password), or a ready bearer token.

    `token_host` is the host of its token service where that is not the registry itself.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_host: str = ""

    def __post_init__(self) -> None:
        if ":" in self.username or (self.username and not self.password) or (self.password and not self.username):
            raise SettingsError(
                "registry credentials need a user name, without a colon, and a password",
                cure="give both, or a token alone",
            )
        if self.token and not _TOKEN.fullmatch(self.token):
            raise SettingsError("a registry token with blanks or control characters in it", cure="copy it again")

    @property
    def basic(self) -> str:
        """The value of a Basic authorization (RFC 7617), or an empty text."""
        if not self.username:
            return ""
        return f"Basic {b64encode(f'{self.username}:{self.password}'.encode()).decode('ascii')}"


def read_docker_config(path: Path, hosts: Iterable[str]) -> dict[str, Credentials]:
    """Read what a Docker config file holds for `hosts`.

    SettingsError when it cannot be read, or leaves one of them to a credential helper or an identity token: neither is used here.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG + 1)
        document = json.loads(data) if len(data) <= _MAX_CONFIG else None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{path}: cannot be read as a Docker config file ({type(error).__name__})", cure="correct docker_config"
        ) from None
    auths = document.get("auths", {}) if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(auths, dict):
        raise SettingsError(f"{path}: not a Docker config file", cure="correct docker_config")
    helpers = document.get("credHelpers")
    found = {}
    for host in hosts:
        held = next((value for key, value in auths.items() if _host_of(key) == host), None)
        credentials = _from_auth(path, host, held)
        helped = isinstance(helpers, dict) and host in helpers
        if credentials is None and (helped or (document.get("credsStore") and held is not None)):
            raise SettingsError(
                f"{path}: leaves {host} to a credential helper, and helpers are not run here",
                cure="give the credentials in the environment",
            )
        if credentials is not None:
            found[host] = credentials
    return found


def _host_of(key: str) -> str:
    """Return the host that a key of `auths` is for: they are written with and without scheme and version."""
    return re.sub(r"/v[12]/?$|/$", "", re.sub(r"^https?://", "", key)).lower()


def _from_auth(path: Path, host: str, held: object) -> Credentials | None:
    if held is None:
        return None
    if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
        raise SettingsError(f"{path}: what it holds for {host} is not a set of texts", cure="log in again")
    if held.get("identitytoken"):
        raise SettingsError(
            f"{path}: holds an identity token for {host}, and those are not used here",
            cure="give a user name and a password, or a token, in the environment",
        )
    username, password, token = held.get("username", ""), held.get("password", ""), held.get("registrytoken", "")
    if held.get("auth"):
        try:
            username, _, password = base64_bytes(held["auth"]).decode("utf-8").rstrip("\0").partition(":")
        except (FormatError, UnicodeDecodeError):
            raise SettingsError(f"{path}: the auth of {host} is not base64", cure="log in again") from None
    return Credentials(username, password, token) if username or token else None


@dataclass(slots=True)
class _Grant:
    """What is shown for one repository, until when (monotonic seconds), and the challenge that it answers."""

    header: str = field(default="", repr=False)
    ends: float = 0.0
    challenge: Mapping[str, str] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class Authorizer:
    """Keeps what each repository's registry was shown, and answers its challenges."""

    def __init__(
        self,
        client: Client,
        credentials: Mapping[str, Credentials],
        insecure: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`insecure` tells of a host whether it may be asked by http; `clock` is in seconds."""
        self._client = client
        self._credentials = dict(credentials)
        self._insecure = insecure
        self._clock = clock
        self._grants: dict[Reference, _Grant] = {}

    async def header(self, ref: Reference) -> str:
        """Return the authorization to send with the next request, or an empty text. Renews a token that is over."""
        grant = self._grant(ref)
        if grant.challenge is not None and self._clock() >= grant.ends:
            async with grant.lock:
                if self._clock() >= grant.ends:
                    await self._renew(ref, grant, grant.challenge)
        return grant.header

    async def answer(self, ref: Reference, challenge: str, refused: str) -> str:
        """Return an authorization other than `refused` that answers a WWW-Authenticate header (RFC 9110 §11.6.1).

        RegistryError when there is none: no credentials, refused ones, a challenge or a token service of no good.
        """
        grant = self._grant(ref)
        async with grant.lock:
            if grant.header != refused and grant.header:
                return grant.header  # somebody else was challenged too, and was faster
            asked = _challenges(challenge)
            if "bearer" in asked and not self._known(ref).token:
                await self._renew(ref, grant, asked["bearer"])
            elif "basic" in asked and self._known(ref).basic and self._known(ref).basic != refused:
                grant.header, grant.challenge = self._known(ref).basic, None
            else:
                raise RegistryError(
                    f"{ref}: 401, it asks for {' or '.join(asked) or 'nothing that can be given'}, "
                    f"and {'refused the credentials' if refused else 'there are no such credentials'}",
                    cure=f"give credentials for {ref.host} that may read {ref.repository}",
                    status=HTTPStatus.UNAUTHORIZED,
                )
            return grant.header

    def _grant(self, ref: Reference) -> _Grant:
        grant = self._grants.get(ref)
        if grant is None:
            token = self._known(ref).token
            grant = self._grants[ref] = _Grant(f"Bearer {token}" if token else "")
        return grant

    def _known(self, ref: Reference) -> Credentials:
        return self._credentials.get(ref.host, _NOBODY)

    async def _renew(self, ref: Reference, grant: _Grant, challenge: Mapping[str, str]) -> None:
        """Ask the token service for a token that may pull from one repository, and for nothing else."""
        grant.header, grant.ends, grant.challenge = "", 0.0, None
        url, headers = self._token_request(ref, challenge)
        try:
            reply = await self._client.get(url, limit=_MAX_TOKEN, accept="application/json", headers=headers)
        except RateLimitedError:
            raise
        except FetchError as error:
            if error.status not in _DENIED:
                raise
            raise RegistryError(
                f"no token to read {ref}: {error}",
                cure=f"make {ref.repository} public, or give credentials for {ref.host} that may read it",
                status=HTTPStatus.UNAUTHORIZED,
            ) from error
        try:
            token, life = _token(reply.body)
        except FormatError as error:
            raise RegistryError(
                f"no token to read {ref}: {urlsplit(url).netloc} answered {error}", status=reply.status
            ) from None
        grant.header, grant.ends, grant.challenge = f"Bearer {token}", self._clock() + life * _USED_OF_LIFE, challenge

    def _token_request(self, ref: Reference, challenge: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return where a token is asked for, and what is shown there."""
        realm = challenge.get("realm", "")
        try:
            parts = urlsplit(realm)
            usable = parts.scheme == "https" or (parts.scheme == "http" and self._insecure(parts.netloc))
        except ValueError:
            usable = False
        if not usable or not parts.netloc or "@" in parts.netloc:
            raise RegistryError(
                f"{ref}: its token service is {visible(clip(realm, _SHOWN)) or 'not named'}, which is not an https URL",
                cure="check the registry's host in the settings",
            )
        known = self._known(ref)
        headers = {}
        if known.basic:
            if parts.netloc.lower() not in {ref.host, known.token_host.lower()}:
                raise RegistryError(
                    f"{ref}: its token service is at {visible(clip(parts.netloc, _SHOWN))}, and credentials are not shown to another host",
                    cure=f"if that host is right, name it as the token service of {ref.host}",
                )
            headers["authorization"] = known.basic
        query = {"service": challenge["service"]} if challenge.get("service") else {}
        query["scope"] = f"repository:{ref.repository}:pull"
        asked = "&".join(part for part in (parts.query, urlencode(query)) if part)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, asked, "")), headers


_NOBODY: Final = Credentials()


def _challenges(header: str) -> dict[str, dict[str, str]]:
    """Read the schemes of a WWW-Authenticate header, in lower case, each with its parameters."""
    found: dict[str, dict[str, str]] = {}
    parameters: dict[str, str] = {}
    for part in _PART.finditer(header[:_MAX_CHALLENGE]):
        name, value = part[1].lower(), part[2]
        if value is None:
            parameters = found.setdefault(name, {})
        else:
            parameters.setdefault(name, re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value)
    return {scheme: found[scheme] for scheme in found if scheme in {"bearer", "basic"}}


def _token(body: bytes) -> tuple[str, float]:
    """Read a token service's answer: the token and its life in seconds. FormatError says what is wrong with it."""
    document = strictjson.parse(body).value
    if not isinstance(document, dict):
        raise FormatError("no JSON object")
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise FormatError("without a token")
    life = document.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, int | float):
        life = _USUAL_LIFE
    return token, min(max(life, _LEAST_LIFE), _MOST_LIFE)
