"""What the registry showed: tags over time, the bundles beside released digests, and withdrawn releases.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Make the tables of this revision. Older code would leave out what they say, so it is served no more."""
    _tags()
    _bundles()
    op.create_index("ix_entries_trust", "entries", ["trust", "id"])
    meta = sa.table("meta", sa.column("key", sa.String), sa.column("value", sa.Text))
    op.execute(meta.update().where(meta.c.key.in_(["schema", "serves"])).values(value="2"))


def _tags() -> None:
    op.create_table(
        "tag_observations",
        sa.Column("id", ID, nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.Column("gone_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tag_observations"),
    )
    op.create_index(
        "ix_tag_observations_now",
        "tag_observations",
        ["artifact", "tag"],
        unique=True,
        sqlite_where=sa.text("gone_at IS NULL"),
        postgresql_where=sa.text("gone_at IS NULL"),
    )
    op.create_index("ix_tag_observations_tag", "tag_observations", ["tag", "artifact", "id"])
    op.create_index("ix_tag_observations_digest", "tag_observations", ["digest", "id"])
    op.create_table(
        "withdrawals",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("advisory", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_withdrawals"),
    )


def _bundles() -> None:
    op.create_table(
        "attachments",
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=True),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("artifact", "digest", name="pk_attachments"),
    )
    op.create_index("ix_attachments_asked_at", "attachments", ["asked_at"])
    op.create_table(
        "bundles",
        sa.Column("id", ID, nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("predicate_type", sa.Text(), nullable=True),
        sa.Column("payload_hashes", sa.Text(), nullable=False),
        sa.Column("subjects", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("verified", sa.String(32), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("log", sa.Text(), nullable=True),
        sa.Column("index", sa.BigInteger(), nullable=True),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=True),
        sa.Column("in_log", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("trust_root", sa.String(64), nullable=False),
        sa.Column("fetched_at", MOMENT, nullable=False),
        sa.Column("checked_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_bundles"),
        sa.UniqueConstraint("artifact", "digest", "source", name="uq_bundles_artifact"),
    )
    op.create_index("ix_bundles_digest", "bundles", ["digest", "id"])
    op.create_index("ix_bundles_in_log", "bundles", ["in_log", "id"])
