"""Lanes, guardrails, covariates and declared tests; what people query shows them.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from types import ModuleType

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy import Column, Double, Index, Integer, Table, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ASKS = ("pause", "resume", "advisory", "rollback", "stop")

# The reader of rows made before this revision takes NULL as "not measured".
ADDED = {
    "slots": (
        Column("lane", Integer, nullable=False, server_default="0"),
        Column("lanes", Integer, nullable=False, server_default="1"),
        Column("ttft_mean_s", Double),
        Column("e2el_p95_s", Double),
        Column("energy_j", Double),
        Column("quality", Double),
        Column("feedback", Double),
        Column("feedback_count", Integer),
        Column("out_of_memory", Integer),
        Column("temperature_max_c", Double),
    ),
    "pairs": (Column("adjustment", Double),),
    "looks": (Column("guardrails", sa.JSON, nullable=False, server_default="[]"),),
}

# ISO(column) stands for each database's own words, as do FIGURE(json, key) and EACH(json).
VIEWS = {
    "v_experiments": """
        SELECT e.id, e.target, ISO(e.started_at) AS started,
               ISO(e.ended_at) AS ended, e.phase,
               CASE WHEN e.control_digest = e.treatment_digest THEN 'A/A'
                    WHEN coalesce(e.plan ->> 'confirms', '') <> '' THEN 'confirm'
                    ELSE 'A/B' END AS kind,
               coalesce(e.plan ->> 'design', 'switchback') AS design,
               coalesce(e.plan ->> 'outcome', 'attainment') AS outcome,
               e.pairs AS n, e.effect, e.low, e.high,
               e.confidence, e.verdict, e.reason, c.knobs AS control, t.knobs AS treatment,
               e.proposer, e.rationale, e.predicted_effect,
               nullif(e.plan ->> 'confirms', '') AS confirms, e.plan, e.seed,
               e.started_at, e.ended_at
        FROM experiments e
        JOIN settings c ON c.digest = e.control_digest
        JOIN settings t ON t.digest = e.treatment_digest
    """,
    "v_slots": """
        SELECT e.target, s.experiment_id, s.slot_index, s.slot_index / s.lanes AS period,
               s.slot_index / s.lanes / 2 AS pair_index, s.lane, s.arm,
               s.generation, ISO(s.started_at) AS started,
               ISO(s.counted_from_at) AS counted_from, ISO(s.ended_at) AS ended,
               s.counted_s, s.requests, s.good, s.failed, s.straddlers, s.attainment,
               s.goodput_rps, s.ttft_mean_s, s.ttft_p95_s, s.gap_p95_s, s.e2el_mean_s,
               s.e2el_p95_s, s.prompt_tokens, s.output_tokens, s.energy_j, s.quality, s.feedback,
               s.feedback_count, s.out_of_memory, s.temperature_max_c,
               s.excluded, s.started_at, s.counted_from_at, s.ended_at
        FROM slots s JOIN experiments e ON e.id = s.experiment_id
    """,
    "v_guardrails": """
        SELECT e.target, l.experiment_id, l.look_index, l.pairs AS n,
               g.value ->> 'measure' AS measure, FIGURE(m.value, margin) AS margin,
               CAST(g.value ->> 'pairs' AS INTEGER) AS measured,
               FIGURE(g.value, effect) AS effect, FIGURE(g.value, low) AS low,
               FIGURE(g.value, high) AS high, FIGURE(g.value, log_e_kept) AS log_e_kept,
               FIGURE(g.value, log_e_broken) AS log_e_broken
        FROM looks l JOIN experiments e ON e.id = l.experiment_id
        CROSS JOIN EACH(l.guardrails) g
        LEFT JOIN EACH(e.plan -> 'guardrails') m
          ON m.value ->> 'measure' = g.value ->> 'measure'
    """,
    "v_requests": """
        SELECT r.id, r.target, r.what, r.who, r.note, ISO(r.asked_at) AS asked,
               ISO(r.taken_at) AS taken, r.payload, r.result, r.experiment_id,
               e.phase, e.verdict, e.reason, r.asked_at, r.taken_at
        FROM controls r LEFT JOIN experiments e ON e.id = r.experiment_id
    """,
}

# Figures in JSON that are not finite are stored as text.
FIGURE = {
    "sqlite": """CASE X WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST(X AS REAL) END""",
    "postgresql": "CAST(nullif(X, 'NaN') AS DOUBLE PRECISION)",
}
EACH = {"sqlite": r"json_each(\1)", "postgresql": r"LATERAL json_array_elements(\1)"}


def earlier() -> ModuleType:
    """The revision before, for its words and for the views to go back to."""
    context = op.get_context().environment_context
    assert context is not None, "revisions run inside env.py"
    found = context.script.get_revision(down_revision)
    assert found is not None, "every revision ships with those before it"
    return found.module


def make_views(views: dict[str, str]) -> None:
    dialect = op.get_context().dialect.name
    before = earlier()
    words = before.SQLITE if dialect == "sqlite" else before.POSTGRESQL
    for name, query in views.items():
        told = before.re.sub(r"EACH\(([^)]*)\)", EACH[dialect], query)
        told = before.re.sub(
            r"FIGURE\(([a-z.]+), ([a-z_]+)\)",
            lambda found: FIGURE[dialect].replace("X", f"({found[1]} ->> '{found[2]}')"),
            told,
        )
        # Past op.execute, which would take a colon for a bound parameter.
        op.get_bind().exec_driver_sql(f"CREATE VIEW {name} AS {before.spoken(told, words)}")


def drop_views(names: list[str]) -> None:
    for name in names:
        op.execute(f"DROP VIEW {name}")


def request_columns() -> tuple[Column[object], ...]:
    return (
        Column("payload", sa.JSON(none_as_null=True)),
        Column("result", Text),
        Column("experiment_id", Text),
    )


def controls(asks: tuple[str, ...], *added: Column[object]) -> Table:
    """The table before a change: SQLite copies it, and does not tell its CHECK."""
    listed = ", ".join(f"'{ask}'" for ask in asks)
    return Table(
        "controls",
        sa.MetaData(),
        Column("id", sa.BigInteger().with_variant(Integer, "sqlite"), nullable=False),
        Column("target", Text, nullable=False),
        Column("what", Text, nullable=False),
        Column("who", Text, nullable=False),
        Column("note", Text, nullable=False),
        Column("asked_at", Double, nullable=False),
        Column("taken_at", Double),
        *added,
        sa.PrimaryKeyConstraint("id", name="pk_controls"),
        sa.ForeignKeyConstraint(["target"], ["targets.name"], name="fk_controls_target"),
        sa.CheckConstraint(f"what IN ({listed})", name="ck_controls_what"),
        Index("ix_controls_target_taken_at", "target", "taken_at"),
        sqlite_autoincrement=True,
    )


def allow(batch: BatchOperations, asks: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{ask}'" for ask in asks)
    batch.drop_constraint("ck_controls_what", type_="check")
    batch.create_check_constraint("ck_controls_what", sa.text(f"what IN ({listed})"))


def upgrade() -> None:
    drop_views(["v_experiments", "v_slots"])
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column._copy())
    op.execute("UPDATE pairs SET adjustment = 0")
    with op.batch_alter_table("controls", copy_from=controls(ASKS)) as batch:
        allow(batch, (*ASKS, "experiment"))
        for column in request_columns():
            batch.add_column(column)
        batch.create_foreign_key(
            "fk_controls_experiment_id", "experiments", ["experiment_id"], ["id"]
        )
    make_views(VIEWS)


def downgrade() -> None:
    """What only this revision knows is lost: declared tests, and the figures of the new columns."""
    drop_views(list(VIEWS))
    op.execute("DELETE FROM controls WHERE what = 'experiment'")
    after = controls((*ASKS, "experiment"), *request_columns())
    key = sa.ForeignKeyConstraint(
        ["experiment_id"], ["experiments.id"], name="fk_controls_experiment_id"
    )
    after.append_constraint(key)
    with op.batch_alter_table("controls", copy_from=after) as batch:
        allow(batch, ASKS)
        batch.drop_constraint("fk_controls_experiment_id", type_="foreignkey")
        for added in request_columns():
            batch.drop_column(added.name)
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)
    before = earlier().VIEWS
    make_views({name: before[name] for name in ("v_experiments", "v_slots")})
