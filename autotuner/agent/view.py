"""A proposal's context made usable: the model of the target, the reach, the evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.calibration import Calibration, calibrate
from autotuner.agent.candidates import Openings
from autotuner.agent.correction import Readings
from autotuner.agent.evidence import Measured, evidence
from autotuner.agent.latencies import SLOTable
from autotuner.agent.machine import MachineTable
from autotuner.agent.prior import PriorOf, usual
from autotuner.agent.reach import Reach
from autotuner.agent.stepmodel import Ints, StepTable
from autotuner.agent.systems import Systems, points_of_sample
from autotuner.agent.traffic import SampleMix
from autotuner.domain.ports import ProposalContext, Workload

_SEEN_DEVIATION = 0.03  # of the incumbent's attainment as it is seen, at least; chosen
# Requests that wait in one queue meet their targets together or not at all: the deviation of a
# minute's attainment is so many times that of independent requests. Chosen; near saturation a
# simulated server has seven times, with a nearly empty queue it is one.
_TOGETHER = 4.0


@dataclass(frozen=True)
class View:
    """The context made usable."""

    context: ProposalContext
    openings: Openings
    reach: Reach
    calibration: Calibration
    system: Systems  # one environment
    mix: SampleMix
    measured: tuple[Measured, ...]


def view_of(context: ProposalContext, prior_of: PriorOf = usual) -> View | None:
    """None when the context does not hold enough to predict anything.

    `prior_of`: what is believed of an engine where the target's own figures say nothing.
    """
    rate_rps = _rate(context)
    lengths = _lengths(context.workload)
    openings = Openings.of(context)
    if rate_rps is None or len(lengths) == 0 or openings is None or openings.size < 2:
        return None
    prior = prior_of(context.incumbent)
    reach, calibration = Reach.of(openings), calibrate(context.steps, prior.model)
    prompt, output = lengths[:, 0], lengths[:, 1]
    # The steps were measured under the incumbent's engine.
    machines = MachineTable.of_steps(
        StepTable.of([calibration.model]),
        reach.engines(reach.start[None, :]),
        kv_tokens=context.kv_tokens if math.isfinite(context.kv_tokens) else prior.kv_tokens,
    )
    system = Systems.of(
        machines,
        np.array([rate_rps / context.replicas]),
        points_of_sample(prompt, output),
        SLOTable.of([context.slo]),
    ).with_prefix(context.prefix_share)
    mix = SampleMix(prompt.astype(int).tolist(), output.astype(int).tolist())
    measured = evidence(context.past, context.incumbent, context.attainment)
    return View(context, openings, reach, calibration, system, mix, measured)


def _rate(context: ProposalContext) -> float | None:
    """The rate to plan for: the recent one, or the forecast's where that is higher."""
    rates = [context.workload.rate_rps, context.forecast_rate_rps]
    usable = [r for r in rates if r is not None and math.isfinite(r) and r > 0]
    return max(usable) if usable else None


def _lengths(workload: Workload) -> NDArray[np.float64]:
    """The usable (prompt, output) rows of the sample, [request, 2]."""
    rows = list(zip(workload.prompt_tokens, workload.output_tokens, strict=False))
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[np.isfinite(table).all(axis=1) & (table >= 1).all(axis=1)]


def readings(view: View, pool: Ints) -> Readings:
    """Past experiments as readings at rows of the pool."""
    row_of = {tuple(place): row for row, place in enumerate(pool.tolist())}
    found = []
    for one in view.measured:
        place = view.openings.place(one.settings)
        row = row_of.get(place, 0) if place is not None else 0
        if row:
            found.append((row, one.value, one.deviation))
    if not found:
        return Readings()
    rows, values, deviations = zip(*found, strict=True)
    return Readings(np.array(rows), np.array(values), np.array(deviations))


def seen_attainment(context: ProposalContext) -> tuple[float, float] | None:
    """The incumbent's attainment with its deviation; None where it is unknown."""
    if not math.isfinite(context.attainment):
        return None
    missed, requests = 1.0 - context.attainment, len(context.workload.prompt_tokens)
    alone = math.sqrt(context.attainment * missed / max(requests, 1))
    return context.attainment, max(_SEEN_DEVIATION, _TOGETHER * alone)
