"""What lies beside the artifacts of the recorded registry, without asking it: the layers of its manifests, and their bytes."""

from __future__ import annotations

import json
from functools import cache

from monitor.releases.bundles import BUNDLE_TYPE, SIMPLE_SIGNING_TYPE
from monitor.releases.collect import Fetched
from tests.replay import RECORDING


@cache
def fetched() -> tuple[Fetched, ...]:
    """Every bundle and `.sig` layer, each once."""
    rows = [json.loads(line) for line in (RECORDING / "registry.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["status"] == 200]
    blobs = {row["path"].rpartition("/")[2]: row["text"].encode() for row in rows if "/blobs/" in row["path"]}
    found = {}
    for row in rows:
        if "/manifests/" not in row["path"]:
            continue
        for layer in json.loads(row["text"]).get("layers", ()):
            kind = layer["mediaType"]
            if kind == SIMPLE_SIGNING_TYPE or BUNDLE_TYPE.fullmatch(kind):
                notes = layer.get("annotations", {})
                source = layer["digest"] + json.dumps(notes)
                found[source] = Fetched(source, kind, notes, blobs[layer["digest"]])
    return tuple(found.values())
