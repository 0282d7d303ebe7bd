"""Does dynamic batching raise utilisation from 58% to 89%, and what can that mean?

One engine, three ways to batch: one request at a time, static batches, dynamic batches; the same
open-loop load near the one-at-a-time capacity, and saturation.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.load.arrivals import steady
from autotuner.load.kinds import Process
from autotuner.load.lengths import PRESETS, Component, Mix, Range
from autotuner.load.plan import Plan, PlannedRequest, synthetic
from autotuner.worker.allocator import keep_freed_memory
from autotuner.worker.cpu_features import default_weight_dtype
from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.settings import WorkerSettings
from autotuner.worker.weights import resolve_model
from experiments.studies import _common
from experiments.studies.dynamic_batching.figure import draw
from experiments.studies.dynamic_batching.serving import Run, Server
from experiments.studies.dynamic_batching.utilisation import (
    BestRates,
    Utilisation,
    utilisation,
    while_waiting,
)

SEED = 0
MIX = "short"  # prompts of 16 to 128 tokens, answers of 16 to 64
CLAIMED_BEFORE, CLAIMED = 0.58, 0.89
LOAD = 0.9  # of the one-at-a-time capacity
ONE, STATIC, DYNAMIC = "one at a time", "static batches", "dynamic"
SATURATED, EQUAL = "saturation", "equal load"


@dataclass(frozen=True)
class System:
    """A way to batch. `static`: the next batch only starts once the last is done."""

    name: str
    max_num_seqs: int
    batch_timeout_ms: int = 0
    static: bool = False


@dataclass(frozen=True)
class Size:
    """Requests of the open-loop load (on average), of a backlog, and of one per place.

    `batch` is the greatest batch, `mix` how long prompts and answers are.
    """

    mix: Mix
    batch: int
    load_requests: int
    backlog_one: int
    backlog_per_slot: int

    @property
    def systems(self) -> tuple[System, ...]:
        return (
            System(ONE, 1),
            System(STATIC, self.batch, static=True),
            System(DYNAMIC, self.batch),
            System(f"{DYNAMIC}, 20 ms timeout", self.batch, 20),
            System(f"{DYNAMIC}, 100 ms timeout", self.batch, 100),
        )


FULL = Size(PRESETS[MIX], batch=32, load_requests=300, backlog_one=50, backlog_per_slot=10)
_BRIEF = Mix((Component(1.0, Range(16, 32), Range(8, 16)),))
QUICK = Size(_BRIEF, batch=4, load_requests=4, backlog_one=2, backlog_per_slot=1)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    size = QUICK if quick else FULL
    keep_freed_memory()
    dtype = default_weight_dtype("cpu")
    settings = WorkerSettings(weight_dtype=dtype)
    folder = resolve_model(None)
    engine = Engine(EngineOptions(folder, prefix_caching=False, settings=settings))
    bench = Bench(engine, settings, size)
    bench.warm_up()
    best = bench.best_rates()
    rows = [bench.saturated(system, size, best) for system in size.systems]
    rate_rps = LOAD * rows[0]["requests_per_s"]
    load_s = size.load_requests / rate_rps
    plan = _open_loop(rate_rps, load_s, size.mix)
    rows += [bench.loaded(system, plan, load_s, best) for system in size.systems]
    engine.close()
    content = _common.results(
        "dynamic_batching",
        packages=("torch", "numpy"),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows),
        quick=quick,
        weight_dtype=dtype,
        mix=MIX,
        batch=size.batch,
        offered_rps=round(rate_rps, 3),
        offered_requests=len(plan),
        best_rates={name: round(value, 1) for name, value in asdict(best).items()},
    )
    _common.write(out, content)
    draw(content, out / "figure.png")
    return content


class Bench:
    """The engine under its different ways to batch; the knobs are changed live."""

    def __init__(self, engine: Engine, settings: WorkerSettings, size: Size) -> None:
        self._engine, self._settings = engine, settings
        self._batch, self._mix = size.batch, size.mix
        self._full = System(DYNAMIC, size.batch)

    def warm_up(self) -> None:
        self._serve(self._full, _backlog(self._batch, self._mix))

    def best_rates(self) -> BestRates:
        """Prompt tokens/s of a backlog of prompts alone; tokens/s of a full decode batch.

        Prompts and answers have the mix's mean length.
        """
        prompt, output = (int(mean) for mean in _lengths(1000, self._mix).mean(axis=0))
        batch = self._batch
        prompts = self._serve(self._full, (PlannedRequest(0.0, prompt, 1),) * 4 * batch)
        full = [step for step in prompts.steps if step.backlog]
        answers = self._serve(self._full, (PlannedRequest(0.0, prompt, output + 8),) * batch)
        decode_s = [step.step_s for step in answers.steps if step.decode_tokens == batch]
        return BestRates(
            sum(step.prefill_tokens for step in full) / sum(step.step_s for step in full),
            batch / statistics.median(decode_s),
        )

    def saturated(self, system: System, size: Size, best: BestRates) -> dict[str, Any]:
        """All requests are there at once; what counts ends when none waits any more."""
        slots = system.max_num_seqs
        requests = size.backlog_one if slots == 1 else size.backlog_per_slot * slots
        told = self._serve(system, _backlog(requests, self._mix))
        steps = while_waiting(told.steps)
        window_s = steps[-1].end_s
        done = sum(request.last_s <= window_s for request in told.requests)
        used = utilisation(steps, window_s, slots, best)
        return _row(SATURATED, system, requests, used) | {
            "requests_per_s": round(done / window_s, 3),
            "output_tokens_per_s": round(sum(s.decode_tokens for s in steps) / window_s, 1),
        }

    def loaded(self, system: System, plan: Plan, load_s: float, best: BestRates) -> dict[str, Any]:
        """The plan's requests at their times; the window is the time in which they are due."""
        told = self._serve(system, plan)
        steps = [step for step in told.steps if step.end_s <= load_s]
        used = utilisation(steps, load_s, system.max_num_seqs, best)
        return _row(EQUAL, system, len(plan), used) | _latencies(told)

    def _serve(self, system: System, plan: Plan) -> Run:
        settings = replace(
            self._settings,
            max_num_seqs=system.max_num_seqs,
            batch_timeout_ms=system.batch_timeout_ms,
        )
        self._engine.apply(settings, self._engine.generation + 1)
        groups_of = system.max_num_seqs if system.static else None
        return Server(self._engine, plan, groups_of, SEED).run()


def _lengths(count: int, mix: Mix) -> Any:
    return mix.sample(np.random.default_rng(SEED), count)


def _backlog(count: int, mix: Mix) -> Plan:
    return tuple(PlannedRequest(0.0, *map(int, row)) for row in _lengths(count, mix))


def _open_loop(rate_rps: float, load_s: float, mix: Mix) -> Plan:
    return synthetic(steady(rate_rps, load_s), Process.POISSON, mix, SEED)


def _row(regime: str, system: System, requests: int, used: Utilisation) -> dict[str, Any]:
    return {
        "regime": regime,
        "system": system.name,
        "max_num_seqs": system.max_num_seqs,
        "batch_timeout_ms": system.batch_timeout_ms,
        "requests": requests,
        **{f"{name}_share": round(value, 4) for name, value in asdict(used).items()},
    }


def _latencies(told: Run) -> dict[str, float]:
    ttft = [request.first_s - request.due_s for request in told.requests]
    e2el = [request.last_s - request.due_s for request in told.requests]
    return {
        f"{name}_p{q}_s": round(float(np.percentile(values, q)), 4)
        for name, values in (("ttft", ttft), ("e2el", e2el))
        for q in (50, 99)
    }


def _checks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {(row["regime"], row["system"]): row for row in rows}
    one, dynamic = found[SATURATED, ONE], found[SATURATED, DYNAMIC]
    loaded_one, loaded = found[EQUAL, ONE], found[EQUAL, DYNAMIC]
    return [
        _common.check(
            "dynamic batching at saturation: useful utilisation",
            dynamic["useful_share"],
            "of the best batch's rate",
            CLAIMED,
            "at_least",
        ),
        _common.check(
            "useful utilisation at saturation, dynamic over one at a time",
            round(dynamic["useful_share"] / one["useful_share"], 3),
            "times",
            round(CLAIMED / CLAIMED_BEFORE, 3),
            "at_least",
        ),
        _common.check(
            "dynamic batching at saturation: places of the batch in use",
            dynamic["slots_share"],
            "of the places",
            CLAIMED,
            "at_least",
        ),
        *(
            _common.check(
                f"P99 {metric.upper()} at equal load, dynamic over one at a time",
                round(loaded[f"{metric}_p99_s"] / loaded_one[f"{metric}_p99_s"], 3),
                "times",
                1.0,
                "at_most",
            )
            for metric in ("e2el", "ttft")
        ),
    ]
