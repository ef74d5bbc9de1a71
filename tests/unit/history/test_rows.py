"""The rows of lists: their names are a promise."""

from __future__ import annotations

from dataclasses import fields

from monitor.history.rows import EntryRow, FindingRow, IncidentRow
from monitor.model.finding import Finding
from monitor.model.incident import Incident


def names(kind: type) -> list[str]:
    return [each.name for each in fields(kind)]


def test_a_finding_has_the_fields_that_programs_were_promised_in_their_order() -> None:
    assert names(FindingRow) == [
        "id", "rule", "severity", "category", "log", "index", "global_index", "uuid", "identity", "issuer", "digest",
        "accepted", "summary", "artifacts", "version", "workflow", "ref", "run", "attempt", "commit", "trusted", "event",
        "subject", "signed_at", "found_at", "withdrawn_at", "history", "entry", "incident",
    ]  # fmt: skip


def test_an_incident_has_the_fields_that_programs_were_promised_in_their_order() -> None:
    assert names(IncidentRow) == [
        "id", "state", "severity", "category", "title", "findings", "opened_at", "updated_at", "resolved_at", "previous",
        "history", "key", "joined_key",
    ]  # fmt: skip


def test_an_entry_has_the_fields_that_programs_were_promised_in_their_order() -> None:
    assert names(EntryRow)[:16] == [
        "id", "log", "index", "global_index", "uuid", "leaf_hash", "kind", "api_version", "identity", "issuer", "key_id",
        "trust", "digest", "digest_status", "versions", "artifacts",
    ]  # fmt: skip


def test_nothing_of_a_finding_or_an_incident_is_left_out_of_its_row() -> None:
    assert set(names(Finding)) - set(names(FindingRow)) == {"facts"}
    assert set(names(Incident)) - set(names(IncidentRow)) == {"previous_id", "count"}
