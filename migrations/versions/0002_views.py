"""Views for people: ISO times, settings as JSON, one row per thing asked about.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import re

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# ISO(column) and NOW() stand for each database's own words.
VIEWS = {
    "v_live_settings": """
        SELECT i.target, s.knobs, ISO(i.since_at) AS since, i.why,
               i.experiment_id, i.settings_digest AS digest
        FROM incumbents i JOIN settings s ON s.digest = i.settings_digest
        WHERE i.until_at IS NULL
    """,
    "v_experiments": """
        SELECT e.id, e.target, ISO(e.started_at) AS started,
               ISO(e.ended_at) AS ended, e.phase, e.pairs AS n, e.effect, e.low, e.high,
               e.confidence, e.verdict, e.reason, c.knobs AS control, t.knobs AS treatment,
               e.proposer, e.rationale, e.predicted_effect, e.plan, e.seed,
               e.started_at, e.ended_at
        FROM experiments e
        JOIN settings c ON c.digest = e.control_digest
        JOIN settings t ON t.digest = e.treatment_digest
    """,
    "v_accepted_changes": """
        SELECT e.id AS experiment_id, e.target, ISO(e.ended_at) AS accepted,
               c.knobs AS settings_before, t.knobs AS settings_after, e.pairs AS n, e.effect,
               e.low, e.high, e.confidence, e.reason, e.proposer, e.rationale,
               e.ended_at AS accepted_at
        FROM experiments e
        JOIN settings c ON c.digest = e.control_digest
        JOIN settings t ON t.digest = e.treatment_digest
        WHERE e.verdict = 'ACCEPTED'
    """,
    "v_slots": """
        SELECT e.target, s.experiment_id, s.slot_index, s.slot_index / 2 AS pair_index, s.arm,
               s.generation, ISO(s.started_at) AS started,
               ISO(s.counted_from_at) AS counted_from, ISO(s.ended_at) AS ended,
               s.counted_s, s.requests, s.good, s.failed, s.straddlers, s.attainment,
               s.goodput_rps, s.ttft_p95_s, s.gap_p95_s, s.e2el_mean_s, s.prompt_tokens,
               s.output_tokens, s.excluded, s.started_at, s.counted_from_at, s.ended_at
        FROM slots s JOIN experiments e ON e.id = s.experiment_id
    """,
    "v_alerts": """
        SELECT a.id, a.target, a.name, a.severity, a.summary, ISO(a.starts_at) AS starts,
               ISO(a.ends_at) AS ends,
               CASE WHEN a.ends_at IS NULL THEN 'firing' ELSE 'resolved' END AS status,
               NOW() - a.starts_at AS age_s, a.labels, a.fingerprint, a.starts_at, a.ends_at
        FROM alerts a
    """,
}

SQLITE = {
    "iso": r"strftime('%Y-%m-%dT%H:%M:%SZ', \1, 'unixepoch')",
    "now": "((julianday('now') - 2440587.5) * 86400.0)",
}
POSTGRESQL = {
    "iso": r"""to_char(to_timestamp(\1) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""",
    "now": "extract(epoch FROM now())",
}


def spoken(query: str, words: dict[str, str]) -> str:
    return re.sub(r"ISO\(([a-z_.]+)\)", words["iso"], query).replace("NOW()", words["now"])


def upgrade() -> None:
    words = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for name, query in VIEWS.items():
        # Past op.execute, which would take a colon for a bound parameter.
        op.get_bind().exec_driver_sql(f"CREATE VIEW {name} AS {spoken(query, words)}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
