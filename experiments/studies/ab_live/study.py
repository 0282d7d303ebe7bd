"""Do A/B tests on the real worker, under real load, keep what they promise?

No verdict where nothing changed, a true gain of 20% found in the pairs that were planned for it,
and a harmful change out again within two treatment slots.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotuner.abtest.design import needed_pairs
from autotuner.demo.stage import Stage
from autotuner.domain.experiment import Experiment, Guardrail, HardLimits, Plan
from autotuner.load.plan import PlannedRequest
from experiments.studies._common import write
from experiments.studies.ab_live import figure, harm, telling, truth
from experiments.studies.ab_live.bench import Bench, Tested, about_to_start
from experiments.studies.ab_live.harm import Demand, Harm
from experiments.studies.ab_live.measured import (
    FAST,
    HARMFUL,
    LOG_GAIN,
    Measured,
    Short,
    pair_sd,
)
from experiments.studies.ab_live.truth import Truth

SEED = 20260401
MEAN_LONE = PlannedRequest(0.0, 80, 24)  # the middle of the short mix
USUAL_SD = 0.1  # of a pair's difference, as long as nothing has been measured
SPARE = 3  # chosen: the pairs that a test may use, over those planned


@dataclass(frozen=True)
class Size:
    """How much is measured.

    `blocks`: pairs of long blocks. `most_pairs`: after these a test is not looked at any more.
    """

    blocks: int
    block_s: float
    aa_pairs: int
    gain_tests: int
    most_pairs: int
    bursts: int
    harm_tests: int
    slot_s: float
    harm_slot_s: float
    warmup_s: float


FULL = Size(4, 20.0, telling.AA_PAIRS, 5, 99, 3, 3, slot_s=4.0, harm_slot_s=7.0, warmup_s=10.0)
QUICK = Size(1, 2.0, 1, 1, 1, 1, 1, slot_s=2.0, harm_slot_s=4.0, warmup_s=1.0)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Runs all three parts on one worker; writes results.json and figure.png into `out`."""
    size = QUICK if quick else FULL
    with Stage(out) as stage:
        bench = Bench.raised_on(stage)
        short = _lone(bench)
        known = _truth(bench, short, size)
        bench.load("short", short.rate_rps, SEED)
        bench.wait(size.warmup_s)
        aa = _aa(bench, short, size)
        plan = _gain_plan(size, pair_sd(aa.experiment) or USUAL_SD)
        gains = tuple(_gain(bench, short, size, plan, i) for i in range(size.gain_tests))
        bench.quiet()
        demand = harm.measure(bench, FAST, HARMFUL, size.bursts)
        harms = tuple(_harm(bench, demand, size, i) for i in range(size.harm_tests))
    for log in ("worker.log", "load.log"):
        (out / log).unlink(missing_ok=True)
    measured = Measured(short, known, aa, plan.max_pairs / SPARE, gains, demand, harms)
    told = telling.results_of(measured, quick, seed=SEED)
    figure.draw(measured, out / "figure.png")
    write(out, told)
    return told


def _lone(bench: Bench) -> Short:
    bench.apply(FAST, "what a lone request takes")
    took = [truth.mean_e2el_s(bench.replay((MEAN_LONE,), seed=i)) for i in range(6)]
    return Short(statistics.median(took[1:]))


def _truth(bench: Bench, short: Short, size: Size) -> Truth:
    seeds = range(SEED, SEED + size.blocks)
    blocks = [truth.requests_of("short", short.rate_rps, size.block_s, seed) for seed in seeds]
    return truth.measure(bench, short.slow, FAST, blocks)


def _plan(size: Size, prior_sd: float, max_pairs: int) -> Plan:
    return Plan(
        slot_s=size.slot_s, washout_min_s=0.5, washout_max_s=4.0, cooldown_s=0.7,
        max_pairs=max_pairs, min_requests_per_slot=3, prior_sd=prior_sd, outcome="e2el",
        guardrails=(Guardrail("error_share", 0.02, 0.02),),
    )  # fmt: skip


def _aa(bench: Bench, short: Short, size: Size) -> Tested:
    """Twice the pairs are allowed, so that the budget's end does not end the test first."""
    plan = _plan(size, USUAL_SD, max_pairs=2 * max(size.aa_pairs, 7))
    test = about_to_start("aa", short.slow, short.slow, plan, SEED)
    return bench.test(test, short.slo, _pairs(size.aa_pairs))


def _gain_plan(size: Size, sd: float) -> Plan:
    """Planned from the noise that the A/A had; the test may take longer than planned."""
    return _plan(size, sd, max_pairs=SPARE * int(needed_pairs(LOG_GAIN / sd)))


def _gain(bench: Bench, short: Short, size: Size, plan: Plan, number: int) -> Tested:
    test = about_to_start(f"gain-{number + 1}", short.slow, FAST, plan, SEED + 1 + number)
    return bench.test(test, short.slo, _pairs(size.most_pairs))


def _harm(bench: Bench, demand: Demand, size: Size, number: int) -> tuple[Tested, Harm]:
    bench.apply(FAST, "before a harmful change")
    bench.load("long", demand.rate_rps, SEED + number, arrivals="constant")
    bench.wait(size.warmup_s / 2)
    plan = Plan(
        slot_s=size.harm_slot_s, washout_min_s=0.5, washout_max_s=8.0, cooldown_s=0.5,
        max_pairs=10, min_requests_per_slot=3, prior_sd=0.3, outcome="goodput",
        limits=HardLimits(min_requests=5),
    )  # fmt: skip
    test = about_to_start(f"harm-{number + 1}", FAST, HARMFUL, plan, SEED + 101 + number)
    tested = bench.test(test, demand.slo, _pairs(size.most_pairs))
    bench.quiet()
    return tested, harm.of(tested, demand.slo)


def _pairs(count: int) -> Callable[[Experiment], bool]:
    return lambda test: len(test.pairs) >= count
