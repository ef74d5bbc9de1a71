"""The first schema.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Make every table, and say what the schema is and whom it serves."""
    _the_program()
    _logs()
    _entries()
    _releases()
    _incidents()
    meta = sa.table("meta", sa.column("key", sa.String), sa.column("value", sa.Text))
    op.bulk_insert(
        meta, [{"key": "schema", "value": "1"}, {"key": "serves", "value": "1"}, {"key": "generation", "value": "0"}]
    )


def _the_program() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("acquired_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
    )
    op.create_table(
        "health",
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("last_success", MOMENT, nullable=True),
        sa.Column("last_failure", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("good_passes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "source", name="pk_health"),
    )


def _logs() -> None:
    op.create_table(
        "logs",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("protocol", sa.String(32), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("tree_id", sa.String(64), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("origin", name="pk_logs"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", ID, nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.UniqueConstraint("log", "size", "root", name="uq_checkpoints_log"),
    )
    op.create_index("ix_checkpoints_first_seen", "checkpoints", ["first_seen"])
    op.create_index("ix_checkpoints_status", "checkpoints", ["log", "status", "size"])
    op.create_table(
        "cursors",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("log", name="pk_cursors"),
    )
    op.create_table(
        "coverage",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("begin", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("log", "begin", name="pk_coverage"),
    )
    op.create_table(
        "conflicts",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=True),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conflicts"),
        sa.UniqueConstraint("log", "kind", "key", name="uq_conflicts_log"),
    )
    op.create_table(
        "conflict_evidence",
        sa.Column("conflict_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["conflict_id"], ["conflicts.id"], name="fk_conflict_evidence_conflict_id"),
        sa.PrimaryKeyConstraint("conflict_id", "number", name="pk_conflict_evidence"),
    )
    op.create_table(
        "holes",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("begin", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("filled_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("log", "begin", name="pk_holes"),
    )
    op.create_index("ix_holes_open", "holes", ["log", "filled_at", "asked_at"])
    op.create_table(
        "quarantine",
        sa.Column("id", ID, nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ours", sa.Boolean(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.UniqueConstraint("log", "begin", "leaf_hash", name="uq_quarantine_log"),
    )
    op.create_index("ix_quarantine_reason", "quarantine", ["log", "reason", "ours"])
    op.create_table(
        "counters",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log", "name", name="pk_counters"),
    )
    op.create_table(
        "trusted_roots",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_trusted_roots"),
    )
    op.create_index("ix_trusted_roots_last_seen", "trusted_roots", ["last_seen"])


def _entries() -> None:
    op.create_table(
        "certificates",
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("not_after", MOMENT, nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("sans", sa.Text(), nullable=False),
        sa.Column("claims", sa.Text(), nullable=False),
        sa.Column("anomalies", sa.Text(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_certificates"),
    )
    op.create_table(
        "entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("protocol", sa.String(32), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("stored_at", MOMENT, nullable=False),
        sa.Column("signed_at", MOMENT, nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("digest_role", sa.String(32), nullable=True),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("key_id", sa.String(64), nullable=True),
        sa.Column("trust", sa.String(32), nullable=True),
        sa.Column("event", sa.String(32), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("ref", sa.Text(), nullable=True),
        sa.Column("workflow", sa.Text(), nullable=True),
        sa.Column("accepted", sa.String(32), nullable=True),
        sa.Column("digest_status", sa.String(32), nullable=False),
        sa.Column("revision", sa.String(128), nullable=True),
        sa.Column("judged_at", MOMENT, nullable=True),
        sa.Column("history", sa.Boolean(), nullable=False),
        sa.Column("disproven", sa.Boolean(), nullable=False),
        sa.Column("global_index", sa.BigInteger(), nullable=True),
        sa.Column("uuid", sa.Text(), nullable=True),
        sa.Column("promise_log_id", sa.LargeBinary(), nullable=True),
        sa.Column("integrated_time", MOMENT, nullable=True),
        sa.Column("signed_entry_timestamp", sa.LargeBinary(), nullable=True),
        sa.Column("proof_size", sa.BigInteger(), nullable=True),
        sa.Column("proof_hashes", sa.LargeBinary(), nullable=True),
        sa.Column("checkpoint_size", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.UniqueConstraint("log", "index", "leaf_hash", name="uq_entries_log"),
    )
    op.create_index("ix_entries_at", "entries", ["at", "id"])
    op.create_index("ix_entries_digest", "entries", ["digest", "id"])
    op.create_index("ix_entries_digest_status", "entries", ["digest_status", "id"])
    op.create_index("ix_entries_first_seen", "entries", ["first_seen", "id"])
    op.create_index("ix_entries_proof", "entries", ["log", "proof_size", "id"])
    op.create_index("ix_entries_revision", "entries", ["revision", "id"])
    op.create_table(
        "leaves",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_leaves_entry_id"),
        sa.PrimaryKeyConstraint("entry_id", name="pk_leaves"),
    )
    op.create_table(
        "signers",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("verifies", sa.Boolean(), nullable=True),
        sa.Column("trust", sa.String(32), nullable=True),
        sa.Column("failed", sa.Text(), nullable=False),
        sa.Column("issued_at", MOMENT, nullable=True),
        sa.Column("within_validity", sa.Boolean(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_signers_entry_id"),
        sa.ForeignKeyConstraint(["fingerprint"], ["certificates.fingerprint"], name="fk_signers_fingerprint"),
        sa.PrimaryKeyConstraint("entry_id", "number", name="pk_signers"),
    )
    op.create_index("ix_signers_event", "signers", ["event"])
    op.create_index("ix_signers_fingerprint", "signers", ["fingerprint"])
    op.create_table(
        "matches",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("authority", sa.String(32), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_matches_entry_id"),
        sa.PrimaryKeyConstraint("entry_id", "number", name="pk_matches"),
    )
    op.create_index("ix_matches_digest", "matches", ["digest", "entry_id"])


def _releases() -> None:
    op.create_table(
        "expected_digests",
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("authority", sa.String(32), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_expected_digests"),
        sa.UniqueConstraint("version", "artifact", "digest", "kind", "authority", name="uq_expected_digests_version"),
    )
    op.create_index("ix_expected_digests_digest", "expected_digests", ["digest"])
    op.create_table(
        "expected_hashes",
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("value", "digest", "how", name="pk_expected_hashes"),
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("joined_key", sa.Text(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(32), nullable=False),
        sa.Column("category", sa.String(32), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("history", sa.Boolean(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.Column("previous_id", ID, nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["previous_id"], ["incidents.id"], name="fk_incidents_previous_id"),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_joined_key", "incidents", ["joined_key", "id"])
    op.create_index("ix_incidents_key", "incidents", ["key", "id"])
    op.create_index("ix_incidents_opened_at", "incidents", ["opened_at"])
    op.create_index("ix_incidents_state", "incidents", ["state", "id"])
    op.create_table(
        "findings",
        sa.Column("id", ID, nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(32), nullable=False),
        sa.Column("category", sa.String(32), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("accepted", sa.String(32), nullable=True),
        sa.Column("log", sa.Text(), nullable=True),
        sa.Column("index", sa.BigInteger(), nullable=True),
        sa.Column("global_index", sa.BigInteger(), nullable=True),
        sa.Column("uuid", sa.Text(), nullable=True),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("artifacts", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("event", sa.String(32), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("ref", sa.Text(), nullable=True),
        sa.Column("workflow", sa.Text(), nullable=True),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("signed_at", MOMENT, nullable=True),
        sa.Column("history", sa.Boolean(), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("entry_id", ID, nullable=True),
        sa.Column("incident_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_findings_entry_id"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_findings_incident_id"),
        sa.PrimaryKeyConstraint("id", name="pk_findings"),
        sa.UniqueConstraint("rule", "subject", name="uq_findings_rule"),
    )
    op.create_index("ix_findings_digest", "findings", ["digest"])
    op.create_index("ix_findings_entry_id", "findings", ["entry_id"])
    op.create_index("ix_findings_event", "findings", ["event"])
    op.create_index("ix_findings_found_at", "findings", ["found_at"])
    op.create_index("ix_findings_incident_id", "findings", ["incident_id", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", ID, nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("sink", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(32), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("finding_ids", sa.Text(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("unknown_outcome", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_deliveries_incident_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("incident_id", "sink", "sequence", name="uq_deliveries_incident_id"),
    )
    op.create_index("ix_deliveries_sent_at", "deliveries", ["sent_at"])
    op.create_index("ix_deliveries_state", "deliveries", ["state", "next_attempt"])
    op.create_table(
        "operator_events",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("release", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_operator_events_incident_id"),
        sa.PrimaryKeyConstraint("id", name="pk_operator_events"),
    )
    op.create_index("ix_operator_events_at", "operator_events", ["at"])
    op.create_index("ix_operator_events_incident_id", "operator_events", ["incident_id"])
