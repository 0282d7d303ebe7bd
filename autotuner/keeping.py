"""From the configuration to what the history drops and thins at a given time."""

from __future__ import annotations

from autotuner.config import Config, load_policy
from autotuner.history.compaction import Keeping
from autotuner.resources import resource_folder

DAY_S = 86400.0
# The table that each field of `keep` is about.
_TABLES = {
    "samples": "samples",
    "held_decisions": "decisions",
    "forecasts": "forecasts",
    "anomalies": "anomalies",
    "alerts": "alerts",
    "delivered": "outbox",
    "silences": "silences",
    "model_checks": "model_checks",
    "heartbeats": "heartbeats",
}


def keeping_of(config: Config, now: float) -> Keeping:
    """What may go at `now` (epoch s). Raises ConfigError for a policy that can't be used."""
    keep = config.keep
    cutoffs = {table: now - DAY_S * _days(config, field) for field, table in _TABLES.items()}
    if keep.thin_after is None:
        return Keeping(cutoffs)
    return Keeping(cutoffs, now - DAY_S * max(keep.thin_after, _needed_days(config)))


def _days(config: Config, field: str) -> float:
    """As given; a default of `keep` is no longer than keep_days."""
    days: float | None = getattr(config.keep, field)
    if days is None:
        return config.keep_days
    return days if field in config.keep.model_fields_set else min(days, config.keep_days)


def _needed_days(config: Config) -> float:
    """Forecasts are fitted to series as fine as they were measured."""
    policies = {target.policy for target in config.targets}
    folder = resource_folder("policies")
    return max(load_policy(policy, folder).forecast.history_days for policy in policies)
