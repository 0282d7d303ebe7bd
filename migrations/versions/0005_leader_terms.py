"""Which daemon led when, and under whose term each decision was made.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Double, Integer, Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leader_terms",
        # SQLite counts rows up only in a column declared INTEGER PRIMARY KEY.
        Column("term", sa.BigInteger().with_variant(Integer, "sqlite"), nullable=False),
        Column("name", Text, nullable=False),
        Column("daemon_id", Text, nullable=False),
        Column("began_at", Double, nullable=False),
        Column("ended_at", Double),
        Column("ended_how", Text),
        sa.PrimaryKeyConstraint("term", name="pk_leader_terms"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_leader_terms_in_force",
        "leader_terms",
        ["name"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.add_column("decisions", Column("term", sa.BigInteger()))


def downgrade() -> None:
    """Who led is lost."""
    op.drop_column("decisions", "term")
    op.drop_table("leader_terms")
