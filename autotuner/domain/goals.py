"""What the operator wants of a target: the goal that candidates are compared by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from autotuner.domain.knob_names import in_common_names
from autotuner.domain.knobs import Value

# Their product is the number of devices (or processes) that settings use.
DEVICE_KNOBS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


class GoalKind(StrEnum):
    """GOODPUT: the largest goodput. The others take as little as they can of something while the
    SLO's attainment stays at the goal's: COST money per token, ENERGY joules per token, DEVICES
    the number of devices in use.
    """

    GOODPUT = "goodput"
    COST = "cost"
    ENERGY = "energy"
    DEVICES = "devices"


@dataclass(frozen=True)
class Goal:
    """`attainment`: 0..1; with GOODPUT nothing is tested at or above it, else it is the floor."""

    kind: GoalKind = GoalKind.GOODPUT
    attainment: float = 0.99

    @property
    def saves(self) -> bool:
        """Whether there is something to gain where the attainment is met."""
        return self.kind is not GoalKind.GOODPUT

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures whose tests say how much is saved; none for goodput."""
        return tuple(name for name, kind in SAVED_BY.items() if kind is self.kind)


# The goal that each measure of something to be saved stands for. Energy is one to a proposer,
# whichever of the two it is tested by: nothing that it moves changes how long answers are.
SAVED_BY: Mapping[str, GoalKind] = {
    "cost": GoalKind.COST,
    "energy": GoalKind.ENERGY,
    "energy_per_token": GoalKind.ENERGY,
    "devices": GoalKind.DEVICES,
}
OF_ENERGY = Goal(GoalKind.ENERGY).measures

# What a model predicts of settings that says how much they take, by the goal.
_FIGURES = {
    GoalKind.COST: "cost",
    GoalKind.ENERGY: "energy_j_per_token",
    GoalKind.DEVICES: "devices",
}


def predicted_saving(
    kind: GoalKind, incumbent: Mapping[str, float], candidate: Mapping[str, float]
) -> float:
    """ln(incumbent's / candidate's) of what a saving goal counts, from predicted figures.

    Where only the devices are known, a cost is in proportion to them. NaN where nothing is known,
    and for goodput.
    """
    names = [_FIGURES[kind]] if kind in _FIGURES else []
    if kind is GoalKind.COST:
        names.append(_FIGURES[GoalKind.DEVICES])
    for name in names:
        old, new = incumbent.get(name, math.nan), candidate.get(name, math.nan)
        if old > 0 and new > 0:
            return math.log(old / new)
    return math.nan


def devices_of(settings: Mapping[str, Value]) -> int:
    """Devices (or processes) that settings use, under any server's names for the knobs.

    Knobs that they lack count as 1.
    """
    devices, known = 1, in_common_names(settings)
    for knob in DEVICE_KNOBS:
        devices *= int(known.get(knob, 1))
    return devices
