"""`entries`: signatures that concern us and certificates in our name, with every claim and the proof that they are in the log."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import output, run
from monitor.cli.options import AfterOption, DocumentOption, FormatOption, LimitOption, cut, filtered, page
from monitor.cli.output import Document, Format
from monitor.errors import MonitorError
from monitor.model.entry import CLAIM_NAMES
from monitor.model.filters import EntryFilter
from monitor.model.text import visible

if TYPE_CHECKING:
    from monitor.history.issued import Issued
    from monitor.history.rows import FindingRow
    from monitor.store.certificates import StoredSigner
    from monitor.store.engine import Store
    from monitor.store.entries import EntryRow, StoredProof

app = typer.Typer(help="Signatures that concern us, and certificates in our name.", no_args_is_help=True)
_COLUMNS = ("id", "signed_at", "kind", "log", "index", "identity", "digest", "digest_status", "accepted", "rules")


@app.command("list")
@run.command
@filtered(EntryFilter)
async def list_(
    context: typer.Context,
    narrowed: EntryFilter,
    after: AfterOption = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TABLE,
) -> None:
    """List entries in the order in which they were stored. One of kind `certificate` or `precertificate` need not have signed anything."""
    from monitor.store import entries  # noqa: PLC0415 - late, as everything that `--help` can do without

    async with run.reading(context) as store, store.read() as tx:
        rows = await entries.list_entries(tx, narrowed, page(after, limit))
    shown = cut(rows, limit, lambda row: row.id)
    output.write(shown, entries.EntryRow, form, columns=_COLUMNS)


@app.command("show")
@run.command
async def show(
    context: typer.Context,
    entry_id: Annotated[int, typer.Argument(metavar="ID", help="The entry's id, as `entries list` shows it.")],
    form: DocumentOption = Document.TABLE,
) -> None:
    """Show one entry: its place, signers, claims, findings and proof; as JSON with the leaf's own bytes."""
    async with run.reading(context) as store:
        whole = await _whole(store, entry_id)
    if form is Document.TABLE:
        _print(whole)
    else:
        typer.echo(json.dumps(_document(whole), indent=2 if form is Document.JSON else None))


@dataclass(frozen=True, slots=True)
class _Whole:
    row: EntryRow
    signers: list[StoredSigner]
    proof: StoredProof | None
    findings: list[FindingRow]
    leaf: bytes
    issued: Issued | None


async def _whole(store: Store, entry_id: int) -> _Whole:
    from monitor.history import issued  # noqa: PLC0415
    from monitor.history.rows import findings_of  # noqa: PLC0415
    from monitor.store import entries  # noqa: PLC0415

    async with store.read() as tx:
        row, kept = await entries.row(tx, entry_id), await entries.get(tx, entry_id)
        if row is None or kept is None:
            raise MonitorError(f"there is no entry {entry_id}", cure="`entries list` shows those there are")
        mine = await findings_of(tx, row)
        signers, proof = await entries.signers_of(tx, entry_id), await entries.proof(tx, entry_id)
        became = await issued.of_entry(tx, row, signers)
    return _Whole(row, signers, proof, mine, kept.leaf.data, became)


def _document(whole: _Whole) -> dict[str, object]:
    proof = whole.proof
    return {
        **_fields(whole.row),
        "signers": [_signer(each) for each in whole.signers],
        "findings": [output.plain(each) for each in whole.findings],
        "inclusion_proof": None
        if proof is None
        else {
            "tree_size": proof.proof.size,
            "checkpoint_size": proof.checkpoint_size,
            "hashes": [each.hex() for each in proof.proof.hashes],
        },
        "leaf": base64.b64encode(whole.leaf).decode(),
        "issued": output.plain(whole.issued),
    }


def _fields(row: EntryRow) -> dict[str, object]:
    made = output.plain(row)
    return made if isinstance(made, dict) else {}


def _signer(signer: StoredSigner) -> dict[str, object]:
    certificate, verdict = signer.certificate, signer.verdict
    return {
        "key_id": signer.key_id,
        "event": signer.event,
        "verifies": signer.verifies,
        "trust": verdict.trust.value if verdict else None,
        "failed": [step.value for step in verdict.failed] if verdict else [],
        "detail": verdict.detail if verdict else "",
        "certificate": None
        if certificate is None
        else {
            "fingerprint": certificate.fingerprint,
            "issuer": certificate.issuer,
            "serial": certificate.serial,
            "not_before": output.plain(certificate.not_before),
            "not_after": output.plain(certificate.not_after),
            "names": [[kind.value, name] for kind, name in certificate.names],
            "claims": {CLAIM_NAMES.get(arc, str(arc)): value for arc, value in sorted(certificate.claims.items())},
            "anomalies": list(certificate.anomalies),
            "der": base64.b64encode(certificate.der).decode(),
        },
    }


def _print(whole: _Whole) -> None:
    if whole.issued:
        typer.echo(f"{whole.issued.words}\n")
    output.record([(name, getattr(whole.row, name)) for name in whole.row.__dataclass_fields__])
    for number, signer in enumerate(whole.signers, 1):
        said = _signer(signer)
        certificate = said.pop("certificate")
        typer.echo(f"\nsigner {number}")
        output.record([(f"  {name}", value) for name, value in said.items() if value != []])
        if isinstance(certificate, dict):
            claims = certificate.pop("claims")
            names = "; ".join(f"{kind}:{name}" for kind, name in certificate.pop("names"))
            shown = [(name, value) for name, value in certificate.items() if name != "der"]
            output.record([(f"  {name}", value) for name, value in [("names", names), *shown, *claims.items()]])
    for finding in whole.findings:
        back = " (taken back)" if finding.withdrawn_at else ""
        typer.echo(f"\nfinding {finding.id}: {finding.severity} {finding.rule}{back}\n  {visible(finding.summary)}")
    proof = whole.proof
    typer.echo(
        "\ninclusion: " + (f"proven in the signed tree of {proof.checkpoint_size} leaves" if proof else "pending")
    )
