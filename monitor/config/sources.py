"""Where settings stand: a TOML file and the environment, read into one tree that remembers where each key came from.

It checks nothing but that the text can be read, and never shows a value: some of them are secrets.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TRUSTACKS_MONITOR_"
"""Of every environment variable that is ours."""
SECRETS = ("database", "slack_token", "slack_webhook", "registry_password", "registry_token")
"""Keys whose value may also be the content of the file that `…_FILE` names."""
FROM_ENVIRONMENT = ("slack_token", "slack_webhook", "registry_username", "registry_password", "registry_token")
"""Keys that the environment alone may set."""
_LARGEST = 1 << 20
_LARGEST_SECRET = 1 << 16
_INJECTED = re.compile(r"(SERVICE_(HOST|PORT(_.*)?)|PORT(_.*)?)", re.ASCII)
"""What Kubernetes puts into the environment of every pod beside a service called `trustacks-monitor`."""

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One tree of settings and the places of its keys. `file` is None where no file was read."""

    tree: dict[str, object] = field(repr=False)
    file: Path | None
    text: str = field(repr=False, default="")
    variables: Mapping[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where a key was written, for the start of a message: `file:line: key`, or the variable's name."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.variables:
                within = f": {dotted(key)}" if key[end:] else ""
                return f"environment variable {self.variables[key[:end]]}{within}"
        if self.file is None:
            return dotted(key)
        line = find_line(self.text, key)
        return f"{self.file}{f':{line}' if line else ''}: {dotted(key)}"

    def folder(self, key: Key) -> Path:
        """What a relative path under `key` is relative to: the file's folder; for the environment, where we run."""
        if self.file is None or any(key[:end] in self.variables for end in range(1, len(key) + 1)):
            return Path.cwd()
        return self.file.resolve().parent


def dotted(key: Key) -> str:
    """A key as people write it: `watch.logs[0].origin`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "settings"


def read(path: Path | None, environ: Mapping[str, str]) -> Source:
    """The file's settings, the environment's over them. Raises SettingsError for a file or a variable that cannot be read."""
    tree, text = ({}, "") if path is None else _read_file(path)
    variables: dict[Key, str] = {}
    for name, value in sorted(environ.items()):
        key = _key(name)
        if key is not None:
            if key in variables:
                raise SettingsError(f"{variables[key]} and {name} are both set", cure="unset one of them")
            variables[key] = name
            _put(tree, key, _secret(name, value) if _of_file(name) else _value(name, value), name)
    return Source(tree, path, text, variables)


def _read_file(path: Path) -> tuple[dict[str, object], str]:
    try:
        with path.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        raise SettingsError(
            f"{path}: settings: cannot be read: {error.strerror}", cure="check --config, the path and its permissions"
        ) from error
    if len(data) > _LARGEST:
        raise SettingsError(
            f"{path}: settings: larger than {_LARGEST} bytes", cure="check that this is the settings file"
        )
    try:
        text = data.decode()
        return tomllib.loads(text), text
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: settings: not UTF-8 at byte {error.start}", cure="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line ([0-9]+)", str(error))
        place = f"{path}:{line[1]}" if line else f"{path}"
        raise SettingsError(f"{place}: not TOML: {error}", cure="see toml.io for the syntax") from error


def _of_file(name: str) -> bool:
    return any(name == f"{PREFIX}{secret.upper()}_FILE" for secret in SECRETS)


def _key(name: str) -> Key | None:
    """`…WATCH__POLL_INTERVAL` → (`watch`, `poll_interval`); None for what is not a setting."""
    if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG":
        return None
    rest = name.removeprefix(PREFIX)
    if _INJECTED.fullmatch(rest):
        return None
    if _of_file(name):
        rest = rest.removesuffix("_FILE")
    return tuple(rest.lower().split("__"))


def _value(name: str, value: str) -> object:
    """A list or a table is written as JSON, everything else as it is."""
    if not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SettingsError(
            f"environment variable {name}: not JSON: {error}", cure="write lists and tables as JSON"
        ) from None


def _secret(name: str, value: str) -> str:
    cure = f"let {name} name a file that this user may read and that holds nothing but the secret"
    try:
        with Path(value).open("rb") as opened:
            data = opened.read(_LARGEST_SECRET + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SettingsError(f"environment variable {name}: {value}: cannot be read: {reason}", cure=cure) from error
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > _LARGEST_SECRET or not text.isprintable():
        raise SettingsError(f"environment variable {name}: {value}: does not hold one line of text", cure=cure)
    return text


def _put(tree: dict[str, object], key: Key, value: object, name: str) -> None:
    here = tree
    for part in key[:-1]:
        below = here.setdefault(str(part), {})
        if not isinstance(below, dict):
            raise SettingsError(f"environment variable {name}: {part} is not a section", cure="see config.example.toml")
        here = below
    here[str(key[-1])] = value


_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_ASSIGNED = re.compile(
    r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")


def find_line(text: str, key: Key) -> int | None:
    """The line (from 1) on which `key`, or the nearest table above it, is written; None when it is nowhere to be seen."""
    best: tuple[int, int] | None = None
    table: Key = ()
    seen: dict[Key, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        assigned = None if header else _ASSIGNED.match(line)
        if header:
            table = _numbered(_parts(header[2]), seen, new=header[1] == "[[")
            found = table
        elif assigned:
            found = table + _parts(assigned[1])
        else:
            continue
        if key[: len(found)] == found and (best is None or len(found) > best[0]):
            best = (len(found), number)
    return best[1] if best else None


def _parts(text: str) -> Key:
    return tuple(match[1] or match[2] or match[3] or "" for match in _PART.finditer(text))


def _numbered(parts: Key, seen: dict[Key, int], *, new: bool) -> Key:
    """The key of a table's header, with the number of each array of tables it stands in; `new` begins an element."""
    key: Key = ()
    for place, part in enumerate(parts, 1):
        key += (part,)
        if new and place == len(parts):
            seen[key] = seen.get(key, -1) + 1
        if key in seen:
            key += (seen[key],)
    return key
