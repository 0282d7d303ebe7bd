"""Configuration and policies: outside data, checked once, turned into the domain's values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autotuner.config.alert_rule import AlertRuleConfig
from autotuner.config.availability import AvailabilityConfig
from autotuner.config.experiment import ExperimentConfig, GuardrailConfig
from autotuner.config.learn import LearnConfig, TrainingConfig
from autotuner.config.listen import ListenConfig
from autotuner.config.metrics import MetricsConfig, PrometheusConfig
from autotuner.config.model import parse, read_yaml
from autotuner.config.plan import ExperimentPlan
from autotuner.config.policy import (
    ForecastConfig,
    KnobConfig,
    Policy,
    ProposerConfig,
    SloConfig,
)
from autotuner.config.receivers import AlertmanagerConfig, AlertsInConfig, ChatConfig, WebhookConfig
from autotuner.config.secrets import read_secret
from autotuner.config.service import Config, LogConfig, TargetConfig
from autotuner.domain.errors import ConfigError

__all__ = [
    "AlertRuleConfig",
    "AlertmanagerConfig",
    "AlertsInConfig",
    "AvailabilityConfig",
    "ChatConfig",
    "Config",
    "ExperimentConfig",
    "ExperimentPlan",
    "ForecastConfig",
    "GuardrailConfig",
    "KnobConfig",
    "LearnConfig",
    "ListenConfig",
    "LogConfig",
    "MetricsConfig",
    "Policy",
    "PrometheusConfig",
    "ProposerConfig",
    "SloConfig",
    "TargetConfig",
    "TrainingConfig",
    "WebhookConfig",
    "json_schema",
    "load_config",
    "load_plan",
    "load_policy",
    "parse_config",
    "parse_plan",
    "parse_policy",
    "read_secret",
]


def load_config(path: Path) -> Config:
    """The configuration in `path`, with the history's URL from its file, where it names one.

    Raises ConfigError naming field, value and fix.
    """
    if not path.exists():
        raise ConfigError(
            f"{path}: can't be read (no such file); give another with --config, or make one: "
            f"autotuner init --out {path}"
        )
    config = parse(Config, read_yaml(path), str(path))
    url = read_secret(config.history_file, "history_file")
    return config if url is None else config.model_copy(update={"history": url})


def load_policy(name: str, folder: Path) -> Policy:
    """The policy in the file `name`, or the shipped one of that name under `folder`."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise ConfigError(f"policy={name!r}: no such file {path}; give a path, or one of {known}")
    return parse(Policy, read_yaml(path), str(path))


def load_plan(path: Path) -> ExperimentPlan:
    """The operator's test in `path`; raises ConfigError naming field, value and fix."""
    return parse(ExperimentPlan, read_yaml(path), str(path))


def parse_config(data: Any, where: str = "config") -> Config:
    return parse(Config, data, where)


def parse_policy(data: Any, where: str = "policy") -> Policy:
    return parse(Policy, data, where)


def parse_plan(data: Any, where: str = "plan") -> ExperimentPlan:
    return parse(ExperimentPlan, data, where)


def json_schema() -> dict[str, Any]:
    """JSON schemas of the configuration, a policy and an operator's test, for editors."""
    return {
        "config": Config.model_json_schema(),
        "policy": Policy.model_json_schema(),
        "plan": ExperimentPlan.model_json_schema(),
    }
