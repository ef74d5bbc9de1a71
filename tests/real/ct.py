"""A real certificate log, `ct_server` over the Trillian of Rekor v1, into which the testbed's authority sends what it issues."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from monitor.testbed.ct_entry import certificate_timestamp
from tests.patience import PATIENCE
from tests.real.programs import free_port
from tests.real.servers import Server

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.testbed.ca import CertificateAuthority
    from monitor.testbed.ct_entry import Submission
    from tests.real.servers import RekorV1

_PREFIX = "trustacks"


class CtServer(Server):
    """An RFC 6962 log whose key is the authority's `ct_key`; it is attached to the authority as its log.

    `url` is where it is read. It takes the trees of Rekor's Trillian, which must run before it.
    """

    def __init__(self, folder: Path, ca: CertificateAuthority, rekor: RekorV1) -> None:
        super().__init__(folder)
        self._ca = ca
        self._rekor = rekor
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/{_PREFIX}"
        self.origin = ca.ct_log_id.hex()

    @property
    def listed_url(self) -> str:
        """The URL by which the trusted root names it."""
        return self.url

    async def _start(self) -> None:
        roots = self.folder / "roots.pem"
        roots.write_bytes(self._ca.root.public_bytes(Encoding.PEM))
        der = self._ca.ct_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        escaped = "".join(f"\\x{byte:02x}" for byte in der)
        settings = self.folder / "ct.cfg"
        settings.write_text(
            f'config {{ log_id: {await self._rekor.new_tree()} prefix: "{_PREFIX}" roots_pem_file: "{roots}" '
            f'private_key: {{ [type.googleapis.com/keyspb.PrivateKey] {{ der: "{escaped}" }} }} '
            'max_merge_delay_sec: 86400 expected_merge_delay_sec: 120 ext_key_usages: "CodeSigning" }'
        )
        server = await self._run(
            "ct-server",
            "ct_server",
            f"--log_config={settings}",
            f"--log_rpc_server=127.0.0.1:{self._rekor.log_server_port}",
            f"--http_endpoint=127.0.0.1:{self.port}",
        )
        await server.reachable(f"{self.url}/ct/v1/get-sth")
        self._ca.ct = self

    def submit(self, submission: Submission) -> bytes:
        """Log a precertificate (RFC 6962 §4.2) and return its signed certificate timestamp as bytes."""
        chain = [base64.b64encode(der).decode() for der in (submission.precertificate, *submission.chain)]
        body = json.dumps({"chain": chain}).encode()
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/ct/v1/add-pre-chain", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:  # noqa: S310 - as above
            sct = json.load(reply)
        signed = base64.b64decode(sct["signature"])[4:]
        return certificate_timestamp(
            base64.b64decode(sct["id"]), sct["timestamp"], base64.b64decode(sct["extensions"] or ""), signed
        )
