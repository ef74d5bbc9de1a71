"""A certificate transparency log that speaks RFC 6962 or static-CT, and every lie that such a log can tell.

What is submitted is integrated at once; heads are signed anew when the log grew or an hour passed. Nothing that is
submitted is checked. A lie is told until `tell_the_truth`, or for a number of times.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

import orjson
from cryptography.hazmat.primitives.serialization import Encoding

from monitor.testbed.ct_entry import (
    LogEntry,
    Submission,
    certificate_timestamp,
    digitally_signed,
    leaf_index_extension,
    tree_head_signed,
)
from monitor.testbed.ct_history import History
from monitor.testbed.ct_routes import Rfc6962Routes, StaticRoutes
from monitor.testbed.keys import LogKey, text64
from monitor.testbed.server import LoopbackServer
from monitor.tlog.checkpoint import checkpoint_text
from monitor.tlog.note import KEY_ID_SIZE, signature_line
from monitor.tlog.tiles import TILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiohttp import web
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

Style = Literal["rfc6962", "static"]

HEAD_AGE_MS: Final = 3_600_000
"""After so long a head is signed anew though nothing was added, as Trillian does."""
_TREE_HEAD: Final = b"\x05"
"""The signature type of an RFC 6962 tree head in a C2SP key id."""


@dataclass(slots=True)
class _Lies:
    """What is shown in place of the truth, by index; a count of None holds until taken back."""

    entries: dict[int, tuple[LogEntry, int | None]] = field(default_factory=dict)
    omitted: dict[int, bool] = field(default_factory=dict)
    """Index → whether it is denied singly too."""
    swapped: dict[int, int] = field(default_factory=dict)
    padded: dict[int, int] = field(default_factory=dict)
    end: int | None = None
    old_size: int | None = None
    head: bytes | None = None
    partials_hidden: bool = False


class CtLog(LoopbackServer):
    """One log in one style, below `base_path`. Its id is the SHA-256 of its key (RFC 6962 §3.2)."""

    def __init__(  # noqa: PLR0913  each is one way in which logs differ
        self,
        key: EllipticCurvePrivateKey | None = None,
        *,
        style: Style = "rfc6962",
        base_path: str = "/2026",
        origin: str | None = None,
        roots: Iterable[Certificate] = (),
        page_size: int = 100,
        gzip: bool = False,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Begin with an empty log.

        `page_size` is how many entries get-entries gives at most. `gzip` compresses data tiles unasked, as static-ct-api
        allows. `origin` is a static log's submission prefix without scheme, by default the address where it is read.
        """
        super().__init__()
        self.key = LogKey.ecdsa("", key)
        self.style = style
        self.base_path = base_path
        self.roots = tuple(root.public_bytes(Encoding.DER) for root in roots)
        self.page_size = page_size
        self.gzip = gzip
        self.issuers: dict[str, bytes] = {}
        """SHA-256 in hex → certificate, DER, of every issuer that an entry's chain had."""
        self._origin = origin
        self._now = now or (lambda: datetime.now(UTC))
        self._signing = self.key
        self._honest = self._history = History()
        self._newest_stamp = 0
        self._lies = _Lies()
        self._head: tuple[tuple[int, bytes, LogKey], int, bytes] | None = None

    # the honest log

    @property
    def spki(self) -> bytes:
        """The public key, DER."""
        return self.key.spki

    @property
    def log_id(self) -> bytes:
        """SHA-256 of the public key."""
        return self.key.log_id

    @property
    def read_url(self) -> str:
        """The address below which `ct/v1/…` or `checkpoint` is, no trailing slash. FetchError before the first start."""
        return self.url + self.base_path

    @property
    def listed_url(self) -> str:
        """The submission prefix, which trusted_root.json names: where it is read, unless it was given an origin.

        Before the first start it names no server.
        """
        if self._origin is not None:
            return f"https://{self._origin}"
        return self.read_url if self._port else f"https://ctfe.trustacks.test{self.base_path}"

    @property
    def origin(self) -> str:
        """What names the log: the id in hex of an RFC 6962 log, the origin of a static log's checkpoints."""
        return self.log_id.hex() if self.style == "rfc6962" else self.listed_url.partition("://")[2]

    @property
    def history(self) -> History:
        """The history that is served."""
        return self._history

    @property
    def size(self) -> int:
        """Entries in the log."""
        return len(self._history)

    def submit(self, submission: Submission) -> bytes:
        """Log a certificate; its SCT, with the submission's timestamp."""
        extensions = leaf_index_extension(self.size) if self.style == "static" else b""
        leaf = submission.leaf(extensions)
        self.issuers.update((sha256(issuer).hexdigest(), issuer) for issuer in submission.chain)
        extra = submission.tile_extra() if self.style == "static" else submission.extra_data()
        self.append_raw(leaf, extra)
        self._newest_stamp = max(self._newest_stamp, submission.timestamp)
        return certificate_timestamp(self.log_id, submission.timestamp, extensions, self.key.sign(leaf))

    def add_certificate(self, certificate: Certificate, chain: Sequence[Certificate]) -> int:
        """Log a final certificate (an x509_entry) now; its index."""
        self.submit(Submission.of_certificate(certificate, chain, self._milliseconds()))
        return self.size - 1

    def append_raw(self, leaf_input: bytes, extra: bytes = b"") -> int:
        """Log any bytes at all, as a leaf and what goes with it (see `LogEntry`); the index."""
        entry = LogEntry(leaf_input, extra)
        if self._honest is not self._history:
            self._honest.append(entry)
        return self._history.append(entry)

    # lies

    def alter_leaf(
        self, index: int, leaf_input: bytes, extra: bytes | None = None, *, times: int | None = None
    ) -> None:
        """Show another leaf for an entry; hashes, proofs and heads stay those of the true one."""
        true = self._history.entry(index).extra
        self._lies.entries[index] = LogEntry(leaf_input, true if extra is None else extra), times

    def answer_with(self, index: int, other: int) -> None:
        """Show another certificate's entry in the place of this one."""
        self._lies.swapped[index] = other

    def omit(self, index: int, *, also_singly: bool = False) -> None:
        """Leave an entry out of pages and data tiles, what follows moves up; `also_singly` denies it by index as well."""
        self._lies.omitted[index] = also_singly

    def hide_from(self, index: int) -> None:
        """Give out no entry from `index` on, though signed heads hold them: pages are cut short or refused."""
        self._lies.end = index

    def hide_last_page(self) -> None:
        """Give out no entry of the last page (of a static log: of the last tile), though the head holds it."""
        page = TILE_WIDTH if self.style == "static" else self.page_size
        self.hide_from((self.shown_size - 1) // page * page)

    def pad(self, index: int, size: int) -> None:
        """Put so many more bytes behind an entry's unhashed data: a page larger than anybody reads."""
        self._lies.padded[index] = size

    def hide_partials(self) -> None:
        """Answer 404 for a partial tile once the full one exists, as static logs may."""
        self._lies.partials_hidden = True

    def serve_head(self, raw: bytes) -> None:
        """Serve these bytes as get-sth or checkpoint."""
        self._lies.head = raw

    def serve_old(self, size: int) -> None:
        """Behave as when the log had `size` entries: an old replica."""
        self._lies.old_size = size

    def fork(self, at: int, entries: Sequence[LogEntry] | None = None) -> None:
        """Serve another history from entry `at` on, signed by the same key.

        By default it is as long as the true one and holds the same certificates, each stamped a millisecond later.
        """
        if entries is None:
            entries = [entry.restamped(1) for entry in self._history.entries(at, self.size)]
        self._history = History((*self._history.entries(0, at), *entries))

    def sign_with(self, key: EllipticCurvePrivateKey, *, keep_key_id: bool = False) -> None:
        """Sign heads with another key. `keep_key_id` keeps the id on a checkpoint's line, so that the signature is bad."""
        other = LogKey.ecdsa("", key)
        self._signing = other.posing_as(self.key) if keep_key_id else other

    def tell_the_truth(self) -> None:
        """Take back every lie, fork and planned failure."""
        self.heal()
        self._history, self._signing, self._lies = self._honest, self.key, _Lies()

    # what the routes show

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the read paths of the log's style."""
        (StaticRoutes if self.style == "static" else Rfc6962Routes)(self).add_to(router)

    @property
    def shown_size(self) -> int:
        """How many entries the log admits to."""
        return self.size if self._lies.old_size is None else min(self.size, self._lies.old_size)

    @property
    def shown_end(self) -> int:
        """Where the entries end that are given out."""
        return self.shown_size if self._lies.end is None else min(self.shown_size, self._lies.end)

    @property
    def partials_hidden(self) -> bool:
        """Whether partial tiles are gone once the full ones exist."""
        return self._lies.partials_hidden

    def sth(self) -> bytes:
        """Return the reply of get-sth (§4.3)."""
        if self._lies.head is not None:
            return self._lies.head
        timestamp, signature = self._signed_head()
        head = {
            "tree_size": self.shown_size,
            "timestamp": timestamp,
            "sha256_root_hash": text64(self._history.tree.root(self.shown_size)),
            "tree_head_signature": text64(digitally_signed(signature)),
        }
        return orjson.dumps(head)

    def checkpoint(self) -> bytes:
        """Return the checkpoint: the same head as a signed note (static-ct-api)."""
        if self._lies.head is not None:
            return self._lies.head
        timestamp, signature = self._signed_head()
        text = checkpoint_text(self.origin, self.shown_size, self._history.tree.root(self.shown_size))
        key_id = sha256(self.origin.encode() + b"\n" + _TREE_HEAD + self._signing.log_id).digest()[:KEY_ID_SIZE]
        body = timestamp.to_bytes(8, "big") + digitally_signed(signature)
        return text + b"\n" + signature_line(self.origin, key_id, body)

    def shown(self, start: int, end: int, *, singly: bool = False) -> list[LogEntry]:
        """Return the entries [start, end) as they are shown."""
        kept = (index for index in range(start, min(end, self.shown_end)) if not self._denied(index, singly=singly))
        return [self._shown(index) for index in kept]

    def _shown(self, index: int) -> LogEntry:
        entry, times = self._lies.entries.get(index, (None, None))
        if times is not None and entry is not None:
            self._lies.entries[index] = entry, max(0, times - 1)
        if entry is None or times == 0:
            entry = self._history.entry(self._lies.swapped.get(index, index))
        return LogEntry(entry.leaf_input, entry.extra + bytes(self._lies.padded.get(index, 0)))

    def _denied(self, index: int, *, singly: bool) -> bool:
        also_singly = self._lies.omitted.get(index)
        return also_singly is not None and (also_singly or not singly)

    def _signed_head(self) -> tuple[int, bytes]:
        """Return timestamp and signature of the newest head; the last one again while nothing changed."""
        size = self.shown_size
        state = size, self._history.tree.root(size), self._signing
        now = max(self._milliseconds(), self._newest_stamp)
        if self._head is None or self._head[0] != state or now - self._head[1] >= HEAD_AGE_MS:
            self._head = state, now, self._signing.sign(tree_head_signed(now, size, state[1]))
        return self._head[1], self._head[2]

    def _milliseconds(self) -> int:
        return int(self._now().timestamp() * 1000)
