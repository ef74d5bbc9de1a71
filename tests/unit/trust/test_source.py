from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined] # public, re-exported without saying so
from tuf.api.metadata import (  # type: ignore[attr-defined] # the same
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from monitor.errors import TrustRootError
from monitor.trust.source import RootOptions, RootSource
from tests.unit.trust.issuing import Fulcio, as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = as_bytes(Fulcio().trusted_root())
_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)
SECOND = as_bytes(Fulcio().trusted_root())


class Repository:
    """A TUF repository on disk, and what serves it on loopback."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.signer = CryptoSigner.generate_ecdsa()
        self.version = 0
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        root = Root(expires=expires, consistent_snapshot=True)
        for role in ("root", "targets", "snapshot", "timestamp"):
            root.add_key(self.signer.public_key, role)
        self.expires = expires
        (directory / "targets").mkdir(parents=True)
        self._write(root, "1.root.json")

    @property
    def root(self) -> Path:
        return self.directory / "1.root.json"

    def publish(self, data: bytes) -> None:
        self.version += 1
        number = self.version
        targets = Targets(version=number, expires=self.expires)
        targets.targets["trusted_root.json"] = TargetFile.from_data("trusted_root.json", data, ["sha256"])
        name = f"{hashlib.sha256(data).hexdigest()}.trusted_root.json"
        (self.directory / "targets" / name).write_bytes(data)
        self._write(targets, f"{number}.targets.json")
        snapshot = Snapshot(version=number, expires=self.expires, meta={"targets.json": MetaFile(number)})
        self._write(snapshot, f"{number}.snapshot.json")
        self._write(Timestamp(version=number, expires=self.expires, snapshot_meta=MetaFile(number)), "timestamp.json")

    def _write(self, signed: _Signed, name: str) -> None:
        metadata = Metadata(signed)
        metadata.sign(self.signer)
        metadata.to_file(str(self.directory / name))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    directory = tmp_path / "repository"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made = Repository(directory, f"http://127.0.0.1:{server.server_address[1]}")
    made.publish(FIRST)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def source(repository: Repository, tmp_path: Path, **changes: object) -> RootSource:
    options = {"source": repository.url, "tuf_root": repository.root, "cache_dir": tmp_path / "cache", **changes}
    return RootSource(RootOptions(**options))  # type: ignore[arg-type] # a test's shorthand


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_a_repository_is_read_followed_and_kept_over_a_restart(repository: Repository, tmp_path: Path) -> None:
    first = source(repository, tmp_path)
    assert (await first.load()).data == FIRST
    repository.publish(SECOND)
    assert (await first.load()).data == FIRST, "loading does not ask the network for what is kept"
    assert (await first.refresh()).data == SECOND
    (repository.directory / "timestamp.json").unlink()
    assert (await source(repository, tmp_path).load()).data == SECOND


async def test_a_repository_that_cannot_be_asked_leaves_the_kept_root(repository: Repository, tmp_path: Path) -> None:
    kept = source(repository, tmp_path)
    await kept.load()
    (repository.directory / "timestamp.json").write_bytes(b"<html>")
    with pytest.raises(TrustRootError, match="cannot fetch the trusted root") as refused:
        await kept.refresh()
    assert refused.value.cure
    assert (await kept.load()).data == FIRST


async def test_a_root_that_cannot_be_read_does_not_replace_the_kept_one(repository: Repository, tmp_path: Path) -> None:
    kept = source(repository, tmp_path)
    await kept.load()
    repository.publish(b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    with pytest.raises(TrustRootError, match="names no"):
        await kept.refresh()
    assert (await kept.load()).data == FIRST


async def test_metadata_signed_by_another_key_is_refused(repository: Repository, tmp_path: Path) -> None:
    kept = source(repository, tmp_path)
    await kept.load()
    repository.signer = CryptoSigner.generate_ecdsa()
    repository.publish(SECOND)
    with pytest.raises(TrustRootError):
        await kept.refresh()


async def test_a_torn_copy_is_fetched_anew(repository: Repository, tmp_path: Path) -> None:
    kept = source(repository, tmp_path)
    await kept.load()
    (copy,) = (tmp_path / "cache").glob("*/trusted_root.json")
    copy.write_bytes(FIRST[:100])
    assert (await kept.load()).data == FIRST


async def test_a_repository_without_a_first_root_cannot_be_trusted(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(TrustRootError, match="no TUF root") as refused:
        await source(repository, tmp_path, tuf_root=None).load()
    assert "tuf_root" in refused.value.cure


async def test_a_file_is_read_every_time(tmp_path: Path) -> None:
    path = tmp_path / "trusted_root.json"
    path.write_bytes(FIRST)
    found = RootSource(RootOptions(source=str(path), cache_dir=tmp_path / "cache"))
    assert (await found.load()).data == FIRST
    path.write_bytes(SECOND)
    assert (await found.refresh()).data == SECOND
    assert not (tmp_path / "cache").exists()


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.json"
    with pytest.raises(TrustRootError, match=r"nowhere\.json: No such file"):
        await RootSource(RootOptions(source=str(path))).load()


@pytest.mark.parametrize("name", ["production", "staging"])
async def test_without_a_network_the_shipped_copy_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: RootSource, home: Path) -> bytes:
        raise TrustRootError(f"cannot fetch for {self!r} into {home.name}")

    monkeypatch.setattr(RootSource, "_download", unreachable)
    found = await RootSource(RootOptions(source=name, cache_dir=tmp_path)).load()
    assert any(log.origin.startswith("rekor.") for log in found.logs)
    assert not _files(tmp_path), "a copy that nobody fetched is not kept as if it had been"
