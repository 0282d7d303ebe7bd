"""The table of leadership: one row a term, at most one of a name in force."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text, text

from autotuner.history.columns import Id
from autotuner.history.table_parts import metadata, real, words

leader_terms = Table(
    "leader_terms",
    metadata,
    Column("term", Id, primary_key=True),
    words("name"),
    words("daemon_id"),
    real("began_at", nullable=False),
    real("ended_at"),
    Column("ended_how", Text),
    Index(
        "uq_leader_terms_in_force",
        "name",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)
