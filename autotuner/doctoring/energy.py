"""Whether a target's energy is measured, by whom, and whether its policy needs it. I/O."""

from __future__ import annotations

from collections.abc import Iterator

from autotuner.config import Policy, TargetConfig
from autotuner.config.energy import NO_SOURCE, decided_by, guarded_by
from autotuner.doctoring.finding import Finding, failed, warned, well
from autotuner.domain.energy import Metering, known
from autotuner.domain.errors import TargetUnavailableError
from autotuner.metering import described, obstacle
from autotuner.metrics.rapl import domains_of


def energy_finding(
    target: TargetConfig, policy: Policy, metering: Metering, cycle_s: float
) -> Finding:
    """`metering`: what the target's sources of energy told now; `cycle_s`: how often they will."""
    check = f"energy {target.name}"
    problem = obstacle(target.metrics, cycle_s)
    if problem is None and known(metering):
        return well(check, described(metering))
    # The reason of this machine's own counters is told whole; a source that is down, by its name.
    problem = problem or f"not known: {described(metering)}"
    fix = "docs/energy.md"
    if decided := decided_by(policy):
        return failed(check, f"{', '.join(decided)} can't be decided: {problem}", fix)
    if guarded := guarded_by(policy.experiment):
        told = f"guardrail {', '.join(guarded)} can't pass, so that no change is accepted"
        return warned(check, f"{told}: {problem}", fix)
    if target.metrics.rapl:
        return warned(check, problem, fix)
    why = _offer() if problem == NO_SOURCE else f": {described(metering)}"
    return well(check, f"not measured, nor asked for by the policy{why}")


def _offer() -> str:
    here = ", ".join(_here())
    return f"; metrics.rapl: true would read {here} of this machine" if here else ""


def _here() -> Iterator[str]:
    try:
        yield from (domain.name for domain in domains_of())
    except TargetUnavailableError:
        return
