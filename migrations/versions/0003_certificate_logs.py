"""Certificate logs: what ties a certificate to its precertificate, what a log serves beside a leaf, and the search for entries.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Add what this revision keeps. Older code knows neither the new modes nor the new protocols, so it is served no more."""
    op.add_column("certificates", sa.Column("issuance", sa.String(64), nullable=True))
    op.create_index("ix_certificates_issuance", "certificates", ["issuance"])
    op.add_column("leaves", sa.Column("extra", sa.LargeBinary(), nullable=True))
    op.create_table(
        "lookups",
        sa.Column("issuance", sa.String(64), nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("not_after", MOMENT, nullable=False),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("history", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("searched_at", MOMENT, nullable=True),
        sa.Column("read_at", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["entry_id"], ["entries.id"], name="fk_lookups_entry_id"),
        sa.PrimaryKeyConstraint("issuance", name="pk_lookups"),
    )
    op.create_index("ix_lookups_state", "lookups", ["state", "not_before"])
    meta = sa.table("meta", sa.column("key", sa.String), sa.column("value", sa.Text))
    op.execute(meta.update().where(meta.c.key.in_(["schema", "serves"])).values(value="3"))
