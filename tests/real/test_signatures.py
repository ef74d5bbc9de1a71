"""Real cosign signs into a real rekor-tiles and a real Rekor v1, and the monitor says what is right and what is not."""

from __future__ import annotations

import base64
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from monitor.store import checkpoints, entries
from monitor.store.engine import Store
from monitor.testbed.ca import Claims
from monitor.tlog.merkle import leaf_hash
from monitor.tlog.proofs import verify_inclusion
from tests.real.programs import eventually
from tests.real.servers import V2_HOST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.testbed.slack import Slack
    from tests.real.sigstore import Log, RealSigstore, Signature
    from tests.real.watched import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGS: tuple[Log, ...] = ("v1", "v2")
PUBLISHED = (
    "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml"
    r"@refs/tags/v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"
)
CASED = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/Publish-Images.yml@refs/tags/v0.1.2"


async def test_a_release_signed_by_cosign_raises_nothing_and_is_proven_on_both_logs(
    sigstore: RealSigstore, watched: Watched, slack: Slack
) -> None:
    assert (await watched.poll())[0] == 0
    signed = [await sigstore.sign(log, b"a released file, %s" % log.encode(), Claims(run="100")) for log in LOGS]
    watched.release({each.blob.name: each.digest for each in signed})
    for log in LOGS:
        await sigstore.noise(log, 25)
    status, said = await watched.poll()
    assert status == 0, said
    rows = await watched.listed("entries", "list")
    assert {row["digest"] for row in rows} == {each.digest for each in signed}
    for row in rows:
        assert (row["trust"], row["digest_status"], row["rules"]) == ("trusted", "expected", [])
        assert row["proven"]
        assert _says_yes(row)
    for each in signed:
        assert await sigstore.accepts(each, PUBLISHED)
    assert await watched.listed("findings", "list") == []
    assert slack.messages == []
    await _proofs_verify(sigstore, watched, rows)


async def test_what_cosign_signs_wrongly_is_found_by_its_rules_and_judged_as_cosign_judges_it(
    sigstore: RealSigstore, watched: Watched, slack: Slack
) -> None:
    await watched.poll()
    signed: dict[str, tuple[Signature, set[str]]] = {}
    for log in LOGS:
        for content, claims, rules in (
            (b"from a branch", Claims(ref="refs/heads/main"), {"branch-ref"}),
            (b"cased otherwise", Claims(san=CASED), {"identity-casing"}),
            (b"of no release", Claims(), set[str]()),
        ):
            run = f"2{len(signed)}"
            made = await sigstore.sign(log, b"%s, %s" % (content, log.encode()), replace(claims, run=run))
            signed[run] = made, rules | {"unexpected-digest"}
    status, said = await watched.poll()
    assert status == 3, said
    rows = {row["run"].rpartition("/")[2]: row for row in await watched.listed("entries", "list")}
    assert set(rows) == set(signed)
    for run, (made, rules) in signed.items():
        row = rows[run]
        assert set(row["rules"]) == rules
        assert (row["trust"], row["digest"], row["identity"]) == ("trusted", made.digest, made.claims.identity())
        assert _says_yes(row) is await sigstore.accepts(made, PUBLISHED)
    assert len(await watched.listed("incidents", "list")) == len(signed)
    for made, _ in signed.values():
        assert _told(slack, made) == 1
    await _proofs_verify(sigstore, watched, rows.values())


async def test_attestations_by_cosign_are_read_and_verified_on_both_logs(
    sigstore: RealSigstore, watched: Watched
) -> None:
    await watched.poll()
    for number, log in enumerate(LOGS):
        await sigstore.attest(log, b"attested", Claims(ref="refs/heads/main", run=f"3{number}"))
    status, said = await watched.poll()
    assert status == 3, said
    rows = await watched.listed("entries", "list")
    assert {(row["kind"], row["api_version"]) for row in rows} == {("dsse", "0.0.1"), ("hashedrekord", "0.0.2")}
    for row in rows:
        assert row["trust"] == "trusted"
        assert "branch-ref" in row["rules"]
    await _proofs_verify(sigstore, watched, rows)


async def test_nothing_is_lost_or_told_twice_over_a_kill_a_shard_rotation_and_growth(
    sigstore: RealSigstore, watched: Watched, slack: Slack
) -> None:
    signed: list[Signature] = []

    async def sign(log: Log, ref: str = "refs/tags/v0.1.2", san: str | None = None) -> None:
        number = len(signed)
        claims = Claims(ref=ref, san=san, run=f"4{number:02}")
        signed.append(await sigstore.sign(log, b"signed badly, %d" % number, claims))

    async def told() -> bool:
        watched.check()
        return all(_told(slack, each) for each in signed)

    await watched.poll()
    await watched.start()
    for log in LOGS:
        await sign(log, ref="refs/heads/main")
        await sigstore.noise(log, 30)
    await eventually(told, "the first signatures are told")
    await watched.stop(signal.SIGKILL)
    for log in LOGS:
        await sign(log, san=CASED)
    before = str((await sigstore.v1.info())["treeID"])
    await sigstore.v1.rotate()
    await sigstore.noise("v2", 300)  # past the end of a bundle
    await sigstore.noise("v1", 15)
    await sign("v1", ref="refs/heads/after-rotation")
    await watched.start()
    await eventually(told, "what was signed while the monitor was down is told")
    await sign("v1", ref="refs/heads/later")
    await sign("v2", ref="refs/heads/later")
    await eventually(told, "what is signed after the rotation is told")
    await sigstore.v1.rotate()  # this time while it watches
    await sign("v1", ref="refs/heads/at-once")
    await eventually(told, "what is signed after the second rotation is told")
    assert await watched.stop() == 0

    assert [_told(slack, each) for each in signed] == [1] * len(signed)
    rows = await watched.listed("entries", "list")
    assert sorted(row["digest"] for row in rows) == sorted(each.digest for each in signed)
    shards = {row["log"] for row in rows if row["log"] != V2_HOST}
    assert len(shards) == 3
    assert any(origin.endswith(before) for origin in shards)
    findings = await watched.listed("findings", "list")
    assert {row["rule"] for row in findings} == {"branch-ref", "identity-casing", "unexpected-digest"}
    assert len({(row["rule"], row["log"], row["index"]) for row in findings}) == len(findings)
    assert {row["behind"] for row in await watched.listed("logs", "list")} == {0}
    await _proofs_verify(sigstore, watched, rows)


def _told(slack: Slack, signature: Signature) -> int:
    """How many messages were begun about the run that made a signature."""
    run = f"runs/{signature.claims.run}"
    return sum(run in str(message.blocks) + message.text for message in slack.messages if not message.is_reply)


def _says_yes(row: dict[str, Any]) -> bool:
    return row["accepted"] in {"yes", "if timestamped"}


async def _proofs_verify(sigstore: RealSigstore, watched: Watched, rows: Iterable[dict[str, Any]]) -> None:
    """What is kept proves each entry by itself: leaf to root by its proof, root by the log's signature, with no code of `watch`."""
    async with await Store.open(watched.database, create=False) as store, store.read() as tx:
        for row in rows:
            stored = await entries.get(tx, row["id"])
            kept = await entries.proof(tx, row["id"])
            assert stored is not None
            assert kept is not None
            (checkpoint,) = await checkpoints.at_size(tx, row["log"], kept.checkpoint_size)
            key = sigstore.v2.key if row["log"] == V2_HOST else sigstore.v1.key
            text, _, signatures = checkpoint.note.partition(b"\n\n")
            origin, size, root = text.split(b"\n")[:3]
            signed = base64.b64decode(signatures.split(b"\n")[0].rpartition(b" ")[2])[4:]
            public = load_der_public_key(key.spki)
            if isinstance(public, Ed25519PublicKey):
                public.verify(signed, text + b"\n")
            else:
                assert isinstance(public, EllipticCurvePublicKey)
                public.verify(signed, text + b"\n", ECDSA(SHA256()))
            assert origin.decode() == row["log"]
            assert leaf_hash(stored.leaf.data).hex() == row["leaf_hash"]
            verify_inclusion(
                leaf_hash(stored.leaf.data), row["index"], int(size), kept.proof.hashes, base64.b64decode(root)
            )
