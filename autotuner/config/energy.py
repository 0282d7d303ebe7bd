"""What a policy or a test asks of energy, held against what the configuration measures."""

from __future__ import annotations

from autotuner.config.experiment import ExperimentConfig
from autotuner.config.metrics import MetricsConfig
from autotuner.config.policy import Policy
from autotuner.domain.errors import ConfigError
from autotuner.domain.goals import OF_ENERGY

NO_SOURCE = (
    "no source of energy is configured: give metrics.rapl (processors of this machine), "
    "metrics.nvml or metrics.dcgm (GPUs): docs/energy.md"
)


def decided_by(policy: Policy) -> tuple[str, ...]:
    """What of the policy is decided by energy, as it stands in its file."""
    asked = {"goal.kind": policy.goal.kind, "experiment.outcome": policy.experiment.outcome}
    return tuple(f"{field}={name!r}" for field, name in asked.items() if name in OF_ENERGY)


def guarded_by(rules: ExperimentConfig) -> tuple[str, ...]:
    """The guardrails that look at energy."""
    return tuple(rail.measure for rail in rules.guardrails if rail.measure in OF_ENERGY)


def check_declared(asked: MetricsConfig, rules: ExperimentConfig, where: str) -> None:
    """Raises ConfigError for a test by energy, or guarded by it, where nobody measures that."""
    if asked.measures_energy:
        return
    if rules.outcome in OF_ENERGY:
        raise ConfigError(f"{where}.outcome={rules.outcome!r} can't be told: {NO_SOURCE}")
    if guarded := guarded_by(rules):
        raise ConfigError(f"{where}.guardrails: {', '.join(guarded)} can't pass: {NO_SOURCE}")
