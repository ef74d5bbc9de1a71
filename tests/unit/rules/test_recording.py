"""What real servers and real cosign recorded: every signing act fires exactly the rules it must, and cosign agrees."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from monitor.entries.decode import decode
from monitor.errors import FormatError
from monitor.model.entry import JudgedSigner, LogEntry
from monitor.model.finding import Accepted
from monitor.model.log import Promise, Protocol
from monitor.model.release import Authority, Expectations, ExpectedDigest, Match
from monitor.releases.files import parse
from monitor.releases.ledger import predicted
from monitor.rules import entry as entry_rules
from monitor.rules.policy import Policy
from monitor.tlog.merkle import leaf_hash
from monitor.tlog.tiles import recover_bundle
from monitor.trust.check import check
from monitor.trust.root import TrustRoot
from monitor.trust.root import parse as parse_root

if TYPE_CHECKING:
    from monitor.model.judgement import Judgement

RECORDING = Path(__file__).parents[2] / "fixtures" / "recording"
SEEN = datetime(2026, 11, 23, 12, tzinfo=UTC)


@cache
def policy() -> Policy:
    key = load_pem_public_key((RECORDING / "contributor.pub").read_bytes())
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Policy(
        repository_id="912345678",
        owner_id="187654321",
        contributor_keys=frozenset({hashlib.sha256(spki).hexdigest()}),
        extra_references=("ghcr.io/trustacks/any",),
        grace=timedelta(0),
    )


@cache
def root() -> TrustRoot:
    return parse_root((RECORDING / "trusted_root.json").read_bytes())


@cache
def expected_hashes() -> tuple[dict[str, list[Match]], frozenset[tuple[str, str]]]:
    found: dict[str, list[Match]] = {}
    complete = set()
    for release in parse((RECORDING / "releases.toml").read_bytes(), "releases.toml", policy()).releases:
        for listed in release.digests:
            complete.add((release.version, listed.artifact))
            digest = ExpectedDigest(release.version, listed.artifact, listed.digest, listed.kind, Authority.APPROVED)
            for each in predicted(digest, policy()):
                match = Match(digest.version, digest.artifact, digest.digest, digest.authority, each.how)
                found.setdefault(each.value, []).append(match)
    return found, frozenset(complete)


def judge(log: str, index: int, protocol: Protocol, data: bytes, promise: Promise | None) -> Judgement:
    decoded = decode(data, protocol)
    signers = tuple(
        JudgedSigner(
            signer,
            check(signer.certificate, root(), promise=promise, data=data, signer_verifies=signer.verifies)
            if signer.certificate
            else None,
        )
        for signer in decoded.signers
    )
    entry = LogEntry(log, index, leaf_hash(data), data, decoded, signers, promise, SEEN)
    hashes, complete = expected_hashes()
    matches = tuple(hashes.get(entry_rules.logged_hash(entry) or "", ()))
    expectations = Expectations(matches, complete, sources=True)
    return entry_rules.judge(entry, expectations, policy(), SEEN, history=False)


@cache
def judged() -> dict[tuple[str, int], Judgement]:
    found: dict[tuple[str, int], Judgement] = {}
    tiles = RECORDING / "v2" / "log" / "tile"
    for number, name in ((0, "000"), (1, "001.p/201")):
        data = (tiles / "entries" / name).read_bytes()
        level0 = (tiles / "0" / name).read_bytes()
        hashes = [level0[at : at + 32] for at in range(0, len(level0), 32)]
        for offset, (start, end) in enumerate(zip(*recover_bundle(data, hashes), strict=True)):
            keep(found, "v2", number * 256 + offset, Protocol.REKOR_V2, data[start:end], None)
    for line in (RECORDING / "v1.jsonl").read_text().splitlines():
        reply = json.loads(line)
        if "/log/entries" in reply["path"] and reply["status"] == 200:
            replies = json.loads(reply["response"])
            for entries in replies if isinstance(replies, list) else [replies]:
                for uuid, each in entries.items():
                    data = base64.b64decode(each["body"])
                    keep(found, "v1", each["logIndex"], Protocol.REKOR_V1, data, promise(uuid, each))
    return found


def keep(
    found: dict[tuple[str, int], Judgement],
    log: str,
    index: int,
    protocol: Protocol,
    data: bytes,
    promised: Promise | None,
) -> None:
    # What cannot be read is quarantined before any rule: it has no judgement here.
    try:
        found[log, index] = judge(log, index, protocol, data, promised)
    except FormatError:
        return


def promise(uuid: str, reply: dict[str, Any]) -> Promise:
    return Promise(
        bytes.fromhex(reply["logID"]),
        datetime.fromtimestamp(reply["integratedTime"], UTC),
        reply["logIndex"],
        uuid,
        base64.b64decode(reply["verification"]["signedEntryTimestamp"]),
    )


ROWS = [json.loads(line) for line in (RECORDING / "expect.jsonl").read_text().splitlines()]
ACTS = [row for row in ROWS if row["indexes"]]


@pytest.mark.parametrize("row", ACTS, ids=[f"{row['label']} on {row['log']}" for row in ACTS])
def test_a_recorded_signing_act_fires_exactly_its_rules(row: dict[str, Any]) -> None:
    # Attestations are explained by their fetched bundles only: until those are read they are unexpected.
    expected = {"unexpected-digest"} if row.get("attestation") else set(row["rules"])
    for index in row["indexes"]:
        judgement = judged()[row["log"], index]
        assert {finding.rule for finding in judgement.findings} == expected
        assert judgement.related
        severities = {finding.rule: finding.severity for finding in judgement.findings}
        for rule, severity in row.get("severity", {}).items():
            assert severities[rule] == severity
        if row.get("sole_signature"):
            accepted = judgement.accepted in {Accepted.YES, Accepted.IF_TIMESTAMPED}
            assert accepted is (row["cosign_verify_exit"] == 0)


def test_entries_without_a_row_fire_nothing() -> None:
    acts = {(row["log"], index) for row in ACTS for index in row["indexes"]}
    others = {place: judgement for place, judgement in judged().items() if place not in acts}
    assert len(others) > 400
    assert not [place for place, judgement in others.items() if judgement.findings]
    assert not [place for place, judgement in others.items() if judgement.related]
