"""Real cosign signs images of a real registry into real logs, and the monitor, told of no release, says which are right."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from monitor.model.filters import FindingFilter, Page
from monitor.store import findings
from monitor.store.engine import Store
from monitor.testbed.ca import Claims
from tests.real.programs import missing
from tests.real.registry import POLICY_BUNDLE, DockerRegistry
from tests.real.sigstore import SignedImage
from tests.real.watched import Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from monitor.model.finding import StoredFinding
    from monitor.testbed.oci import Pushed
    from monitor.testbed.slack import Slack
    from tests.real.sigstore import Log, RealSigstore

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGS: tuple[Log, ...] = ("v1", "v2")
IMAGES = ("control-plane", "runner", "ui")
ARTIFACTS = (*IMAGES, "policy/constitution")
PROVENANCE = "https://slsa.dev/provenance/v1"
PUBLISHED = (
    "https://github.com/TruStacks/trustacks-mvp/.github/workflows/publish-images.yml"
    r"@refs/tags/v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"
)
_runs = count(26000000001)
_houses = count(1)


def claims_of(version: str, artifact: str = "runner", run: str | None = None) -> Claims:
    """The claims of the workflow that publishes an artifact, at a version's tag and commit."""
    ref = f"refs/tags/v{version}"
    workflow = "publish-images.yml" if artifact in IMAGES else "publish-policy.yml"
    commit = hashlib.sha1(ref.encode(), usedforsecurity=False).hexdigest()
    return Claims(workflow=workflow, ref=ref, sha=commit, run=run or str(next(_runs)))


@dataclass
class House:
    """TruStacks as it releases: repositories of a test's own, the logs all tests share, and a monitor over both.

    `log` is where it signs. Versions must be of this test alone, for what other tests logged is read too.
    """

    sigstore: RealSigstore
    registry: DockerRegistry
    namespace: str
    log: Log
    monitor: Watched = field(repr=False)
    known: set[int] = field(default_factory=set)
    """The findings that earlier passes left."""

    def repository(self, artifact: str) -> str:
        return f"{self.namespace}/{artifact}"

    def image(self, artifact: str, digest: str, claims: Claims, *options: str | Path, entries: int = 1) -> SignedImage:
        """An image as cosign shall sign it."""
        reference = f"{self.registry.host}/{self.repository(artifact)}@{digest}"
        return SignedImage(reference, claims, ("sign", *options), entries=entries)

    async def push(self, version: str, tag: str | None = None) -> dict[str, Pushed]:
        """Push the four artifacts of a version, an index over two platforms among them."""
        tag = tag or version
        control = self.repository("control-plane")
        platforms = [
            await self.registry.image(control, "", f"control-plane {tag} {name}") for name in ("amd64", "arm64")
        ]
        found = {"control-plane": await self.registry.index(control, version, *platforms)}
        for artifact in ("runner", "ui"):
            found[artifact] = await self.registry.image(self.repository(artifact), version, f"{artifact} {tag}")
        policy = "policy/constitution"
        found[policy] = await self.registry.image(self.repository(policy), version, f"policy {tag}", POLICY_BUNDLE)
        return found

    async def sign(self, *images: SignedImage, log: Log | None = None) -> None:
        await self.sigstore.sign_images(log or self.log, *images)

    async def state(self, log: Log, claims: Claims, *subjects: str) -> None:
        """Sign a statement about some digests, and put it beside the first, which is the ui's."""
        named = [{"name": "ui", "digest": {"sha256": each.removeprefix("sha256:")}} for each in subjects]
        told = {"_type": "https://in-toto.io/Statement/v1", "subject": named, "predicateType": PROVENANCE}
        signature = await self.sigstore.state(log, json.dumps(told | {"predicate": {"made": "here"}}).encode(), claims)
        await self.registry.attach(self.repository("ui"), subjects[0], signature.bundle.read_bytes())

    async def release(self, version: str, *options: str, legacy: bool = False, without: str = "") -> dict[str, str]:
        """Push and sign a version as the two workflows do, but for one artifact."""
        pushed = await self.push(version)
        images = []
        runs = {artifact in IMAGES: str(next(_runs)) for artifact in ARTIFACTS}
        for artifact, each in pushed.items():
            if artifact != without:
                claims = claims_of(version, artifact, runs[artifact in IMAGES])
                recursive = "--recursive" in options and artifact == "control-plane"
                image = self.image(artifact, each.digest, claims, *options, entries=3 if recursive else 1)
                images.append(replace(image, legacy=legacy))
        await self.sign(*images)
        return {artifact: each.digest for artifact, each in pushed.items()}

    async def approve(self, version: str) -> None:
        await self.monitor.said("releases", "approve", version, "--reason", "we released it")

    async def new(self) -> list[str]:
        """The rules of the findings that one more pass adds and leaves standing."""
        _, said = await self.monitor.poll()
        assert "not read" not in said
        rows = await self.findings()
        fresh = sorted(row.finding.rule for row in rows if row.id not in self.known)
        self.known |= {row.id for row in rows}
        return fresh

    async def findings(self) -> list[StoredFinding]:
        """The findings about this house: what other tests signed before it began is history to its monitor."""
        async with await Store.open(self.monitor.database, create=False) as store, store.read() as tx:
            rows = await findings.list_findings(tx, FindingFilter(), Page(limit=1000))
        return [row for row in rows if not row.finding.history]

    async def standing(self, version: str) -> list[str]:
        """The rules that hold against a version now."""
        return [row.finding.rule for row in await self.findings() if row.finding.version == version]

    async def announced(self, *versions: str) -> None:
        """Releases were just made: each is announced, nothing else is said, and once approved nothing stands."""
        assert await self.new() == ["new-release"] * len(versions)
        for version in versions:
            await self.approve(version)
        assert await self.new() == []
        for version in versions:
            assert await self.standing(version) == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DockerRegistry]:
    """A real registry, shared: each test has repositories of its own."""
    if missing("docker-registry"):
        reason = "not on the PATH: docker-registry (Debian's package of that name)"
        if os.environ.get("MONITOR_REAL") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    async with DockerRegistry(tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def house(
    request: pytest.FixtureRequest, tmp_path: Path, registry: DockerRegistry, sigstore: RealSigstore, slack: Slack
) -> House:
    """A house that signs into Rekor v2, or into the log that the test is parametrized with, and has released nothing yet."""
    namespace = f"house-{next(_houses)}/trustacks"
    where = {artifact: f"{registry.host}/{namespace}/{artifact}" for artifact in ARTIFACTS}
    house = House(
        sigstore, registry, namespace, getattr(request, "param", "v2"), Watched(tmp_path, sigstore, slack, where)
    )
    await house.monitor.poll()
    assert await house.findings() == []
    return house


@pytest.mark.parametrize(("house", "version"), [("v1", "21.0.0"), ("v2", "22.0.0")], indirect=["house"])
async def test_a_release_of_four_signed_artifacts_is_announced_whole_and_raises_nothing_else(
    house: House, version: str, slack: Slack
) -> None:
    digests = await house.release(version)
    assert await house.new() == ["new-release"]
    begun = [message.text + str(message.blocks) for message in slack.messages if not message.is_reply]
    (told,) = [text for text in begun if version in text]
    assert all(digest in told for digest in digests.values())
    assert await house.sigstore.accepts_image(house.image("ui", digests["ui"], claims_of(version)).reference, PUBLISHED)
    (row,) = [row for row in await house.monitor.listed("releases", "list") if row["version"] == version]
    assert (row["state"], row["missing"], row["unsigned"]) == ("released", [], [])
    await house.approve(version)
    assert await house.new() == []
    assert await house.standing(version) == []


async def test_every_lawful_way_of_signing_stays_silent_and_a_foreign_subject_does_not(house: House) -> None:
    house.log = "v1"
    old = await house.release("31.0.0", legacy=True)
    house.log = "v2"
    whole = await house.release("31.1.0", "--recursive")
    await house.announced("31.0.0", "31.1.0")
    predicate = house.sigstore.folder / "provenance.json"
    definition = {"buildType": "https://actions.github.io/buildtypes/workflow/v1", "externalParameters": {}}
    predicate.write_text(
        json.dumps({"buildDefinition": definition, "runDetails": {"builder": {"id": "https://github.com/actions"}}})
    )
    attest = ("attest", "--type", "slsaprovenance1", "--predicate", predicate)
    logs: tuple[tuple[Log, str, str], ...] = (("v1", "31.0.0", old["runner"]), ("v2", "31.1.0", whole["runner"]))
    for log, version, digest in logs:
        await house.sign(replace(house.image("runner", digest, claims_of(version)), command=attest), log=log)
    older = replace(house.image("ui", old["ui"], claims_of("31.0.0")), command=attest, legacy=True)
    await house.sign(older, log="v1")
    assert await house.new() == []

    # What states something of several subjects is the release's own only if all of them are.
    signed = claims_of("31.1.0")
    for log in LOGS:
        await house.state(log, signed, whole["ui"], whole["runner"])
        assert await house.new() == []
        await house.state(log, signed, whole["ui"], f"sha256:{'b' * 64}")
        assert await house.new() == ["unexpected-digest"]


async def test_each_thing_wrong_with_a_release_or_a_signature_raises_exactly_its_rule(house: House) -> None:
    first, second = await house.release("41.0.0"), await house.release("41.1.0")
    await house.announced("41.0.0", "41.1.0")
    runner, ui = house.repository("runner"), house.repository("ui")

    # A tag pointed elsewhere.
    other = await house.registry.image(ui, "", "another ui")
    await house.registry.tag(ui, "41.0.0", other.digest)
    assert await house.new() == ["tag-moved"]

    # An untagged digest.
    untagged = await house.registry.image(runner, "", "of no release")
    await house.sign(house.image("runner", untagged.digest, claims_of("41.1.0")))
    assert await house.new() == ["unexpected-digest"]

    # The runner, signed by the workflow that publishes the policy; and under another version's tag.
    wrong = replace(claims_of("41.0.0"), workflow="publish-policy.yml")
    await house.sign(house.image("runner", first["runner"], wrong))
    assert await house.new() == ["digest-of-other-release"]
    await house.sign(house.image("runner", second["runner"], claims_of("41.0.0")))
    assert await house.new() == ["digest-of-other-release"]

    # One artifact left unsigned.
    await house.release("41.2.0", without="ui")
    assert await house.new() == ["new-release"]
    await house.approve("41.2.0")
    assert await house.new() == ["unsigned-artifact"]

    # Two commits under one version.
    await house.sign(house.image("runner", second["runner"], replace(claims_of("41.1.0"), sha="f" * 40)))
    assert await house.new() == ["commit-mismatch"]

    # A tag deleted.
    await house.registry.delete(runner, first["runner"])
    assert await house.new() == ["tag-deleted"]

    # A withdrawn release, signed again.
    await house.monitor.said("releases", "withdraw", "41.1.0", "--reason", "it leaks")
    assert await house.new() == []
    await house.sign(house.image("ui", second["ui"], claims_of("41.1.0")))
    assert await house.new() == ["withdrawn-release-signed"]

    # `latest`, moved to a pre-release.
    await house.registry.tag(ui, "latest", first["ui"])
    early = await house.release("41.3.0-rc.1")
    await house.announced("41.3.0-rc.1")
    await house.registry.tag(ui, "latest", early["ui"])
    assert await house.new() == ["prerelease-latest"]


async def test_a_run_repeated_over_its_own_release_is_one_incident_and_nothing_critical(house: House) -> None:
    run = {artifact in IMAGES: str(next(_runs)) for artifact in ARTIFACTS}
    for attempt in (1, 2):
        pushed = await house.push("51.0.0", f"51.0.0 attempt {attempt}")
        signers = {name: replace(claims_of("51.0.0", name, run[name in IMAGES]), attempt=attempt) for name in pushed}
        await house.sign(*(house.image(name, each.digest, signers[name]) for name, each in pushed.items()))
        rules = await house.new()
        assert set(rules) == {"new-release" if attempt == 1 else "superseded-attempt"}
        if attempt == 1:
            await house.approve("51.0.0")
            assert await house.new() == []
    rows = await house.monitor.listed("incidents", "list")
    (again,) = [row for row in rows if row["state"] == "open" and not row["history"]]
    assert again["severity"] == "medium"
