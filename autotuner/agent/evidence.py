"""What past trials say of settings against the incumbent: one estimate from all of them together.

Trials are comparisons between two settings each; settings are known against the incumbent only
through chains of them. The chains are joined by weighted least squares.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from autotuner.agent.stepmodel import Floats
from autotuner.domain.experiment import Verdict
from autotuner.domain.goals import Goal
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import PastTrial

# A normal mixture's 95% interval that holds at every look reaches √(log(1 + n) + 2 log 20) standard
# errors to either side: 3.0 after 20 pairs (Howard et al. 2021, section 3.2).
_INTERVAL_DEVIATIONS = 3.0
_DEFAULT_DEVIATION = 0.05  # where no interval is known; chosen: about that of 20 pairs
_LEAST_DEVIATION = 0.005  # no test knows better: traffic is not the same twice; chosen
# A test that a hard limit ended before its first pair: harm of an unknown size; chosen.
_HARM, _HARM_DEVIATION = -0.3, 0.2
_GOODPUT = Goal()
_LEAST_ATTAINMENT = 0.01  # below it a ratio says nothing of points; chosen


@dataclass(frozen=True)
class Measured:
    """Settings as they were measured: `value` is their worth less the incumbent's (under a goal of
    goodput: points of attainment, −1..1), `deviation` its standard error.
    """

    settings: Settings
    value: float
    deviation: float


@dataclass(frozen=True)
class _Edge:
    """value(treatment) − value(control) = effect, in points."""

    control: Settings
    treatment: Settings
    effect: float
    deviation: float


_Comparison = TypeVar("_Comparison", PastTrial, _Edge)


def evidence(
    past: Sequence[PastTrial], incumbent: Settings, attainment: float, goal: Goal = _GOODPUT
) -> tuple[Measured, ...]:
    """Every settings that a chain of trials joins to the incumbent, in the order of the trials.

    `attainment`: the incumbent's, 0..1, NaN where unknown. The incumbent itself is not among the
    results. Effects on attainment are taken as they are. Effects on goodput are log ratios; under
    the same offered load attainment has the same ratio, so that they become points at the control's
    attainment (found by walking from the incumbent's), within 0..1; left out where that is not
    known. Effects on any other measure say nothing of attainment and are left out, and so are
    aborted trials without an interval. A harmful trial counts with its effect; without one it
    counts as a harm of unknown size.

    Under a goal that saves, the trials are those on what it saves, by log ratios; they become worth
    as `objective` has it where the floor is met, ½/(1 + r), with the incumbent's r as 1.
    """
    outcomes = goal.measures if goal.saves else ("attainment", "goodput")
    usable = [trial for trial in past if trial.outcome in outcomes and _usable(trial)]
    levels = _levels(usable, incumbent, attainment)
    edges = [e for trial in usable if (e := _edge(trial, levels)) is not None]
    nodes = _joined(edges, incumbent)
    if not nodes:
        return ()
    values, deviations = _least_squares([e for e in edges if e.control in nodes], nodes)
    if goal.saves:
        values, deviations = _worth(values, deviations)
    elif math.isfinite(attainment):
        values = np.clip(values, -attainment, max(1.0 - attainment, 0.0))
    return tuple(
        Measured(settings, float(values[i]), float(deviations[i]))
        for settings, i in nodes.items()
        if i >= 0
    )


def _usable(trial: PastTrial) -> bool:
    if trial.control == trial.treatment:
        return False
    if trial.verdict == Verdict.ABORTED and not _has_interval(trial):
        return False
    return math.isfinite(trial.effect) or trial.verdict == Verdict.HARMFUL


def _worth(log_ratios: Floats, deviations: Floats) -> tuple[Floats, Floats]:
    """What is saved, as log ratios that are positive where less is taken, as worth."""
    share = 1 / (1 + np.exp(-np.clip(log_ratios, -20.0, 20.0)))
    return (share - 0.5) / 2, deviations * share * (1 - share) / 2


def _has_interval(trial: PastTrial) -> bool:
    return math.isfinite(trial.low) and math.isfinite(trial.high) and trial.low <= trial.high


def _deviation(trial: PastTrial) -> float:
    """In the units of the outcome, whichever they are."""
    if _has_interval(trial):
        return (trial.high - trial.low) / 2 / _INTERVAL_DEVIATIONS
    return _DEFAULT_DEVIATION


def _is_ratio(trial: PastTrial) -> bool:
    return trial.outcome == "goodput" and math.isfinite(trial.effect)


def _levels(
    trials: Sequence[PastTrial], incumbent: Settings, attainment: float
) -> Mapping[Settings, float]:
    """The attainment of each settings that chains lead to, by the first chain that does."""
    levels, of = {incumbent: attainment}, _by_end(trials)
    queue = deque([incumbent])
    while queue:
        here = queue.popleft()
        for trial in of[here]:
            forward = here == trial.control
            there = trial.treatment if forward else trial.control
            level = _walked(trial, levels[here], 1.0 if forward else -1.0)
            if there not in levels and math.isfinite(level):
                levels[there] = level
                queue.append(there)
    return levels


def _by_end(comparisons: Sequence[_Comparison]) -> Mapping[Settings, Sequence[_Comparison]]:
    """The comparisons that settings take part in, on either side."""
    of = defaultdict[Settings, list[_Comparison]](list)
    for one in comparisons:
        of[one.control].append(one)
        of[one.treatment].append(one)
    return of


def _walked(trial: PastTrial, level: float, sign: float) -> float:
    effect = trial.effect if math.isfinite(trial.effect) else _HARM
    if not _is_ratio(trial):
        return min(max(level + sign * effect, 0.0), 1.0) if math.isfinite(level) else math.nan
    return min(level * _exp(sign * effect), 1.0) if level >= _LEAST_ATTAINMENT else math.nan


def _exp(log_ratio: float) -> float:
    return math.exp(min(max(log_ratio, -20.0), 20.0))


def _edge(trial: PastTrial, levels: Mapping[Settings, float]) -> _Edge | None:
    """The trial in points; None where a ratio can't be turned into them."""
    effect, deviation = trial.effect, _deviation(trial)
    if not math.isfinite(effect):
        effect, deviation = _HARM, _HARM_DEVIATION
    elif _is_ratio(trial):
        level = levels.get(trial.control, math.nan)
        if not level >= _LEAST_ATTAINMENT:
            return None
        reached = min(level * _exp(effect), 1.0)
        # The derivative of the level by the log ratio is the level; the larger end is the safer.
        effect, deviation = reached - level, deviation * max(level, reached)
    return _Edge(trial.control, trial.treatment, effect, max(deviation, _LEAST_DEVIATION))


def _joined(edges: Sequence[_Edge], incumbent: Settings) -> dict[Settings, int]:
    """The settings joined to the incumbent with their number; the incumbent's is −1.

    Empty where nothing is joined to it.
    """
    known, of, queue = {incumbent}, _by_end(edges), [incumbent]
    while queue:
        here = queue.pop()
        new = {s for edge in of[here] for s in (edge.control, edge.treatment)} - known
        known |= new
        queue += new
    if len(known) == 1:
        return {}
    nodes = {incumbent: -1}
    for edge in edges:
        for settings in (edge.control, edge.treatment):
            if settings in known and settings not in nodes:
                nodes[settings] = len(nodes) - 1
    return nodes


def _least_squares(edges: Sequence[_Edge], nodes: Mapping[Settings, int]) -> tuple[Floats, Floats]:
    """Values and standard errors [node] with the incumbent held at 0.

    The normal equations of the graph: its weighted Laplacian without the incumbent's row, which is
    positive definite where every node is joined to it.
    """
    n = len(nodes) - 1
    design = np.zeros((len(edges), n))
    for row, edge in enumerate(edges):
        for settings, sign in ((edge.control, -1.0), (edge.treatment, 1.0)):
            if nodes[settings] >= 0:
                design[row, nodes[settings]] = sign
    weights = np.array([e.deviation**-2 for e in edges])
    effects = np.array([e.effect for e in edges])
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    values: Floats = covariance @ (design.T @ (weights * effects))
    return values, np.sqrt(np.diag(covariance))
