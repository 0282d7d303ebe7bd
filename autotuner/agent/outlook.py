"""What is believed of each candidate in the units of the goal, and what its change costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autotuner.agent import worlds
from autotuner.agent.correction import Gains
from autotuner.agent.fluid import Prediction
from autotuner.agent.objective import GoalTable, objective
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.view import View

_LEAST_DOUBT = 0.01  # of what is saved; chosen
_SAVING_DOUBT = 0.2  # of what is saved, as a share of it; chosen
_CHANGE_CHARGE = 0.002  # per changed knob: a small change is the easier one to explain; chosen
_ANSWERS_CHARGE = 0.01  # a knob that changes answers may fail the quality guardrail; chosen


@dataclass(frozen=True)
class Outlook:
    """What is believed of each row of the pool, in the objective's units; row 0 the incumbent.

    `room`: the largest gain that is possible. `attainment`: the corrected one.
    """

    mean: Floats
    deviation: Floats
    charge: Floats
    attainment: Floats
    room: float

    @classmethod
    def of(cls, view: View, pool: Ints, believed: Gains) -> Outlook:
        context = view.context
        prediction = worlds.predicted(view.system, view.reach, pool)
        known = math.isfinite(context.attainment)
        base = context.attainment if known else float(prediction.attainment[0])
        attainment = np.clip(base + believed.mean, 0.0, 1.0)
        charge = _charges(view, pool, base)
        if not context.goal.saves:
            room = 1.0 - context.attainment if known else 1.0
            possible = np.clip(believed.mean, -base, room)
            return cls(possible, believed.deviation, charge, attainment, room)
        mean, deviation = _saving(view, prediction, base, believed)
        return cls(mean, deviation, charge, attainment, 1.0)


def worth(view: View, prediction: Prediction) -> Floats:
    """The goal's objective of each row of a prediction."""
    return objective(prediction, GoalTable.of([view.context.goal] * len(prediction.attainment)))


def _saving(
    view: View, prediction: Prediction, base: float, believed: Gains
) -> tuple[Floats, Floats]:
    """Mean and deviation of the gain of a goal that saves, by three points of the attainment's
    normal distribution (Gauss-Hermite), and some doubt of what is saved.
    """
    points = [
        worth(
            view,
            replace(
                prediction,
                attainment=np.clip(base + believed.mean + k * believed.deviation, 0.0, 1.0),
            ),
        )
        for k in (-math.sqrt(3), 0.0, math.sqrt(3))
    ]
    gain = [value - points[1][0] for value in points]
    mean = gain[0] / 6 + gain[1] * 2 / 3 + gain[2] / 6
    square = (gain[0] - mean) ** 2 / 6 + (gain[1] - mean) ** 2 * 2 / 3 + (gain[2] - mean) ** 2 / 6
    doubt = _LEAST_DOUBT + _SAVING_DOUBT * np.abs(mean)
    return mean, np.sqrt(square + doubt**2)


def _charges(view: View, pool: Ints, attainment: float) -> Floats:
    """What the changes cost, in the gain's units, [place].

    A knob that is not live needs a rebuild, in which nothing is served; that has to be earned back
    within the horizon.
    """
    context, moves = view.context, view.reach.moves(pool)
    answers = np.array([knob.changes_answers for knob in context.space], dtype=np.bool_)
    built = np.array([not knob.live for knob in context.space], dtype=np.bool_)
    seen_s = context.rebuild_s
    rebuild_s = seen_s if math.isfinite(seen_s) else float(view.system.machines.rebuild_s[0])
    restart = attainment * rebuild_s / max(context.horizon_s, 1e-9)
    return np.asarray(
        _CHANGE_CHARGE * moves.sum(axis=1)
        + _ANSWERS_CHARGE * (moves & answers).sum(axis=1)
        + restart * (moves & built).any(axis=1)
    )
