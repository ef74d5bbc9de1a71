"""Where the trusted root comes from: a TUF repository, the copy kept from it, the copy that `sigstore` ships, or a file.

What was last good stays on disk and in force; a new root replaces it only after it was read whole. TUF blocks, so it runs in a
daemon thread that no stop waits for.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin

from monitor.errors import TrustRootError
from monitor.trust.root import MAX_ROOT, TrustRoot, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

REPOSITORIES: Mapping[str, str] = {
    "production": "https://tuf-repo-cdn.sigstore.dev",
    "staging": "https://tuf-repo-cdn.sigstage.dev",
}
"""Sigstore's own TUF repositories, whose first root `sigstore` ships."""

_TARGET = "trusted_root.json"
_MAX_TUF_ROOT = 1024 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RootOptions:
    """`source` is `production`, `staging`, the URL of a TUF repository (with `tuf_root`, its root.json), or a trusted_root.json."""

    source: str = "production"
    tuf_root: Path | None = None
    cache_dir: Path = Path("~/.cache/trustacks-monitor")


class RootSource:
    """Loads and refreshes the trusted root that `options` name."""

    def __init__(self, options: RootOptions) -> None:
        self._options = options
        self._url = REPOSITORIES.get(options.source, options.source if "://" in options.source else "")
        self._name = options.source

    def __repr__(self) -> str:
        return f"RootSource({self._name!r})"

    async def load(self) -> TrustRoot:
        """The root to begin with: the kept copy, else a fresh one, else the copy that `sigstore` ships. TrustRootError."""
        return await _in_thread(self._load)

    async def refresh(self) -> TrustRoot:
        """The newest root. TrustRootError when it cannot be had or read; the kept copy is then unchanged."""
        return await _in_thread(self._refresh)

    async def held(self) -> TrustRoot | None:
        """The copy kept from the last good refresh, else the one that `sigstore` ships: nobody is asked. None without either."""
        return await _in_thread(self._held)

    def expires(self) -> tuple[str, datetime] | None:
        """The role of the metadata of the last refresh that ends first, and when; None where the source is a file."""
        from tuf.api.metadata import Metadata  # noqa: PLC0415 - as in `_download`

        if not self._url:
            return None
        ends = {}
        for role in ("root", "timestamp", "snapshot", "targets"):
            path = self._home() / "metadata" / f"{role}.json"
            if path.is_file():
                metadata: Metadata[Any] = Metadata.from_file(str(path))
                ends[role] = metadata.signed.expires
        first = min(ends, key=ends.__getitem__, default=None)
        return None if first is None else (first, ends[first])

    def _held(self) -> TrustRoot | None:
        try:
            if not self._url:
                return self._read(Path(self._options.source))
            kept = self._home() / _TARGET
            if kept.is_file():
                return self._read(kept)
        except TrustRootError:
            pass  # no copy of use: what is wrong with the source itself is told by `refresh`
        shipped = self._shipped(_TARGET)
        return None if shipped is None else parse(shipped)

    def _load(self) -> TrustRoot:
        if not self._url:
            return self._read(Path(self._options.source))
        kept = self._home() / _TARGET
        if kept.is_file():
            try:
                return self._read(kept)
            except TrustRootError:
                kept.unlink(missing_ok=True)  # a torn or older form of a cache: fetched anew
        try:
            return self._refresh()
        except TrustRootError:
            shipped = self._shipped(_TARGET)
            if shipped is None:
                raise
            return parse(shipped)

    def _refresh(self) -> TrustRoot:
        if not self._url:
            return self._read(Path(self._options.source))
        home = self._home()
        root = parse(self._download(home))
        _replace(home / _TARGET, root.data)
        return root

    def _read(self, path: Path) -> TrustRoot:
        return parse(_bounded(path.expanduser(), MAX_ROOT))

    def _download(self, home: Path) -> bytes:
        from tuf.ngclient.config import UpdaterConfig  # noqa: PLC0415 - 0.1 s, only where it is used
        from tuf.ngclient.updater import Updater  # noqa: PLC0415

        metadata, targets = home / "metadata", home / "targets"
        try:
            metadata.mkdir(parents=True, exist_ok=True)
            targets.mkdir(exist_ok=True)
            updater = Updater(
                metadata_dir=str(metadata),
                metadata_base_url=self._url,
                target_base_url=urljoin(f"{self._url.rstrip('/')}/", "targets/"),
                target_dir=str(targets),
                config=UpdaterConfig(app_user_agent="trustacks-monitor"),
                bootstrap=self._bootstrap(),
            )
            updater.refresh()
            target = updater.get_targetinfo(_TARGET)
            size = target.length if target else 0
            path = (
                (updater.find_cached_target(target) or updater.download_target(target))
                if target and size <= MAX_ROOT
                else None
            )
        except TrustRootError:
            raise
        except Exception as error:  # tuf, its network library and the disk raise many kinds; all mean the same
            raise TrustRootError(
                f"cannot fetch the trusted root from {self._url}: {_reason(error)}", cure=_cure(error)
            ) from error
        if path is None:
            raise TrustRootError(
                f"the TUF repository {self._url} offers no {_TARGET} of at most {MAX_ROOT} bytes (it has {size})"
            )
        return _bounded(Path(path), MAX_ROOT)

    def _bootstrap(self) -> bytes:
        """The first TUF root, from which every later one is verified."""
        if self._options.tuf_root is not None:
            return _bounded(self._options.tuf_root.expanduser(), _MAX_TUF_ROOT)
        shipped = self._shipped("root.json")
        if shipped is None:
            raise TrustRootError(
                f"no TUF root to verify {self._url} with",
                cure="name the repository's root.json in the settings (tuf_root)",
            )
        return shipped

    def _home(self) -> Path:
        """The directory kept for this repository and this first root: another root is another trust."""
        first = hashlib.sha256(self._bootstrap()).hexdigest()[:16]
        return self._options.cache_dir.expanduser() / f"{quote(self._url, safe='')}-{first}"

    def _shipped(self, name: str) -> bytes | None:
        """A file of the copy that the `sigstore` distribution ships for its own repositories; only data, none of its code."""
        if self._options.tuf_root is not None or self._url not in REPOSITORIES.values():
            return None
        found = resources.files("sigstore").joinpath("_store", quote(self._url, safe=""), name)
        return found.read_bytes() if found.is_file() else None


def _reason(error: Exception) -> str:
    """What was raised, in words; where TUF says nothing of its own, what its network library said of the connection."""
    said: object = error
    if not str(error) and error.__cause__ is not None:
        said = getattr(error.__cause__, "reason", None) or error.__cause__
    return f"{type(said).__name__}: {said}"


def _cure(error: Exception) -> str:
    """What the operator can do about what TUF, its network library or the disk raised."""
    from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError  # noqa: PLC0415 - as in `_download`

    if isinstance(error, ExpiredMetadataError):
        what = "check this machine's clock; if it is right, the repository, or a mirror or proxy before it, serves what is over"
    elif isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        what = "make the state directory writable for this user, with room on its disk"
    elif isinstance(error, DownloadError) or not isinstance(error, RepositoryError):
        what = "check the network, the proxy and the address of the TUF repository"
    else:
        what = (
            "check that trust.source is the right repository, trust.tuf_root its first root, and that no proxy alters it: "
            "what it serves does not verify"
        )
    return f"{what}; the last good root, where there was one, stays in force"


def _bounded(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise TrustRootError(
            f"cannot read {path}: {error.strerror}", cure="check the path and who may read it"
        ) from None
    if len(data) > limit:
        raise TrustRootError(f"{path} is larger than {limit} bytes", cure="name the right file")
    return data


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        raise TrustRootError(
            f"cannot keep the trusted root at {path}: {error.strerror}", cure="make the cache directory writable"
        ) from None


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run `work` in a thread that ends with the process, whether it is done or not."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def deliver(result: _T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # exactly one of the two is given

    def run() -> None:
        result: _T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
        try:
            loop.call_soon_threadsafe(deliver, result, failure)
        except RuntimeError:
            return  # the loop was closed: nobody waits any more

    threading.Thread(target=run, name="trust-root", daemon=True).start()
    return await future
