"""Does the worker stay healthy under bursty traffic near its capacity for half an hour?

A real worker process over HTTP. Memory must stay flat, the queue must drain, the KV cache must come
back empty, and no request may fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from autotuner.demo.stage import Stage
from autotuner.load.plan import Plan
from autotuner.load.runner import LoadOptions, LoadRun, run_load
from autotuner.worker.weights import resolve_model
from experiments.studies import _common
from experiments.studies.worker_soak.figure import draw
from experiments.studies.worker_soak.traffic import Traffic, traffic
from experiments.studies.worker_soak.watch import Sample, Totals, Watch, slope_mib_per_h

SEED = 0
LOAD = 0.9  # of the measured capacity
READY_S = 180.0
LEAST_MINUTES = 30.0
MINUTES_VARIABLE = "AUTOTUNER_SOAK_MINUTES"  # for a shorter look; its results say that it was one
MAX_SLOPE_MIB_PER_H = 12.0  # chosen: a day at this slope takes less than 300 MiB
# A small KV cache is soon written to in full: the memory of a large one would still be filling.
WORKER = [
    *("--max-num-seqs", "32", "--kv-cache-gib", "0.5"),
    *("--max-queue", "16384", "--request-timeout-s", "3600"),
]


@dataclass(frozen=True)
class Size:
    """Seconds of traffic, between samples and of rest; requests that measure the capacity."""

    soak_s: float
    capacity_requests: int
    every_s: float
    rest_s: float


FULL = Size(soak_s=1800.0, capacity_requests=120, every_s=5.0, rest_s=10.0)
QUICK = Size(soak_s=12.0, capacity_requests=8, every_s=0.5, rest_s=1.0)


@dataclass
class Seen:
    """What the soak saw."""

    capacity_rps: float = 0.0
    load: LoadRun | None = None
    samples: list[Sample] = field(default_factory=list)
    at_rest: Sample | None = None
    totals: Totals | None = None


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Soaks, writes results.json and figure.png into `out`, returns the results."""
    size = QUICK if quick else _full()
    source = traffic(SEED)
    out.mkdir(parents=True, exist_ok=True)
    with Stage(out) as stage:
        url = stage.start_worker(WORKER, READY_S)
        seen = asyncio.run(_soak(url, stage.pid_of("worker"), source, size))
    (out / "worker.log").unlink(missing_ok=True)
    content = _content(seen, source, size, quick)
    _common.write(out, content)
    draw(seen.samples, content["warm_up_s"], out / "figure.png")
    return content


async def _soak(url: str, pid: int, source: Traffic, size: Size) -> Seen:
    seen = Seen()
    async with aiohttp.ClientSession() as session:
        # Another seed: the soak must not find the prompts of these in the prefix cache.
        backlog = source.backlog(size.capacity_requests)
        measured = await run_load(_options(url, backlog, seed=SEED + 1))
        _refuse_failures(measured)
        seen.capacity_rps = len(measured.results) / measured.span_s
        plan = source.plan(LOAD * seen.capacity_rps, size.soak_s)
        watch = Watch(url, pid)
        async with _sampling(watch, session, size.every_s, seen.samples):
            seen.load = await run_load(_options(url, plan))
            await asyncio.sleep(size.rest_s)
        seen.at_rest, seen.totals = await watch.sample(session), await watch.totals(session)
    return seen


def _options(url: str, plan: Plan, seed: int = SEED) -> LoadOptions:
    tokenizer = resolve_model(None) / "tokenizer.json"
    return LoadOptions(
        url, plan, seed=seed, max_in_flight=16384, timeout_s=3600.0, tokenizer=tokenizer
    )


@contextlib.asynccontextmanager
async def _sampling(
    watch: Watch, session: aiohttp.ClientSession, every_s: float, samples: list[Sample]
) -> AsyncIterator[None]:
    """Samples are taken inside; one that fails fails the soak."""

    async def look() -> None:
        while True:
            samples.append(await watch.sample(session))
            await asyncio.sleep(every_s)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


def _refuse_failures(run: LoadRun) -> None:
    failed = [result for result in run.results if not result.served]
    if failed:
        raise RuntimeError(f"measuring the capacity: {failed[0].failure}: {failed[0].detail}")


def _content(seen: Seen, source: Traffic, size: Size, quick: bool) -> dict[str, Any]:
    assert seen.load is not None
    assert seen.at_rest is not None
    assert seen.totals is not None
    results = seen.load.results
    planned_rps = len(results) / size.soak_s
    warm_up_s = size.soak_s / 2
    slopes = {
        side: round(_slope(seen.samples, f"{side}_mib", warm_up_s), 3)
        for side in ("front", "engine")
    }
    failures = sum(not result.served for result in results)
    errors = sum(
        n for outcome, n in seen.totals.outcomes.items() if outcome not in ("stop", "length")
    )
    load = round(planned_rps / seen.capacity_rps, 4)
    # Fewer samples than were taken are enough to draw the figure again.
    stride = -(-len(seen.samples) // 200)
    return _common.results(
        "worker_soak",
        packages=("torch", "aiohttp"),
        seeds=[SEED],
        rows=[_rounded(sample) for sample in seen.samples[::stride]],
        checks=[
            *(
                _common.check(
                    f"memory of the {side} after warm-up: slope",
                    slope,
                    "MiB/hour",
                    MAX_SLOPE_MIB_PER_H,
                    "at_most",
                )
                for side, slope in slopes.items()
            ),
            _common.check("requests that the client saw fail", failures, "requests", 0, "at_most"),
            _common.check(
                "requests that the worker counts as failed", errors, "requests", 0, "at_most"
            ),
            _common.check(
                "requests left at the end", _left(seen.at_rest), "requests", 0, "at_most"
            ),
            _common.check(
                "KV cache in use at the end", seen.at_rest.kv_usage, "of the cache", 0, "at_most"
            ),
            _common.check("traffic", size.soak_s / 60.0, "minutes", LEAST_MINUTES, "at_least"),
            _common.check("offered load", load, "of the capacity", 0.85, "at_least"),
        ],
        quick=quick,
        traffic=source.source,
        soak_s=size.soak_s,
        warm_up_s=warm_up_s,
        capacity_rps=round(seen.capacity_rps, 3),
        requests=len(results),
        span_s=round(seen.load.span_s, 1),
        longest_queue=max(sample.waiting for sample in seen.samples),
        preemptions=seen.totals.preemptions,
        outcomes=seen.totals.outcomes,
    )


def _slope(samples: list[Sample], side: str, warm_up_s: float) -> float:
    after = [sample for sample in samples if sample.at_s >= warm_up_s]
    return slope_mib_per_h([s.at_s for s in after], [getattr(s, side) for s in after])


def _left(sample: Sample) -> float:
    return sample.running + sample.waiting


def _rounded(sample: Sample) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(sample).items()}


def _full() -> Size:
    """The full soak, as long as the environment says."""
    told = os.environ.get(MINUTES_VARIABLE)
    return FULL if told is None else replace(FULL, soak_s=60.0 * float(told))
