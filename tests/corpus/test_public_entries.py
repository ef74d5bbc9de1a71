"""Real public entries (their README: the corpus's own): decoded as its manifest states, verified as two other verifiers agreed."""

from __future__ import annotations

import base64
import re
from functools import cache
from importlib import resources

import pytest

from monitor.entries import payloads
from monitor.entries.decode import decode
from monitor.entries.prefilter import Prefilter
from monitor.errors import FormatError
from monitor.model.entry import Trust, TrustVerdict
from monitor.model.log import Protocol
from monitor.tlog.merkle import leaf_hash
from monitor.trust import root as roots
from monitor.trust.check import check
from tests.corpus.rows import CORPUS, Row, beside, body, included, name, promise, protocol, rows
from tests.unit.entries.recorded import as_block

pytestmark = pytest.mark.skipif(not CORPUS, reason="MONITOR_CORPUS does not point at the corpus of public entries")

ROWS = rows()
MALFORMED = [row for row in ROWS if row.get("body_error") or row.get("cert_error")]
SOUND = [row for row in ROWS if row not in MALFORMED]
VERIFIED = [row for row in SOUND if row.get("verify")]
SIGNED_IMAGES = [row for row in ROWS if row.get("predicateType") == payloads.SIGN_PREDICATE]
REPOSITORIES = {"prod": "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev", "staging": "https%3A%2F%2Ftuf-repo-cdn.sigstage.dev"}

ASKED_AT_INTEGRATED_TIME = "integrated-time-in-future_fail"
"""The manifest's verifiers ask whether the chain holds at the log's integrated time, which here is centuries away. We ask at the time of
the certificate's own timestamp, where it holds, and say of the integrated time that it lies outside the certificate's validity."""


@cache
def root(environment: str) -> roots.TrustRoot:
    store = resources.files("sigstore") / "_store" / REPOSITORIES[environment]
    return roots.parse((store / "trusted_root.json").read_bytes())


def test_the_corpus_is_whole() -> None:
    assert len(ROWS) == 227
    assert (len(MALFORMED), len(VERIFIED)) == (4, 173)


@pytest.mark.parametrize("row", SOUND, ids=name)
def test_an_entry_decodes_to_what_its_manifest_states(row: Row) -> None:
    leaf = body(row)
    assert leaf_hash(leaf).hex() == row["leaf_hash"]
    entry = decode(leaf, protocol(row))
    assert (entry.kind, entry.api_version) == (row["kind"], row["version"])
    certificate = entry.signers[0].certificate
    if row["kind"] != "rekord":
        assert (certificate is None) == bool(row.get("key"))
    if row.get("cert_issuer"):
        assert certificate is not None
        assert certificate.issuer == row["cert_issuer"]
        assert certificate.san == row["san"]
        stated = (row.get("issuer"), row.get("issuer_v2"), row.get("source_repo"), row.get("visibility"))
        assert tuple(certificate.claims.get(n) for n in (1, 8, 12, 22)) == stated
        assert certificate.not_before.isoformat() == row["not_before"]
        assert certificate.anomalies == ()
    if row.get("hash"):
        assert entry.digest is not None
        assert entry.digest.value == row["hash"].rpartition(":")[2]


@pytest.mark.parametrize("row", MALFORMED, ids=name)
def test_a_malformed_entry_is_refused_by_name_and_never_passed_over(row: Row) -> None:
    leaf = body(row)
    with pytest.raises(FormatError) as refused:
        decode(leaf, protocol(row))
    said = str(refused.value)
    if row.get("cert_error"):
        assert "publicKey.content: PEM block CERTIFICATE" in said
    else:
        assert re.search(r"has no (hash|spec)|unknown kind", said), said


def verdicts(row: Row) -> tuple[set[str], list[TrustVerdict]]:
    """The steps that fail, by the manifest's names, and the verdict of each certificate."""
    environment = row["verify"].partition(":")[0]
    leaf, entry = body(row), beside(row)
    failed = set() if included(entry, leaf, root(environment)) else {"inclusion"}
    found = []
    for signer in decode(leaf, protocol(row)).signers:
        if signer.certificate is None:
            failed |= {"signature"} if signer.verifies is False else set()
            continue
        verdict = check(
            signer.certificate,
            root(environment),
            promise=promise(entry) if protocol(row) is Protocol.REKOR_V1 else None,
            data=leaf,
            signer_verifies=signer.verifies,
        )
        failed.update(verdict.failed)
        found.append(verdict)
    return failed, found


@pytest.mark.parametrize("row", VERIFIED, ids=name)
def test_an_entry_verifies_under_its_root_or_fails_at_the_steps_named(row: Row) -> None:
    failed, found = verdicts(row)
    named = set(re.findall(r"[a-z]+", row["verify"].partition(":fail")[2]))
    if ASKED_AT_INTEGRATED_TIME in row["path"]:
        assert named == {"chain", "sct"}
        assert failed == set()
        assert [verdict.within_validity for verdict in found] == [False]
        return
    assert failed == named
    if "chain" in named:
        assert all(verdict.trust is Trust.UNTRUSTED for verdict in found)
    elif named <= {"inclusion"}:
        assert all(verdict.trust is Trust.TRUSTED and verdict.issued_at for verdict in found)
        assert all(verdict.within_validity for verdict in found)


@pytest.mark.parametrize("row", SIGNED_IMAGES, ids=name)
def test_a_public_image_signature_is_among_the_predicted_payloads_of_its_digest(row: Row) -> None:
    (digest,) = re.findall(r"sha256:[0-9a-f]{64}", str(row["subjects"]))
    entry = decode(body(row), protocol(row))
    assert entry.digest is not None
    assert entry.digest.value == row["payload_sha256"]
    assert entry.digest.value in {found.value for found in payloads.predicted(digest, [])}


def test_there_are_public_image_signatures() -> None:
    assert len(SIGNED_IMAGES) >= 4


def test_the_prefilter_keeps_every_public_entry_whose_certificate_bears_the_name() -> None:
    """Each owner in turn, as if it were ours."""
    owners = {row["san"].split("/")[3] for row in SOUND if str(row.get("san")).startswith("https://github.com/")}
    owners = {owner for owner in owners if len(owner) >= 4}
    assert len(owners) > 10
    for wanted in Protocol:
        sound = [row for row in SOUND if protocol(row) is wanted]
        block = as_block([body(row) for row in sound], prefixed=False)
        for owner in owners:
            kept = set(Prefilter([owner]).candidates(block, wanted))
            bearing = {i for i, row in enumerate(sound) if f"/{owner}/".lower() in str(row.get("san")).lower()}
            assert bearing <= kept


def test_the_prefilter_finds_every_public_bare_key() -> None:
    sound = [row for row in SOUND if protocol(row) is Protocol.REKOR_V1]
    block = as_block([body(row) for row in sound], prefixed=False)
    holders: dict[bytes, set[int]] = {}
    for i, row in enumerate(sound):
        for signer in decode(body(row), Protocol.REKOR_V1).signers:
            if signer.certificate is None and signer.spki:
                holders.setdefault(signer.spki, set()).add(i)
    assert len(holders) > 3
    for key, bearing in holders.items():
        kept = set(Prefilter(["nobody-we-know"], [key]).candidates(block, Protocol.REKOR_V1))
        assert bearing <= kept, base64.b64encode(key)
