"""The settings of one run, as the rooms take them, and what an operator may write to get them.

`File` is the shape of the settings file: its sections are the rooms' own options, so a setting is declared once, beside its use.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from monitor.alerts.options import AlertOptions
from monitor.alerts.sinks.slack import SlackOptions
from monitor.config import shapes, sources
from monitor.entries.patterns import WORD
from monitor.errors import MonitorError, SettingsError, StoreError
from monitor.fetch import FetchOptions
from monitor.model.log import MODES
from monitor.releases import files
from monitor.releases.auth import Credentials
from monitor.releases.registry import RegistryOptions
from monitor.rules.policy import Known, Policy
from monitor.store.connect import parse_url, shown
from monitor.trust.source import REPOSITORIES, RootOptions
from monitor.watch.options import WatchOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from monitor.config.sources import Key, Source
    from monitor.releases.files import ReleaseFile

T = TypeVar("T")

SYSTEM_FILE = Path("/etc/trustacks-monitor/config.toml")
"""Read when neither `--config` nor the environment names a file, and it is there."""

_OURS = frozenset(
    {
        (Policy, "known"),
        (Policy, "contributor_keys"),
        (RootOptions, "cache_dir"),
        (AlertOptions, "routes"),
        (AlertOptions, "publishing"),
        (AlertOptions, "command"),
        (AlertOptions, "unpinned"),
        (RegistryOptions, "credentials"),
        (SlackOptions, "token"),
        (SlackOptions, "webhook"),
    }
)
"""Fields of options that follow from other settings or hold secrets: no keys of the file."""
_SECRET = re.compile(r"(.*_)?(token|webhook|password|secret)(_.*)?")
_LARGEST_KEY = 1 << 16


@dataclass(frozen=True)
class File:
    """What may stand in a settings file; every section is optional."""

    database: str = ""
    state_dir: str = ""
    contributor_keys: tuple[str, ...] = ()
    release_files: tuple[str, ...] = ()
    notice: str = ""
    policy: Policy = field(default_factory=Policy)
    known: tuple[Known, ...] = ()
    trust: RootOptions = field(default_factory=RootOptions)
    http: FetchOptions = field(default_factory=FetchOptions)
    watch: WatchOptions = field(default_factory=WatchOptions)
    alerts: AlertOptions = field(default_factory=AlertOptions)
    slack: SlackOptions = field(default_factory=SlackOptions)
    registry: RegistryOptions = field(default_factory=RegistryOptions)
    release: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator decides, checked. `file` is where it was read, None for the built-in settings."""

    file: Path | None
    state_dir: Path
    database: str = field(repr=False)
    policy: Policy
    contributor_keys: tuple[bytes, ...] = field(repr=False)
    """DER SubjectPublicKeyInfo of each contributor-flow key."""
    trust: RootOptions
    fetch: FetchOptions
    watch: WatchOptions
    alerts: AlertOptions
    slack: SlackOptions
    registry: RegistryOptions
    notice: str
    """The NOTICE file, an https URL or a path; empty: not compared."""
    expected: tuple[ReleaseFile, ...] = ()
    """The releases that the settings list, and those of the release files they name, with approved authority."""

    @property
    def database_name(self) -> str:
        """The database's URL as it may be shown: without its password."""
        return shown(parse_url(self.database))


def load(path: Path | None, environ: Mapping[str, str], *, system: Path = SYSTEM_FILE) -> Settings:
    """The settings of `path`, else of the file that `TRUSTACKS_MONITOR_CONFIG` names, else of `system` where it is there.

    The environment's `TRUSTACKS_MONITOR_…` go over the file's, TruStacks' own values stand under both.

    Raises SettingsError with one line that names file, key and reason.
    """
    named = environ.get(f"{sources.PREFIX}CONFIG")
    chosen = path or (Path(named) if named else system if system.is_file() else None)
    source = sources.read(chosen, environ)
    secrets = {name: _secret(source, name) for name in sources.FROM_ENVIRONMENT}
    _refuse_secrets(source.tree, (), source)
    file = shapes.read(File, source, _OURS)
    _check_logs(source, file.watch)
    _check_words(source, file.watch, file.policy)
    _check_repositories(source, file.registry, file.policy)
    state = _state_dir(source, file.state_dir, environ)
    keys = tuple(_key(source, number, text) for number, text in enumerate(file.contributor_keys))
    policy = replace(
        file.policy, known=file.known, contributor_keys=frozenset(hashlib.sha256(key).hexdigest() for key in keys)
    )
    slack = _checked(
        source,
        ("slack",),
        lambda: replace(file.slack, token=secrets["slack_token"], webhook=secrets["slack_webhook"]),
    )
    registry = _checked(source, ("registry",), lambda: _with_credentials(file.registry, secrets))
    return Settings(
        file=chosen,
        state_dir=state,
        database=_database(source, file.database, state),
        policy=policy,
        contributor_keys=keys,
        trust=_trust(source, file.trust, state),
        fetch=file.http,
        watch=file.watch,
        alerts=replace(file.alerts, publishing=tuple(policy.workflows), links=file.alerts.links or None),
        slack=slack,
        registry=registry,
        notice=_notice(source, file.notice),
        expected=tuple(_expected(source, file, policy)),
    )


def _check_logs(source: Source, watch: WatchOptions) -> None:
    """Refuse two tables for one log, and a mode that a log of the protocol beside it cannot run; others are known by the trust root."""
    named: set[str] = set()
    for number, log in enumerate(watch.logs):
        key: Key = ("watch", "logs", number)
        if log.origin in named:
            raise SettingsError(
                f"{source.place((*key, 'origin'))}: {log.origin!r} has a table already",
                cure="write all of it in one table",
            )
        named.add(log.origin)
        if log.mode and log.protocol and log.mode not in MODES[log.protocol]:
            modes = ", ".join(sorted(MODES[log.protocol]))
            raise SettingsError(
                f"{source.place((*key, 'mode'))}: {log.mode.value!r} is no mode of a {log.protocol} log",
                cure=f"such a log runs {modes}",
            )


def _check_words(source: Source, watch: WatchOptions, policy: Policy) -> None:
    """Refuse words that cannot be looked for, and words that no signature of ours bears: nothing would ever be found."""
    key: Key = ("watch", "words")
    for word in watch.words:
        if not WORD.fullmatch(word):
            raise SettingsError(
                f"{source.place(key)}: {word!r} cannot be looked for",
                cure="give words of 4 to 64 printable ASCII characters without spaces",
            )
    ours = f"{policy.owner}/{policy.repository}"
    if not any(word.lower() in ours.lower() for word in watch.words):
        raise SettingsError(
            f"{source.place(key)}: none of them stands in {ours}, so nothing that it signs would be kept",
            cure=f'look for the owner\'s name: words = ["{policy.owner}"]',
        )


def _check_repositories(source: Source, registry: RegistryOptions, policy: Policy) -> None:
    """Refuse an artifact that no workflow publishes: the one that was meant would not be read."""
    published = [artifact for artifacts in policy.workflows.values() for artifact in artifacts]
    section = source.tree.get("registry")
    named = registry.repositories if isinstance(section, dict) and "repositories" in section else ()
    for artifact in named:
        if artifact not in published:
            raise SettingsError(
                f"{source.place(('registry', 'repositories', artifact))}: no workflow publishes {artifact!r}",
                cure=f"the artifacts of policy.workflows are {', '.join(published)}",
            )


def _with_credentials(registry: RegistryOptions, secrets: Mapping[str, str]) -> RegistryOptions:
    """The credentials of the environment, for every registry that the settings name."""
    given = Credentials(secrets["registry_username"], secrets["registry_password"], secrets["registry_token"])
    if given == Credentials():
        return registry
    return replace(registry, credentials={each.host: given for each in registry.references.values()})


def _notice(source: Source, given: str) -> str:
    if not given or given.startswith("https://"):
        return given
    if "://" in given:
        raise SettingsError(
            f"{source.place(('notice',))}: {given!r} is neither an https URL nor a path", cure="give one of them"
        )
    return str(source.folder(("notice",)) / Path(given).expanduser())


def _secret(source: Source, name: str) -> str:
    """A secret of the environment, taken out of the tree."""
    return str(source.tree.pop(name)) if (name,) in source.variables else ""


def _refuse_secrets(tree: Mapping[str, object], above: Key, source: Source) -> None:
    for name, value in tree.items():
        key = (*above, name)
        if isinstance(value, dict):
            _refuse_secrets(value, key, source)
        elif _SECRET.fullmatch(name):
            kind = "WEBHOOK" if "webhook" in name else "PASSWORD" if "password" in name else "TOKEN"
            variable = f"{sources.PREFIX}{'REGISTRY' if kind == 'PASSWORD' or 'registry' in key else 'SLACK'}_{kind}"
            raise SettingsError(
                f"{source.place(key)}: a secret does not belong here",
                cure=f"set the environment variable {variable}, or name a file that holds it in {variable}_FILE",
            )


def _state_dir(source: Source, given: str, environ: Mapping[str, str]) -> Path:
    """Where we keep the default database and the trust root's cache: the setting, systemd's StateDirectory, the XDG place."""
    if given:
        return source.folder(("state_dir",)) / Path(given).expanduser()
    systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if systemd:
        return Path(systemd)
    xdg = environ.get("XDG_STATE_HOME", "")
    home = Path(xdg) if Path(xdg).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return home / "trustacks-monitor"


def _database(source: Source, given: str, state: Path) -> str:
    """The URL with an absolute path for SQLite; a password in it must not come from the settings file."""
    key: Key = ("database",)
    if not given:
        return f"sqlite:///{state / 'monitor.db'}"
    url = _checked(source, key, lambda: parse_url(given))
    if url.password and key not in source.variables:
        raise SettingsError(
            f"{source.place(key)}: the URL holds a password, which does not belong here",
            cure=f"set {sources.PREFIX}DATABASE, or name a file that holds the URL in {sources.PREFIX}DATABASE_FILE",
        )
    if url.get_backend_name() == "postgresql" and find_spec("psycopg") is None:
        raise SettingsError(
            f"{source.place(key)}: PostgreSQL needs psycopg, which is not installed",
            cure="pip install 'trustacks-monitor[postgresql]', or '.[postgresql]' from a checkout",
        )
    if url.get_backend_name() == "sqlite":
        url = url.set(database=str(source.folder(key) / Path(str(url.database)).expanduser()))
    return url.render_as_string(hide_password=False)


def _trust(source: Source, given: RootOptions, state: Path) -> RootOptions:
    """The trust root's options with their paths made absolute; a file that is named must be there."""
    key: Key = ("trust", "source")
    given = replace(given, cache_dir=state / "trust")
    if given.tuf_root is not None:
        given = replace(given, tuf_root=_existing(source, ("trust", "tuf_root"), str(given.tuf_root)))
    if given.source in REPOSITORIES:
        return given
    if "://" not in given.source:
        return replace(given, source=str(_existing(source, key, given.source)))
    try:
        shapes.url(given.source)
    except ValueError as error:
        raise SettingsError(f"{source.place(key)}: {error}", cure="give production, staging, a URL or a file") from None
    if given.tuf_root is None and given.source not in REPOSITORIES.values():
        raise SettingsError(
            f"{source.place(key)}: a TUF repository of your own needs its first root",
            cure="name its root.json in trust.tuf_root",
        )
    return given


def _existing(source: Source, key: Key, name: str) -> Path:
    path = source.folder(key) / Path(name).expanduser()
    if not path.is_file():
        raise SettingsError(
            f"{source.place(key)}: {name!r} is no file", cure="give production, staging, a URL or a file"
        )
    return path


def _expected(source: Source, file: File, policy: Policy) -> Iterator[ReleaseFile]:
    if file.release:
        document = {"schema": files.SCHEMA, "release": list(file.release)}
        yield files.read(document, str(source.file or "environment"), policy, source.text)
    for number, name in enumerate(file.release_files):
        key: Key = ("release_files", number)
        path = source.folder(key) / Path(name).expanduser()
        yield files.parse(_bytes(source, key, path, files.MAX_BYTES + 1), str(path), policy)


def _bytes(source: Source, key: Key, path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(limit)
    except OSError as error:
        raise SettingsError(
            f"{source.place(key)}: {path}: cannot be read: {error.strerror}", cure="check the path and its permissions"
        ) from error


def _key(source: Source, number: int, text: str) -> bytes:
    """The DER SubjectPublicKeyInfo of a public key in PEM, given as it is or by the path of its file."""
    key: Key = ("contributor_keys", number)
    data = text.encode()
    if not text.lstrip().startswith("-----BEGIN"):
        data = _bytes(source, key, source.folder(key) / Path(text).expanduser(), _LARGEST_KEY)
    if b"PRIVATE KEY" in data:
        raise SettingsError(
            f"{source.place(key)}: is a private key", cure="give the public key, and take care of this one"
        )
    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"{source.place(key)}: is no public key in PEM", cure="begin with -----BEGIN PUBLIC KEY-----"
        ) from error
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _checked(source: Source, key: Key, make: Callable[[], T]) -> T:
    """What `make` makes; its complaint names our key."""
    try:
        return make()
    except (SettingsError, StoreError) as error:
        raise _placed(source, key, error) from None


def _placed(source: Source, key: Key, error: MonitorError) -> SettingsError:
    return SettingsError(f"{source.place(key)}: {error}", cure=error.cure)
