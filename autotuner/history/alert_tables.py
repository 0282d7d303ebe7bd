"""The tables of what people are told: alerts, silences and the outbox; see `tables`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from autotuner.history.columns import Id, one_of
from autotuner.history.table_parts import json_column, metadata, real, target_column, words

alerts = Table(
    "alerts",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    words("fingerprint"),
    words("name"),
    words("severity"),
    words("summary"),
    json_column("labels"),
    real("starts_at", nullable=False),
    real("ends_at"),
    real("updated_at", nullable=False),
    one_of("severity", ("info", "warning", "critical")),
    UniqueConstraint("fingerprint", "starts_at"),
    Index(None, "target", "starts_at"),
    sqlite_autoincrement=True,
)

silences = Table(
    "silences",
    metadata,
    Column("id", Id, primary_key=True),
    words("target"),  # empty: every one, also one that is not recorded yet
    words("alert"),
    json_column("labels"),
    words("author"),
    words("comment"),
    real("starts_at", nullable=False),
    real("ends_at", nullable=False),
    Index(None, "ends_at"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    words("receiver"),
    words("fingerprint"),
    words("status"),
    real("occasion_at", nullable=False),
    json_column("payload"),
    Column("attempts", Integer, nullable=False),
    real("created_at", nullable=False),
    real("next_at"),
    real("delivered_at"),
    Column("last_error", Text),
    one_of("status", ("firing", "resolved")),
    UniqueConstraint("receiver", "fingerprint", "status", "occasion_at"),
    Index(None, "next_at"),
    sqlite_autoincrement=True,
)
