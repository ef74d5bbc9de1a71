"""The hardened patterns in the words of the tools that check them: cosign, Kyverno, policy-controller, Ratify.

Text for people to review and apply; nothing here is applied. Each tool gets the exact issuer, and what it has to see who called the
workflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from monitor.rules.hardening import Checked
    from monitor.rules.policy import Policy

_FULCIO = "https://fulcio.sigstore.dev"
_REKOR = "https://rekor.sigstore.dev"
_SIGN = "https://sigstore.dev/cosign/sign/v1"


def cosign(policy: Policy, checked: tuple[Checked, ...]) -> str:
    """Commands: `cosign verify`, one an artifact."""
    lines = ["# For one version, put --certificate-identity with its exact identity in the place of the pattern."]
    for each in checked:
        for artifact in each.artifacts:
            lines += [
                "cosign verify \\",
                f"  --certificate-identity-regexp {_quoted(each.hardened)} \\",
                f"  --certificate-oidc-issuer {_quoted(policy.issuer)} \\",
                f"  --certificate-github-workflow-repository {_quoted(_repository(policy))} \\",
                "  --certificate-github-workflow-trigger 'push' \\",
                f"  {policy.references_of(artifact)[0]}@sha256:DIGEST",
            ]
    return "\n".join(lines) + "\n"


def kyverno(policy: Policy, checked: tuple[Checked, ...]) -> str:
    """A Kyverno ClusterPolicy (kyverno.io/v1), one rule a workflow."""
    lines = [
        "# type SigstoreBundle reads what cosign 3 writes; with cosign's older signatures (.sig), leave that line out.",
        "apiVersion: kyverno.io/v1",
        "kind: ClusterPolicy",
        "metadata:",
        f"  name: {_name(policy)}",
        "spec:",
        "  webhookConfiguration:",
        "    failurePolicy: Fail",
        "    timeoutSeconds: 30",
        "  rules:",
    ]
    for each in checked:
        lines += [
            f"    - name: {_slug(each.workflow)}",
            "      match:",
            "        any:",
            "          - resources:",
            "              kinds: [Pod]",
            "      verifyImages:",
            "        - imageReferences:",
            *(
                f"            - {_quoted(policy.references_of(artifact)[0] + suffix)}"
                for artifact in each.artifacts
                for suffix in (":*", "@*")
            ),
            "          type: SigstoreBundle",
            "          failureAction: Enforce",
            "          mutateDigest: true",
            "          verifyDigest: true",
            "          required: true",
            "          attestors:",
            "            - entries:",
            "                - keyless:",
            f"                    issuer: {_quoted(policy.issuer)}",
            f"                    subjectRegExp: {_quoted(each.hardened)}",
            "                    additionalExtensions:",
            f"                      githubWorkflowRepository: {_quoted(_repository(policy))}",
            "                      githubWorkflowTrigger: 'push'",
            "                    rekor:",
            f"                      url: {_REKOR}",
        ]
    return "\n".join(lines) + "\n"


def policy_controller(policy: Policy, checked: tuple[Checked, ...]) -> str:
    """Sigstore policy-controller: a ClusterImagePolicy a workflow. It sees identities only, not who called the workflow."""
    documents = []
    for each in checked:
        lines = [
            "# It cannot check claim .5: a foreign caller of the workflow is not seen. Bundles need policy-controller 0.13 or later;",
            "# with cosign's older signatures (.sig), leave signatureFormat and attestations out.",
            "apiVersion: policy.sigstore.dev/v1beta1",
            "kind: ClusterImagePolicy",
            "metadata:",
            f"  name: {_slug(each.workflow)}",
            "spec:",
            "  images:",
            *(f"    - glob: {_quoted(policy.references_of(artifact)[0] + '**')}" for artifact in each.artifacts),
            "  authorities:",
            f"    - name: {_slug(each.workflow)}",
            "      signatureFormat: bundle",
            "      keyless:",
            f"        url: {_FULCIO}",
            "        identities:",
            f"          - issuer: {_quoted(policy.issuer)}",
            f"            subjectRegExp: {_quoted(each.hardened)}",
            "      ctlog:",
            f"        url: {_REKOR}",
            "      attestations:",
            "        - name: signature",
            f"          predicateType: {_SIGN}",
        ]
        documents.append("\n".join(lines) + "\n")
    return "---\n".join(documents)


def ratify(policy: Policy, checked: tuple[Checked, ...]) -> str:
    """Ratify 1: one Verifier for cosign, a trust policy a workflow. It sees identities only, not who called the workflow."""
    lines = [
        "# It cannot check claim .5: a foreign caller of the workflow is not seen. It reads cosign's older signatures (.sig):",
        "# artifacts signed in the bundle format alone are refused.",
        "apiVersion: config.ratify.deislabs.io/v1beta1",
        "kind: Verifier",
        "metadata:",
        f"  name: {_name(policy)}",
        "spec:",
        "  name: cosign",
        "  artifactTypes: application/vnd.dev.cosign.artifact.sig.v1+json",
        "  parameters:",
        "    trustPolicies:",
    ]
    for each in checked:
        lines += [
            f"      - name: {_slug(each.workflow)}",
            "        version: 1.0.0",
            "        scopes:",
            *(f"          - {_quoted(policy.references_of(artifact)[0])}" for artifact in each.artifacts),
            "        tLogVerify: true",
            "        keyless:",
            "          ctLogVerify: true",
            f"          certificateIdentityRegExp: {_quoted(each.hardened)}",
            f"          certificateOIDCIssuer: {_quoted(policy.issuer)}",
        ]
    return "\n".join(lines) + "\n"


TOOLS: Mapping[str, Callable[[Policy, tuple[Checked, ...]], str]] = {
    "cosign": cosign,
    "kyverno": kyverno,
    "policy-controller": policy_controller,
    "ratify": ratify,
}
"""Each tool's document by its name."""


def _quoted(text: str) -> str:
    """A text in single quotes, as both a shell and YAML read it. SettingsError for one that holds a quote or a line break."""
    if "'" in text or not text.isprintable():
        raise SettingsError(
            f"{text!r} cannot stand in single quotes", cure="settings for other tools are written in them"
        )
    return f"'{text}'"


def _repository(policy: Policy) -> str:
    return f"{policy.owner}/{policy.repository}"


def _name(policy: Policy) -> str:
    return _slug(f"{policy.repository}-releases")


def _slug(text: str) -> str:
    """A Kubernetes name (RFC 1123)."""
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in text.lower())
    return kept.strip("-")[:63].strip("-")
