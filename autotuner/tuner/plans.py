"""How the next test is run: guardrails that apply, its level among all tests, the noise seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from autotuner.abtest.design import plan_check
from autotuner.abtest.discovery import level
from autotuner.abtest.noise import noise_from, past_of
from autotuner.abtest.outcome import active_guardrails
from autotuner.abtest.planning import Noise, feasible, planned, restarts_fit, with_restarts
from autotuner.domain.experiment import Design, Experiment, Plan
from autotuner.domain.goals import OF_ENERGY, devices_of
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.telemetry import Window
from autotuner.tuner.rebuilds import change_s
from autotuner.tuner.values import Fdr, Observation, Rules, TunerState


@dataclass(frozen=True)
class Prepared:
    """A plan ready to be checked, and the noise that it rests on (None: the policy's figures).

    `budget_s`: what the policy's plan allows. `unmeasured`: why what it compares can't be told now.
    """

    plan: Plan
    noise: Noise | None
    budget_s: float
    unmeasured: str | None = None

    def obstacle(self, effect: float | None, rate_rps: float) -> str | None:
        """Why no test of this plan should start, with the figures; None when it can end."""
        return (
            self.unmeasured
            or restarts_fit(self.plan, self.budget_s)
            or plan_check(effect, self.plan.prior_sd, self.plan)
            or feasible(self.plan, rate_rps)
        )


def still_measuring(state: TunerState, seen: Observation, rules: Rules) -> str | None:
    """That the noise of the incumbent has to be seen for longer; None when tests may start."""
    if not rules.plan_from_noise or state.noise is not None or seen.live is None:
        return None
    seen_s = seen.live.now - seen.live.applied_at
    if seen_s >= rules.noise_s:
        return None
    return f"measuring the noise before a test: {seen_s:.0f} of {rules.noise_s:.0f} s"


def prepared(
    base: Plan,
    candidate: Settings,
    effect: float | None,
    state: TunerState,
    seen: Observation,
    rules: Rules,
) -> Prepared:
    """The plan of a test of `candidate`; `effect` is the improvement hoped for, where known."""
    altered = answers_change(rules.space, state.incumbent, candidate)
    alpha = base.alpha if candidate == state.incumbent else next_level(base.alpha, state, rules)
    engines = rules.replicas / base.design.lanes
    running = {} if seen.live is None else seen.live.settings
    restart_s = change_s(state, seen.live, candidate, rules)
    plan = replace(
        with_restarts(base, restart_s),
        guardrails=active_guardrails(base, altered),
        alpha=alpha,
        control_devices=engines * devices_of({**running, **state.incumbent}),
        treatment_devices=engines * devices_of({**running, **candidate}),
    )
    noise = measured(plan, state, seen, rules)
    ready = plan if noise is None else planned(plan, noise, effect)
    return Prepared(ready, noise, base.budget_s, unmeasured(ready, seen))


def unmeasured(plan: Plan, seen: Observation) -> str | None:
    """Why a test could never be accepted, energy not being known now; None where it can be.

    Where there was no new scrape nothing is known of that.
    """
    rails = [f"guardrail {rail.measure}" for rail in plan.guardrails if rail.measure in OF_ENERGY]
    asked = [f"outcome {plan.outcome}", *rails] if plan.outcome in OF_ENERGY else rails
    why = _energy_unknown(plan, seen.window) if asked else None
    return why and f"the {' and the '.join(asked)} can't pass: {why} (docs/energy.md)"


def _energy_unknown(plan: Plan, window: Window | None) -> str | None:
    if plan.design is Design.SPLIT:
        return "the energy of two lanes can't be told apart: give experiment.design='switchback'"
    if window is None or math.isfinite(window.energy_j):
        return None
    silent = [source for source, j in window.energy.items() if not math.isfinite(j.value)]
    why = f"{', '.join(silent)} did not tell it" if silent else "nothing on this target measures it"
    return f"energy is not known: {why}"


def next_level(alpha: float, state: TunerState, rules: Rules) -> float:
    """The level of the next test of a candidate."""
    return level(alpha, state.tests, state.accepted) if rules.fdr is Fdr.E_LOND else alpha


def confirming(first: Experiment, rules: Rules) -> Plan:
    """The same test once more, at the level of a single test: the stream's level was passed."""
    alpha = rules.plan.alpha if rules.fdr is Fdr.E_LOND else first.plan.alpha
    return replace(first.plan, confirms=first.id, alpha=alpha)


def answers_change(space: KnobSpace, incumbent: Settings, candidate: Settings) -> bool:
    """Whether a knob moves that can change what the model answers."""
    changed = candidate.changed_from(incumbent)
    return any(knob.changes_answers for knob in space if knob.name in changed)


def measured(plan: Plan, state: TunerState, seen: Observation, rules: Rules) -> Noise | None:
    """The noise of now; where the incumbent's past is too short, what was measured before."""
    if not rules.plan_from_noise or seen.live is None or seen.traffic is None:
        return None
    live = seen.live
    start = max(live.applied_at, live.now - rules.noise_s)
    fresh = noise_from(past_of(seen.recent, live.generation, start, live.now), plan, rules.slo)
    kept = state.noise if state.noise is not None and state.noise.suits(plan) else None
    noise = fresh or kept
    if noise is None:
        return None
    if kept is not None and math.isnan(noise.relaxation_s):
        noise = replace(noise, relaxation_s=kept.relaxation_s)
    return replace(noise, rate_rps=seen.traffic.workload.rate_rps)
