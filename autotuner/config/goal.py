"""What a policy wants of its target, and the test that a saving has to pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from autotuner.config.experiment import ExperimentConfig
from autotuner.config.model import Model, Share
from autotuner.domain.experiment import Design, Guardrail, Plan
from autotuner.domain.goals import DEVICE_KNOBS, OF_ENERGY, SAVED_BY, Goal, GoalKind
from autotuner.domain.knob_names import common_name

_ATTAINMENT = "attainment"


class GoalConfig(Model):
    """The goal that candidates are compared by. Its kinds that save are named like the measure."""

    kind: Literal["goodput", "cost", "energy", "energy_per_token", "devices"] = Field(
        "goodput",
        description="goodput: as many requests as can be within the SLO; the others: as little of "
        "it as can be while attainment stays at the goal's (energy: of a request)",
    )
    attainment: Share = Field(
        0.99, description="goodput: at or above it nothing is tested; the others: the floor"
    )
    margin: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.02, description="attainment (share) that a saving must be proven not to cost"
    )

    @property
    def saves(self) -> bool:
        """Whether there is something to gain where the attainment is met."""
        return self.to_domain().saves

    def to_domain(self) -> Goal:
        return Goal(SAVED_BY.get(self.kind, GoalKind.GOODPUT), self.attainment)


def saving_plan(goal: GoalConfig, testing: ExperimentConfig, replicas: int) -> Plan | None:
    """The plan of a test of something that saves; None where the goal is goodput.

    Its outcome is the goal's measure, and attainment a guardrail beside the policy's own. The
    energy of two lanes can't be told apart: such a test takes turns on the whole target.
    """
    if not goal.saves:
        return None
    plan = testing.to_domain(replicas)
    rails = tuple(rail for rail in plan.guardrails if rail.measure != goal.kind)
    if all(rail.measure != _ATTAINMENT for rail in rails):
        # Chosen: attainment scatters by about what it may lose, until its noise was measured.
        rails = (Guardrail(_ATTAINMENT, goal.margin, goal.margin), *rails)
    design = Design.SWITCHBACK if goal.kind in OF_ENERGY else plan.design
    return replace(plan, outcome=goal.kind, guardrails=rails, design=design)


def goal_problem(
    goal: GoalConfig, testing: ExperimentConfig, movable: Collection[str]
) -> str | None:
    """Why no test could serve the goal, with the fix; None where one can.

    `movable`: the knobs that have more than one level.
    """
    if not goal.saves:
        return None
    if testing.outcome == goal.kind:
        return (
            f"experiment.outcome={testing.outcome!r} is the goal's own measure: name there what is "
            "raised while attainment is below the goal's, such as attainment"
        )
    if goal.kind == "cost" and testing.price is None:
        return "goal.kind='cost' needs experiment.price_per_device_hour (or price_per_hour)"
    if goal.kind == "devices" and not set(DEVICE_KNOBS) & set(map(common_name, movable)):
        return (
            "goal.kind='devices': no knob changes how many are used: give one of "
            f"{', '.join(DEVICE_KNOBS)} two levels or more"
        )
    if goal.kind in OF_ENERGY and testing.design == "split":
        return (
            f"goal.kind={goal.kind!r}: the energy of two lanes can't be told apart: give "
            "experiment.design='switchback' or 'auto'"
        )
    return None
