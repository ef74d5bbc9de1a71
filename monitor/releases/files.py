"""Reads release files: which digests the artifacts of a version carry, as a person or a workflow wrote them down.

TOML or JSON, one format:

    schema = 1

    [[release]]
    version = "0.1.2"                         # semantic version without the v of its git tag
    reason = "first public release"           # optional
    author = "Ada"                            # optional

    [release.artifacts]                       # what each artifact's tag resolves to
    "control-plane" = "sha256:…"
    "policy/constitution" = "sha256:…"

    [release.manifests]                       # optional: every manifest below such an index
    "control-plane" = ["sha256:…", "sha256:…"]

    [release.files]                           # optional: files signed with `cosign sign-blob`
    "runner.tar.gz" = "sha256:…"

Strict: a file with any fault is refused whole, and every fault is listed. This room never guesses what was meant.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeGuard

from monitor.errors import SettingsError
from monitor.model.release import DigestKind, Version
from monitor.model.text import clip, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitor.rules.policy import Policy

SCHEMA = 1
MAX_BYTES = 4 << 20
_MAX_FAULTS = 50
_MAX_NAME = 255
_MAX_TEXT = 1000
_SHOWN = 100
_CURE = "correct the file; nothing of it was taken in"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(rf"({_STRING})\s*:|{_STRING}|[{{}}]")
"""Of JSON: a key, another string, the bounds of an object."""
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*release[ \t]*\]\]", re.MULTILINE)


def is_digest(text: str) -> bool:
    """Whether a text is `sha256:` and 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ListedDigest:
    """One line of a release: an artifact's (or file's) name, the digest, and what it is of."""

    artifact: str
    digest: str
    kind: DigestKind
    line: int | None = field(default=None, compare=False)
    """Where it stands in its file, as far as can be told."""


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """One version with its digests; `reason` and `author` are empty where the file does not say."""

    version: str
    digests: tuple[ListedDigest, ...]
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A release file without a fault. `name` is what messages call it."""

    name: str
    releases: tuple[ListedRelease, ...]


def parse(data: bytes, name: str, policy: Policy) -> ReleaseFile:
    """Read a release file. `name` ending in `.json` or `.toml` says which it is; else its first character does.

    SettingsError with one line a fault, each `NAME:LINE: what is wrong`, or `NAME: …` where no line can be told.
    """
    if len(data) > MAX_BYTES:
        raise SettingsError(
            f"{name}: {len(data)} bytes are more than the {MAX_BYTES} a release file may have", cure=_CURE
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: not UTF-8 at byte {error.start}", cure=_CURE) from error
    as_json = name.endswith(".json") or (not name.endswith(".toml") and text.lstrip()[:1] == "{")
    try:
        document: object = json.loads(text) if as_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{name}: not {'JSON' if as_json else 'TOML'}: {error}", cure=_CURE) from error
    if as_json and (again := _repeated(text)) is not None:
        line = text.count("\n", 0, again.start()) + 1
        raise SettingsError(
            f"{name}:{line}: the key {_said(json.loads(again[1]))} stands twice in one object", cure=_CURE
        )
    return read(document, name, policy, text)


def read(document: object, name: str, policy: Policy, text: str = "") -> ReleaseFile:
    """Read a document that is parsed already, such as a table of the settings. `text` lets faults be told by line."""
    reader = _Reader(policy, text)
    releases = tuple(reader.document(document))
    if reader.faults:
        told = reader.faults[:_MAX_FAULTS]
        more = len(reader.faults) - len(told)
        lines = [
            f"{name}:{fault.line}: {fault.message}" if fault.line else f"{name}: {fault.message}" for fault in told
        ]
        raise SettingsError("\n".join([*lines, *([f"{name}: and {more} more"] if more else [])]), cure=_CURE)
    return ReleaseFile(name, releases)


@dataclass(frozen=True, slots=True)
class _Fault:
    line: int | None
    message: str


class _Reader:
    """Walks a document and gathers faults instead of stopping at the first."""

    def __init__(self, policy: Policy, text: str) -> None:
        self.policy = policy
        self.text = text
        self.faults: list[_Fault] = []
        self._anchor = 0
        self._headers = [match.start() for match in _HEADER.finditer(text)]

    def document(self, document: object) -> Iterator[ListedRelease]:
        if not _is_table(document):
            self._fault("the file is no table")
            return
        self._only(document, "schema", "release", where="the file")
        if document.get("schema") != SCHEMA or isinstance(document.get("schema"), bool):
            self._fault(f"schema is {_said(document.get('schema'))}: this version reads schema = {SCHEMA}", "schema")
        releases = document.get("release")
        if not isinstance(releases, list) or not releases:
            self._fault("no [[release]] is listed", "release")
            return
        seen: set[str] = set()
        for number, table in enumerate(releases):
            self._anchor = self._start(number, len(releases), table)
            if not _is_table(table):
                self._fault(f"release number {number + 1} is no table")
                continue
            release = self._release(table, f"release number {number + 1}")
            if release.version in seen:
                self._fault(f"release {release.version} is listed twice", "version", release.version)
            seen.add(release.version)
            yield release

    def _release(self, table: Mapping[str, object], where: str) -> ListedRelease:
        version = table.get("version")
        if isinstance(version, str) and Version.parse(version):
            where = f"release {version}"
        else:
            hint = "" if not isinstance(version, str) or version[:1] != "v" else ", without the v of its git tag"
            self._fault(
                f"{where}: version {_said(version)} is no semantic version such as 0.1.2{hint}", "version", version
            )
        self._only(table, "version", "reason", "author", "artifacts", "manifests", "files", where=where)
        digests = (*self._artifacts(table, where), *self._manifests(table, where), *self._files(table, where))
        reason, author = (self._text(table, key, where) for key in ("reason", "author"))
        return ListedRelease(str(version), digests, reason, author)

    def _artifacts(self, table: Mapping[str, object], where: str) -> Iterator[ListedDigest]:
        artifacts = self._table(table, "artifacts", where)
        if not artifacts and "artifacts" not in table:
            self._fault(f"{where}: artifacts are missing")
        elif not artifacts and _is_table(table["artifacts"]):
            self._fault(f"{where}: artifacts lists nothing", "artifacts")
        for artifact, digest in artifacts.items():
            if artifact not in self.policy.artifacts:
                known = ", ".join(self.policy.artifacts)
                self._fault(f"{where}: artifacts has no {_said(artifact)}; they are {known}", "artifacts", artifact)
            elif self._is_digest(digest, f"{where}: artifacts: {artifact}", "artifacts", artifact):
                yield ListedDigest(artifact, digest, DigestKind.TAG, self._line(("artifacts", artifact, digest)))

    def _manifests(self, table: Mapping[str, object], where: str) -> Iterator[ListedDigest]:
        artifacts = table.get("artifacts")
        for artifact, digests in self._table(table, "manifests", where).items():
            if not _is_table(artifacts) or artifact not in artifacts:
                self._fault(
                    f"{where}: manifests of {_said(artifact)}, which is not among its artifacts", "manifests", artifact
                )
            elif not isinstance(digests, list):
                self._fault(
                    f"{where}: manifests: {artifact} is {_said(digests)}, not a list of digests", "manifests", artifact
                )
            else:
                yield from self._children(artifact, digests, f"{where}: manifests: {artifact}")

    def _children(self, artifact: str, digests: list[object], where: str) -> Iterator[ListedDigest]:
        seen: set[str] = set()
        for digest in digests:
            if not self._is_digest(digest, where, "manifests", artifact):
                continue
            if digest in seen:
                self._fault(f"{where} lists {digest} twice", "manifests", digest)
            seen.add(digest)
            yield ListedDigest(artifact, digest, DigestKind.MANIFEST, self._line(("manifests", digest)))

    def _files(self, table: Mapping[str, object], where: str) -> Iterator[ListedDigest]:
        for file, digest in self._table(table, "files", where).items():
            if not file.strip() or len(file) > _MAX_NAME or visible(file) != file:
                self._fault(f"{where}: files: {_said(file)} is no file's name", "files", file)
            elif file in self.policy.artifacts:
                self._fault(f"{where}: files: {file} is an artifact, not a file", "files", file)
            elif self._is_digest(digest, f"{where}: files: {file}", "files", file):
                yield ListedDigest(file, digest, DigestKind.FILE, self._line(("files", file, digest)))

    def _is_digest(self, value: object, where: str, *near: str) -> TypeGuard[str]:
        if isinstance(value, str) and is_digest(value):
            return True
        self._fault(f"{where}: {_said(value)} is not sha256: and 64 lower-case hexadecimal digits", *near, value)
        return False

    def _table(self, table: Mapping[str, object], key: str, where: str) -> Mapping[str, object]:
        value = table.get(key, {})
        if _is_table(value):
            return value
        self._fault(f"{where}: {key} is {_said(value)}, not a table", key)
        return {}

    def _text(self, table: Mapping[str, object], key: str, where: str) -> str:
        value = table.get(key, "")
        if isinstance(value, str) and len(value) <= _MAX_TEXT:
            return value
        self._fault(f"{where}: {key} is {_said(value)}, not a text of at most {_MAX_TEXT} characters", key)
        return ""

    def _only(self, table: Mapping[str, object], *known: str, where: str) -> None:
        for key in table:
            if key not in known:
                self._fault(f"{where}: unknown key {_said(key)}; known are {', '.join(known)}", key)

    def _fault(self, message: str, *near: object) -> None:
        line = self._line(near) if len(self.faults) < _MAX_FAULTS else None
        self.faults.append(_Fault(line, message))

    def _line(self, near: tuple[object, ...]) -> int | None:
        """Return the line where `near` (keys and texts, one after the other) stands, looked for from the release on.

        As good as text alone can tell: what is not found (an escape, a number) is passed over.
        """
        found = self._anchor or -1
        for each in near:
            found = max(found, self._find(each, max(found, 0)))
        return self.text.count("\n", 0, found) + 1 if found >= 0 else None

    def _find(self, near: object, start: int) -> int:
        if isinstance(near, str) and near and self.text:
            for needle in (json.dumps(near), json.dumps(near, ensure_ascii=False), f"'{near}'", near):
                place = self.text.find(needle, start)
                if place >= 0:
                    return place
        return -1

    def _start(self, number: int, count: int, table: object) -> int:
        """Return where a release begins: its TOML header, else the next place after the last one that names its version."""
        if len(self._headers) == count:
            return self._headers[number]
        version = table.get("version") if _is_table(table) else None
        found = self.text.find(json.dumps(version), self._anchor + 1) if isinstance(version, str) else -1
        return found if found >= 0 else self._anchor


def _is_table(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)


def _said(value: object) -> str:
    if value is None:
        return "missing"
    try:
        return clip(visible(repr(value)), _SHOWN)
    except ValueError:  # Python writes out no whole number of more than 4,300 digits
        return "a number too long to print"


def _repeated(text: str) -> re.Match[str] | None:
    """Return where JSON, known to be well formed, gives a key of an object again: TOML refuses that itself, with its line."""
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            objects.append(set())
        elif token[0] == "}":
            objects.pop()
        elif token[1]:
            key = json.loads(token[1])
            if key in objects[-1]:
                return token
            objects[-1].add(key)
    return None
