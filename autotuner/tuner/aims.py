"""What the next proposal is to bring: what the goal asks for, given how well the SLO is met now."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.goals import Goal, devices_of, predicted_saving
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import Proposal
from autotuner.tuner.values import Observation, Rules, Traffic


@dataclass(frozen=True)
class Aim:
    """What proposals are compared by for now, and the plan of a test of one."""

    goal: Goal
    plan: Plan

    @property
    def saves(self) -> bool:
        return self.goal.saves


def aim_of(traffic: Traffic, seen: Observation, rules: Rules) -> Aim | str:
    """The aim of now; why there is none where the goal is met and has nothing to save.

    The constraint comes before the saving: while attainment is below the goal's, or the load that
    is forecast exceeds what can be served, it is attainment that has to rise.
    """
    goal, met = rules.goal, traffic.attainment >= rules.goal.attainment
    if not met or seen.overload is not None:
        return Aim(Goal(attainment=goal.attainment), rules.plan)
    if rules.saving is None:
        return f"attainment {traffic.attainment:.1%} meets the goal of {goal.attainment:.1%}"
    return Aim(goal, rules.saving)


def hoped_for(aim: Aim, proposal: Proposal, incumbent: Settings) -> float | None:
    """The predicted effect in the units of the test's outcome; None where nobody predicts it.

    A proposer predicts the effect on the goal's objective; of a saving, the test asks for the log
    of a ratio, which follows from the figures of its explanation, or from the devices in use.
    """
    if not aim.saves:
        return proposal.predicted_effect
    why = proposal.explanation
    before, after = (why.incumbent, why.candidate) if why is not None else ({}, {})
    told = predicted_saving(aim.goal.kind, before, after)
    if math.isnan(told):
        used = [{"devices": float(devices_of(s))} for s in (incumbent, proposal.settings)]
        told = predicted_saving(aim.goal.kind, *used)
    return told if math.isfinite(told) and told != 0 else None


def undoes_a_saving(ended: Experiment, rules: Rules) -> bool:
    """Whether a test that was accepted raised attainment, where the goal is to save.

    Its control saved more than the goal's attainment allows.
    """
    return rules.saving is not None and ended.plan.outcome != rules.saving.outcome
