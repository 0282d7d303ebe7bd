"""Silences, the reasons of proposals, and what the agent's model and its releases were worth.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Double, Integer, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# ISO(column), NOW() and GREATER(a, b) stand for each database's own words.
VIEWS = {
    "v_silences": """
        SELECT s.id, s.author, s.comment, nullif(s.target, '') AS target,
               nullif(s.alert, '') AS alert, s.labels, ISO(s.starts_at) AS starts,
               ISO(s.ends_at) AS ends,
               CASE WHEN s.ends_at <= NOW() THEN 'ended'
                    WHEN s.starts_at <= NOW() THEN 'active' ELSE 'waits' END AS status,
               s.starts_at, s.ends_at
        FROM silences s
    """,
    "v_model_checks": """
        SELECT c.id, c.target, ISO(c.checked_at) AS checked, c.figure, c.predicted, c.measured,
               CASE WHEN c.predicted > 0 AND c.measured > 0
                    THEN GREATER(c.predicted / c.measured, c.measured / c.predicted) - 1
               END AS error,
               s.knobs AS settings, c.experiment_id, c.checked_at
        FROM model_checks c LEFT JOIN settings s ON s.digest = c.settings_digest
    """,
    "v_agents": """
        SELECT r.id, r.target, ISO(r.released_at) AS released, r.version, r.parent, r.reason,
               r.score, r.score_before, r.systems,
               CASE WHEN r.id = (SELECT max(l.id) FROM agent_releases l WHERE l.target = r.target)
                    THEN 'in use' ELSE 'replaced' END AS status,
               r.digest, r.path, r.released_at
        FROM agent_releases r
    """,
}

SQLITE = {
    "ISO": r"strftime('%Y-%m-%dT%H:%M:%SZ', \1, 'unixepoch')",
    "NOW()": "((julianday('now') - 2440587.5) * 86400.0)",
    "GREATER": "max",
}
POSTGRESQL = {
    "ISO": r"""to_char(to_timestamp(\1) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""",
    "NOW()": "extract(epoch FROM now())",
    "GREATER": "greatest",
}


def spoken(query: str, words: dict[str, str]) -> str:
    told = query.replace("NOW()", words["NOW()"]).replace("GREATER(", f"{words['GREATER']}(")
    return re.sub(r"ISO\(([a-z_.]+)\)", words["ISO"], told)


def identity() -> Column[int]:
    # SQLite counts rows up only in a column declared INTEGER PRIMARY KEY.
    return Column("id", sa.BigInteger().with_variant(Integer, "sqlite"), nullable=False)


def needed(name: str, kind: type[Text | Double[float]] = Text) -> Column[object]:
    return Column(name, kind, nullable=False)


def reference(table: str, name: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([name], [to], name=f"fk_{table}_{name}")


def upgrade() -> None:
    op.add_column("experiments", Column("explanation", sa.JSON(none_as_null=True)))
    op.create_table(
        "silences",
        identity(),
        needed("target"),
        needed("alert"),
        Column("labels", sa.JSON(none_as_null=True), nullable=False),
        needed("author"),
        needed("comment"),
        needed("starts_at", Double),
        needed("ends_at", Double),
        sa.PrimaryKeyConstraint("id", name="pk_silences"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at"])
    op.create_table(
        "model_checks",
        identity(),
        needed("target"),
        needed("checked_at", Double),
        needed("figure"),
        Column("predicted", Double),
        Column("measured", Double),
        Column("settings_digest", Text),
        Column("experiment_id", Text),
        sa.PrimaryKeyConstraint("id", name="pk_model_checks"),
        reference("model_checks", "target", "targets.name"),
        reference("model_checks", "settings_digest", "settings.digest"),
        reference("model_checks", "experiment_id", "experiments.id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_model_checks_target_checked_at", "model_checks", ["target", "checked_at"])
    op.create_table(
        "agent_releases",
        identity(),
        needed("target"),
        needed("released_at", Double),
        needed("version"),
        needed("parent"),
        needed("digest"),
        needed("path"),
        needed("reason"),
        Column("score", Double),
        Column("score_before", Double),
        Column("systems", Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agent_releases"),
        reference("agent_releases", "target", "targets.name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_agent_releases_target", "agent_releases", ["target"])
    words = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for name, query in VIEWS.items():
        # Past op.execute, which would take a colon for a bound parameter.
        op.get_bind().exec_driver_sql(f"CREATE VIEW {name} AS {spoken(query, words)}")


def downgrade() -> None:
    """What only this revision knows is lost: silences, reasons as figures, checks and releases."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    for table in ("silences", "model_checks", "agent_releases"):
        op.drop_table(table)
    op.drop_column("experiments", "explanation")
