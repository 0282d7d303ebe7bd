"""The tables as this version reads and writes them; `migrations/` makes them.

Times are UTC epoch seconds in columns named `*_at`; NaN is NULL; settings are stored once, under
the digest of their content. Views for people (`v_*`) are made by the migrations.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from autotuner.domain.experiment import Arm, Phase, Verdict
from autotuner.domain.mode import Mode
from autotuner.history.columns import Id, Real, one_of
from autotuner.history.records import Ask, DecisionOutcome
from autotuner.history.table_parts import (
    experiment_column,
    json_column,
    metadata,
    real,
    settings_column,
    target_column,
    words,
)

ACTIONS = ("HOLD", "START", "CONTINUE", "PROMOTE", "ROLLBACK")

targets = Table(
    "targets",
    metadata,
    Column("name", Text, primary_key=True),
    words("kind"),
    words("url"),
    json_column("info"),
    real("first_seen_at", nullable=False),
    real("last_seen_at", nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("digest", Text, primary_key=True),
    json_column("knobs"),
    real("first_seen_at", nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    words("digest"),
    json_column("info"),
    real("first_seen_at", nullable=False),
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", Text, primary_key=True),
    target_column(),
    settings_column("control_digest"),
    settings_column("treatment_digest"),
    json_column("plan"),
    Column("seed", BigInteger, nullable=False),
    words("proposer"),
    words("rationale"),
    real("predicted_effect"),
    words("phase"),
    real("started_at", nullable=False),
    real("ended_at"),
    Column("verdict", Text),
    words("reason"),
    Column("pairs", Integer, nullable=False),
    real("effect"),
    real("low"),
    real("high"),
    real("confidence"),
    json_column("explanation", nullable=True),
    one_of("phase", Phase),
    one_of("verdict", Verdict),
    CheckConstraint("(phase = 'closed') = (verdict IS NOT NULL)", name="closed_has_verdict"),
    Index(None, "target", "started_at"),
    Index(None, "phase"),
)

slots = Table(
    "slots",
    metadata,
    experiment_column(primary_key=True),
    Column("slot_index", Integer, primary_key=True),
    words("arm"),
    Column("generation", BigInteger, nullable=False),
    real("started_at", nullable=False),
    real("counted_from_at"),
    real("ended_at"),
    Column("requests", Integer),
    Column("good", Integer),
    Column("failed", Integer),
    Column("straddlers", Integer),
    real("counted_s"),
    real("attainment"),
    real("goodput_rps"),
    real("ttft_p95_s"),
    real("gap_p95_s"),
    real("e2el_mean_s"),
    Column("prompt_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("excluded", Text),
    Column("lane", Integer, nullable=False, server_default="0"),
    Column("lanes", Integer, nullable=False, server_default="1"),
    real("ttft_mean_s"),
    real("e2el_p95_s"),
    real("energy_j"),
    real("quality"),
    real("feedback"),
    Column("feedback_count", Integer),
    Column("out_of_memory", Integer),
    real("temperature_max_c"),
    one_of("arm", Arm),
)

pairs = Table(
    "pairs",
    metadata,
    experiment_column(primary_key=True),
    Column("pair_index", Integer, primary_key=True),
    real("difference"),
    json_column("control"),
    json_column("treatment"),
    real("adjustment"),
)

looks = Table(
    "looks",
    metadata,
    experiment_column(primary_key=True),
    Column("look_index", Integer, primary_key=True),
    Column("pairs", Integer, nullable=False),
    real("log_e_benefit"),
    real("log_e_harm"),
    real("confidence"),
    real("effect"),
    real("low"),
    real("high"),
    Column("guardrails", JSON(none_as_null=True), nullable=False, server_default="[]"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    real("decided_at", nullable=False),
    words("action"),
    words("reason"),
    Column("generation", BigInteger),
    settings_column("settings_digest", nullable=True),
    experiment_column(),
    Column("outcome", Text),
    real("outcome_at"),
    words("outcome_note"),
    Column("applied_generation", BigInteger),
    Column("term", BigInteger),
    one_of("action", ACTIONS),
    one_of("outcome", DecisionOutcome),
    CheckConstraint("(outcome IS NULL) = (settings_digest IS NULL)", name="settings_have_outcome"),
    Index(None, "target", "decided_at"),
    Index(
        "ix_decisions_unfinished",
        "target",
        sqlite_where=text("outcome IN ('pending', 'unknown')"),
        postgresql_where=text("outcome IN ('pending', 'unknown')"),
    ),
    Index(None, "experiment_id"),
    sqlite_autoincrement=True,
)

incumbents = Table(
    "incumbents",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    settings_column("settings_digest"),
    real("since_at", nullable=False),
    real("until_at"),
    words("why"),
    experiment_column(),
    Index(
        "uq_incumbents_live",
        "target",
        unique=True,
        sqlite_where=text("until_at IS NULL"),
        postgresql_where=text("until_at IS NULL"),
    ),
    Index(None, "target", "since_at"),
    sqlite_autoincrement=True,
)

quarantines = Table(
    "quarantines",
    metadata,
    target_column(primary_key=True),
    Column("settings_digest", Text, ForeignKey("settings.digest"), primary_key=True),
    words("reason"),
    real("since_at", nullable=False),
    real("until_at"),
)

samples = Table(
    "samples",
    metadata,
    target_column(primary_key=True),
    Column("series", Text, primary_key=True),
    Column("bucket_at", Real, primary_key=True),
    real("value"),
    Index(None, "bucket_at"),
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    words("series"),
    real("made_at", nullable=False),
    words("model"),
    words("note"),
    json_column("points"),
    Index(None, "target", "series", "made_at"),
    sqlite_autoincrement=True,
)

anomalies = Table(
    "anomalies",
    metadata,
    target_column(primary_key=True),
    Column("series", Text, primary_key=True),
    Column("seen_at", Real, primary_key=True),
    real("value"),
    real("expected"),
    real("score"),
    Column("anomalous", Boolean, nullable=False),
    Column("suppressed", Boolean, nullable=False),
    Index(None, "target", "seen_at"),
)

model_checks = Table(
    "model_checks",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    real("checked_at", nullable=False),
    words("figure"),
    real("predicted"),
    real("measured"),
    settings_column("settings_digest", nullable=True),
    experiment_column(),
    Index(None, "target", "checked_at"),
    sqlite_autoincrement=True,
)

agent_releases = Table(
    "agent_releases",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    real("released_at", nullable=False),
    words("version"),
    words("parent"),
    words("digest"),
    words("path"),
    words("reason"),
    real("score"),
    real("score_before"),
    Column("systems", Integer, nullable=False),
    Index(None, "target"),
    sqlite_autoincrement=True,
)

controls = Table(
    "controls",
    metadata,
    Column("id", Id, primary_key=True),
    target_column(),
    words("what"),
    words("who"),
    words("note"),
    real("asked_at", nullable=False),
    real("taken_at"),
    json_column("payload", nullable=True),
    Column("result", Text),
    experiment_column(),
    one_of("what", Ask),
    Index(None, "target", "taken_at"),
    sqlite_autoincrement=True,
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("daemon_id", Text, primary_key=True),
    target_column(primary_key=True),
    real("beat_at", nullable=False),
    words("sentence"),
    words("mode"),
    Column("cycles", BigInteger, nullable=False),
    one_of("mode", Mode),
)
