"""What lies beside a digest is fetched once, bounded, and what cannot be had is handed on as such."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from monitor.errors import FetchError, NotFoundError, OversizeError, RateLimitedError, RegistryError
from monitor.releases import bundles, collect
from monitor.releases.bundles import ENVELOPE_TYPE, SIGNATURE, SIMPLE_SIGNING_TYPE
from monitor.releases.reference import Descriptor, Manifest, Reference

if TYPE_CHECKING:
    from monitor.releases.registry import Registry

DIGEST = "sha256:" + "1" * 64
TAG = "sha256-" + "1" * 64
REF = Reference("ghcr.io", "trustacks/runner")
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class FakeRegistry:
    """Answers out of memory; a value that is an error is raised."""

    listed: list[Descriptor] = field(default_factory=list)
    manifests: dict[str, Manifest | Exception] = field(default_factory=dict)
    blobs: dict[str, bytes | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def referrers(self, _ref: Reference, _digest: str) -> tuple[Descriptor, ...]:
        return tuple(self.listed)

    async def manifest(self, _ref: Reference, name: str) -> Manifest | None:
        self.asked.append(name)
        found = self.manifests.get(name)
        if isinstance(found, Exception):
            raise found
        return found

    async def blob(self, _ref: Reference, name: str, limit: int) -> bytes:
        self.asked.append(name)
        assert limit == bundles.MAX_BUNDLE
        found = self.blobs[name]
        if isinstance(found, Exception):
            raise found
        return found

    def layer(self, data: bytes, kind: str = BUNDLE, **annotations: str) -> Descriptor:
        self.blobs[digest(data)] = data
        return Descriptor(kind, digest(data), len(data), "", annotations)

    def attach(self, *layers: Descriptor, name: str = "", artifact_type: str = "") -> str:
        """A manifest with these layers: a referrer, or what stands under the tag `name`."""
        own = digest(repr((layers, name)).encode())
        subject = None if name else Descriptor("x/y", DIGEST, 1)
        made = Manifest(own, "x/y", "", None, layers, (), subject, {}, b"")
        self.manifests[name or own] = made
        if not name:
            self.listed.append(Descriptor("x/y", own, 1, artifact_type))
        return own

    async def collect(self, *known: str) -> tuple[collect.Fetched, ...]:
        return await collect.collect(cast("Registry", self), REF, DIGEST, set(known))


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


async def test_referrers_are_opened_whatever_the_index_says_of_them(registry: FakeRegistry) -> None:
    one = registry.attach(registry.layer(b"one"), artifact_type="application/vnd.oci.empty.v1+json")
    two = registry.attach(registry.layer(b"two"))
    registry.attach(registry.layer(b"no signature", kind="application/octet-stream"))
    found = await registry.collect()
    assert [(each.source, each.blob) for each in found] == [(one, b"one"), (two, b"two")]


async def test_what_is_known_is_not_asked_for_again(registry: FakeRegistry) -> None:
    registry.attach(registry.layer(b"one"))
    registry.attach(registry.layer(b"sig", SIMPLE_SIGNING_TYPE, **{SIGNATURE: "AAAA"}), name=f"{TAG}.sig")
    found = await registry.collect()
    registry.asked.clear()
    assert await registry.collect(*(each.source for each in found)) == ()
    assert registry.asked == [f"{TAG}.sig", f"{TAG}.att"]


async def test_signatures_over_one_payload_are_told_apart_and_a_new_one_is_fetched(registry: FakeRegistry) -> None:
    first = registry.layer(b"payload", SIMPLE_SIGNING_TYPE, **{SIGNATURE: "AAAA"})
    second = registry.layer(b"payload", SIMPLE_SIGNING_TYPE, **{SIGNATURE: "BBBB"})
    registry.attach(first, name=f"{TAG}.sig")
    (before,) = await registry.collect()
    registry.attach(first, second, name=f"{TAG}.sig")
    (new,) = await registry.collect(before.source)
    assert new.annotations == {SIGNATURE: "BBBB"}
    assert new.source != before.source


async def test_attestations_of_the_older_layout_are_fetched_too(registry: FakeRegistry) -> None:
    registry.attach(registry.layer(b"{}", ENVELOPE_TYPE), name=f"{TAG}.att")
    (found,) = await registry.collect()
    assert found.media_type == ENVELOPE_TYPE


async def test_a_bundle_of_100_mb_is_told_and_never_fetched(registry: FakeRegistry) -> None:
    source = registry.attach(Descriptor(BUNDLE, "sha256:" + "2" * 64, 100_000_000))
    (found,) = await registry.collect()
    assert (found.source, found.blob) == (source, b"")
    assert "100000000 bytes" in found.error
    assert registry.asked[0] == source
    assert "sha256:" + "2" * 64 not in registry.asked


@pytest.mark.parametrize(
    "error", [OversizeError("longer than it said"), RegistryError("another digest"), NotFoundError("gone")]
)
async def test_one_bad_signature_hides_no_other(registry: FakeRegistry, error: FetchError) -> None:
    bad = registry.layer(b"bad")
    registry.attach(bad)
    registry.attach(registry.layer(b"good"))
    registry.blobs[bad.digest] = error
    told, good = await registry.collect()
    assert told.error == str(error)
    assert good.blob == b"good"


async def test_a_referrer_that_is_not_there_or_not_what_it_says_hides_no_other(registry: FakeRegistry) -> None:
    gone, broken = registry.attach(registry.layer(b"1")), registry.attach(registry.layer(b"2"))
    good = registry.attach(registry.layer(b"3"))
    del registry.manifests[gone]
    registry.manifests[broken] = RegistryError("another digest")
    found = await registry.collect()
    assert [(each.source, bool(each.error)) for each in found] == [(gone, True), (broken, True), (good, False)]


@pytest.mark.parametrize("error", [RateLimitedError("later", retry_after=1), FetchError("no answer")])
async def test_a_registry_that_cannot_be_asked_ends_the_pass(registry: FakeRegistry, error: FetchError) -> None:
    layer = registry.layer(b"one")
    registry.attach(layer)
    registry.blobs[layer.digest] = error
    with pytest.raises(type(error)):
        await registry.collect()


async def test_more_than_is_read_is_said(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MAX_REFERRERS", 2)
    monkeypatch.setattr(collect, "MAX_LAYERS", 1)
    for number in range(3):
        registry.attach(registry.layer(bytes([number])))
    two = (registry.layer(b"a", ENVELOPE_TYPE), registry.layer(b"b", ENVELOPE_TYPE))
    registry.attach(*two, name=f"{TAG}.att")
    found = await registry.collect()
    assert sum(not each.error for each in found) == 3
    assert [each.error.rpartition("; ")[2] for each in found if each.error] == [
        "the first 2 were read",
        "the first 1 were read",
    ]
