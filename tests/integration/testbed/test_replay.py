from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import httpx

from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import verify_consistency, verify_inclusion
from tests.replay import RECORDING, ReplayV1
from tests.replay_ct import ReplayCT


def recorded(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDING / name).read_text().splitlines()]


async def test_the_recorded_certificate_log_answers_every_recorded_request_alike() -> None:
    async with ReplayCT() as log, httpx.AsyncClient(base_url=log.url) as client:
        for row in recorded("ct.jsonl"):
            reply = await client.get(row["path"])
            assert row["status"] == reply.status_code
            if reply.status_code == 200:
                assert json.loads(row["response"]) == reply.json()
            else:
                assert row["response"] == reply.text
        assert log.read_url == f"{log.url}/trustacks"
        assert log.origin.startswith("c1b42c27")


async def test_the_recorded_certificate_log_proves_any_range_to_its_recorded_root() -> None:
    async with ReplayCT(page=10) as log, httpx.AsyncClient(base_url=f"{log.read_url}/ct/v1/") as client:
        sth = (await client.get("get-sth")).json()
        size, root = sth["tree_size"], b64decode(sth["sha256_root_hash"])
        hashes: list[bytes] = []
        while len(hashes) < size:
            page = (await client.get("get-entries", params={"start": len(hashes), "end": size + 50})).json()["entries"]
            hashes += [leaf_hash(b64decode(entry["leaf_input"])) for entry in page]
        assert tree_root(hashes) == root
        for first in range(1, size, 7):
            reply = (await client.get("get-sth-consistency", params={"first": first, "second": size})).json()
            proof = [b64decode(node) for node in reply["consistency"]]
            verify_consistency(first, size, tree_root(hashes[:first]), root, proof)
        for index in range(0, size, 7):
            query = {"hash": b64encode(hashes[index]).decode(), "tree_size": size}
            reply = (await client.get("get-proof-by-hash", params=query)).json()
            assert reply["leaf_index"] == index
            verify_inclusion(hashes[index], index, size, [b64decode(node) for node in reply["audit_path"]], root)
        for name, query in (
            ("get-sth-consistency", {"first": 5, "second": size + 1}),
            ("get-entry-and-proof", {"leaf_index": size, "tree_size": size}),
            ("get-entry-and-proof", {"leaf_index": 0, "tree_size": size + 1}),
        ):
            assert (await client.get(name, params=query)).status_code == 400


async def test_the_recorded_v1_server_answers_every_recorded_search_alike_until_it_knows_none() -> None:
    compared = 0
    async with ReplayV1() as log, httpx.AsyncClient(base_url=log.url) as client:
        for row in recorded("v1.jsonl"):
            if row["path"] != "/api/v1/index/retrieve":
                continue
            reply = await client.post(row["path"], json=row["request"])
            assert row["status"] == reply.status_code
            if reply.status_code == 200:
                assert sorted(set(json.loads(row["response"]))) == sorted(reply.json())
                compared += len(reply.json())
        assert compared > 50
        log.index = False
        assert (await client.post("/api/v1/index/retrieve", json={"subject": "x"})).status_code == 404


async def test_a_search_of_the_recorded_v1_server_is_whole_and_in_any_case() -> None:
    subject = "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml@refs/tags/v0.1.2"
    async with ReplayV1() as log, httpx.AsyncClient(base_url=log.url) as client:

        async def search(**query: str) -> list[str]:
            return list((await client.post("/api/v1/index/retrieve", json=query)).raise_for_status().json())

        found = await search(subject=subject)
        assert found
        assert await search(subject=subject.upper()) == found
        assert await search(subject=subject[:-1]) == []
        assert await search(unknown="field") == []
        for uuid in found:
            for name in (uuid, uuid[16:]):
                [(named, entry)] = (await client.get(f"/api/v1/log/entries/{name}")).json().items()
                assert named[-64:] == uuid[-64:]
                assert log.entries[entry["logIndex"]] == {named: entry}
        assert (await client.get(f"/api/v1/log/entries/{'0' * 64}")).status_code == 404
        assert (await client.get("/api/v1/log/entries/0")).status_code == 422
