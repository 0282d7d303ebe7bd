"""The tables of fine-tuning: files of examples that were taken in, and what was trained on them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from autotuner.domain.fine_tuning import Stage
from autotuner.history.columns import Id, one_of
from autotuner.history.table_parts import (
    experiment_column,
    json_column,
    metadata,
    real,
    target_column,
    words,
)

intakes = Table(
    "intakes",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    real("taken_at", nullable=False),
    words("source"),
    words("sha256"),
    Column("version", Integer),
    Column("read", Integer, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("exact_duplicates", Integer, nullable=False),
    Column("near_duplicates", Integer, nullable=False),
    json_column("dropped"),
    real("seconds"),
    words("refused"),
    Index(None, "target", "taken_at"),
    sqlite_autoincrement=True,
)

fine_tunes = Table(
    "fine_tunes",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    words("name"),
    words("parent"),
    json_column("versions"),
    real("planned_at", nullable=False),
    real("changed_at", nullable=False),
    words("stage"),
    Column("examples", Integer, nullable=False),
    Column("replayed", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    real("seconds"),
    real("update_s"),
    real("new_before"),
    real("new_after"),
    real("old_before"),
    real("old_after"),
    real("agreement_before"),
    real("agreement_after"),
    real("pairing"),
    words("reason"),
    Column("request_id", BigInteger, ForeignKey("controls.id")),
    experiment_column(),
    one_of("stage", Stage),
    Index("uq_fine_tunes_target_name", "target", "name", unique=True),
    sqlite_autoincrement=True,
)
