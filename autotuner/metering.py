"""Whether the energy that a policy goes by is measured on a target; asked before it starts."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from autotuner.config import MetricsConfig, Policy, TargetConfig
from autotuner.config.energy import NO_SOURCE, decided_by, guarded_by
from autotuner.domain.energy import Meter
from autotuner.domain.errors import ConfigError, TargetUnavailableError
from autotuner.sources import rapl_source

log = structlog.get_logger()


def obstacle(asked: MetricsConfig, cycle_s: float) -> str | None:
    """Why energy can't be measured, with the fix; None where it can, or may yet.

    The counters of this machine are tried at once; exporters and drivers may come up later.
    `cycle_s`: how often they will be read.
    """
    if not asked.measures_energy:
        return NO_SOURCE
    if not asked.rapl:
        return None
    try:
        (meter,) = rapl_source(asked).snapshot().energy.values()
    except TargetUnavailableError as problem:
        return str(problem)
    if meter is not None and cycle_s >= meter.patience_s:
        return (
            f"cycle_s={cycle_s:g}: RAPL's counters could go around unseen between two cycles: "
            f"give less than {meter.patience_s:.0f}"
        )
    return None


def require_energy(target: TargetConfig, policy: Policy, cycle_s: float) -> None:
    """Raises ConfigError where the policy is decided by energy and that can't be measured.

    A guardrail that can't pass is said in the log: tests are refused for as long as it can't.
    """
    decided, guarded = decided_by(policy), guarded_by(policy.experiment)
    if not decided and not guarded:
        return
    problem = obstacle(target.metrics, cycle_s)
    if problem is None:
        return
    if decided:
        raise ConfigError(
            f"targets.{target.name}: policy {policy.name} has {', '.join(decided)}, but {problem}"
        )
    log.warning(
        "energy.guardrail_blind", target=target.name, guardrails=guarded,
        problem=f"can't pass, so that no change can be accepted: {problem}",
    )  # fmt: skip


def described(metering: Mapping[str, Meter | None]) -> str:
    """Who tells the energy and how, for people; the sources that don't, by name."""
    return "; ".join(f"{source}: {_how(meter)}" for source, meter in metering.items())


def _how(meter: Meter | None) -> str:
    if meter is None or not meter.tells:
        return "tells none"
    by_counter = bool(meter.counters_j)
    devices = ", ".join(sorted(meter.counters_j if by_counter else meter.power_w))
    return f"{'hardware counters' if by_counter else 'power, integrated'} of {devices}"
