"""How noisy a target is, measured before a test: like stretches of its own past compared with each
other, exactly as a test would compare its arms. Times are on the target's clock.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotuner.abtest.outcome import in_lane, slot_outcome
from autotuner.abtest.planning import Noise, NoisePoint
from autotuner.abtest.relaxation import Floats, relaxation_of_series, relaxation_of_switches
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, Plan, Slot, SlotOutcome
from autotuner.domain.measures import Measure, measure
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure

# Chosen: the scale of five differences is known to a factor of 1.4; a factor of two costs a test
# a fifth of its time at most.
MIN_PAIRS = 5
# Chosen: multiples of the policy's slot at which the noise is measured, as far as the past reaches.
_STRETCHES = (1.0, 1.5, 2.0, 3.0, 4.0)
_SHARES = frozenset({"attainment", "goodput", "error_share"})
_BIN_S = 1.0
_REQUESTS_PER_BIN = 2.0
_LEAST_SWITCHES = 6


@dataclass(frozen=True)
class Past:
    """What one settings served in [start, end]: finished requests in order of arrival."""

    exposures: tuple[Exposure, ...]
    generation: int
    start: float
    end: float

    @property
    def rate_rps(self) -> float:
        return len(self.exposures) / (self.end - self.start) if self.end > self.start else math.nan

    def between(self, start: float, end: float) -> tuple[Exposure, ...]:
        first = bisect.bisect_left(self.exposures, start, key=_arrival)
        last = bisect.bisect_right(self.exposures, end, key=_arrival)
        return self.exposures[first:last]


def past_of(exposures: Sequence[Exposure], generation: int, start: float, end: float) -> Past:
    """The requests that lived under `generation` alone and arrived in [start, end]."""
    mine = sorted(
        (
            e
            for e in exposures
            if e.generation_start == e.generation_end == generation and start <= e.arrival <= end
        ),
        key=_arrival,
    )
    return Past(tuple(mine), generation, start, end)


def noise_from(past: Past, plan: Plan, slo: SLO) -> Noise | None:
    """The noise that a test of `plan` would meet; None where the past is too short to say.

    Slots of the plan's length and longer, with its washout and cooldown left out between them, are
    cut from the past, and neighbouring ones (periods, under a split) compared.
    """
    found = [_point(past, plan, plan.slot_s * stretch, slo) for stretch in _STRETCHES]
    points = tuple(point for point in found if point is not None)
    if not points:
        return None
    return Noise(plan.outcome, plan.design, points, _memory_s(past, plan, slo), past.rate_rps)


def noise_after(experiment: Experiment, before: Noise | None) -> Noise | None:
    """What is known after a test: its own pairs are the best measure; `before` where it is short.

    What was measured at other lengths is scaled by what the test showed at its own.
    """
    if len(experiment.pairs) < MIN_PAIRS:
        return before
    plan = experiment.plan
    sd = float(np.std([pair.adjusted for pair in experiment.pairs], ddof=1))
    if before is None or not before.suits(plan) or not before.pair_sd(plan.slot_s) > 0:
        point = NoisePoint(plan.slot_s, sd, len(experiment.pairs))
        return Noise(plan.outcome, plan.design, (point,))
    factor = sd / before.pair_sd(plan.slot_s)
    points = tuple(
        replace(point, sd=point.sd * factor, pairs=len(experiment.pairs)) for point in before.points
    )
    return replace(before, points=points)


def settling_s(experiment: Experiment, exposures: Sequence[Exposure], slo: SLO) -> float:
    """τ (s) from how the outcome settled after the test's own switches; NaN where none stands out.

    What the other arm leaves behind is the distance from the mean of a slot's second half.
    """
    since: list[float] = []
    away: list[float] = []
    slots = [slot for slot in experiment.slots if slot.outcome is not None and slot.lane == 0]
    if len(slots) < _LEAST_SWITCHES:
        return math.nan
    admitted = _by_generation(exposures)
    for slot in slots:
        mine = admitted.get(slot.generation, ())
        times, values = _after_switch(slot, mine, experiment.plan, slo)
        late = values[times >= (times.max() / 2 if len(times) else 0.0)]
        if len(late):
            sign = -1.0 if slot.arm is Arm.TREATMENT else 1.0
            since.extend(times)
            away.extend(sign * (values - late.mean()))
    if not since:
        return math.nan
    moved = np.array(away)
    # The better arm leaves good values behind, the worse one bad ones: either sign is a trace.
    both = [
        relaxation_of_switches(np.array(since), side * moved, experiment.plan.slot_s)
        for side in (1.0, -1.0)
    ]
    return next((tau for tau in both if math.isfinite(tau)), math.nan)


def _by_generation(exposures: Sequence[Exposure]) -> dict[int, list[Exposure]]:
    """The requests by the generation that admitted them."""
    found: dict[int, list[Exposure]] = defaultdict(list)
    for exposure in exposures:
        found[exposure.generation_start].append(exposure)
    return found


def _after_switch(
    slot: Slot, admitted: Sequence[Exposure], plan: Plan, slo: SLO
) -> tuple[Floats, Floats]:
    """Seconds since the switch and what the slot's requests told, row by row."""
    found = [
        (e.arrival - slot.started_at, value)
        for e in admitted
        if in_lane(slot, e.lane) and (value := _signal(e, plan.outcome, slo)) is not None
    ]
    return np.array([t for t, _ in found]), np.array([v for _, v in found])


def _memory_s(past: Past, plan: Plan, slo: SLO) -> float:
    seen = [
        (e.arrival, value)
        for e in past.exposures
        if (value := _signal(e, plan.outcome, slo)) is not None
    ]
    rate = len(seen) / (past.end - past.start) if past.end > past.start else 0.0
    if not rate > 0:
        return math.nan
    bin_s = max(_BIN_S, _REQUESTS_PER_BIN / rate)
    return relaxation_of_series([t for t, _ in seen], [v for _, v in seen], bin_s)


def _signal(request: Exposure, outcome: str, slo: SLO) -> float | None:
    """What one request tells of the outcome: met or not, else the log of its time."""
    if outcome in _SHARES:
        return float(slo.met_by(request)) if slo.counts(request) else None
    return math.log(request.e2el_s) if request.served and request.e2el_s > 0 else None


def _point(past: Past, plan: Plan, slot_s: float, slo: SLO) -> NoisePoint | None:
    periods = list(_periods(past, plan, slot_s, slo))
    sd, pairs = _scale(periods, measure(plan.outcome), plan)
    if pairs < MIN_PAIRS:
        return None
    guarded = ((g.measure, _scale(periods, measure(g.measure), plan)) for g in plan.guardrails)
    kept = tuple((name, scale) for name, (scale, count) in guarded if count >= MIN_PAIRS)
    return NoisePoint(slot_s, sd, pairs, kept)


def _periods(
    past: Past, plan: Plan, slot_s: float, slo: SLO
) -> Iterator[tuple[SlotOutcome, ...] | None]:
    """The outcomes of each period's lanes, in order; None where one has too few requests."""
    every_s = slot_s + plan.washout_max_s
    for index in range(int((past.end - past.start) / every_s)):
        start = past.start + index * every_s + plan.washout_max_s
        outcomes = tuple(
            _outcome(past, plan, slo, start, start + slot_s, lane)
            for lane in range(plan.design.lanes)
        )
        full = all(o.requests >= max(1, plan.min_requests_per_slot) for o in outcomes)
        yield outcomes if full else None


def _outcome(past: Past, plan: Plan, slo: SLO, start: float, end: float, lane: int) -> SlotOutcome:
    lanes = plan.design.lanes
    slot = Slot(lane, Arm.CONTROL, past.generation, start, start, end, lane=lane, lanes=lanes)
    view = View(live=None, exposures=past.between(start, end))
    return slot_outcome(view, slot, end, plan, slo)


def _scale(
    periods: Sequence[tuple[SlotOutcome, ...] | None], by: Measure, plan: Plan
) -> tuple[float, int]:
    """Root mean square of the differences of neighbouring periods, and how many there were.

    About zero, since the arms are alike; each period serves in two pairs, which doubles the data.
    """
    neighbours = ((a, b) for a, b in itertools.pairwise(periods) if a is not None and b is not None)
    alike = replace(plan, treatment_devices=plan.control_devices)
    found = [_difference(a, b, by, alike) for a, b in neighbours]
    known = [d for d in found if math.isfinite(d)]
    if not known:
        return math.nan, 0
    return math.sqrt(math.fsum(d * d for d in known) / len(known)), len(known)


def _difference(
    first: tuple[SlotOutcome, ...], second: tuple[SlotOutcome, ...], by: Measure, plan: Plan
) -> float:
    """As `analysis` compares a pair: under a split lane against lane, with roles swapped."""
    if len(first) == 1:
        return by.difference(first[0], second[0], plan)
    ahead = by.difference(first[0], first[1], plan)
    swapped = by.difference(second[1], second[0], plan)
    return (ahead + swapped) / 2


def _arrival(request: Exposure) -> float:
    return request.arrival
