"""What settings are worth under a goal: one number for each prediction. Knows no knobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.agent.fluid import Prediction
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.domain.goals import Goal, GoalKind

KINDS = tuple(GoalKind)
_SLACK = 0.02  # below the floor: no test tells so small a difference, no prediction either; chosen


@dataclass(frozen=True)
class GoalTable:
    """Goals side by side: arrays [environment]. `kind`: positions in KINDS."""

    kind: Ints
    attainment: Floats

    @classmethod
    def of(cls, goals: Sequence[Goal]) -> GoalTable:
        return cls(
            np.array([KINDS.index(goal.kind) for goal in goals], np.int64),
            np.array([goal.attainment for goal in goals], np.float64),
        )

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Ints) -> GoalTable:
        return GoalTable(self.kind[rows], self.attainment[rows])


def objective(prediction: Prediction, goals: GoalTable) -> Floats:
    """The worth of settings, [environment], 0..1, higher is better.

    Goodput: the attainment a. Any other goal, with the floor f and what is taken r, held against
    the system's reference r0:

        worth = ½ min(1, a/f)² + ½ · gate(a) · r0 / (r0 + r)

    where gate rises from 0 at f − 0.02 to 1 at f. So below the floor there is only attainment to
    gain, whatever is saved; at it and above, only what is saved counts. Rises with a and falls with
    r everywhere, and compares settings of one system, not systems.
    """
    a, floor = prediction.attainment, np.maximum(goals.attainment, 1e-6)
    met = np.minimum(a / floor, 1.0) ** 2
    gate = np.clip((a - floor) / _SLACK + 1, 0.0, 1.0)
    saving = 0.5 * met + 0.5 * gate / (1 + taken(prediction, goals))
    return np.where(goals.kind == KINDS.index(GoalKind.GOODPUT), a, saving)


def taken(prediction: Prediction, goals: GoalTable) -> Floats:
    """What the settings take of the goal's resource, in units of the system's reference.

    Devices; devices for the share of the load that they serve, which is what a token costs; or
    joules per output token. The references: the geometric mean of one and all of the machine's
    devices, and the reference engine's energy at work in batches of 8. With goodput nothing counts.
    """
    p = prediction
    devices = p.devices / p.devices_reference
    options = {
        GoalKind.GOODPUT: np.zeros_like(devices),
        GoalKind.COST: devices / p.served,
        GoalKind.ENERGY: p.energy_j_per_token / p.energy_reference,
        GoalKind.DEVICES: devices,
    }
    return np.choose(goals.kind, [options[kind] for kind in KINDS])
