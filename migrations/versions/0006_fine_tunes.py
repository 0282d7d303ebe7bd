"""Files of examples that were taken in, and the fine-tunes that were made of them.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Double, Integer, Text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STAGES = (
    "planned", "training", "evaluated", "offered", "promoted", "refused", "undecided", "failed",
    "rolled_back",
)  # fmt: skip

# ISO(column) stands for each database's own words.
VIEWS = {
    "v_intakes": """
        SELECT i.id, i.target, ISO(i.taken_at) AS taken, i.source, i.version, i.read, i.kept,
               i.exact_duplicates, i.near_duplicates, i.dropped, nullif(i.refused, '') AS refused,
               i.seconds, i.sha256, i.taken_at
        FROM intakes i
    """,
    "v_fine_tunes": """
        SELECT f.id, f.target, f.name, f.parent, f.stage, ISO(f.planned_at) AS planned,
               ISO(f.changed_at) AS changed, f.versions, f.examples, f.replayed, f.attempts,
               f.seconds, f.update_s, f.new_before, f.new_after, f.old_before, f.old_after,
               f.old_after - f.old_before AS forgetting, f.agreement_before, f.agreement_after,
               f.pairing,
               f.reason, f.experiment_id, e.verdict, e.effect, e.confidence,
               f.planned_at, f.changed_at
        FROM fine_tunes f LEFT JOIN experiments e ON e.id = f.experiment_id
    """,
}
SQLITE = r"strftime('%Y-%m-%dT%H:%M:%SZ', \1, 'unixepoch')"
POSTGRESQL = r"""to_char(to_timestamp(\1) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


def identity() -> Column[int]:
    # SQLite counts rows up only in a column declared INTEGER PRIMARY KEY.
    return Column("id", sa.BigInteger().with_variant(Integer, "sqlite"), nullable=False)


def needed(name: str, kind: type[Text | Double[float] | Integer] = Text) -> Column[object]:
    return Column(name, kind, nullable=False)


def reference(table: str, name: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([name], [to], name=f"fk_{table}_{name}")


def upgrade() -> None:
    op.create_table(
        "intakes",
        identity(),
        needed("target"),
        needed("taken_at", Double),
        needed("source"),
        needed("sha256"),
        Column("version", Integer),
        needed("read", Integer),
        needed("kept", Integer),
        needed("exact_duplicates", Integer),
        needed("near_duplicates", Integer),
        Column("dropped", sa.JSON(none_as_null=True), nullable=False),
        Column("seconds", Double),
        needed("refused"),
        sa.PrimaryKeyConstraint("id", name="pk_intakes"),
        reference("intakes", "target", "targets.name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intakes_target_taken_at", "intakes", ["target", "taken_at"])
    listed = ", ".join(f"'{stage}'" for stage in STAGES)
    op.create_table(
        "fine_tunes",
        identity(),
        needed("target"),
        needed("name"),
        needed("parent"),
        Column("versions", sa.JSON(none_as_null=True), nullable=False),
        needed("planned_at", Double),
        needed("changed_at", Double),
        needed("stage"),
        needed("examples", Integer),
        needed("replayed", Integer),
        needed("attempts", Integer),
        Column("seconds", Double),
        Column("update_s", Double),
        Column("new_before", Double),
        Column("new_after", Double),
        Column("old_before", Double),
        Column("old_after", Double),
        Column("agreement_before", Double),
        Column("agreement_after", Double),
        Column("pairing", Double),
        needed("reason"),
        Column("request_id", sa.BigInteger()),
        Column("experiment_id", Text),
        sa.PrimaryKeyConstraint("id", name="pk_fine_tunes"),
        sa.CheckConstraint(f"stage IN ({listed})", name="ck_fine_tunes_stage"),
        reference("fine_tunes", "target", "targets.name"),
        reference("fine_tunes", "request_id", "controls.id"),
        reference("fine_tunes", "experiment_id", "experiments.id"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_fine_tunes_target_name", "fine_tunes", ["target", "name"], unique=True)
    words = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for name, query in VIEWS.items():
        told = re.sub(r"ISO\(([a-z_.]+)\)", words, query)
        # Past op.execute, which would take a colon for a bound parameter.
        op.get_bind().exec_driver_sql(f"CREATE VIEW {name} AS {told}")


def downgrade() -> None:
    """What was taken in and trained is lost; the examples and the adapters lie in their folders."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    op.drop_table("fine_tunes")
    op.drop_table("intakes")
