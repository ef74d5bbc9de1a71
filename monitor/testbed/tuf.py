"""A TUF repository with consistent snapshots that hands out trusted_root.json and signing_config.v0.2.json.

One key signs every role; each publication raises the versions. It can let its timestamp expire, as a frozen mirror would.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # documented there, not listed in __all__
from tuf.api.metadata import (  # type: ignore[attr-defined]  # documented there, not listed in __all__
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from monitor.testbed.server import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable

Role = TypeVar("Role", Root, Targets, Snapshot, Timestamp)

TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG: Final = "signing_config.v0.2.json"
ROLES: Final = ("root", "targets", "snapshot", "timestamp")
LIFETIME: Final = timedelta(days=365)


class TufRepository(LoopbackServer):
    """The repository at `url`; `root_json` is what a client is bootstrapped with."""

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        """Begin with a signed root and nothing published."""
        super().__init__()
        self._now = now or (lambda: datetime.now(UTC))
        self._signer = CryptoSigner.generate_ecdsa()
        self._files: dict[str, bytes] = {}
        self._targets: dict[str, bytes] = {}
        self._version = 0
        root = Root(expires=self._expiry(), consistent_snapshot=True)
        for role in ROLES:
            root.add_key(self._signer.public_key, role)
        self.root_json = self._signed(root)
        self._files["1.root.json"] = self._files["root.json"] = self.root_json

    @property
    def version(self) -> int:
        """How often something was published."""
        return self._version

    def publish(self, trusted_root: bytes, signing_config: bytes | None = None) -> None:
        """Publish new targets under the next version; without a signing configuration the earlier one stays."""
        self._targets[TRUSTED_ROOT] = trusted_root
        if signing_config is not None:
            self._targets[SIGNING_CONFIG] = signing_config
        self._write(self._expiry())

    def expire(self) -> None:
        """Sign the newest state with a timestamp that is already over."""
        self._write((self._now() - timedelta(days=1)).replace(microsecond=0))

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve metadata and targets as files."""
        router.add_get("/{path:.+}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        data = self._files.get(request.match_info["path"])
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type="application/octet-stream")

    def _write(self, timestamp_expires: datetime) -> None:
        self._version += 1
        version, expires = self._version, self._expiry()
        targets = Targets(version=version, expires=expires)
        for name, data in self._targets.items():
            targets.targets[name] = TargetFile.from_data(name, data, ["sha256"])
            self._files[f"targets/{sha256(data).hexdigest()}.{name}"] = data
        snapshot = Snapshot(version=version, expires=expires, meta={"targets.json": MetaFile(version)})
        timestamp = Timestamp(version=version, expires=timestamp_expires, snapshot_meta=MetaFile(version))
        self._files[f"{version}.targets.json"] = self._signed(targets)
        self._files[f"{version}.snapshot.json"] = self._signed(snapshot)
        self._files["timestamp.json"] = self._signed(timestamp)

    def _signed(self, role: Role) -> bytes:
        metadata = Metadata(role)
        metadata.sign(self._signer)
        return metadata.to_bytes()

    def _expiry(self) -> datetime:
        return (self._now() + LIFETIME).replace(microsecond=0)
