"""The signing endpoint that cosign calls, over the testbed's authority: a token says which claims the certificate carries.

It checks nothing: whoever runs the test is whoever the token says.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_csr

from monitor.testbed.ca import Claims
from monitor.testbed.server import LoopbackServer, json_reply

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from monitor.testbed.ca import CertificateAuthority

_LIFE = 600
_KEY = generate_private_key(SECP256R1())


def token(claims: Claims, key: EllipticCurvePrivateKey = _KEY) -> str:
    """An identity token as cosign expects one; the certificate's claims travel in it."""
    now = int(time.time())
    held = {
        field.name: value
        for field in dataclasses.fields(claims)
        if (value := getattr(claims, field.name)) not in (None, (), {})
    }
    header = {"alg": "ES256", "typ": "JWT", "kid": "test"}
    payload = {
        "iss": claims.issuer,
        "aud": "sigstore",
        "sub": f"repo:{claims.org}/{claims.repo}:ref:{claims.ref}",
        "iat": now,
        "nbf": now - 5,
        "exp": now + _LIFE,
        "claims": held,
    }
    signed = f"{_url64(json.dumps(header).encode())}.{_url64(json.dumps(payload).encode())}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Fulcio(LoopbackServer):
    """Issues from `ca` whatever a token asks for, by the API that cosign 3 speaks, and by the older one of its old format."""

    def __init__(self, ca: CertificateAuthority) -> None:
        super().__init__()
        self._ca = ca

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/api/v2/signingCert", self._issue)
        router.add_post("/api/v1/signingCert", self._issue_v1)

    async def _issue(self, request: web.Request) -> web.StreamResponse:
        asked: dict[str, Any] = await request.json()
        given = (asked.get("credentials") or {}).get("oidcIdentityToken") or request.headers[
            "Authorization"
        ].removeprefix("Bearer ")
        claims = json.loads(base64.urlsafe_b64decode(given.split(".")[1] + "=="))["claims"]
        if "publicKeyRequest" in asked:
            public = load_pem_public_key(asked["publicKeyRequest"]["publicKey"]["content"].encode())
        else:
            public = load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"])).public_key()
        if not isinstance(public, EllipticCurvePublicKey):
            return json_reply({"code": 3, "message": "a P-256 key is needed"}, status=400)
        leaf = self._ca.issue(public, Claims(**claims))
        return json_reply({"signedCertificateEmbeddedSct": {"chain": {"certificates": self._chain(leaf)}}})

    async def _issue_v1(self, request: web.Request) -> web.StreamResponse:
        asked: dict[str, Any] = await request.json()
        given = request.headers["Authorization"].removeprefix("Bearer ")
        claims = json.loads(base64.urlsafe_b64decode(given.split(".")[1] + "=="))["claims"]
        public = load_der_public_key(base64.b64decode(asked["publicKey"]["content"]))
        if not isinstance(public, EllipticCurvePublicKey):
            return web.Response(status=400)
        chain = "".join(self._chain(self._ca.issue(public, Claims(**claims))))
        return web.Response(status=201, text=chain, content_type="application/pem-certificate-chain")

    def _chain(self, leaf: Certificate) -> list[str]:
        return [each.public_bytes(Encoding.PEM).decode() for each in (leaf, *self._ca.chain)]


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
