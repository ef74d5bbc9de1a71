"""The real servers: rekor-tiles with its tiles served as files, Rekor v1 over Trillian and PostgreSQL, a timestamp authority.

Each takes the keys and names that the trusted root of the test lists.
"""

from __future__ import annotations

import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from monitor.testbed.keys import LogKey
from monitor.testbed.server import LoopbackServer
from tests.real.programs import Program, free_port, output_of

if TYPE_CHECKING:
    from types import TracebackType

    from aiohttp import web

V1_HOST = "rekor-v1.trustacks.test"
V2_HOST = "log2026-1.rekor.trustacks.test"
_TRILLIAN = "github.com/google/trillian@v1.7.3"
"""Where Go keeps the sources that the servers were built of, and with them the schema of their database."""


class Server:
    """A server made of programs and servers of our own, all stopped together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            self._stack = stack
            await self._start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        raise AssertionError("a server says how it starts")

    async def _run(self, name: str, *command: str | Path) -> Program:
        program = await Program.start(self.folder / f"{name}.log", *command)
        self._stack.push_async_callback(program.stop, signal.SIGKILL)  # nothing of it is kept
        return program

    def _write_key(self, key: LogKey) -> Path:
        path = self.folder / "key.pem"
        path.write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return path


class _Files(LoopbackServer):
    """Serves what rekor-tiles writes, as its operators do: it serves no reads itself."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_static("/", self._root)


class RekorTiles(Server):
    """A Rekor v2 log: `url` is where entries are sent, `read_url` where the log is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.key = LogKey.ed25519(V2_HOST)
        self.url = ""
        self.read_url = ""
        self.storage = folder / "www" / "api" / "v2"

    async def _start(self) -> None:
        self.storage.mkdir(parents=True)
        port, grpc, metrics = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        files = await self._stack.enter_async_context(_Files(self.folder / "www"))
        self.read_url = files.url
        server = await self._run(
            "rekor-tiles",
            "posix",
            "serve",
            f"--hostname={V2_HOST}",
            f"--storage-dir={self.storage}",
            f"--signer-filepath={self._write_key(self.key)}",
            "--http-address=127.0.0.1",
            f"--http-port={port}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={grpc}",
            f"--http-metrics-port={metrics}",
            "--checkpoint-interval=1s",
            "--batch-max-age=100ms",
            "--batch-max-size=256",
        )
        await server.reachable(f"{self.url}/healthz")

    @property
    def size(self) -> int:
        """The size of the newest checkpoint."""
        return int((self.storage / "checkpoint").read_text().split("\n")[1])


class RekorV1(Server):
    """A Rekor v1 server over Trillian, its search index in a Redis; `database` is the URL of a PostgreSQL database that is empty."""

    def __init__(self, folder: Path, database: str) -> None:
        super().__init__(folder)
        self.key = LogKey.ecdsa(V1_HOST)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database = database
        self.log_server_port = free_port()
        self._redis = free_port()
        self._indexed = True
        self._rekor: Program | None = None
        self._retired: list[tuple[str, int]] = []

    async def _start(self) -> None:
        await self._prepare_database()
        storage = (
            "--quota_system=noop",
            "--storage_system=postgresql",
            f"--postgresql_uri={self._database}",
            "--alsologtostderr",
        )
        log_server = await self._run(
            "trillian-log-server",
            "trillian_log_server",
            *storage,
            f"--rpc_endpoint=127.0.0.1:{self.log_server_port}",
            f"--http_endpoint=127.0.0.1:{free_port()}",
        )
        signer_port = free_port()
        signer = await self._run(
            "trillian-log-signer",
            "trillian_log_signer",
            *storage,
            f"--rpc_endpoint=127.0.0.1:{signer_port}",
            f"--http_endpoint=127.0.0.1:{free_port()}",
            "--force_master",
            "--sequencer_interval=100ms",
        )
        redis = await self._run(
            "redis",
            "redis-server",
            "--port",
            str(self._redis),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            self.folder,
        )
        await redis.listening(self._redis)
        await log_server.listening(self.log_server_port)
        await signer.listening(signer_port)
        self._stack.push_async_callback(self._stop_rekor)
        await self._start_rekor(await self.new_tree())

    async def _prepare_database(self) -> None:
        _, modules, problem = await output_of("go", "env", "GOMODCACHE")
        schema = Path(modules.strip()) / _TRILLIAN / "storage" / "postgresql" / "schema" / "storage.sql"
        if not schema.is_file():
            raise RuntimeError(f"Trillian's schema is not at {schema}: {problem}")
        async with await psycopg.AsyncConnection.connect(self._database, autocommit=True) as connection:
            await connection.execute(schema.read_bytes())

    async def new_tree(self) -> str:
        """Make a tree in this Trillian; its id."""
        status, out, err = await output_of("createtree", f"--admin_server=127.0.0.1:{self.log_server_port}")
        if status:
            raise RuntimeError(f"createtree ended with {status}: {err}")
        return out.strip()

    async def _start_rekor(self, tree: str) -> None:
        options = []
        if self._retired:
            shards = self.folder / "shards.yaml"
            shards.write_text(
                "".join(
                    f"- treeID: {old}\n  treeLength: {size}\n"
                    f"  signingConfig:\n    signingSchemeOrKeyPath: {self.folder / 'key.pem'}\n"
                    for old, size in self._retired
                )
            )
            options.append(f"--trillian_log_server.sharding_config={shards}")
        self._rekor = await Program.start(
            self.folder / "rekor-v1.log",
            "rekor-server",
            "serve",
            "--trillian_log_server.address=127.0.0.1",
            f"--trillian_log_server.port={self.log_server_port}",
            f"--trillian_log_server.tlog_id={tree}",
            "--rekor_server.address=127.0.0.1",
            f"--port={self.port}",
            f"--rekor_server.hostname={V1_HOST}",
            f"--rekor_server.signer={self._write_key(self.key)}",
            "--search_index.storage_provider=redis",
            "--redis_server.address=127.0.0.1",
            f"--redis_server.port={self._redis}",
            f"--enable_retrieve_api={'true' if self._indexed else 'false'}",
            *options,
        )
        await self._rekor.reachable(f"{self.url}/api/v1/log")

    async def _stop_rekor(self) -> None:
        if self._rekor is not None:
            await self._rekor.stop()

    async def info(self) -> dict[str, object]:
        """The log info: tree, size and inactive shards."""
        if self._rekor is None:
            raise RuntimeError("Rekor v1 is not started")
        return dict(json.loads(await self._rekor.reachable(f"{self.url}/api/v1/log")))

    async def index(self, *, on: bool) -> None:
        """Serve the search index, or refuse to, as `--enable_retrieve_api` says."""
        self._indexed = on
        tree = str((await self.info())["treeID"])
        await self._stop_rekor()
        await self._start_rekor(tree)

    async def rotate(self) -> None:
        """Start a new tree; the old one becomes an inactive shard, as long as it is now."""
        info = await self.info()  # whoever logs waits until it is shown: all that was accepted is in the tree
        self._retired.append((str(info["treeID"]), int(str(info["treeSize"]))))
        tree = await self.new_tree()
        await self._stop_rekor()
        await self._start_rekor(tree)


class TimestampAuthority(Server):
    """An RFC 3161 timestamp server with a certificate of its own; cosign asks for its stamps where a log gives no time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = ""
        self.chain = b""

    async def _start(self) -> None:
        port = free_port()
        server = await self._run(
            "timestamp-server",
            "timestamp-server",
            "serve",
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--timestamp-signer",
            "memory",
            "--disable-ntp-monitoring",
        )
        self.url = f"http://127.0.0.1:{port}/api/v1/timestamp"
        self.chain = await server.reachable(f"{self.url}/certchain")
