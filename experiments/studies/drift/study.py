"""When the workload changes, how long until the daemon serves well again, and is it steady?

The real daemon on a virtual clock, against settings that stay and an oracle that switches at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

from autotuner.config import Policy, load_policy
from autotuner.domain.knobs import Settings
from autotuner.resources import resource_folder
from experiments.studies import _common
from experiments.studies.drift import workloads
from experiments.studies.drift.figure import draw
from experiments.studies.drift.playing import Played, switched, tuned
from experiments.studies.drift.scenarios import START, Scenario, policy, scenarios
from experiments.studies.drift.scoring import figures, reigns, shaking
from experiments.studies.drift.truth import Load, Look, Truth, around, coarse, swept

SEED = 9700  # not those of the trials, 9200 to 9204
PROCESSES = 2
# Nobody waits for an answer before the next request: load is no effect of the settings.
TESTS: Mapping[str, Any] = {"covariates": ["offered_load", "prompt_tokens"]}
DRIFT: Mapping[str, Any] = {**TESTS, "drift_factor": 2.0, "drift_hold_s": 300.0, "retest": True}
# The arms that tune: their proposer, and what their policy says of tests and drift.
TUNED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ppo": ("ppo", DRIFT),
    "ppo, blind to drift": ("ppo", TESTS),
    "aimd": ("aimd", DRIFT),
    "hill-climb": ("hill-climb", DRIFT),
}
STILL = ("old best", "compromise", "oracle")
MOST_MIN = 60.0  # the target of the median time to recover
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Size:
    seeds: int
    shorter: float
    look: Look
    names: tuple[str, ...]
    tops: int


FULL = Size(5, 1.0, Look(coarse=2, fine=2), ("chat and code", "burst", "day"), 2)
QUICK = Size(2, 0.05, Look(coarse=1, fine=1), ("chat and code",), 0)


@dataclass(frozen=True)
class Known:
    """A scenario with the truth of all its loads, and the settings that stay."""

    scenario: Scenario
    truths: Mapping[str, Truth]
    compromise: Settings

    @property
    def optima(self) -> tuple[Settings, ...]:
        return tuple(self.truths[phase.load.name].optimum for phase in self.scenario.phases)


@dataclass(frozen=True)
class Run:
    """One arm in one scenario under one seed."""

    known: Known
    arm: str
    seed: int


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Plays all arms, writes results.json and figure.png into `out`, returns the results."""
    began, size = time.monotonic(), QUICK if quick else FULL
    mixes, lengths_from = workloads.lengths()
    day, day_from = workloads.day()
    chosen = [s for s in scenarios(mixes, day, size.shorter) if s.name in size.names]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"), initializer=_calm) as pool:
        mapped = _Told(pool)
        known = [_known(scenario, size, mapped) for scenario in chosen]
        arms = (*TUNED, *STILL)
        runs = [Run(k, arm, seed) for k in known for arm in arms for seed in range(size.seeds)]
        played = dict(zip(runs_keys(runs), mapped("runs", _played, runs), strict=True))
        known = [_visited(k, runs, played, size, mapped) for k in known]
    rows = [_row(k, arm, played, size.seeds) for k in known for arm in arms]
    results = _common.results(
        "drift",
        packages=("numpy", "scipy", "stable-baselines3"),
        seeds=[SEED + seed for seed in range(size.seeds)],
        rows=rows,
        checks=[] if quick else _checks(rows),
        quick=quick,
        lengths=lengths_from,
        day=day_from,
        minutes=round((time.monotonic() - began) / 60, 1),
        optima=[_optimum(k, number) for k in known for number in range(len(k.scenario.phases))],
    )
    _common.write(out, results)
    draw(rows, out / "figure.png")
    return results


class _Told:
    """Maps over processes and says how far it is."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def __call__(
        self, what: str, function: Callable[[_In], _Out], items: Sequence[_In]
    ) -> list[_Out]:
        results = []
        for done, result in enumerate(self._pool.map(function, items), start=1):
            results.append(result)
            print(f"{what}: {done} of {len(items)}", flush=True)
        return results


def _calm() -> None:
    """One torch thread each: the processes use all cores already."""
    import torch

    torch.set_num_threads(1)


# ---- the truth
def _policy(arm: str = "ppo") -> Policy:
    kind, drift = TUNED.get(arm, ("ppo", {}))
    return policy(load_policy("default", resource_folder("policies")), kind, dict(drift))


def _swept(job: tuple[Load, tuple[Settings, ...], int, int]) -> Truth:
    load, settings, streams, seed = job
    return swept(load, settings, _policy().slo.to_domain(), streams, seed)


def _known(scenario: Scenario, size: Size, mapped: _Told) -> Known:
    """First a look at a part of the grid, then a closer one around the best, for all loads."""
    space, look = _policy().space(), size.look
    loads = list({phase.load.name: phase.load for phase in scenario.phases}.values())
    first = coarse(space)
    jobs = [(load, first, look.coarse, look.seed) for load in loads]
    found = mapped(f"{scenario.name}: first look", _swept, jobs)
    if size.tops:
        near = chain.from_iterable(around(seen, space, size.tops) for seen in found)
        closer = tuple(sorted(set(near), key=lambda s: s.digest))
        jobs = [(load, closer, look.fine, look.seed + 1) for load in loads]
        found = mapped(f"{scenario.name}: closer look", _swept, jobs)
    truths = {load.name: seen for load, seen in zip(loads, found, strict=True)}
    return Known(scenario, truths, _compromise(scenario, truths))


def _compromise(scenario: Scenario, truths: Mapping[str, Truth]) -> Settings:
    """What would have served most requests in time, had it stayed all along."""

    def worth(settings: Settings) -> float:
        return sum(
            phase.length_s * phase.load.rate_rps * truths[phase.load.name].shares[settings]
            for phase in scenario.phases
        )

    return max(truths[scenario.phases[0].load.name].shares, key=worth)


def _visited(
    known: Known, runs: Sequence[Run], played: Mapping[Any, Played], size: Size, mapped: _Told
) -> Known:
    """With the truth of every incumbent that any arm had."""
    scenario = known.scenario
    mine = [r for r in runs if r.known.scenario.name == scenario.name]
    tests = [played[key].tests for key in runs_keys(mine)]
    met = {r.settings for t in tests for r in reigns(known.optima[0], START, t)}
    loads = list({phase.load.name: phase.load for phase in scenario.phases}.values())
    new = tuple(sorted(met - set(known.truths[loads[0].name].shares), key=lambda s: s.digest))
    if not new:
        return known
    streams, seed = (size.look.fine, size.look.seed + 1)
    if not size.tops:
        streams, seed = size.look.coarse, size.look.seed
    jobs = [(load, new, streams, seed) for load in loads]
    found = mapped(f"{scenario.name}: incumbents", _swept, jobs)
    truths = {
        load.name: Truth({**known.truths[load.name].shares, **seen.shares})
        for load, seen in zip(loads, found, strict=True)
    }
    return Known(scenario, truths, known.compromise)


# ---- the runs
def runs_keys(runs: Iterable[Run]) -> list[tuple[str, str, int]]:
    return [(r.known.scenario.name, r.arm, r.seed) for r in runs]


def _played(job: Run) -> Played:
    known, seed, start = job.known, SEED + job.seed, job.known.optima[0]
    if job.arm in TUNED:
        return tuned(known.scenario, _policy(job.arm), start, seed)
    still = {"old best": start, "compromise": known.compromise}.get(job.arm)
    settings = known.optima if still is None else tuple(repeat(still, len(known.optima)))
    return switched(known.scenario, _policy(), settings, seed)


def _row(known: Known, arm: str, played: Mapping[Any, Played], seeds: int) -> dict[str, Any]:
    """The means over the seeds, and the times to recover of every run."""
    name, truths, start = known.scenario.name, known.truths, known.optima[0]
    if arm == "compromise":
        start = known.compromise
    each = [
        figures(known.scenario, start, played[name, arm, s], played[name, "oracle", s], truths)
        for s in range(seeds)
    ]
    row: dict[str, Any] = {"scenario": name, "arm": arm, "runs": seeds}
    for what in ("goodput", "lost", "experiments", "promotions", "oscillations", "harmful"):
        row[what] = round(fmean(one[what] for one in each), 4)
    row["most_oscillations"] = max(one["oscillations"] for one in each)
    row["phases"] = [
        {
            "load": phase.load.name,
            "minutes": round(phase.length_s / 60, 1),
            "shaken": number in shaking(known.scenario, truths),
            "attainment": round(fmean(one["phases"][number]["attainment"] for one in each), 4),
            "recovery_min": [one["phases"][number]["recovery_min"] for one in each],
        }
        for number, phase in enumerate(known.scenario.phases)
    ]
    if arm == "oracle":  # its settings change without a test
        for phase in row["phases"]:
            phase["recovery_min"] = [0.0] * seeds
    return row


def _optimum(known: Known, number: int) -> dict[str, Any]:
    """What the phase allows, and what the settings that stay reach of it."""
    phase = known.scenario.phases[number]
    seen = known.truths[phase.load.name]
    return {
        "scenario": known.scenario.name,
        "load": phase.load.name,
        "rate_rps": round(phase.load.rate_rps, 3),
        "settings": dict(seen.optimum),
        "attainment": round(seen.best, 4),
        "old_best": round(seen.shares[known.optima[0]], 4),
        "compromise": dict(known.compromise),
        "of_compromise": round(seen.shares[known.compromise], 4),
    }


def recoveries(row: Mapping[str, Any]) -> list[float]:
    """Minutes after each change; a whole phase where it was not done.

    Only where the settings in force at the change were not enough for the new load: who never left
    the settings of a load that comes back has nothing to recover from. Parts of the day are shorter
    than the target, so they say nothing of it.
    """
    return [
        phase["minutes"] if taken is None else taken
        for phase in row["phases"][1:]
        if phase["minutes"] > MOST_MIN
        for taken in phase["recovery_min"]
        if taken != 0
    ]


def _checks(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    of = {(row["scenario"], row["arm"]): row for row in rows}
    names = list(dict.fromkeys(row["scenario"] for row in rows))
    every = [minutes for name in names for minutes in recoveries(of[name, "ppo"])]
    unmeasured = max(phase["minutes"] for row in rows for phase in row["phases"])
    checks = [
        _common.check(
            "median time until settings with 95% of the best goodput stay in force",
            round(median(every or [unmeasured]), 1),
            "minutes",
            MOST_MIN,
            "at_most",
        )
    ]
    for name in names:
        for rival, words in (("old best", "the old best settings'"), ("aimd", "AIMD's")):
            gain = of[name, "ppo"]["goodput"] - of[name, rival]["goodput"]
            told = f"{name}: share of requests in time, above {words}"
            checks.append(_common.check(told, round(100 * gain, 2), "points", 0.0, "at_least"))
    back = max(of[name, "ppo"]["most_oscillations"] for name in names)
    told = "promotions back to settings left in the same phase, worst run"
    return [*checks, _common.check(told, back, "promotions", 0, "at_most")]
