"""A server of a made log in a process of its own: prints its facts as one line of JSON, ends with its standard input.

`served v2 FOLDER` serves files; `served v1 SIZE DELAY FOLDER` serves a Rekor v1 log whose pages are ready before it answers, each after
DELAY seconds, so that what is measured is who asks.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from monitor.testbed.ca import CertificateAuthority
from monitor.testbed.rekor_v1 import RekorV1
from monitor.testbed.server import LoopbackServer
from monitor.testbed.trust_root import ListedLog, trusted_root
from tests.benchmarks import made

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_PAGE = 10


class Files(LoopbackServer):
    """A folder as it is. A file is read at once: it is in the page cache, and `FileResponse` would ask a thread first."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/{path:.+}", self._file)

    async def _file(self, request: web.Request) -> web.Response:
        try:
            data = self._folder.joinpath(request.match_info["path"]).read_bytes()
        except OSError:
            raise web.HTTPNotFound from None
        return web.Response(body=data, content_type="application/octet-stream")


class ReadyV1(LoopbackServer):
    """A Rekor v1 log of `size` leaves that answers every request after `delay` seconds, pages out of memory."""

    def __init__(self, size: int, delay: float) -> None:
        super().__init__()
        self.log = RekorV1(made.V1_HOST)
        self.log.append_many(made.v1_bodies(size))
        self._delay = delay
        self._pages = {start: self._page(start, min(start + _PAGE, size)) for start in range(0, size, _PAGE)}

    def _page(self, start: int, end: int) -> tuple[list[int], bytes]:
        entries = [self.log.by_index(index, singly=False) for index in range(start, end)]
        return list(range(start, end)), json.dumps(entries).encode()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        self.log.add_routes(router)

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await asyncio.sleep(self._delay)
        if request.path == "/api/v1/log/entries/retrieve":
            asked = (await request.json()).get("logIndexes", [])
            indexes, page = self._pages.get(asked[0], ([], b"")) if asked else ([], b"")
            if asked == indexes:
                return web.Response(body=page, content_type="application/json")
        return await handler(request)


async def _serve(server: LoopbackServer, facts: dict[str, object]) -> None:
    async with server:
        sys.stdout.write(json.dumps({"url": server.url, **facts}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def main(arguments: list[str]) -> None:
    if arguments[0] == "v2":
        asyncio.run(_serve(Files(Path(arguments[1])), {}))
        return
    size, delay, folder = int(arguments[1]), float(arguments[2]), Path(arguments[3])
    server = ReadyV1(size, delay)
    ca = CertificateAuthority()
    root = folder / "trusted_root.json"
    root.write_bytes(trusted_root([ca], [ListedLog(made.V1_HOST, server.log.key, ca.start)]))
    asyncio.run(_serve(server, {"trusted_root": str(root), "size": size}))


if __name__ == "__main__":
    main(sys.argv[1:])
