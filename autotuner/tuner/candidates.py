"""What a test needs before it starts: a moment that allows one, and a candidate that is fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autotuner.abtest import switchback
from autotuner.abtest.planning import Noise
from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.feasibility import ruled_out
from autotuner.domain.knobs import Settings
from autotuner.tuner.plans import Prepared, prepared
from autotuner.tuner.values import Action, Decision, Observation, Rules, Traffic, TunerState
from autotuner.tuner.words import seed_of


@dataclass(frozen=True)
class Moment:
    """A cycle in which the target answers, nothing runs and there is traffic to judge."""

    state: TunerState
    seen: Observation
    traffic: Traffic
    now: float
    rules: Rules

    @property
    def rate_rps(self) -> float:
        return self.traffic.workload.rate_rps

    def prepared(self, base: Plan, candidate: Settings, effect: float | None) -> Prepared:
        return prepared(base, candidate, effect, self.state, self.seen, self.rules)

    def with_noise(self, state: TunerState, noise: Noise | None) -> TunerState:
        """Kept for the tests to come, where it is that of the goal's own measure."""
        return replace(state, noise=noise) if noise and noise.suits(self.rules.main_plan) else state


def unfit(moment: Moment, candidate: Settings, *, stepwise: bool = False) -> str | None:
    """Why settings are not tested, whoever thought of them; None when they are fit.

    `stepwise`: they must lie within every knob's `max_step` of the incumbent.
    """
    state, space = moment.state, moment.rules.space
    try:
        space.validate(candidate)
    except InvalidSettingsError as problem:
        return str(problem)
    if candidate == state.incumbent:
        return f"{candidate!r} is what already runs"
    if bad := ruled_out(space, state.infeasible, candidate):
        return bad
    if candidate.digest in state.banned(moment.now):
        left_h = (state.quarantined[candidate.digest] - moment.now) / 3600
        return f"{candidate!r} is quarantined for another {left_h:.1f} h"
    if stepwise and not space.within_step(state.incumbent, candidate):
        return f"{candidate!r} moves a knob further than one step allows"
    return None


def experiment_on(
    moment: Moment, candidate: Settings, plan: Plan, proposer: str, rationale: str
) -> Experiment:
    """A test of `candidate` against the incumbent, not begun yet."""
    seed = seed_of(moment.rules.target, moment.now)
    return Experiment(
        id=f"{moment.rules.target}-{seed:012x}",
        target=moment.rules.target,
        control=moment.state.incumbent,
        treatment=candidate,
        plan=plan,
        seed=seed,
        started_at=moment.now,
        proposer=proposer,
        rationale=rationale,
    )


def started(state: TunerState, experiment: Experiment, reason: str) -> Decision:
    """The decision that opens the first period of `experiment`; `state` as it is without it."""
    wanted = switchback.lanes_in(experiment, 0)
    differ = any(settings != wanted[0] for settings in wanted)
    return Decision(
        Action.START,
        reason,
        replace(state, experiment=experiment),
        apply=wanted[0],
        opens_slot=True,
        lanes=wanted if differ else None,
    )
