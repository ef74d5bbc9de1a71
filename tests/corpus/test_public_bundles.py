"""Real public bundles: verified under their own root as the manifest states, and refused where they were made to be refused."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from monitor.entries.encoding import base64_bytes
from monitor.errors import FormatError
from monitor.releases import bundles
from monitor.releases.verify import SignatureVerifier, Verdict, Verified
from monitor.tlog.merkle import leaf_hash
from tests.corpus.rows import CORPUS, Row, _json_in, _objects, name, rows
from tests.corpus.test_public_entries import root

pytestmark = pytest.mark.skipif(not CORPUS, reason="MONITOR_CORPUS does not point at the corpus of public entries")

ELSEWHERE = (
    "bundle-from-wrong-instance",  # sound under the staging root, which we use
    "invalid-ct-key",  # the trusted root beside it has the wrong key
    "rekor2-timestamp-outside-trust-root-tsa-validity",  # the same, of a window
    "trust-root-tlog-missing-validity-start",
    "wrong-material",  # of another file than the one beside it
    "onebad.jsonl",  # one of its six is bad, and none of the five that stand in the manifest's root
    "invalidsigpub",  # two bundles a file; the bad one is the other
    "mismatch-pub",  # the bad one is signed with a bare key
)
"""What is wrong is not in the bundle."""
STRICTER = {
    "rekor2-timestamp-with-expired-cert-chain": "not enough sources of verified time",  # needs the trusted root beside it
    "bundle_cve_2022_36056": "another certificate",
    "bundle.duplicate": "duplicate timestamp",
    "bundle.many_timestamp": "too many signed timestamp",
    "bundle_v3_no_signed_time": "must contain",
    "managed-key": "a bare key",
}
"""Entries that verify, in bundles that do not, and why."""


def found(row: Row) -> list[dict[str, Any]]:
    """Every bundle of the row's file that cites the row's entry."""
    text = (Path(CORPUS) / row["file"]).read_text(errors="replace")
    return [
        each
        for outer in _json_in(text)
        for each in _objects(outer)
        if "mediaType" in each and row["leaf_hash"] in _cited(each.get("verificationMaterial"))
    ]


def _cited(material: object) -> set[str]:
    listed = material.get("tlogEntries") if isinstance(material, dict) else None
    bodies = [entry.get("canonicalizedBody") for entry in listed or ()]
    return {leaf_hash(base64_bytes(body)).hex() for body in bodies if isinstance(body, str)}


ROWS = [row for row in rows() if row["container"] == "bundle"]
BUNDLES = [(row, each) for row in ROWS for each in found(row)]
REFUSED = [
    (row, each) for row, each in BUNDLES if row["negative_vector"] and not any(e in row["file"] for e in ELSEWHERE)
]
SOUND = [(row, each) for row, each in BUNDLES if not row["negative_vector"]]


@cache
def verifier(environment: str) -> SignatureVerifier:
    return SignatureVerifier(root(environment))


async def verdict(row: Row, bundle: dict[str, Any]) -> Verdict:
    environment = (row.get("verify") or "prod").partition(":")[0]
    try:
        attached = bundles.read_bundle(json.dumps(bundle).encode())
    except FormatError as error:
        return Verdict(Verified.NO, f"cannot be read: {error}")
    return await verifier(environment).verify(attached)


def test_most_rows_have_their_bundle() -> None:
    assert (len(BUNDLES), len(REFUSED)) > (140, 40)


@pytest.mark.parametrize(("row", "bundle"), REFUSED, ids=[name(row) for row, _ in REFUSED])
async def test_a_bundle_made_to_be_refused_never_verifies(row: Row, bundle: dict[str, Any]) -> None:
    assert (await verdict(row, bundle)).verified is not Verified.YES


@pytest.mark.parametrize(("row", "bundle"), SOUND, ids=[name(row) for row, _ in SOUND])
async def test_a_bundle_verifies_as_its_manifest_states(row: Row, bundle: dict[str, Any]) -> None:
    came = await verdict(row, bundle)
    why = next((said for each, said in STRICTER.items() if each in row["file"]), None)
    stated = row.get("verify") or ""
    if why is not None:
        assert came.verified is not Verified.YES
        assert why in came.why
    elif stated.endswith(":ok"):
        assert came == Verdict(Verified.YES)
    elif stated.endswith(":fail(inclusion)") and not row["has_proof"] and not row.get("key"):
        assert came == Verdict(Verified.YES)  # a promise without a proof, checked by ourselves
    elif stated:
        assert came.verified is not Verified.YES
