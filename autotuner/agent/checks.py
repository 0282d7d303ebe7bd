"""How good the calibrated model is: what it predicts of the settings in force beside what came.

Pure. The requests that really arrived are played through the discrete-step simulator, so that only
the model is judged and not the luck of the arrivals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotuner.agent.calibration import Calibration
from autotuner.agent.des import Simulated, simulate
from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.figures import Estimate, Past
from autotuner.agent.latencies import SLOTable, met
from autotuner.agent.machine import MachineTable, serve
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import Bools, Floats, Ints, StepTable
from autotuner.agent.systems import Mix, Systems, points_of_sample
from autotuner.agent.traffic import SampleMix, Traffic, poisson_row
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.learning import ModelCheck
from autotuner.domain.ports import Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, StepRecord

FIGURES = ("attainment", "goodput", "ttft_s", "tpot_s", "e2el_s", "step_s")
LEAST_REQUESTS = 20  # counted in a check; with fewer nothing is said; chosen
LEAST_STEPS = 20
_REPEATS = 3
_MOST_REQUESTS = 2_000  # bounds the time of a check
_SURE = 0.3  # relative error up to which a figure is put into the model; chosen
_PLAYED_REQUESTS = 300  # of a workload without arrivals of its own


@dataclass(frozen=True)
class Known:
    """A calibration and the settings under which it was made, at `at` (s since the epoch).

    `replicas`: workers side by side under the same settings that share the requests.
    """

    calibration: Calibration
    settings: Mapping[str, Value]
    at: float = 0.0
    replicas: int = 1

    def engine(self, settings: Mapping[str, Value]) -> Engine:
        """The engines of all workers as one."""
        one = Engine.of(settings)
        return replace(one, data=one.data * self.replicas)


def kv_tokens_of(known: Known) -> float:
    """Tokens of KV that one replica holds; inf where the calibration is not sure."""
    kv = known.calibration.figures.kv_tokens
    return kv.value if _sure(kv) and kv.value > 0 else math.inf


def prefix_share_of(known: Known) -> float:
    """The share of prompt tokens that the prefix cache held, 0..1; 0 where nothing is known."""
    hits = known.calibration.figures.prefix_share
    return min(max(hits.value, 0.0), 0.99) if hits.known and hits.error < 0.1 else 0.0


def machines_of(known: Known) -> MachineTable:
    """The one machine that was measured, with the engine it was measured under."""
    steps = StepTable.of([known.calibration.model])
    reference = EngineTable.of([known.engine(known.settings)])
    return MachineTable.of_steps(steps, reference, kv_tokens=kv_tokens_of(known))


def systems_of(known: Known, rate_rps: float, mix: Mix, slo: SLO) -> Systems:
    """The target as one environment: its machine, with prefix hits where they are known."""
    share = prefix_share_of(known)
    slos = SLOTable.of([slo])
    return Systems.of(machines_of(known), np.array([rate_rps]), mix, slos).with_prefix(share)


def predicted(
    known: Known, workload: Workload, settings: Settings, slo: SLO, seed: int = 0
) -> Mapping[str, float]:
    """What `settings` would give under random arrivals of `workload`; empty where it says too
    little.

    attainment 0..1, goodput in requests/s, the rest mean seconds.
    """
    pairs = zip(workload.prompt_tokens, workload.output_tokens, strict=False)
    rows = [(p, o) for p, o in pairs if p > 0 and o > 0]
    if not workload.rate_rps > 0 or not rows:
        return {}
    rng = np.random.default_rng(seed)
    length_s = _PLAYED_REQUESTS / workload.rate_rps
    mix = SampleMix([p for p, _ in rows], [o for _, o in rows])
    traffic = Traffic.stack([poisson_row(rng, workload.rate_rps, length_s, mix)])
    span = (0.15 * length_s, length_s)
    return _played(known, traffic, _mix(rows), settings, slo, span, seed)


def measured(
    requests: Sequence[Exposure], slo: SLO, span: tuple[float, float]
) -> Mapping[str, float]:
    """The same of what arrived in `span` (target's clock); NaN where nothing tells a figure."""
    counted = [r for r in requests if span[0] <= r.arrival < span[1] and slo.counts(r)]
    served = [r for r in counted if r.served]
    good = sum(map(slo.met_by, counted))
    return {
        "attainment": good / len(counted) if counted else math.nan,
        "goodput": good / (span[1] - span[0]),
        "ttft_s": _mean([r.ttft_s for r in served]),
        "tpot_s": _mean([r.tpot_s for r in served]),
        "e2el_s": _mean([r.e2el_s for r in served]),
    }


def check(
    known: Known,
    past: Past,
    settings: Settings,
    slo: SLO,
    since: float,
    now: float,
    seed: int = 0,
) -> tuple[ModelCheck, ...]:
    """Predicted beside measured for what arrived from `since` (target's clock) on; `now` stamps it.

    Of FIGURES, step_s is the step model's alone: the mean time of the logged steps, against what it
    says of steps so made up, since a log need not hold every step.
    `known` must come from before `since`. Requests from before it warm the simulation up. Those of
    the end are left out, since the longest of them are not told yet. Empty where data are few.
    """
    rows = sorted((r for r in past.requests if _replayable(r)), key=lambda r: r.arrival)
    rows = rows[-_MOST_REQUESTS:]
    if not known.calibration.fitted or not rows:
        return ()
    span = (max(since, rows[0].arrival), settled_until(rows))
    if sum(span[0] <= r.arrival < span[1] for r in rows) < LEAST_REQUESTS:
        return ()
    begin = rows[0].arrival
    traffic = Traffic.stack([_row_of(rows, begin)])
    lengths = [(r.prompt_tokens, max(1, r.output_tokens)) for r in rows]
    expected = _played(
        known, traffic, _mix(lengths), settings, slo, (span[0] - begin, span[1] - begin), seed
    )
    found = {**measured(past.requests, slo, span), "step_s": math.nan}
    expected = {**expected, "step_s": math.nan}
    inside = [s for s in past.steps if span[0] <= s.at < span[1] and s.step_s > 0]
    if len(inside) >= LEAST_STEPS:
        found["step_s"] = _mean([s.step_s for s in inside])
        expected["step_s"] = _mean(_step_times(known, settings, inside))
    return tuple(
        ModelCheck(now, figure, expected[figure], found[figure], settings)
        for figure in FIGURES
        if math.isfinite(expected[figure]) and math.isfinite(found[figure])
    )


def settled_until(requests: Sequence[Exposure]) -> float:
    """Before it nearly all that arrived has ended: the last end less a long request's time."""
    took = np.array([r.e2el_s for r in requests], dtype=np.float64)
    ended = np.array([r.arrival for r in requests], dtype=np.float64) + took
    return float(ended.max() - np.quantile(took, 0.99))


def _played(
    known: Known,
    traffic: Traffic,
    mix: Mix,
    settings: Settings,
    slo: SLO,
    span: tuple[float, float],
    seed: int,
) -> Mapping[str, float]:
    rows = np.zeros(_REPEATS, dtype=np.int64)
    arrival = traffic.arrival_s[0]
    rate = len(arrival) / max(float(arrival[-1] - arrival[0]), 1e-9) if len(arrival) > 1 else 1.0
    systems = systems_of(known, rate, mix, slo).take(rows)
    cap_s = float(arrival[-1]) * 1.5 + 60.0
    engines = EngineTable.of([known.engine(settings)] * _REPEATS)
    run = _simulate(traffic.take(rows), settings, engines, systems, cap_s, seed)
    counted = run.latencies.offered & (run.latencies.arrival_s >= span[0])
    counted &= run.latencies.arrival_s < span[1]
    ended = counted & np.isfinite(run.latencies.e2el_s)
    several = ended & (traffic.take(rows).output_tokens > 1)
    good = float((met(run.latencies, systems.slo) & counted).sum())
    offered = float(counted.sum())
    return {
        "attainment": good / offered if offered else math.nan,
        "goodput": good / _REPEATS / (span[1] - span[0]),
        "ttft_s": _mean_where(run.latencies.ttft_s, ended),
        "tpot_s": _mean_where(run.latencies.tpot_s, several),
        "e2el_s": _mean_where(run.latencies.e2el_s, ended),
    }


def _simulate(
    traffic: Traffic,
    settings: Settings,
    engines: EngineTable,
    systems: Systems,
    cap_s: float,
    seed: int,
) -> Simulated:
    schedules = ScheduleTable.of([Schedule.of(settings)] * len(systems))
    serving = systems.serving(engines, schedules.memory_efficient)
    return simulate(traffic, schedules, serving, cap_s=cap_s, seed=seed)


def _step_times(
    known: Known, settings: Settings, steps: Sequence[StepRecord]
) -> list[float | None]:
    """What the model says of steps so made up, under the settings' engine."""
    engines = EngineTable.of([known.engine(settings)])
    machines, none = machines_of(known), np.zeros(1)
    model = serve(machines, engines, np.zeros(1, np.bool_), none, none).steps.model(0)
    return [
        model.step_s(s.decode_seqs, s.prefill_tokens, s.context_tokens, s.prefill_pairs)
        for s in steps
    ]


def _mean_where(values: Floats, chosen: Bools) -> float:
    return float(values[chosen].mean()) if chosen.any() else math.nan


def _mean(values: Sequence[float | None]) -> float:
    told = [v for v in values if v is not None and math.isfinite(v)]
    return float(np.mean(told)) if told else math.nan


def _replayable(request: Exposure) -> bool:
    """Whether it cost the engine anything that can be played again."""
    return request.prompt_tokens > 0 and (request.served or request.output_tokens > 0)


def _row_of(requests: Sequence[Exposure], begin: float) -> tuple[Floats, Ints, Ints]:
    return (
        np.array([r.arrival - begin for r in requests], dtype=np.float64),
        np.array([r.prompt_tokens for r in requests], dtype=np.int64),
        np.array([max(1, r.output_tokens) for r in requests], dtype=np.int64),
    )


def _mix(rows: Sequence[tuple[int, int]]) -> Mix:
    table = np.array(rows, dtype=np.float64)
    return points_of_sample(table[:, 0], table[:, 1])


def _sure(figure: Estimate) -> bool:
    return figure.known and figure.error <= _SURE * abs(figure.value)
