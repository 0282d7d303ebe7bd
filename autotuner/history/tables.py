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
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from autotuner.domain.experiment import Arm, Phase, Verdict
from autotuner.domain.mode import Mode
from autotuner.history.columns import NAMING, Id, Real, one_of
from autotuner.history.records import Ask, DecisionOutcome

ACTIONS = ("HOLD", "START", "CONTINUE", "PROMOTE", "ROLLBACK")

metadata = MetaData(naming_convention=NAMING)


def _target(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "target", Text, ForeignKey("targets.name"), nullable=False, primary_key=primary_key
    )


def _settings(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, ForeignKey("settings.digest"), nullable=nullable)


def _experiment(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "experiment_id",
        Text,
        ForeignKey("experiments.id"),
        nullable=not primary_key,
        primary_key=primary_key,
    )


def _words(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _real(name: str, *, nullable: bool = True) -> Column[float]:
    return Column(name, Real, nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=nullable)


targets = Table(
    "targets",
    metadata,
    Column("name", Text, primary_key=True),
    _words("kind"),
    _words("url"),
    _json("info"),
    _real("first_seen_at", nullable=False),
    _real("last_seen_at", nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("digest", Text, primary_key=True),
    _json("knobs"),
    _real("first_seen_at", nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    _words("digest"),
    _json("info"),
    _real("first_seen_at", nullable=False),
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", Text, primary_key=True),
    _target(),
    _settings("control_digest"),
    _settings("treatment_digest"),
    _json("plan"),
    Column("seed", BigInteger, nullable=False),
    _words("proposer"),
    _words("rationale"),
    _real("predicted_effect"),
    _words("phase"),
    _real("started_at", nullable=False),
    _real("ended_at"),
    Column("verdict", Text),
    _words("reason"),
    Column("pairs", Integer, nullable=False),
    _real("effect"),
    _real("low"),
    _real("high"),
    _real("confidence"),
    one_of("phase", Phase),
    one_of("verdict", Verdict),
    CheckConstraint("(phase = 'closed') = (verdict IS NOT NULL)", name="closed_has_verdict"),
    Index(None, "target", "started_at"),
    Index(None, "phase"),
)

slots = Table(
    "slots",
    metadata,
    _experiment(primary_key=True),
    Column("slot_index", Integer, primary_key=True),
    _words("arm"),
    Column("generation", BigInteger, nullable=False),
    _real("started_at", nullable=False),
    _real("counted_from_at"),
    _real("ended_at"),
    Column("requests", Integer),
    Column("good", Integer),
    Column("failed", Integer),
    Column("straddlers", Integer),
    _real("counted_s"),
    _real("attainment"),
    _real("goodput_rps"),
    _real("ttft_p95_s"),
    _real("gap_p95_s"),
    _real("e2el_mean_s"),
    Column("prompt_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("excluded", Text),
    Column("lane", Integer, nullable=False, server_default="0"),
    Column("lanes", Integer, nullable=False, server_default="1"),
    _real("ttft_mean_s"),
    _real("e2el_p95_s"),
    _real("energy_j"),
    _real("quality"),
    _real("feedback"),
    Column("feedback_count", Integer),
    Column("out_of_memory", Integer),
    _real("temperature_max_c"),
    one_of("arm", Arm),
)

pairs = Table(
    "pairs",
    metadata,
    _experiment(primary_key=True),
    Column("pair_index", Integer, primary_key=True),
    _real("difference"),
    _json("control"),
    _json("treatment"),
    _real("adjustment"),
)

looks = Table(
    "looks",
    metadata,
    _experiment(primary_key=True),
    Column("look_index", Integer, primary_key=True),
    Column("pairs", Integer, nullable=False),
    _real("log_e_benefit"),
    _real("log_e_harm"),
    _real("confidence"),
    _real("effect"),
    _real("low"),
    _real("high"),
    Column("guardrails", JSON(none_as_null=True), nullable=False, server_default="[]"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Id, primary_key=True),
    _target(),
    _real("decided_at", nullable=False),
    _words("action"),
    _words("reason"),
    Column("generation", BigInteger),
    _settings("settings_digest", nullable=True),
    _experiment(),
    Column("outcome", Text),
    _real("outcome_at"),
    _words("outcome_note"),
    Column("applied_generation", BigInteger),
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
    _target(),
    _settings("settings_digest"),
    _real("since_at", nullable=False),
    _real("until_at"),
    _words("why"),
    _experiment(),
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
    _target(primary_key=True),
    Column("settings_digest", Text, ForeignKey("settings.digest"), primary_key=True),
    _words("reason"),
    _real("since_at", nullable=False),
    _real("until_at"),
)

samples = Table(
    "samples",
    metadata,
    _target(primary_key=True),
    Column("series", Text, primary_key=True),
    Column("bucket_at", Real, primary_key=True),
    _real("value"),
    Index(None, "bucket_at"),
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("id", Id, primary_key=True),
    _target(),
    _words("series"),
    _real("made_at", nullable=False),
    _words("model"),
    _words("note"),
    _json("points"),
    Index(None, "target", "series", "made_at"),
    sqlite_autoincrement=True,
)

anomalies = Table(
    "anomalies",
    metadata,
    _target(primary_key=True),
    Column("series", Text, primary_key=True),
    Column("seen_at", Real, primary_key=True),
    _real("value"),
    _real("expected"),
    _real("score"),
    Column("anomalous", Boolean, nullable=False),
    Column("suppressed", Boolean, nullable=False),
    Index(None, "target", "seen_at"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Id, primary_key=True),
    _target(),
    _words("fingerprint"),
    _words("name"),
    _words("severity"),
    _words("summary"),
    _json("labels"),
    _real("starts_at", nullable=False),
    _real("ends_at"),
    _real("updated_at", nullable=False),
    one_of("severity", ("info", "warning", "critical")),
    UniqueConstraint("fingerprint", "starts_at"),
    Index(None, "target", "starts_at"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    _words("receiver"),
    _words("fingerprint"),
    _words("status"),
    _real("occasion_at", nullable=False),
    _json("payload"),
    Column("attempts", Integer, nullable=False),
    _real("created_at", nullable=False),
    _real("next_at"),
    _real("delivered_at"),
    Column("last_error", Text),
    one_of("status", ("firing", "resolved")),
    UniqueConstraint("receiver", "fingerprint", "status", "occasion_at"),
    Index(None, "next_at"),
    sqlite_autoincrement=True,
)

controls = Table(
    "controls",
    metadata,
    Column("id", Id, primary_key=True),
    _target(),
    _words("what"),
    _words("who"),
    _words("note"),
    _real("asked_at", nullable=False),
    _real("taken_at"),
    _json("payload", nullable=True),
    Column("result", Text),
    _experiment(),
    one_of("what", Ask),
    Index(None, "target", "taken_at"),
    sqlite_autoincrement=True,
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("daemon_id", Text, primary_key=True),
    _target(primary_key=True),
    _real("beat_at", nullable=False),
    _words("sentence"),
    _words("mode"),
    Column("cycles", BigInteger, nullable=False),
    one_of("mode", Mode),
)
