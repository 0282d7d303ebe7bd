"""Does an A/A test on the real worker, under real load, stay without a verdict?

Both arms have the same settings; every slot is applied anew, as in any test. So whatever the
chain adds (scheduling, HTTP, the load generator, the neighbours on the machine) is in the noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from autotuner.abtest import switchback
from autotuner.abtest.view import View
from autotuner.demo.stage import Stage
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure
from autotuner.targets.worker import WorkerTarget
from experiments.studies._common import check, results, write

SEED = 20260101
SETTINGS = Settings(
    {
        "batch_timeout_ms": 0,
        "max_num_batched_tokens": 256,
        "max_num_seqs": 16,
        "schedule_policy": "fcfs",
    }
)
RATE_RPS = 5.0
# Chosen so that about half of the requests meet it: a share near a half has the most noise.
TTFT_QUANTILE = 0.5


@dataclass
class Chain:
    """A live A/A test: the worker, and what was seen of it so far."""

    target: WorkerTarget
    experiment: Experiment
    slo: SLO
    cursor: int = 0
    exposures: tuple[Exposure, ...] = ()

    def turn(self) -> None:
        """One cycle: read, advance, apply."""
        live = self.target.read_settings()
        batch = self.target.exposures(self.cursor)
        self.cursor, self.exposures = batch.next, (*self.exposures, *batch.exposures)
        view = View(live, self.exposures, batch.in_flight, batch.overrun)
        step = switchback.advance(self.experiment, view, time.time(), self.slo)
        self.experiment = step.experiment
        if step.apply is not None:
            applied = self.target.apply(step.apply, live, "A/A")
            if self.experiment.running:
                self.experiment = switchback.slot_started(self.experiment, applied)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Runs the test; writes results.json and figure.png into `out`."""
    pairs, slot_s = (2, 4.0) if quick else (30, 5.0)
    plan = Plan(
        slot_s=slot_s, washout_min_s=0.5, washout_max_s=6.0, cooldown_s=1.0,
        max_pairs=2 * max(pairs, 7), min_requests_per_slot=5,
    )  # fmt: skip
    with Stage(out) as stage:
        url = stage.start_worker(["--max-num-seqs", "16"], limit_s=180)
        words = ["--rate", str(RATE_RPS), "--mix", "short", "--seed", str(SEED)]
        stage.start("load", ["load", "--url", url, "--duration-s", "1200", *words])
        chain = _begin(WorkerTarget(url), plan, warmup_s=8.0 if quick else 20.0)
        _until(chain, lambda: len(chain.experiment.pairs) >= pairs, stage)
    for log in ("worker.log", "load.log"):
        (out / log).unlink(missing_ok=True)
    return _tell(chain, quick, out)


def _begin(target: WorkerTarget, plan: Plan, warmup_s: float) -> Chain:
    """The settings applied, traffic warmed up, the SLO set at the middle of what is usual."""
    live = target.read_settings()
    target.apply(SETTINGS, live, "A/A begins")
    time.sleep(warmup_s)
    seen = target.exposures(0)
    ttfts = sorted(e.ttft_s for e in seen.exposures if e.ttft_s is not None)
    slo = SLO(ttft_s=round(ttfts[int(TTFT_QUANTILE * len(ttfts))], 4))
    experiment = Experiment(
        "aa-live", "worker", SETTINGS, SETTINGS, plan, SEED, started_at=time.time()
    )
    return Chain(target, experiment, slo, cursor=seen.next)


def _until(chain: Chain, enough: Callable[[], bool], stage: Stage) -> None:
    while chain.experiment.running and not enough():
        stage.check()
        chain.turn()
        time.sleep(0.2)


def _tell(chain: Chain, quick: bool, out: Path) -> dict[str, Any]:
    experiment = chain.experiment
    looks = experiment.looks
    accepted = any(math.exp(look.log_e_benefit) >= 1 / experiment.plan.alpha for look in looks)
    harmful = any(math.exp(look.log_e_harm) >= 1 / experiment.plan.alpha for look in looks)
    rows = [
        {
            "pair": pair.index,
            "difference": round(pair.difference, 4),
            "control_requests": pair.control.requests,
            "treatment_requests": pair.treatment.requests,
            "control_attainment": round(pair.control.attainment, 4),
            "treatment_attainment": round(pair.treatment.attainment, 4),
            "confidence": round(look.confidence, 4),
        }
        for pair, look in zip(experiment.pairs, looks, strict=True)
    ]
    told = results(
        "aa_live",
        packages=["torch", "numpy"],
        seeds=[SEED],
        rows=rows,
        checks=[
            check("pairs counted", len(rows), "pairs", 2 if quick else 30, "at_least"),
            check("accepted at 95%", float(accepted), "tests of 1", 0, "at_most"),
            check("called harmful", float(harmful), "tests of 1", 0, "at_most"),
        ],
        slo_ttft_s=chain.slo.ttft_s,
        excluded_slots=sum(slot.excluded is not None for slot in experiment.slots),
    )
    _draw(experiment, out / "figure.png")
    write(out, told)
    return told


def _draw(experiment: Experiment, path: Path) -> None:
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
    at = [pair.index + 1 for pair in experiment.pairs]
    above.bar(at, [pair.difference * 100 for pair in experiment.pairs], color="#3a86c8")
    above.plot(at, [look.effect * 100 for look in experiment.looks], color="black", label="mean")
    above.axhline(0, color="black", lw=0.8)
    above.set_ylabel("difference, points of attainment")
    above.set_title("A/A on the real worker: the same settings in both arms", loc="left")
    above.legend(frameon=False)
    below.plot(at, [look.confidence for look in experiment.looks], "o-", ms=3, color="black")
    below.axhline(0.95, color="#b23a3a", ls="--", label="acceptance")
    below.set_ylim(0, 1)
    below.set_xlabel("pair")
    below.set_ylabel("confidence")
    below.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
