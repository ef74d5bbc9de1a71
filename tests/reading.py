"""What the suites of every log's client read with: a log's leaves in order, and a server that answers otherwise for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from monitor.fetch import FetchOptions
from monitor.model.log import Block, Gap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from monitor.watch.ports import Log
    from tests.replay import Intercept

QUICK = FetchOptions(backoff=0.001, max_backoff=0.002, attempts=2, max_retry_after=0.5)
LEFT_OUT = "the log answered without it"


async def read(
    log: Log, start: int, end: int, size: int, *, fresh: bool = False, into: list[Block | Gap] | None = None
) -> list[Block | Gap]:
    """All pieces, after the promise that every reader relies on was checked: in order, no overlap, nothing left out."""
    pieces = [] if into is None else into
    async for piece in log.blocks(start, end, size, fresh=fresh):
        pieces.append(piece)
    at = start
    for piece in pieces:
        assert piece.start == at
        assert len(piece) > 0
        if isinstance(piece, Block):  # what comes beside the leaves comes beside each of them
            assert {len(piece.extras), len(piece.promises)} <= {0, len(piece)}
        at = piece.end
    assert at == end
    return pieces


def leaves_of(pieces: Iterable[Block | Gap]) -> list[bytes]:
    return [piece.leaf(at) for piece in pieces if isinstance(piece, Block) for at in range(len(piece))]


def extras_of(pieces: Iterable[Block | Gap]) -> list[bytes]:
    return [extra for piece in pieces if isinstance(piece, Block) for extra in piece.extras]


def gaps_of(pieces: Iterable[Block | Gap]) -> list[Gap]:
    return [piece for piece in pieces if isinstance(piece, Gap)]


def on(path: str, answer: Callable[[web.Request], web.StreamResponse | None], *, times: int = 1 << 30) -> Intercept:
    """Answer so at a path, so often; None leaves it to the server."""
    left = times

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if request.path != path or left == 0:
            return None
        instead = answer(request)
        left -= instead is not None
        return instead

    return intercept


def html(status: int = 200) -> web.Response:
    """What a proxy says when the server is away."""
    return web.Response(status=status, text="<html>be right back</html>", content_type="text/html")
