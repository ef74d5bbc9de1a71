"""The tables, for both databases. What they mean stands in the files beside this one, a file a noun; how they came to be, in `migrations/`.

Strings that a log, a certificate or a registry wrote are `Foreign`, or `Key` where an index holds them.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from monitor.model.entry import DigestRole, Trust
from monitor.model.finding import Accepted, Category, Severity
from monitor.model.incident import DeliveryKind, DeliveryState, IncidentState
from monitor.model.log import CheckpointSource, CheckpointStatus, ConflictKind, LogState, Mode, Protocol
from monitor.model.lookup import LookupState
from monitor.model.release import Authority, DigestKind, DigestStatus, InLog
from monitor.store.types import BigId, Blob, Choice, Foreign, Json, Key, Moment

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Foreign, nullable=False))

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Foreign, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("acquired_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

logs = Table(
    "logs",
    metadata,
    Column("origin", Key, primary_key=True),
    Column("protocol", Choice(Protocol), nullable=False),
    Column("url", Foreign, nullable=False),
    Column("mode", Choice(Mode), nullable=False),
    Column("state", Choice(LogState), nullable=False),
    Column("tree_id", String(64)),
    Column("offset", BigInteger, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("log", Key, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", Blob, nullable=False),
    Column("note", Blob, nullable=False),
    Column("source", Choice(CheckpointSource), nullable=False),
    Column("status", Choice(CheckpointStatus), nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    UniqueConstraint("log", "size", "root"),
    Index("ix_checkpoints_status", "log", "status", "size"),
    Index("ix_checkpoints_first_seen", "first_seen"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("log", Key, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("hashes", Blob, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

coverage = Table(
    "coverage",
    metadata,
    Column("log", Key, primary_key=True),
    Column("begin", BigInteger, primary_key=True, autoincrement=False),
    Column("end", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("kind", Choice(ConflictKind), nullable=False),
    Column("log", Key, nullable=False),
    Column("key", Key, nullable=False),
    Column("summary", Foreign, nullable=False),
    Column("index", BigInteger),
    Column("found_at", Moment, nullable=False),
    UniqueConstraint("log", "kind", "key"),
)

conflict_evidence = Table(
    "conflict_evidence",
    metadata,
    Column("conflict_id", BigId, ForeignKey("conflicts.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Foreign, nullable=False),
    Column("data", Blob, nullable=False),
)

holes = Table(
    "holes",
    metadata,
    Column("log", Key, primary_key=True),
    Column("begin", BigInteger, primary_key=True, autoincrement=False),
    Column("end", BigInteger, nullable=False),
    Column("hash", Blob, nullable=False),
    Column("reason", Foreign, nullable=False),
    Column("found_at", Moment, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("filled_at", Moment),
    Index("ix_holes_open", "log", "filled_at", "asked_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("log", Key, nullable=False),
    Column("reason", Key, nullable=False),
    Column("ours", Boolean, nullable=False),
    Column("begin", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("leaf_hash", Blob),
    Column("data", Blob),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    UniqueConstraint("log", "begin", "leaf_hash"),
    Index("ix_quarantine_reason", "log", "reason", "ours"),
)

counters = Table(
    "counters",
    metadata,
    Column("log", Key, primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("der", Blob, nullable=False),
    Column("issuer", Foreign, nullable=False),
    Column("serial", Foreign, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("names", Json, nullable=False),
    Column("sans", Foreign, nullable=False),
    Column("claims", Json, nullable=False),
    Column("anomalies", Json, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("issuance", String(64)),
    Index("ix_certificates_issuance", "issuance"),
)

entries = Table(
    "entries",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("log", Key, nullable=False),
    Column("protocol", Choice(Protocol), nullable=False),
    Column("index", BigInteger, nullable=False),
    Column("leaf_hash", Blob, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("stored_at", Moment, nullable=False),
    Column("signed_at", Moment),
    Column("at", Moment, nullable=False),
    Column("kind", Foreign, nullable=False),
    Column("api_version", Foreign, nullable=False),
    Column("digest", Key),
    Column("digest_role", Choice(DigestRole)),
    Column("identity", Foreign),
    Column("issuer", Foreign),
    Column("key_id", String(64)),
    Column("trust", Choice(Trust)),
    Column("event", String(32)),
    Column("run", Foreign),
    Column("attempt", Integer),
    Column("commit", Foreign),
    Column("ref", Foreign),
    Column("workflow", Foreign),
    Column("accepted", Choice(Accepted)),
    Column("digest_status", Choice(DigestStatus), nullable=False),
    Column("revision", String(128)),
    Column("judged_at", Moment),
    Column("history", Boolean, nullable=False),
    Column("disproven", Boolean, nullable=False),
    Column("global_index", BigInteger),
    Column("uuid", Foreign),
    Column("promise_log_id", Blob),
    Column("integrated_time", Moment),
    Column("signed_entry_timestamp", Blob),
    Column("proof_size", BigInteger),
    Column("proof_hashes", Blob),
    Column("checkpoint_size", BigInteger),
    UniqueConstraint("log", "index", "leaf_hash"),
    Index("ix_entries_at", "at", "id"),
    Index("ix_entries_first_seen", "first_seen", "id"),
    Index("ix_entries_digest", "digest", "id"),
    Index("ix_entries_revision", "revision", "id"),
    Index("ix_entries_digest_status", "digest_status", "id"),
    Index("ix_entries_proof", "log", "proof_size", "id"),
    Index("ix_entries_trust", "trust", "id"),
)

leaves = Table(  # apart from `entries`, so that a list reads no leaf
    "leaves",
    metadata,
    Column("entry_id", BigId, ForeignKey("entries.id"), primary_key=True),
    Column("data", Blob, nullable=False),
    Column("extra", Blob),
)

signers = Table(
    "signers",
    metadata,
    Column("entry_id", BigId, ForeignKey("entries.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("event", String(32), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("fingerprint", String(64), ForeignKey("certificates.fingerprint")),
    Column("verifies", Boolean),
    Column("trust", Choice(Trust)),
    Column("failed", Json, nullable=False),
    Column("issued_at", Moment),
    Column("within_validity", Boolean),
    Column("detail", Foreign, nullable=False),
    Index("ix_signers_event", "event"),
    Index("ix_signers_fingerprint", "fingerprint"),
)

lookups = Table(  # a certificate of ours in a certificate log, and whether its entry in a signature log was found
    "lookups",
    metadata,
    Column("issuance", String(64), primary_key=True),
    Column("entry_id", BigId, ForeignKey("entries.id"), nullable=False),
    Column("subject", Foreign, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("run", Foreign),
    Column("history", Boolean, nullable=False),
    Column("state", Choice(LookupState), nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("searched_at", Moment),
    Column("read_at", Moment),
    Column("closed_at", Moment),
    Index("ix_lookups_state", "state", "not_before"),
)

matches = Table(
    "matches",
    metadata,
    Column("entry_id", BigId, ForeignKey("entries.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Foreign, nullable=False),
    Column("artifact", Foreign, nullable=False),
    Column("digest", Key, nullable=False),
    Column("authority", Choice(Authority), nullable=False),
    Column("how", Foreign, nullable=False),
    Index("ix_matches_digest", "digest", "entry_id"),
)

trusted_roots = Table(
    "trusted_roots",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("data", Blob, nullable=False),
    Column("source", Foreign, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    Index("ix_trusted_roots_last_seen", "last_seen"),
)

expected_digests = Table(
    "expected_digests",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("version", Key, nullable=False),
    Column("artifact", Key, nullable=False),
    Column("digest", Key, nullable=False),
    Column("kind", Choice(DigestKind), nullable=False),
    Column("authority", Choice(Authority), nullable=False),
    Column("author", Foreign, nullable=False),
    Column("reason", Foreign, nullable=False),
    Column("added_at", Moment, nullable=False),
    UniqueConstraint("version", "artifact", "digest", "kind", "authority"),
    Index("ix_expected_digests_digest", "digest"),
)

expected_hashes = Table(
    "expected_hashes",
    metadata,
    Column("value", String(64), primary_key=True),
    Column("digest", Key, primary_key=True),
    Column("how", Key, primary_key=True),
)

tag_observations = Table(  # a row a stretch of time in which a tag resolved to one digest
    "tag_observations",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("artifact", Key, nullable=False),
    Column("tag", Key, nullable=False),
    Column("digest", Key, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    Column("gone_at", Moment),
    Index(
        "ix_tag_observations_now",
        "artifact",
        "tag",
        unique=True,
        sqlite_where=sa.text("gone_at IS NULL"),
        postgresql_where=sa.text("gone_at IS NULL"),
    ),
    Index("ix_tag_observations_tag", "tag", "artifact", "id"),
    Index("ix_tag_observations_digest", "digest", "id"),
)

attachments = Table(  # when the signatures beside a digest were last asked for
    "attachments",
    metadata,
    Column("artifact", Key, primary_key=True),
    Column("digest", Key, primary_key=True),
    Column("asked_at", Moment),
    Column("added_at", Moment, nullable=False),
    Column("error", Foreign, nullable=False),
    Index("ix_attachments_asked_at", "asked_at"),
)

bundles = Table(
    "bundles",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("artifact", Key, nullable=False),
    Column("digest", Key, nullable=False),
    Column("source", Key, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("predicate_type", Foreign),
    Column("payload_hashes", Json, nullable=False),
    Column("subjects", Json, nullable=False),
    Column("fingerprint", String(64)),
    Column("identity", Foreign),
    Column("verified", String(32), nullable=False),
    Column("why", Foreign, nullable=False),
    Column("log", Key),
    Column("index", BigInteger),
    Column("leaf_hash", Blob),
    Column("in_log", Choice(InLog), nullable=False),
    Column("data", Blob),
    Column("trust_root", String(64), nullable=False),
    Column("fetched_at", Moment, nullable=False),
    Column("checked_at", Moment),
    UniqueConstraint("artifact", "digest", "source"),
    Index("ix_bundles_in_log", "in_log", "id"),
    Index("ix_bundles_digest", "digest", "id"),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("version", Key, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("author", Foreign, nullable=False),
    Column("reason", Foreign, nullable=False),
    Column("advisory", Foreign, nullable=False),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("key", Key, nullable=False),
    Column("joined_key", Key),
    Column("state", Choice(IncidentState), nullable=False),
    Column("severity", Choice(Severity), nullable=False),
    Column("category", Choice(Category), nullable=False),
    Column("title", Foreign, nullable=False),
    Column("history", Boolean, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("resolved_at", Moment),
    Column("previous_id", BigId, ForeignKey("incidents.id")),
    Column("count", Integer, nullable=False),
    Index("ix_incidents_key", "key", "id"),
    Index("ix_incidents_joined_key", "joined_key", "id"),
    Index("ix_incidents_state", "state", "id"),
    Index("ix_incidents_opened_at", "opened_at"),
)

findings = Table(
    "findings",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("rule", String(64), nullable=False),
    Column("subject", Key, nullable=False),
    Column("severity", Choice(Severity), nullable=False),
    Column("category", Choice(Category), nullable=False),
    Column("summary", Foreign, nullable=False),
    Column("facts", Json, nullable=False),
    Column("accepted", Choice(Accepted)),
    Column("log", Key),
    Column("index", BigInteger),
    Column("global_index", BigInteger),
    Column("uuid", Foreign),
    Column("identity", Foreign),
    Column("issuer", Foreign),
    Column("digest", Key),
    Column("artifacts", Json, nullable=False),
    Column("version", Foreign),
    Column("event", String(32)),
    Column("run", Foreign),
    Column("attempt", Integer),
    Column("commit", Foreign),
    Column("ref", Foreign),
    Column("workflow", Foreign),
    Column("trusted", Boolean, nullable=False),
    Column("signed_at", Moment),
    Column("history", Boolean, nullable=False),
    Column("found_at", Moment, nullable=False),
    Column("withdrawn_at", Moment),
    Column("entry_id", BigId, ForeignKey("entries.id")),
    Column("incident_id", BigId, ForeignKey("incidents.id")),
    UniqueConstraint("rule", "subject"),
    Index("ix_findings_entry_id", "entry_id"),
    Index("ix_findings_incident_id", "incident_id", "id"),
    Index("ix_findings_found_at", "found_at"),
    Index("ix_findings_digest", "digest"),
    Index("ix_findings_event", "event"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("incident_id", BigId, ForeignKey("incidents.id")),
    Column("sink", String(64), nullable=False),
    Column("kind", Choice(DeliveryKind), nullable=False),
    Column("severity", Choice(Severity), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("finding_ids", Json, nullable=False),
    Column("state", Choice(DeliveryState), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("message_id", Foreign),
    Column("error", Foreign),
    Column("unknown_outcome", Boolean, nullable=False),
    UniqueConstraint("incident_id", "sink", "sequence"),
    Index("ix_deliveries_state", "state", "next_attempt"),
    Index("ix_deliveries_sent_at", "sent_at"),
)

operator_events = Table(
    "operator_events",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("who", Foreign, nullable=False),
    Column("what", Foreign, nullable=False),
    Column("incident_id", BigId, ForeignKey("incidents.id")),
    Column("release", Key),
    Column("detail", Foreign, nullable=False),
    Index("ix_operator_events_at", "at"),
    Index("ix_operator_events_incident_id", "incident_id"),
)

health = Table(
    "health",
    metadata,
    Column("rule", String(64), primary_key=True),
    Column("source", Key, primary_key=True),
    Column("failing_since", Moment),
    Column("last_success", Moment),
    Column("last_failure", Moment),
    Column("error", Foreign, nullable=False),
    Column("good_passes", Integer, nullable=False),
)
